"""Progress along the route, as a part of the progress that was possible."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.collision import collision_value
from alpamayo.validator.rules.drivable_area import drivable_area_value
from alpamayo.validator.verdict import Reasons, RuleResult, not_applicable
from alpamayo_sim.map.index import MapIndex, route_index

Array = np.ndarray
MIN_POSSIBLE_PROGRESS_M = 5.0
"""Where no more than this is possible, the value is 1 (NAVSIM)."""
MIN_PROGRESS_PART = 0.2
"""Less than this part of the possible progress is no progress (nuPlan)."""
REFERENCE_ACCELERATION_MPS2 = 2.0
DEFAULT_SPEED_LIMIT_MPS = 13.9
MIN_REFERENCE_SPEED_MPS = 0.1
STANDSTILL_GAP_M = 2.0
"""Distance that the reference keeps to the agent in front."""


def progress(motions: MotionBatch) -> RuleResult:
    """Compute the distance gained along the route over the distance that was possible (NAVSIM's EP).

    Possible is the larger of two distances: ``motions.reference``, or without one ``free_progress``; and the distance
    of the best alternative motion without an at-fault collision that stays on the road. Where it is at most 5 m, the
    value is 1. The margin is the distance gained less a fifth of the possible one (m).
    """
    if motions.scene.route is None:
        return not_applicable(motions.count, "the scene has no route")
    gained = motions.cached(gained_along_route)
    possible = motions.reference if motions.reference is not None else free_progress(motions)
    if motions.compare:
        possible = max(possible, float((gained * _safety_factor(motions)).max()))
    value = np.clip(gained / possible, 0.0, 1.0) if possible > MIN_POSSIBLE_PROGRESS_M else np.ones(motions.count)
    reasons = Reasons(motions.count, lambda k: f"{gained[k]:.1f} m along the route, {possible:.1f} m were possible")
    nan = np.full(motions.count, np.nan)
    return RuleResult(value, gained - MIN_PROGRESS_PART * possible, np.ones(motions.count, bool), nan, reasons)


def gained_along_route(motions: MotionBatch) -> Float64[Array, " k"]:
    """Compute the arc length (m) of the route between the first and last pose of each motion, never negative."""
    first, last = motions.cached(route_ends)
    return np.clip(last - first, 0.0, None)


def route_ends(motions: MotionBatch) -> tuple[Float64[Array, " k"], Float64[Array, " k"]]:
    """Compute the arc lengths (m) of the route at the first and at the last pose of each motion."""
    route = motions.scene.route
    assert route is not None
    s = route_index(route).match_lanes(np.concatenate([motions.pose[:, 0, :2], motions.pose[:, -1, :2]])).s
    return s[: motions.count], s[motions.count :]


def making_progress(motions: MotionBatch) -> RuleResult:
    """Judge whether the ego makes at least a fifth of the possible progress: 1, else 0; margin as for ``progress``."""
    whole = motions.cached(progress)
    if not whole.valid.any():
        return not_applicable(motions.count, whole.reasons[0])
    value = (whole.value >= MIN_PROGRESS_PART).astype(np.float64)
    when = np.where(value < 1.0, motions.times[-1], np.nan)
    return RuleResult(value, whole.margin, whole.valid, when, whole.reasons)


def free_progress(motions: MotionBatch) -> float:
    """Estimate the progress (m) of a good driver: 2 m/s² up to the speed limit, behind the agents on the route.

    Agents count whose box is in the ego's corridor of the route at the last time. Without a known limit, the limit is
    13.9 m/s (50 km/h), or the speed of the ego if that is more.
    """
    route = motions.scene.route
    assert route is not None
    duration = float(motions.times[-1])
    speed = float(motions.speed[:, 0].max())
    target = max(_speed_limit(motions), MIN_REFERENCE_SPEED_MPS)
    ramp = min(abs(target - speed) / REFERENCE_ACCELERATION_MPS2, duration)
    sign = np.sign(target - speed)
    free = speed * duration + sign * REFERENCE_ACCELERATION_MPS2 * ramp * (duration - 0.5 * ramp)
    on_route = route_index(route)
    start = float(motions.cached(route_ends)[0][0])
    remaining = float(on_route.lane_length[0]) - start
    return max(0.0, min(free, remaining, _progress_behind_agents(motions, on_route, start)))


def _speed_limit(motions: MotionBatch) -> float:
    lanes = motions.scene.road_map.lanes
    if lanes:
        match = motions.map_index.match_lanes(motions.pose[:1, 0, :2], motions.pose[:1, 0, 2])
        limit = lanes[int(match.index[0])].speed_limit if match.index[0] >= 0 else None
        if limit is not None:
            return limit
    return max(DEFAULT_SPEED_LIMIT_MPS, float(motions.speed[:, 0].max()))


def _progress_behind_agents(motions: MotionBatch, on_route: MapIndex, start: float) -> float:
    """Compute the progress (m) at which the ego is right behind the nearest agent on its route at the last time."""
    traffic, last, path = motions.traffic, len(motions.times) - 1, on_route.arrays.points[:, :2]
    present, end = traffic.valid[:, last] & traffic.valid[:, 0], traffic.pose[:, last, :2]
    reach = 0.5 * (motions.size[1] + traffic.size[:, 1])
    outside = np.maximum(path.min(axis=0) - end, end - path.max(axis=0)).max(axis=1)
    near = np.flatnonzero(present & (outside <= reach))
    if not len(near):
        return np.inf
    match = on_route.match_lanes(np.concatenate([end[near], traffic.pose[near, 0, :2]]))
    s, now = match.s[: len(near)], match.s[len(near) :]
    in_corridor = (match.distance[: len(near)] < reach[near]) & (now > start)
    gap = s - start - 0.5 * (motions.size[0] + traffic.size[near, 0]) - STANDSTILL_GAP_M
    return float(gap[in_corridor].min(initial=np.inf))


def _safety_factor(motions: MotionBatch) -> Float64[Array, " k"]:
    """Multiply the values of at-fault collision and, where it is known, drivable area."""
    area = motions.cached(drivable_area_value)
    return motions.cached(collision_value) * np.where(np.isnan(area), 1.0, area)


RULES = (
    Rule(
        name="progress",
        unit="m",
        summary="The ego gains as much distance along the route as was possible.",
        source="NAVSIM EP",
        evaluate=progress,
        aliases=("ep", "ego_progress"),
    ),
    Rule(
        name="making_progress",
        unit="m",
        summary="The ego makes at least a fifth of the possible progress.",
        source="nuPlan",
        evaluate=making_progress,
        aliases=("mp", "ego_is_making_progress"),
    ),
)
