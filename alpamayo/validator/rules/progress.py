"""Progress along the route, as a part of what could have been driven."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rules.collision import collision_value
from alpamayo.validator.rules.drivable_area import drivable_area_value
from alpamayo.validator.verdict import Reasons, RuleResult, not_applicable
from alpamayo_sim.geometry import arc_length, project
from alpamayo_sim.map.index import MapIndex, route_index

Array = np.ndarray
SHORT = 5.0  # m; NAVSIM: where nobody gets further, everybody gets full marks
MAKING = 0.2  # nuPlan: less than a fifth is no progress
ACCELERATION = 2.0  # m/s², of the reference
UNKNOWN_LIMIT = 13.9  # m/s
STANDSTILL_GAP = 2.0  # m


def progress(motions: MotionBatch) -> RuleResult:
    """Metres gained along the route, as a part of what was possible (NAVSIM's EP).

    Possible is the most of: ``motions.reference`` or else ``free_progress``, and the best of the alternatives
    that neither collides nor leaves the road. Where that is not more than 5 m the value is 1. The margin (m) is
    what was gained beyond a fifth of it.
    """
    if motions.scene.route is None:
        return not_applicable("progress", "m", motions.count, "the scene has no route")
    gained = motions.cached(gained_along_route)
    possible = motions.reference if motions.reference is not None else free_progress(motions)
    if motions.compare:
        possible = max(possible, float((gained * _multiplier(motions)).max()))
    value = np.clip(gained / possible, 0.0, 1.0) if possible > SHORT else np.ones(motions.count)
    reasons = Reasons(motions.count, lambda k: f"{gained[k]:.1f} m along the route of {possible:.1f} m possible")
    nan = np.full(motions.count, np.nan)
    valid = np.ones(motions.count, bool)
    return RuleResult("progress", "m", value, gained - MAKING * possible, valid, nan, reasons)


def gained_along_route(motions: MotionBatch) -> Float64[Array, " k"]:
    """Arc length (m) of the route between the first and last pose of each motion, never negative."""
    first, last = motions.cached(route_ends)
    return np.clip(last - first, 0.0, None)


def route_ends(motions: MotionBatch) -> tuple[Float64[Array, " k"], Float64[Array, " k"]]:
    """Arc lengths (m) of the route at the first and at the last pose of each motion."""
    route = motions.scene.route
    assert route is not None
    s = route_index(route).match_lanes(np.concatenate([motions.pose[:, 0, :2], motions.pose[:, -1, :2]])).s
    return s[: motions.count], s[motions.count :]


def making_progress(motions: MotionBatch) -> RuleResult:
    """At least a fifth of the possible progress: 1, else 0 (nuPlan's). The margin is what was gained beyond it (m)."""
    whole = motions.cached(progress)
    if not whole.valid.any():
        return not_applicable("making_progress", "m", motions.count, whole.reasons[0])
    value = (whole.value >= MAKING).astype(np.float64)
    when = np.where(value < 1.0, motions.times[-1], np.nan)
    return RuleResult("making_progress", "m", value, whole.margin, whole.valid, when, whole.reasons)


def route_position(path: Array, xy: Float64[Array, "n 2"]) -> Float64[Array, " n"]:
    """Arc length (m) of the foot of each point on a path, worked out near the points only."""
    first, part = near_path(path, xy)
    return float(arc_length(path)[first]) + project(part, xy)[0]


def near_path(path: Array, xy: Float64[Array, "n 2"]) -> tuple[int, Float64[Array, "m d"]]:
    """The part of a path that can be nearest to any of the points, and the index that it begins at."""
    near = np.linalg.norm(path[:, :2] - xy.mean(axis=0), axis=1)
    spread = np.linalg.norm(xy - xy.mean(axis=0), axis=1).max()
    kept = np.flatnonzero(near <= near.min() + 2.0 * spread + 50.0)
    first, last = max(int(kept[0]) - 1, 0), min(int(kept[-1]) + 2, len(path))
    return first, path[first:last].astype(np.float64)


def free_progress(motions: MotionBatch) -> float:
    """How far (m) a good driver would get: at 2 m/s² to the speed limit, no further than behind who is in the way.

    In the way are those whose box is on the ego's corridor of the route at the last time. Where no limit is known
    it is 13.9 m/s (50 km/h), or the speed that the ego has if that is more.
    """
    route = motions.scene.route
    assert route is not None
    duration = float(motions.times[-1])
    speed = float(motions.speed[:, 0].max())
    target = max(_limit(motions), 0.1)
    ramp = min(abs(target - speed) / ACCELERATION, duration)
    sign = np.sign(target - speed)
    free = speed * duration + sign * ACCELERATION * ramp * (duration - 0.5 * ramp)
    on_route = route_index(route)
    start = float(motions.cached(route_ends)[0][0])
    remaining = float(on_route.lane_length[0]) - start
    return max(0.0, min(free, remaining, _behind_others(motions, on_route, start)))


def _limit(motions: MotionBatch) -> float:
    lanes = motions.scene.road_map.lanes
    if lanes:
        match = motions.map_index.match_lanes(motions.pose[:1, 0, :2], motions.pose[:1, 0, 2])
        limit = lanes[int(match.index[0])].speed_limit if match.index[0] >= 0 else None
        if limit is not None:
            return limit
    return max(UNKNOWN_LIMIT, float(motions.speed[:, 0].max()))


def _behind_others(motions: MotionBatch, on_route: MapIndex, start: float) -> float:
    """Progress (m) at which the ego is right behind the nearest other who is on its route at the end."""
    traffic, last, path = motions.traffic, len(motions.times) - 1, on_route.arrays.points[:, :2]
    there, end = traffic.valid[:, last] & traffic.valid[:, 0], traffic.pose[:, last, :2]
    reach = 0.5 * (motions.size[1] + traffic.size[:, 1])
    beside = np.maximum(path.min(axis=0) - end, end - path.max(axis=0)).max(axis=1)
    near = np.flatnonzero(there & (beside <= reach))
    if not len(near):
        return np.inf
    match = on_route.match_lanes(np.concatenate([end[near], traffic.pose[near, 0, :2]]))
    s, now = match.s[: len(near)], match.s[len(near) :]
    in_way = (match.distance[: len(near)] < reach[near]) & (now > start)
    gap = s - start - 0.5 * (motions.size[0] + traffic.size[near, 0]) - STANDSTILL_GAP
    return float(gap[in_way].min(initial=np.inf))


def _multiplier(motions: MotionBatch) -> Float64[Array, " k"]:
    """No at-fault collision times drivable area, where that is known."""
    area = motions.cached(drivable_area_value)
    return motions.cached(collision_value) * np.where(np.isnan(area), 1.0, area)
