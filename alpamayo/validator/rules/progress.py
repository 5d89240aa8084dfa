"""Progress along the route, as a part of the progress that was possible."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.along_route import route_frame, route_places
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.collision import collision_value
from alpamayo.validator.rules.drivable_area import drivable_area_value
from alpamayo.validator.rules.signals import (
    STOPPED_AT_LINE_MPS,
    crossings,
    red_light,
    red_lines,
    sign_lines,
    stop_line,
)
from alpamayo.validator.verdict import Reasons, RuleResult, not_applicable
from alpamayo_sim.geometry import project
from alpamayo_sim.map.frenet import FrenetFrame
from alpamayo_sim.map.stop_lines import STOP_ZONE_M

Array = np.ndarray
MIN_POSSIBLE_PROGRESS_M = 5.0
"""Where no more than this is possible, the value is 1 (NAVSIM)."""
MIN_PROGRESS_PART = 0.2
"""Less than this part of the possible progress is no progress (nuPlan)."""
REFERENCE_ACCELERATION_MPS2 = 2.0
DEFAULT_SPEED_LIMIT_MPS = 13.9
MIN_REFERENCE_SPEED_MPS = 0.1
HARDEST_BRAKING_MPS2 = 4.0
"""The reference brakes no harder for a line."""
LINE_TOLERANCE_M = 0.2
STANDSTILL_GAP_M = 2.0
"""Distance that the reference keeps to the agent in front."""


def progress(motions: MotionBatch) -> RuleResult:
    """Compute the distance gained along the route over the distance that was possible (NAVSIM's EP).

    Possible is the larger of two distances: ``motions.reference``, or without one ``free_progress``; and the distance
    of the best alternative motion without an at-fault collision that stays on the road and obeys lights and stop lines.
    Where it is at most 5 m, the
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
    s = motions.cached(route_places).s
    return np.clip(s[:, -1] - s[:, 0], 0.0, None)


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

    The driver stops where the rules ask for it: before lines that are red when it gets there, and at stop lines without
    signals. Agents count whose box is in the ego's corridor of the route at the last time. Without a known limit, the
    limit is 13.9 m/s (50 km/h), or the speed of the ego if that is more.
    """
    route = motions.scene.route
    assert route is not None
    frame, start = route_frame(route), float(motions.cached(route_places).s[0, 0])
    duration, speed = float(motions.times[-1]), float(motions.speed[:, 0].max())
    target = max(_speed_limit(motions), MIN_REFERENCE_SPEED_MPS)
    stops = reference_stops(motions, start)
    if stops:
        free = lawful_progress(speed, target, stops, motions.times)
    else:
        ramp = min(abs(target - speed) / REFERENCE_ACCELERATION_MPS2, duration)
        sign = np.sign(target - speed)
        free = speed * duration + sign * REFERENCE_ACCELERATION_MPS2 * ramp * (duration - 0.5 * ramp)
    free = min(free, frame.length - start)
    return max(0.0, min(free, _progress_behind_agents(motions, frame, start, free)))


@dataclass(frozen=True, eq=False)
class ReferenceStop:
    """A line on the route ahead: the distance (m) that the centre may drive, and when it must not be crossed.

    ``closed`` is None for a stop sign, which is open after a stop.
    """

    distance: float
    closed: Bool[Array, " t"] | None


def reference_stops(motions: MotionBatch, start: float) -> list[ReferenceStop]:
    """Return the lines on the route ahead of the ego's front at which the rules may ask for a stop."""
    front = start + 0.5 * float(motions.size[0])
    lines = [(line, red) for line, red in motions.cached(red_lines) if red.any()]
    stops = [ReferenceStop(s - front, red) for line, red in lines for s in crossings(motions, line) if s > front]
    signs = motions.cached(sign_lines)
    stops += [ReferenceStop(s - front, None) for line in signs for s in crossings(motions, line) if s > front]
    return sorted(stops, key=lambda stop: stop.distance)


def lawful_progress(speed: float, target: float, stops: Sequence[ReferenceStop], times: Float64[Array, " t"]) -> float:
    """Compute the distance (m) of a driver that keeps to a target speed (m/s) and stops at lines.

    A line that even hard braking cannot stop for is crossed.
    """
    distance, left = 0.0, list(stops)
    for t in range(1, len(times)):
        dt = float(times[t] - times[t - 1])
        step = REFERENCE_ACCELERATION_MPS2 * dt
        wanted = min(max(target, speed - step), speed + step)
        for stop in left:
            gap = max(stop.distance - distance, 0.0)
            if stop.closed is None or stop.closed[t]:
                wanted = min(wanted, math.sqrt(2.0 * REFERENCE_ACCELERATION_MPS2 * gap), gap / dt)
        wanted = max(wanted, speed - HARDEST_BRAKING_MPS2 * dt, 0.0)
        distance += 0.5 * (speed + wanted) * dt if wanted > 0.0 else 0.0
        speed = wanted
        has_stopped = speed < STOPPED_AT_LINE_MPS
        left = [
            stop
            for stop in left
            if stop.distance > distance - LINE_TOLERANCE_M
            and not (stop.closed is None and has_stopped and stop.distance - distance < STOP_ZONE_M)
        ]
    return distance


def _speed_limit(motions: MotionBatch) -> float:
    lanes = motions.scene.road_map.lanes
    if lanes:
        ground = None if motions.ground is None else motions.ground[:1, 0]
        match = motions.map_index.match_lanes(motions.pose[:1, 0, :2], motions.pose[:1, 0, 2], ground)
        limit = lanes[int(match.index[0])].speed_limit if match.index[0] >= 0 else None
        if limit is not None:
            return limit
    return max(DEFAULT_SPEED_LIMIT_MPS, float(motions.speed[:, 0].max()))


def _progress_behind_agents(motions: MotionBatch, frame: FrenetFrame, start: float, free: float) -> float:
    """Compute the progress (m) at which the ego is right behind the nearest agent on its route at the last time.

    Only the part of the route counts that the ego can reach.
    """
    traffic, last = motions.traffic, len(motions.times) - 1
    present, end = traffic.valid[:, last] & traffic.valid[:, 0], traffic.pose[:, last, :2]
    reach, half = 0.5 * (motions.size[1] + traffic.size[:, 1]), 0.5 * (motions.size[0] + traffic.size[:, 0])
    furthest = start + free + STANDSTILL_GAP_M + float(half.max(initial=0.0))
    inner = frame.s[(frame.s > start) & (frame.s < furthest)]
    knots = np.concatenate([[start], inner, [min(furthest, frame.length)]])
    path = np.column_stack([np.interp(knots, frame.s, column) for column in frame.xy.T])
    outside = np.maximum(path.min(axis=0) - end, end - path.max(axis=0)).max(axis=1)
    near = np.flatnonzero(present & (outside <= reach))
    if not len(near):
        return np.inf
    s, offset = project(path, end[near])
    now, _ = project(path, traffic.pose[near, 0, :2])
    in_corridor = (np.abs(offset) < reach[near]) & (now > 0.0)
    return float((s - half[near] - STANDSTILL_GAP_M)[in_corridor].min(initial=np.inf))


def _safety_factor(motions: MotionBatch) -> Float64[Array, " k"]:
    """Multiply the values of at-fault collision and, where they are known, drivable area, red light and stop line."""
    others = [motions.cached(drivable_area_value)]
    if motions.scene.signals or motions.scene.road_map.stop_lines:
        others += [motions.cached(rule).value for rule in (red_light, stop_line)]
    factor = motions.cached(collision_value)
    for value in others:
        factor = factor * np.where(np.isnan(value), 1.0, value)
    return factor


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
