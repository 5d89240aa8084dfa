"""Judge plans or an episode: the input becomes a motion batch, the rules give a verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Float64

from alpamayo.episode import Episode
from alpamayo.validator import scores
from alpamayo.validator.along_route import first_places, places_along, rise_along
from alpamayo.validator.episode_scores import with_episode_scores
from alpamayo.validator.levels import on_the_level
from alpamayo.validator.motions import MotionBatch, checked_plans, mirrored_history, plans_in_world, track_history
from alpamayo.validator.recorded_jumps import repeated_jumps
from alpamayo.validator.recorded_states import (
    between_records,
    check_times,
    is_judged_step,
    resampled,
    resampled_poses,
    resampled_traffic,
)
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules import PLAN_RULES, RULES
from alpamayo.validator.verdict import Verdict
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame
from alpamayo_sim.map.index import MapIndex, index_of
from alpamayo_sim.prediction.trajectories import AgentTrajectories, constant_velocity, recorded, without_jumps
from alpamayo_sim.settings import instance_of

Array = np.ndarray
PLAN_HORIZON_S = 4.0
"""NAVSIM's."""
FURTHEST_FROM_ORIGIN_M = 1e5
"""Positions are float32: 1e5 m from the origin they have steps of 8 mm."""
MIN_PLAN_POSES = 5
"""The shortest horizon, 0.4 s, has this many poses."""

CORE_RULES: Mapping[str, Rule] = MappingProxyType({name: RULES[name] for name in scores.PDMS.parts})
"""The rules of the PDM score."""


