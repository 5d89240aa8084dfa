"""Scores of an episode's record: they need more than the rules' values.

They use the recorded ego, the end of the route, each infraction, or ratings. Where a record lacks what a score needs,
its value is NaN and its notes say why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from alpamayo.episode import Episode
from alpamayo.validator import scores
from alpamayo.validator.along_route import route_places
from alpamayo.validator.contacts import Contacts, contacts, on_rear_bumper
from alpamayo.validator.levels import on_the_level
from alpamayo.validator.motions import MotionBatch, ResultCache, episode_of, mirrored_history
from alpamayo.validator.recorded_jumps import repeated_jumps
from alpamayo.validator.recorded_states import (
    between_records,
    is_judged_step,
    resampled,
    resampled_poses,
    resampled_traffic,
)
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.lanes import has_lanes, outside_lanes
from alpamayo.validator.rules.signals import red_crossings
from alpamayo.validator.verdict import RuleResult, Score, Scores, Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.scene import Category, is_static
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, project
from alpamayo_sim.prediction.trajectories import recorded

Array = np.ndarray

FILTERED = (*scores.EPDMS.gates, "time_to_collision", "lane_keeping")
"""Parts in which the recorded ego may have 0.

It is itself the measure of progress. NAVSIM takes its comfort as 1, since it judges the ego without a history. It made
no plans to compare.
"""
CLIP_END_OFFSET_M = 4.0
"""Distance from the recorded line at which AlpaSim ends a clip."""
EXTENSION_M = 1000.0
"""By which a recorded line goes on at its ends, where a corridor has no end."""
MIN_COLLISION_SPEED_MPS = 0.1
"""CARLA counts no collision of a slower ego."""
SAME_APPROACH_S = 2.0
"""Crossings of lines within this time belong to one approach."""
PEDESTRIANS = frozenset({Category.PEDESTRIAN, Category.ANIMAL})
INFRACTIONS = tuple(scores.BENCH2DRIVE_FACTORS)


@dataclass(frozen=True, eq=False)
class Record:
    """One judged episode: its motion, the results, the rules that were applied, and rated trajectories."""

    motions: MotionBatch
    results: Mapping[str, RuleResult]
    rules: Mapping[str, Rule]
    rated: Sequence[scores.Rated]

    @property
    def episode(self) -> Episode:
        """The episode."""
        return episode_of(self.motions)


@dataclass(frozen=True)
class EpisodeScore:
    """One score of an episode: its formula in one line, the names of its parts, and the function that computes it."""

    formula: str
    parts: tuple[str, ...]
    compute: Callable[[Record], Score]


def with_episode_scores(
    verdict: Verdict, motions: MotionBatch, rules: Mapping[str, Rule], rated: Sequence[scores.Rated]
) -> Scores:
    """Return the scores of a verdict and the ``EPISODE_SCORES``.

    Raises:
        InputError: a rated step is not in the episode.
    """
    steps = episode_of(motions).steps
    for some in rated:
        if not 0 <= some.step < steps:
            raise InputError(f"rated: step {some.step} is not in the episode of {steps} steps")
    record = Record(motions, verdict.rules, rules, rated)
    names = (*verdict.scores, *EPISODE_SCORES) if verdict.scores else ()
    return Scores(names, lambda name: _compute(record, name) if name in EPISODE_SCORES else verdict.scores[name])


def _compute(record: Record, name: str) -> Score:
    """Compute a score; if that raises, it has no value and its notes are the exception."""
    try:
        return EPISODE_SCORES[name].compute(record)
    except Exception as error:
        return _no_score(name, f"the score raised an exception: {type(error).__name__}: {error}")


def epdms_filtered(record: Record) -> Score:
    """Compute EPDMS with NAVSIM's filter: a part counts as 1 where the recorded ego has 0 among the recorded agents."""
    name = "epdms_filtered"
    why = _why_no_recorded_ego(record.episode)
    if why:
        return _no_score(name, why)
    raw = scores.score_of(record.results, name, scores.EPDMS)
    ego = recorded_motions(record.motions)
    judged = {key: record.rules[key].judge(ego) for key in FILTERED if key in record.rules}
    human = {key: result.value for key, result in judged.items() if result.valid[0] and not result.error}
    parts = scores.filtered(raw.parts, human)
    notes = [
        f"{key} counts as 1, not {raw.parts[key][0]:g}: the recorded ego has 0 in it"
        for key in parts
        if parts[key][0] > raw.parts[key][0]
    ]
    notes += [
        f"the recorded ego is not judged in {key}: {result.error}" for key, result in judged.items() if result.error
    ]
    value = scores.EPDMS.value(parts)
    return Score(name, np.asarray(value), parts, raw.missing, EPISODE_SCORES[name].formula, tuple(notes))


