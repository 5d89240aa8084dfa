"""Scores that need more of a record than its rules: the recorded ego, the route's end, each infraction, ratings.

Where a record lacks what a score needs, its value is NaN and its notes say why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from alpamayo.validator import scores
from alpamayo.validator.contacts import Contacts, contacts, on_rear_bumper
from alpamayo.validator.motions import MotionBatch, ResultCache, mirrored_history
from alpamayo.validator.rules.lanes import has_lanes, outside_lanes
from alpamayo.validator.rules.signals import red_crossings
from alpamayo.validator.verdict import RuleResult, Score, Scores, Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.scene import Category, is_static
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, project
from alpamayo_sim.map.index import route_index
from alpamayo_sim.prediction.trajectories import recorded

if TYPE_CHECKING:
    from alpamayo.episode import Episode

Array = np.ndarray
Human = Callable[[MotionBatch, Iterable[str]], Mapping[str, RuleResult]]

FILTERED = (*scores.EPDMS_GATES, "time_to_collision", "lane_keeping")
"""Parts in which the recorded ego may have 0: he is the measure of progress, his comfort NAVSIM takes as 1 (it judges
him without a past), and he made no plans to compare."""
ENDS = 4.0  # m off the recorded line, where a clip of AlpaSim's ends
ROLLS = 0.1  # m/s; CARLA counts no collision of an ego that is slower
SAME_LINE = 2.0  # s; crossings so soon after one another are of one approach
WALKERS = frozenset({Category.PEDESTRIAN, Category.ANIMAL})
INFRACTIONS = tuple(scores.BENCH2DRIVE_FACTORS)
FORMULAS = {
    "epdms_filtered": f"{scores.formula(scores.EPDMS_GATES, scores.EPDMS_WEIGHTS)}, 1 where the recorded ego has 0",
    "alpasim_scene_score": "0 if collision_at_fault or offroad; 1 if dist_to_gt_location < 5 m; "
    "else min(progress / 0.8, 1)",
    "bench2drive": "route_completion * (1 - outside_lane) * "
    + " * ".join(f"{factor:g}^{name}" for name, factor in scores.BENCH2DRIVE_FACTORS.items() if factor != 1.0),
    "rater_feedback": "mean over 3 s and 5 s of the best label * 0.1^max(q - 1, 0), at least 4 where no q <= 1",
}
PARTS = {
    "epdms_filtered": (*scores.EPDMS_GATES, *scores.EPDMS_WEIGHTS),
    "alpasim_scene_score": ("collision_at_fault", "offroad", "progress", "dist_to_gt_location"),
    "bench2drive": ("route_completion", "outside_lane", *INFRACTIONS),
    "rater_feedback": ("rated_trajectories",),
}


@dataclass(frozen=True, eq=False)
class Record:
    """One episode with what has been said of it; ``human`` judges another motion by the same rules."""

    episode: "Episode"
    motions: MotionBatch
    rules: Mapping[str, RuleResult]
    human: Human
    rated: Sequence[scores.Rated]


def with_episode_scores(
    verdict: Verdict, episode: "Episode", motions: MotionBatch, human: Human, rated: Sequence[scores.Rated]
) -> Scores:
    """The scores of a verdict and beside them those ``OF_ONE_RECORD``.

    Raises:
        InputError: something was rated at a step that the episode does not have.
    """
    for some in rated:
        if not 0 <= some.step < episode.steps:
            raise InputError(f"rated: step {some.step}, but the episode has {episode.steps}")
    record = Record(episode, motions, verdict.rules, human, rated)
    names = (*verdict.scores, *scores.OF_ONE_RECORD) if verdict.scores else ()
    return Scores(names, lambda name: _made(record, name) if name in MAKE else verdict.scores[name])


def _made(record: Record, name: str) -> Score:
    """A score; one that raises has no value, and its notes say so."""
    try:
        return MAKE[name](record)
    except Exception as error:
        return _none(name, f"the score itself failed: {type(error).__name__}: {error}")


def epdms_filtered(record: Record) -> Score:
    """EPDMS with NAVSIM's filter: a part counts as 1 where the recorded ego, among the recorded others, has 0."""
    name = "epdms_filtered"
    why = _why_no_human(record.episode)
    if why:
        return _none(name, why)
    raw = scores.score_of(record.rules, name, scores.EPDMS_GATES, scores.EPDMS_WEIGHTS)
    judged = record.human(recorded_motions(record.episode, record.motions), FILTERED)
    person = {key: rule.value for key, rule in judged.items() if rule.valid[0] and not rule.error}
    parts = scores.filtered(raw.parts, person)
    notes = [
        f"{key} counts as 1, not {raw.parts[key][0]:g}: the recorded ego has 0 in it"
        for key in parts
        if parts[key][0] > raw.parts[key][0]
    ]
    notes += [f"the recorded ego is not judged in {key}: {rule.error}" for key, rule in judged.items() if rule.error]
    value = scores.gated_mean(parts, scores.EPDMS_GATES, scores.EPDMS_WEIGHTS)
    return Score(name, np.asarray(value), parts, raw.missing, FORMULAS[name], tuple(notes))


