"""Plans or an episode in, verdict out."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float64

from alpamayo.validator import scores
from alpamayo.validator.episode_scores import with_episode_scores
from alpamayo.validator.motions import MotionBatch, checked_plans, mirrored_history, plans_in_world, track_history
from alpamayo.validator.reasoning import UNIT, reasoning_rule
from alpamayo.validator.rules.collision import at_fault_collision
from alpamayo.validator.rules.comfort import comfort_rule
from alpamayo.validator.rules.drivable_area import drivable_area, drivable_area_tolerant
from alpamayo.validator.rules.extended_comfort import extended_comfort_rule
from alpamayo.validator.rules.kinematics import kinematics
from alpamayo.validator.rules.lanes import driving_direction, lane_keeping, speed_limit
from alpamayo.validator.rules.progress import making_progress, progress, route_position
from alpamayo.validator.rules.rss import responsibility
from alpamayo.validator.rules.rss_intersection import rss_intersection
from alpamayo.validator.rules.sensor_staleness import sensor_staleness
from alpamayo.validator.rules.signals import red_light, stop_line
from alpamayo.validator.rules.time_to_collision import time_to_collision, time_to_collision_accelerated
from alpamayo.validator.verdict import RuleResult, Verdict, failed
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame
from alpamayo_sim.map.index import MapIndex, index_of
from alpamayo_sim.prediction.trajectories import AgentTrajectories, constant_velocity, recorded

if TYPE_CHECKING:
    from alpamayo.episode import Episode

Array = np.ndarray
Rule = Callable[[MotionBatch], RuleResult]
HORIZON = 4.0  # s; NAVSIM's

RULES: Mapping[str, tuple[Rule, str]] = MappingProxyType(
    {
        "at_fault_collision": (at_fault_collision, "m"),
        "drivable_area": (drivable_area, "m"),
        "time_to_collision": (time_to_collision, "s"),
        "progress": (progress, "m"),
        "comfort": (comfort_rule, "of the bound"),
        "driving_direction": (driving_direction, "m"),
        "red_light": (red_light, "m"),
        "stop_line": (stop_line, "m/s"),
        "speed_limit": (speed_limit, "m/s"),
        "lane_keeping": (lane_keeping, "m"),
        "making_progress": (making_progress, "m"),
        "kinematics": (kinematics, "m/s²"),
        "rss": (responsibility, "m"),
        "drivable_area_nuplan": (drivable_area_tolerant, "m"),
        "time_to_collision_accelerated": (time_to_collision_accelerated, "s"),
    }
)
EPISODE_RULES: Mapping[str, tuple[Callable[["Episode", MotionBatch], RuleResult], str]] = MappingProxyType(
    {
        "reasoning": (reasoning_rule, UNIT),
        "extended_comfort": (extended_comfort_rule, "of the bound"),
        "rss_intersection": (lambda episode, motions: rss_intersection(motions), "m"),
        "sensor_staleness": (sensor_staleness, "s"),
    }
)
"""Rules of an episode alone: what the driver said and saw, and what costs too much for thousands of plans."""
CORE_RULES: Mapping[str, tuple[Rule, str]] = MappingProxyType(
    {name: RULES[name] for name in (*scores.PDMS_GATES, *scores.PDMS_WEIGHTS)}
)


def score_plans(
    scene: Scene,
    plans: Float[Array, "k 64 4"],
    t: float,
    *,
    truth: GroundTruth | None = None,
    forecast: AgentTrajectories | None = None,
    history: Float[Array, "h 4"] | None = None,
    horizon: float = HORIZON,
    reference: float | None = None,
    map_index: MapIndex | None = None,
    rules: Mapping[str, tuple[Rule, str]] = RULES,
) -> Verdict:
    """Judge K plans before they are driven.

    Args:
        scene: the world.
        plans: x, y, heading, speed every 0.1 s in the ego frame at ``t``.
        t: time (s) of the scene that the plans start at; with ``truth`` it is the truth's own that counts.
        truth: the present state. Without it the ego is where the scene's track has it at ``t``.
        forecast: what the others will do, 65 poses or more from now on. Default: with ``truth``, that everybody
            goes on at the present velocity; without, the scene's own recording.
        history: the ego's past in the ego frame, the last being now, as ``Observation.history`` has it. Default:
            without ``truth`` the recorded one; with it, a past as steady as can be.
        horizon: how much of the plans is judged (s); NAVSIM's 4 s unless told, 6.4 s is all.
        reference: progress (m) that a good driver would make in that time; see ``rules.progress``.
        map_index: the index of the scene's map. Default: the one that all callers share.
        rules: which rules to apply, by name, with their units.

    Raises:
        InputError: plans of another shape, a time outside of the scene, a horizon not in [0.4, 6.4], and whatever
            is not finite: plans, the truth's ego, the reference.
    """
    motions = plans_motions(
        scene,
        plans,
        t,
        truth=truth,
        forecast=forecast,
        history=history,
        horizon=horizon,
        reference=reference,
        map_index=map_index,
    )
    return judge(motions, rules)


def plans_motions(
    scene: Scene,
    plans: Float[Array, "k 64 4"],
    t: float,
    *,
    truth: GroundTruth | None = None,
    forecast: AgentTrajectories | None = None,
    history: Float[Array, "h 4"] | None = None,
    horizon: float = HORIZON,
    reference: float | None = None,
    map_index: MapIndex | None = None,
) -> MotionBatch:
    """Plans as the rules see them; the arguments and what they raise are those of ``score_plans``."""
    plans = checked_plans(plans)
    steps = round(horizon / PLAN_DT) + 1 if math.isfinite(horizon) else 0
    if not 5 <= steps <= PLAN_STEPS + 1:
        raise InputError(f"horizon is {horizon} s, must be in [0.4, {PLAN_STEPS * PLAN_DT}]")
    if reference is not None and not math.isfinite(reference):
        raise InputError(f"reference is {reference} m, must be finite")
    step, pose, speed, size = _ego(scene, t, truth)
    if forecast is None:
        forecast = recorded(scene, step, PLAN_STEPS + 1) if truth is None else constant_velocity(truth)
    world, speeds = plans_in_world(plans, pose, speed)
    return MotionBatch(
        scene=scene,
        map_index=map_index or index_of(scene.road_map),
        times=PLAN_DT * np.arange(steps),
        pose=world[:, :steps],
        speed=speeds[:, :steps],
        size=size,
        traffic=forecast.extended(steps, PLAN_DT),
        history=_history(scene, step, pose, world, speeds, truth, history),
        start_step=step,
        reference=reference,
        signals=_signals(scene, step, steps),
    )


def score_episode(
    episode: "Episode",
    *,
    map_index: MapIndex | None = None,
    rules: Mapping[str, tuple[Rule, str]] = RULES,
    rated: Sequence[scores.Rated] = (),
) -> Verdict:
    """Judge what the ego really did in a closed loop; K is 1.

    Progress is measured against the scenario's certificate where it has one, else against the recorded ego of a
    log, else against the goal. ``rated`` are trajectories that people rated at some of its decisions, for
    ``rater_feedback``.

    Raises:
        InputError: the episode has no steps, or none of that number was rated.
    """
    motions = episode_motions(episode, map_index)
    of_episode = {name: (partial(rule, episode), unit) for name, (rule, unit) in EPISODE_RULES.items()}
    verdict = judge(motions, {**rules, **of_episode})

    def of_human(human: MotionBatch, names: Iterable[str]) -> Mapping[str, RuleResult]:
        return judge(human, {name: rules[name] for name in names if name in rules}).rules

    return replace(verdict, scores=with_episode_scores(verdict, episode, motions, of_human, rated))


def judge(motions: MotionBatch, rules: Mapping[str, tuple[Rule, str]] = RULES) -> Verdict:
    """Apply rules; one that raises is failed in the verdict, with the exception as its reason."""
    results = {}
    for name, (rule, unit) in rules.items():
        try:
            results[name] = motions.cached(rule)
        except Exception as error:
            results[name] = failed(name, unit, motions.count, error)
    return Verdict(times=motions.times, rules=results, scores=scores.scores_of(results))


def episode_motions(episode: "Episode", map_index: MapIndex | None = None) -> MotionBatch:
    """An episode as the rules see it: one motion, with what the others really did."""
    if len(episode.ego_pose) < 2:
        raise InputError("the episode has no steps, so there is nothing to judge")
    scene = episode.scenario.scene
    pose, speed = episode.ego_pose.astype(np.float64)[None], episode.ego_speed.astype(np.float64)[None]
    return MotionBatch(
        scene=scene,
        map_index=map_index or index_of(scene.road_map),
        times=episode.dt * np.arange(len(episode.ego_pose)),
        pose=pose,
        speed=speed,
        size=episode.ego_size[:2].astype(np.float64),
        traffic=episode_traffic(episode),
        history=mirrored_history(pose, speed[:, 0], episode.dt),
        reference=episode_reference(episode),
        signals=episode.signals,
        compare=False,
    )


def episode_traffic(episode: "Episode") -> AgentTrajectories:
    """Everybody else of an episode."""
    return AgentTrajectories(
        ids=episode.agent_ids,
        category=episode.agent_category,
        pose=episode.agent_pose.astype(np.float64).transpose(1, 0, 2),
        velocity=episode.agent_velocity.astype(np.float64).transpose(1, 0, 2),
        size=episode.agent_size[:, :2].astype(np.float64),
        valid=episode.agent_valid.T,
    )


def episode_reference(episode: "Episode") -> float | None:
    """Progress (m) that a good driver makes in this scenario: certificate, recording, or all the way to the goal."""
    scenario = episode.scenario
    scene = scenario.scene
    if scene.route is None:
        return None
    path = scene.route.path
    if scenario.certificate is not None:
        driven = scenario.certificate.trajectory[:, :2].astype(np.float64)
    elif not scenario.family and scene.ego.valid.sum() > 1:
        driven = scene.ego.position[scene.ego.valid, :2].astype(np.float64)
    else:
        start = route_position(path, episode.ego_pose[:1, :2].astype(np.float64))
        return max(0.0, scenario.goal.distance - float(start[0]))
    first, last = route_position(path, driven[[0, -1]])
    return float(last - first)


def _ego(
    scene: Scene, t: float, truth: GroundTruth | None
) -> tuple[int, Float64[Array, "3"], float, Float64[Array, "2"]]:
    """Step, pose, speed and size of the ego at the time of the plans."""
    if truth is not None:
        size, pose = np.asarray(truth.ego_size, np.float64)[:2], np.asarray(truth.ego_pose, np.float64)
        if not np.isfinite([*size, *pose, truth.ego_speed]).all():
            raise InputError(f"truth: the ego's pose {pose}, speed {truth.ego_speed} and size {size} must be finite")
        return truth.step, pose, float(truth.ego_speed), size
    if abs(scene.dt - PLAN_DT) > 1e-6:
        raise InputError(
            f"scene {scene.id!r} has steps of {scene.dt} s; plans have {PLAN_DT} s: give the truth and a forecast"
        )
    step, ego = round(t / scene.dt) if math.isfinite(t) else -1, scene.ego
    if not 0 <= step < scene.steps or not ego.valid[step]:
        raise InputError(f"scene {scene.id!r} has no ego at {t} s; it has {scene.steps} steps of {scene.dt} s")
    pose = np.array([ego.position[step, 0], ego.position[step, 1], ego.heading[step]], np.float64)
    return step, pose, float(np.hypot(*ego.velocity[step])), ego.size[:2].astype(np.float64)


def _signals(scene: Scene, step: int, steps: int) -> Array | None:
    """What the signals show at the plans' times from ``step`` on, as the scene has it; its last state after its end."""
    if not scene.signals or not all(len(signal.states) for signal in scene.signals):
        return None
    at = step + np.floor(PLAN_DT * np.arange(steps) / scene.dt + 1e-6).astype(int)
    return np.stack([signal.states[np.minimum(at, len(signal.states) - 1)] for signal in scene.signals], axis=1)


def _history(
    scene: Scene, step: int, pose: Array, world: Array, speeds: Array, truth: GroundTruth | None, history: Array | None
) -> Float64[Array, "k h 3"]:
    count = len(world)
    if history is not None:
        past = np.asarray(history, np.float64)[:-1]
        poses = np.column_stack([from_frame(past[:, :2], pose), past[:, 2] + pose[2]])
        return np.broadcast_to(poses, (count, *poses.shape))
    if truth is None and step > 0:
        poses = track_history(scene, step)
        return np.broadcast_to(poses, (count, *poses.shape[1:]))
    return mirrored_history(world, speeds[:, 0], PLAN_DT)