def recorded_motions(motions: MotionBatch) -> MotionBatch:
    """Return the recorded ego at the episode's times, among the other agents as they were recorded.

    Where its recording jumps the others are absent, and it is not charged, as an ego that repeats the recording.
    """
    scene, episode = motions.scene, episode_of(motions)
    states, ego = len(episode.ego_pose), scene.ego
    recording = np.column_stack([ego.position[:states, :2], ego.heading[:states]])
    pose = recording.astype(np.float64)[None]
    velocity, elevation = (x[None, :states].astype(np.float64) for x in (ego.velocity, ego.position[:, 2]))
    speed, traffic = np.hypot(velocity[..., 0], velocity[..., 1]), recorded(scene, 0, states)
    if not is_judged_step(episode.dt):
        at = between_records(states, episode.dt, "the episode")
        pose, speed, traffic = resampled_poses(pose, velocity, at), resampled(speed, at), resampled_traffic(traffic, at)
        elevation = resampled(elevation, at)
    repeating = replace(episode, ego_pose=recording.astype(np.float32))
    traffic = replace(traffic, valid=traffic.valid & ~repeated_jumps(repeating, motions.times))
    return replace(
        motions,
        episode=repeating,
        pose=pose,
        speed=speed,
        size=ego.size[:2].astype(np.float64),
        traffic=on_the_level(traffic, elevation, float(ego.size[2])),
        elevation=elevation,
        history=mirrored_history(pose, speed[:, 0], motions.dt),
        cache=ResultCache(),
    )


def alpasim_scene_score(record: Record) -> Score:
    """Compute AlpaSim's score: 0 after a front or side contact or off the road, else by progress on the recorded path.

    A contact counts regardless of fault, except one of the ego's rear bumper. AlpaSim's clip ends at the first contact
    of any kind, and where the ego is more than 4 m from the recorded line: later events do not count.
    """
    return _alpasim_score("alpasim_scene_score", record, corridor=False)


def alpasim_corridor_score(record: Record) -> Score:
    """Compute AlpaSim's score of today: leaving the recorded line by more than 4 m to the side is a third failure.

    To drive on beyond the end of the recorded line is no departure, and ends no clip: offsets are to the side of the
    line, which goes on straight at both ends.
    """
    return _alpasim_score("alpasim_corridor_score", record, corridor=True)


def _alpasim_score(name: str, record: Record, *, corridor: bool) -> Score:
    motions, episode = record.motions, record.episode
    why = _why_no_recorded_ego(episode)
    if why:
        return _no_score(name, why)
    ego, track = motions.pose[0, :, :2], episode.scenario.scene.ego
    line = track.position[track.valid, :2].astype(np.float64)
    length = float(arc_length(line)[-1])
    if corridor:
        along, offset = project(_extended(line, track.heading[track.valid].astype(np.float64)), ego)
        along = np.clip(along - EXTENSION_M, 0.0, length)
    else:
        along, offset = project(line, ego)
    far, found = np.abs(offset) > CLIP_END_OFFSET_M, motions.cached(contacts)
    last = min([int(np.argmax(far)) if far.any() else len(ego) - 1, *found.t.tolist()])
    end = motions.times[last]
    hit = ~on_rear_bumper(motions, found) & (found.t <= last)
    area = record.results["drivable_area"]
    off = float(area.violated[0] and not area.violation_time[0] > end) if area.valid[0] else np.nan
    parts = {
        "collision_at_fault": float(hit.any()),
        "offroad": off,
        "progress": float(along[last]) / length if length > 0.0 else 1.0,
        "gt_distance": length,
    }
    parts |= {"left_corridor": float(far[last])} if corridor else {}
    value = scores.alpasim_scene_score(**parts | {"offroad": off == 1.0})  # type: ignore[arg-type]
    notes = [
        f"front or side contact with {_agent(motions, a)} at {motions.times[t]:.1f} s" for t, a in _pairs(found, hit)
    ]
    notes += [f"leaves the road at {area.violation_time[0]:.1f} s"] if off == 1.0 else []
    if far[last]:
        what = "leaves the corridor" if corridor else "the clip ends"
        notes.append(f"{what} at {end:.1f} s, over {CLIP_END_OFFSET_M:g} m from the recorded line")
    return _score(name, float(value), parts, notes)