def recorded_motions(episode: "Episode", motions: MotionBatch) -> MotionBatch:
    """The recorded ego at the episode's times, among the others as they were recorded."""
    scene, states = episode.scenario.scene, len(motions.times)
    pose, ego = _human_poses(episode)[None], scene.ego
    speed = np.hypot(*ego.velocity[:states].astype(np.float64).T)[None]
    return replace(
        motions,
        pose=pose,
        speed=speed,
        size=ego.size[:2].astype(np.float64),
        traffic=recorded(scene, 0, states),
        history=mirrored_history(pose, speed[:, 0], motions.dt),
        cache=ResultCache(),
    )


def alpasim_scene_score(record: Record) -> Score:
    """AlpaSim's score: a contact of the front or the side, off the road, else by progress on the recorded way.

    A contact counts whoever is to blame, but for one of the ego's rear bumper. What comes after the ego is more than
    4 m from the recorded line does not count: there AlpaSim's clip ends.
    """
    name, motions = "alpasim_scene_score", record.motions
    why = _why_no_human(record.episode)
    if why:
        return _none(name, why)
    ego, track, human = motions.pose[0, :, :2], record.episode.scenario.scene.ego, _human_poses(record.episode)
    line = track.position[track.valid, :2].astype(np.float64)
    along, away = project(line, ego)
    far = np.abs(away) > ENDS
    last = int(np.argmax(far)) if far.any() else len(ego) - 1
    end = motions.times[last]
    touched = motions.cached(contacts)
    hit = ~on_rear_bumper(motions, touched) & (touched.t <= last)
    area, length = record.rules["drivable_area"], float(arc_length(line)[-1])
    off = float(area.violated[0] and not area.violation_time[0] > end) if area.valid[0] else np.nan
    parts = {
        "collision_at_fault": float(hit.any()),
        "offroad": off,
        "progress": float(along[last]) / length if length > 0.0 else np.nan,
        "dist_to_gt_location": float(np.linalg.norm(ego - human[:, :2], axis=1)[: last + 1].max()),
    }
    value = scores.alpasim_scene_score(**parts | {"offroad": off == 1.0})  # type: ignore[arg-type]
    notes = [f"front or side meets {_who(motions, a)} at {motions.times[t]:.1f} s" for t, a in _pairs(touched, hit)]
    notes += [f"leaves the road at {area.violation_time[0]:.1f} s"] if off == 1.0 else []
    notes += [f"the clip ends at {end:.1f} s, over {ENDS:g} m from the recorded line"] if far.any() else []
    return _score(name, float(value), parts, notes)


def bench2drive(record: Record) -> Score:
    """CARLA's driving score: how much of the route, times a factor for each infraction that the record can show.

    A collision counts whoever is to blame, but not of an ego that stands (under 0.1 m/s), as in CARLA. The time is
    up where a generated scenario's limit passes before the goal; the end of a recording is no limit.
    """
    name, episode, motions = "bench2drive", record.episode, record.motions
    scenario, route = episode.scenario, episode.scenario.scene.route
    if route is None:
        return _none(name, "the scene has no route")
    along = route_index(route).match_lanes(motions.pose[0, :, :2]).s
    to_go = scenario.goal.distance - along[0]
    if not to_go > 0.0:
        return _none(name, "the goal is not ahead of where the ego starts")
    done = 100.0 if episode.arrived else 100.0 * float(np.clip((along.max() - along[0]) / to_go, 0.0, 1.0))
    times = infractions(record)
    counts = {key: len(some) for key, some in times.items()}
    outside, notes = np.nan, []
    if has_lanes(motions):
        off, moved = (float(metres[0]) for metres in outside_lanes(motions))
        outside = off / moved if moved > 0.0 else 0.0
        notes += [f"outside of the route's lanes for {off:.1f} of {moved:.1f} m"] if off > 0.0 else []
    value = scores.bench2drive(done, counts, 0.0 if np.isnan(outside) else outside)
    events = sorted((t, key, what) for key, some in times.items() for t, what in some)
    notes = [f"{key} at {t:.1f} s{what}" for t, key, what in events] + notes
    known = {key: float(counts[key]) if key in counts else np.nan for key in INFRACTIONS}
    return _score(name, value, {"route_completion": done, "outside_lane": outside, **known}, notes)