def score_plans(
    scene: Scene,
    plans: Float[Array, "k 64 4"],
    t: float,
    *,
    truth: GroundTruth | None = None,
    forecast: AgentTrajectories | None = None,
    history: Float[Array, "h 4"] | None = None,
    horizon: float = PLAN_HORIZON_S,
    reference: float | None = None,
    map_index: MapIndex | None = None,
    rules: Mapping[str, Rule] = PLAN_RULES,
) -> Verdict:
    """Judge K plans before they are driven.

    Args:
        scene: the scene.
        plans: x, y, heading, speed every 0.1 s in the ego frame at ``t``.
        t: time (s) of the scene at which the plans start; ``truth`` has its own time, which is then used.
        truth: the present state. Default: the scene's track of the ego at ``t``.
        forecast: the future of the other agents, 65 poses or more from now on. Default: with ``truth``, constant
            velocity; without it, the scene's recording.
        history: the ego's past in the ego frame, as ``Observation.history``; the last pose is the present. Default:
            without ``truth`` the recorded past; with it, one pose that continues the plan backwards.
        horizon: the judged part of the plans (s); the whole plan is 6.4 s.
        reference: progress (m) of a good driver in that time; see ``rules.progress``.
        map_index: the index of the scene's map. Default: the one that all callers share.
        rules: the rules to apply, by name; rules for episodes only are skipped.

    Raises:
        InputError: plans of another shape, a time outside the scene, a horizon outside [0.4, 6.4], or values that are
            not finite: plans, the truth's ego, the reference.
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
    return judge(motions, {name: rule for name, rule in rules.items() if not rule.episode_only})


def plans_motions(
    scene: Scene,
    plans: Float[Array, "k 64 4"],
    t: float,
    *,
    truth: GroundTruth | None = None,
    forecast: AgentTrajectories | None = None,
    history: Float[Array, "h 4"] | None = None,
    horizon: float = PLAN_HORIZON_S,
    reference: float | None = None,
    map_index: MapIndex | None = None,
) -> MotionBatch:
    """Return plans as the rules take them; arguments and errors are those of ``score_plans``."""
    plans = checked_plans(plans)
    steps = round(horizon / PLAN_DT) + 1 if math.isfinite(horizon) else 0
    if not MIN_PLAN_POSES <= steps <= PLAN_STEPS + 1:
        raise InputError(f"horizon is {horizon} s, must be in [0.4, {PLAN_STEPS * PLAN_DT}]")
    if reference is not None and not math.isfinite(reference):
        raise InputError(f"reference is {reference} m, must be finite")
    step, pose, speed, size, elevation = _ego(scene, t, truth)
    if forecast is None:
        forecast = recorded(scene, step, PLAN_STEPS + 1) if truth is None else constant_velocity(truth)
    if not forecast.pose.shape[1]:
        raise InputError("forecast: has no poses, needs 65 or more, the first of them now")
    world, speeds = plans_in_world(plans, pose, speed)
    traffic = forecast.extended(steps, PLAN_DT)
    ground = None if elevation is None else _elevations(scene, world[:, :steps], elevation)
    if ground is not None:
        traffic = on_the_level(traffic, ground, float(size[2]))
    return MotionBatch(
        scene=scene,
        map_index=map_index or index_of(scene.road_map),
        times=PLAN_DT * np.arange(steps),
        pose=world[:, :steps],
        speed=speeds[:, :steps],
        size=size[:2],
        traffic=traffic,
        history=_history(scene, step, pose, world, speeds, truth, history),
        start_step=step,
        reference=reference,
        signals=_signals(scene, step, steps),
        elevation=ground,
    )


def score_episode(
    episode: Episode,
    *,
    map_index: MapIndex | None = None,
    rules: Mapping[str, Rule] = RULES,
    rated: Sequence[scores.Rated] = (),
) -> Verdict:
    """Judge what the ego did in a closed loop; K is 1.

    Progress is measured against the scenario's certificate where it has one, else against the recorded ego of a
    log, else against the goal.

    Args:
        episode: the record.
        map_index: the index of the scene's map. Default: the one that all callers share.
        rules: the rules to apply, by name.
        rated: trajectories that people rated at decisions of the episode, for ``rater_feedback``.

    Raises:
        InputError: the episode has no steps, or a rated step is not in the episode.
    """
    motions = episode_motions(instance_of(episode, Episode, "the episode"), map_index)
    verdict = judge(motions, rules)
    return replace(verdict, scores=with_episode_scores(verdict, motions, rules, rated))


def judge(motions: MotionBatch, rules: Mapping[str, Rule] = RULES) -> Verdict:
    """Apply rules; a rule that raises is failed in the verdict, with the exception as its reason."""
    results = {name: rule.judge(motions) for name, rule in rules.items()}
    return Verdict(times=motions.times, rules=results, scores=scores.scores_of(results))


def episode_motions(episode: Episode, map_index: MapIndex | None = None) -> MotionBatch:
    """Return an episode as the rules take it: one motion, and the other agents as they moved, every 0.1 s.

    A record with another time step is resampled (``recorded_states``).

    Raises:
        InputError: the episode has no steps, or its time step is more than 0.5 s.
    """
    if len(episode.ego_pose) < 2:
        raise InputError("the episode has no steps, nothing can be judged")
    scene, traffic, signals = episode.scenario.scene, episode_traffic(episode), episode.signals
    pose, speed = episode.ego_pose.astype(np.float64)[None], episode.ego_speed.astype(np.float64)[None]
    elevation = None if episode.ego_elevation is None else episode.ego_elevation.astype(np.float64)[None]
    _check_near_origin(pose[0])
    if not is_judged_step(episode.dt):
        at = between_records(len(episode.ego_pose), episode.dt, "the episode")
        velocity = speed[..., None] * np.stack([np.cos(pose[..., 2]), np.sin(pose[..., 2])], axis=-1)
        pose, speed, traffic = resampled_poses(pose, velocity, at), resampled(speed, at), resampled_traffic(traffic, at)
        signals, elevation = signals[at.before], None if elevation is None else resampled(elevation, at)
    times = PLAN_DT * np.arange(pose.shape[1])
    traffic = replace(traffic, valid=traffic.valid & ~repeated_jumps(episode, times))
    if elevation is not None:
        traffic = on_the_level(traffic, elevation, float(episode.ego_size[2]))
    return MotionBatch(
        scene=scene,
        map_index=map_index or index_of(scene.road_map),
        times=times,
        pose=pose,
        speed=speed,
        size=episode.ego_size[:2].astype(np.float64),
        traffic=traffic,
        history=mirrored_history(pose, speed[:, 0], PLAN_DT),
        reference=episode_reference(episode),
        signals=signals,
        elevation=elevation,
        compare=False,
        episode=episode,
    )


def episode_traffic(episode: Episode) -> AgentTrajectories:
    """Return the trajectories of the other agents of an episode; at a jump of a recording they are absent."""
    agents = AgentTrajectories(
        ids=episode.agent_ids,
        category=episode.agent_category,
        pose=episode.agent_pose.astype(np.float64).transpose(1, 0, 2),
        velocity=episode.agent_velocity.astype(np.float64).transpose(1, 0, 2),
        size=episode.agent_size[:, :2].astype(np.float64),
        valid=episode.agent_valid.T,
        elevation=None if episode.agent_elevation is None else episode.agent_elevation.astype(np.float64).T,
        height=episode.agent_size[:, 2].astype(np.float64),
    )
    return without_jumps(agents)


def episode_reference(episode: Episode) -> float | None:
    """Return the progress (m) of a good driver in a scenario: its certificate, recording, or distance to the goal."""
    scenario = episode.scenario
    scene = scenario.scene
    if scene.route is None:
        return None
    ego = scene.ego
    if scenario.certificate is not None and len(scenario.certificate.trajectory):
        driven = scenario.certificate.trajectory[:, :3].astype(np.float64)
    elif not scenario.family and ego.valid.sum() > 1:
        driven = np.column_stack([ego.position[ego.valid, :2], ego.heading[ego.valid]]).astype(np.float64)
    else:
        start = first_places(scene.route, episode.ego_pose[:1].astype(np.float64))
        return max(0.0, scenario.goal.distance - float(start[0]))
    s = places_along(scene.route, driven[None]).s[0]
    return float(s[-1] - s[0])


def _ego(
    scene: Scene, t: float, truth: GroundTruth | None
) -> tuple[int, Float64[Array, "3"], float, Float64[Array, "3"], float | None]:
    """Return step, pose, speed, size and elevation of the ego at the time of the plans."""
    if truth is not None:
        size, pose = np.asarray(truth.ego_size, np.float64), np.asarray(truth.ego_pose, np.float64)
        if not np.isfinite([*size, *pose, truth.ego_speed]).all():
            raise InputError(f"truth: the ego's pose {pose}, speed {truth.ego_speed} and size {size} must be finite")
        if not (size > 0.0).all() or truth.ego_speed < 0.0:
            raise InputError(f"truth: the ego's size {size} must be positive, its speed {truth.ego_speed} not negative")
        _check_near_origin(pose[None])
        return truth.step, pose, float(truth.ego_speed), size, truth.ego_elevation
    step, ego = check_times(scene, t), scene.ego
    if not 0 <= step < scene.steps or not ego.valid[step]:
        raise InputError(f"scene {scene.id!r} has no ego at {t} s; it has {scene.steps} steps of {scene.dt} s")
    pose = np.array([ego.position[step, 0], ego.position[step, 1], ego.heading[step]], np.float64)
    speed, elevation = float(np.hypot(*ego.velocity[step])), float(ego.position[step, 2])
    return step, pose, speed, ego.size.astype(np.float64), elevation


def _check_near_origin(pose: Float64[Array, "t 3"]) -> None:
    furthest = float(np.abs(pose[:, :2]).max())
    if furthest > FURTHEST_FROM_ORIGIN_M:
        raise InputError(
            f"the ego is {furthest:.0f} m from the scene's origin, where float32 is coarser than 1 cm; "
            f"move Scene.origin to within {FURTHEST_FROM_ORIGIN_M:.0f} m of it"
        )


def _elevations(scene: Scene, world: Float64[Array, "k t 3"], here: float) -> Float64[Array, "m n"]:
    """Return the z (m) of the ground under plans: it rises and falls with the route."""
    route = scene.route
    if route is None or not np.ptp(route.path[:, 2]) > 0.0:
        return np.full((1, 1), here)
    start = first_places(route, world[:1, 0], here)
    return here + rise_along(route, places_along(route, world, np.repeat(start, len(world))).s)


def _signals(scene: Scene, step: int, steps: int) -> Array | None:
    """Return the signals' states at the plans' times from ``step`` on; after the scene's end the last state."""
    if not scene.signals or not all(len(signal.states) for signal in scene.signals):
        return None
    at = step + np.floor(PLAN_DT * np.arange(steps) / scene.dt + 1e-6).astype(int)
    return np.stack([signal.states[np.minimum(at, len(signal.states) - 1)] for signal in scene.signals], axis=1)


def _history(
    scene: Scene, step: int, pose: Array, world: Array, speeds: Array, truth: GroundTruth | None, history: Array | None
) -> Float64[Array, "k h 3"]:
    """Return the poses before the plans: those given, the recorded ones, or one that continues the plan backwards."""
    count = len(world)
    if history is not None:
        past = np.asarray(history, np.float64)
        if past.ndim != 2 or past.shape[1] < 3 or not np.isfinite(past).all():
            raise InputError(f"history has shape {past.shape}, must be finite [h, 4]: x, y, heading, speed")
        past = past[:-1]
        poses = np.column_stack([from_frame(past[:, :2], pose), past[:, 2] + pose[2]])
        return np.broadcast_to(poses, (count, *poses.shape))
    if truth is None and step > 0:
        poses = track_history(scene, step)
        return np.broadcast_to(poses, (count, *poses.shape[1:]))
    return mirrored_history(world, speeds[:, 0], PLAN_DT)