def _extended(line: Float64[Array, "n 2"], heading: Float64[Array, " n"]) -> Float64[Array, "m 2"]:
    """Return a recorded line that goes on straight by ``EXTENSION_M`` at both ends."""
    ahead = EXTENSION_M * np.stack([np.cos(heading[[0, -1]]), np.sin(heading[[0, -1]])], axis=1)
    return np.concatenate([line[:1] - ahead[:1], line, line[-1:] + ahead[1:]])


def bench2drive(record: Record) -> Score:
    """Compute CARLA's driving score: route completion, times a factor for each infraction that the record shows.

    A collision counts regardless of fault, but not for a stopped ego (under 0.1 m/s), as in CARLA. A timeout is the
    limit of a generated scenario; the end of a recording is no limit.
    """
    name, episode, motions = "bench2drive", record.episode, record.motions
    scenario, route = episode.scenario, episode.scenario.scene.route
    if route is None:
        return _no_score(name, "the scene has no route")
    along = motions.cached(route_places).s[0]
    to_goal = scenario.goal.distance - along[0]
    if not to_goal > 0.0:
        return _no_score(name, "the goal is not ahead of the ego's start")
    completion = 100.0 if episode.arrived else 100.0 * float(np.clip((along.max() - along[0]) / to_goal, 0.0, 1.0))
    times = infractions(record)
    counts = {key: len(some) for key, some in times.items()}
    outside, notes = np.nan, []
    if has_lanes(motions):
        off, moved = (float(metres[0]) for metres in outside_lanes(motions))
        outside = off / moved if moved > 0.0 else 0.0
        notes += [f"outside the route's lanes for {off:.1f} of {moved:.1f} m"] if off > 0.0 else []
    value = scores.bench2drive(completion, counts, 0.0 if np.isnan(outside) else outside)
    events = sorted((t, key, what) for key, some in times.items() for t, what in some)
    notes = [f"{key} at {t:.1f} s{what}" for t, key, what in events] + notes
    known = {key: float(counts[key]) if key in counts else np.nan for key in INFRACTIONS}
    return _score(name, value, {"route_completion": completion, "outside_lane": outside, **known}, notes)


def infractions(record: Record) -> dict[str, list[tuple[float, str]]]:
    """Return the times (s) of each infraction, with the agent; infractions that the record cannot show are left out."""
    episode, motions, results = record.episode, record.motions, record.results
    found, category = motions.cached(contacts), motions.traffic.category
    static, moves = is_static(category), motions.moved_speed(found.k, found.t) > MIN_COLLISION_SPEED_MPS
    out: dict[str, list[tuple[float, str]]] = {key: [] for key in INFRACTIONS if key.startswith("collision")}
    for t, a in _pairs(found, moves):
        kind = "static" if static[a] else "pedestrian" if Category(int(category[a])) in PEDESTRIANS else "vehicle"
        out[f"collision_{kind}"].append((float(motions.times[t]), f" with {_agent(motions, a)}"))
    if "red_light" in results and results["red_light"].valid[0]:
        out["red_light"] = _approaches(red_crossings(motions)[0], motions.times)
    stops = results.get("stop_line")
    if stops is not None and stops.valid[0] and stops.margins is not None:
        out["stop_sign"] = _approaches(stops.margins[0] < 0.0, motions.times)
    if episode.scenario.family:
        late = episode.steps >= episode.scenario.steps and not episode.arrived
        out["scenario_timeout"] = [(float(motions.times[-1]), "")] if late else []
    return out