def infractions(record: Record) -> dict[str, list[tuple[float, str]]]:
    """When (s) each infraction was, and with whom; those that the record cannot show are left out."""
    episode, motions, rules = record.episode, record.motions, record.rules
    touched, category = motions.cached(contacts), motions.traffic.category
    static, rolls = is_static(category), motions.moved_speed(touched.k, touched.t) > ROLLS
    out: dict[str, list[tuple[float, str]]] = {key: [] for key in INFRACTIONS if key.startswith("collision")}
    for t, a in _pairs(touched, rolls):
        kind = "static" if static[a] else "pedestrian" if Category(int(category[a])) in WALKERS else "vehicle"
        out[f"collision_{kind}"].append((float(motions.times[t]), f" with {_who(motions, a)}"))
    if "red_light" in rules and rules["red_light"].valid[0]:
        out["red_light"] = _approaches(red_crossings(motions)[0], motions.times)
    stops = rules.get("stop_line")
    if stops is not None and stops.valid[0] and stops.margins is not None:
        out["stop_sign"] = _approaches(stops.margins[0] < 0.0, motions.times)
    if episode.scenario.family:
        late = episode.steps >= episode.scenario.steps and not episode.arrived
        out["scenario_timeout"] = [(float(motions.times[-1]), "")] if late else []
    return out


def rater_feedback(record: Record) -> Score:
    """Rater feedback of the plans that were driven at the decisions that people have rated, on the average."""
    name, episode = "rater_feedback", record.episode
    if not record.rated:
        return _none(name, "no trajectories were rated (score_episode takes them as rated=)")
    each = [_feedback(episode, rated) for rated in record.rated]
    notes = [f"{value:.2f} at {rated.step * episode.dt:.1f} s" for value, rated in zip(each, record.rated, strict=True)]
    count = float(sum(len(rated.labels) for rated in record.rated))
    return _score(name, float(np.mean(each)), {"rated_trajectories": count}, notes)


def _feedback(episode: "Episode", rated: scores.Rated) -> float:
    plan = np.concatenate([np.zeros((1, 2)), episode.executed[rated.step, :, :2].astype(np.float64)])
    at = np.arange(1, np.shape(rated.trajectories)[1] + 1) / rated.frequency / PLAN_DT
    path = np.column_stack([np.interp(at, np.arange(len(plan)), plan[:, i]) for i in (0, 1)])
    speed = float(episode.ego_speed[rated.step])
    return scores.rater_feedback(path, rated.trajectories, rated.labels, speed, frequency=rated.frequency)


def _why_no_human(episode: "Episode") -> str:
    """Why there is no recorded ego to compare with; empty where there is one."""
    states, valid = len(episode.ego_pose), episode.scenario.scene.ego.valid
    if episode.scenario.family:
        return "no ego was recorded: the scenario is generated"
    there = len(valid) >= states and bool(valid[:states].all())
    return "" if there else "the recorded ego is not there at all times of the episode"


def _human_poses(episode: "Episode") -> Float64[Array, "t 3"]:
    ego, states = episode.scenario.scene.ego, len(episode.ego_pose)
    return np.column_stack([ego.position[:states, :2], ego.heading[:states]]).astype(np.float64)


def _approaches(crosses: Array, times: Float64[Array, " t"]) -> list[tuple[float, str]]:
    """Times of crossings; lines of neighbouring lanes that are crossed within ``SAME_LINE`` are one."""
    out: list[tuple[float, str]] = []
    for t in times[crosses].tolist():
        if not out or t - out[-1][0] > SAME_LINE:
            out.append((t, ""))
    return out


def _pairs(touched: Contacts, chosen: Array) -> Iterable[tuple[int, int]]:
    """Time and other of the chosen contacts, of one motion."""
    return zip(touched.t[chosen].tolist(), touched.a[chosen].tolist(), strict=True)


def _who(motions: MotionBatch, a: int) -> str:
    return f"{Category(int(motions.traffic.category[a])).name.lower()} {motions.traffic.ids[a]!r}"


def _score(name: str, value: float, parts: Mapping[str, float], notes: Sequence[str]) -> Score:
    arrays = {key: np.array([part]) for key, part in parts.items()}
    missing = tuple(key for key, part in parts.items() if np.isnan(part))
    return Score(name, np.array([value]), arrays, (missing,), FORMULAS[name], tuple(notes))


def _none(name: str, why: str) -> Score:
    return _score(name, np.nan, dict.fromkeys(PARTS[name], np.nan), (why,))


MAKE: Mapping[str, Callable[[Record], Score]] = {
    "epdms_filtered": epdms_filtered,
    "alpasim_scene_score": alpasim_scene_score,
    "bench2drive": bench2drive,
    "rater_feedback": rater_feedback,
}