def rater_feedback(record: Record) -> Score:
    """Compute the mean rater feedback of the executed plans at the decisions that people rated."""
    name, episode = "rater_feedback", record.episode
    if not record.rated:
        return _no_score(name, "no trajectories were rated (score_episode takes them as rated=)")
    each = [_feedback(episode, rated) for rated in record.rated]
    notes = [f"{value:.2f} at {rated.step * episode.dt:.1f} s" for value, rated in zip(each, record.rated, strict=True)]
    count = float(sum(len(rated.labels) for rated in record.rated))
    return _score(name, float(np.mean(each)), {"rated_trajectories": count}, notes)


def _feedback(episode: Episode, rated: scores.Rated) -> float:
    plan = np.concatenate([np.zeros((1, 2)), episode.executed[rated.step, :, :2].astype(np.float64)])
    at = np.arange(1, np.shape(rated.trajectories)[1] + 1) / rated.frequency / PLAN_DT
    path = np.column_stack([np.interp(at, np.arange(len(plan)), plan[:, i]) for i in (0, 1)])
    speed = float(episode.ego_speed[rated.step])
    return scores.rater_feedback(path, rated.trajectories, rated.labels, speed, frequency=rated.frequency)


def _why_no_recorded_ego(episode: Episode) -> str:
    """Return why there is no recorded ego to compare with; empty where there is one."""
    states, valid = len(episode.ego_pose), episode.scenario.scene.ego.valid
    if episode.scenario.family:
        return "no ego was recorded: the scenario is generated"
    complete = len(valid) >= states and bool(valid[:states].all())
    return "" if complete else "the recorded ego is not present at all times of the episode"


def _approaches(crosses: Array, times: Float64[Array, " t"]) -> list[tuple[float, str]]:
    """Return the times of crossings; crossings within ``SAME_APPROACH_S`` (lines of neighbouring lanes) are one."""
    out: list[tuple[float, str]] = []
    for t in times[crosses].tolist():
        if not out or t - out[-1][0] > SAME_APPROACH_S:
            out.append((t, ""))
    return out


def _pairs(found: Contacts, chosen: Array) -> Iterable[tuple[int, int]]:
    """Iterate over the step and the agent of chosen contacts, of one motion."""
    return zip(found.t[chosen].tolist(), found.a[chosen].tolist(), strict=True)


def _agent(motions: MotionBatch, a: int) -> str:
    return f"{Category(int(motions.traffic.category[a])).name.lower()} {motions.traffic.ids[a]!r}"


def _score(name: str, value: float, parts: Mapping[str, float], notes: Sequence[str]) -> Score:
    arrays = {key: np.array([part]) for key, part in parts.items()}
    missing = tuple(key for key, part in parts.items() if np.isnan(part))
    return Score(name, np.array([value]), arrays, (missing,), EPISODE_SCORES[name].formula, tuple(notes))


def _no_score(name: str, why: str) -> Score:
    return _score(name, np.nan, dict.fromkeys(EPISODE_SCORES[name].parts, np.nan), (why,))


EPISODE_SCORES: Mapping[str, EpisodeScore] = {
    "epdms_filtered": EpisodeScore(
        f"{scores.EPDMS.text}, 1 where the recorded ego has 0", scores.EPDMS.parts, epdms_filtered
    ),
    "alpasim_scene_score": EpisodeScore(
        "0 if collision_at_fault or offroad; 1 if gt_distance < 5 m; else min(progress / 0.8, 1)",
        ("collision_at_fault", "offroad", "progress", "gt_distance"),
        alpasim_scene_score,
    ),
    "alpasim_corridor_score": EpisodeScore(
        "0 if collision_at_fault, offroad or left_corridor; 1 if gt_distance < 5 m; else min(progress / 0.8, 1)",
        ("collision_at_fault", "offroad", "left_corridor", "progress", "gt_distance"),
        alpasim_corridor_score,
    ),
    "bench2drive": EpisodeScore(
        "route_completion * (1 - outside_lane) * "
        + " * ".join(f"{factor:g}^{name}" for name, factor in scores.BENCH2DRIVE_FACTORS.items() if factor != 1.0),
        ("route_completion", "outside_lane", *INFRACTIONS),
        bench2drive,
    ),
    "rater_feedback": EpisodeScore(
        "mean over 3 s and 5 s of the best label * 0.1^max(q - 1, 0), at least 4 where no q <= 1",
        ("rated_trajectories",),
        rater_feedback,
    ),
}
"""The scores that need an episode's record."""
