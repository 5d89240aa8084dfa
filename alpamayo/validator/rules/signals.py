"""Red lights and stop signs: which lines the front bumper crosses, and when."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo.validator.motions import MotionBatch, blocks
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import SignalState, StopLine

Array = np.ndarray
Line = tuple[Array, Array]
"""Both ends of a stop line, and the unit direction of travel across it."""
LINE_DISTANCE_LIMIT_M = 50.0
"""Distances to red lines are computed up to this."""
LINE_END_TOLERANCE_M = 1.0
"""The front may pass this far outside the ends of a line and still cross it."""
STOPPED_AT_LINE_MPS = 0.5
OUTSIDE_ZONE_SPEED_MPS = 50.0
"""Speed that counts for a motion that crosses a line and was never within the stop zone."""
STOP_ZONE_M = 4.0
"""The ego has to stop within this distance before the line."""
MIN_LINE_LENGTH_M = 0.01
"""A shorter line or lane is a point, which cannot be crossed."""
MIN_DIRECTION_COSINE = 0.5
"""Only an ego within 60 degrees of the direction of travel crosses a line."""


@dataclass(frozen=True, eq=False)
class Approach:
    """The front bumper and one stop line: metres before it, whether it is within its ends, and when it crosses."""

    before: Float64[Array, "k t"]
    within: Bool[Array, "k t"]
    crosses: Bool[Array, "k t"]


def red_light(motions: MotionBatch) -> RuleResult:
    """Judge whether the front crosses the stop line of a lane whose signal is red: 0, else 1.

    Without a stop line, the start of the signal's lane is the line. The margin (m) is the least distance before a red
    line; after the crossing it is the distance of the front behind it, negative.
    """
    count = motions.count
    if not motions.scene.signals or motions.signals is None:
        return not_applicable(count, "there are no signals")
    lines = motions.cached(_red_lines)
    if not lines:
        return not_applicable(count, "no signal has a stop line or a lane on the map")
    margins = np.full(motions.pose.shape[:2], LINE_DISTANCE_LIMIT_M)
    for line, red in lines:
        rows = _near(motions, line, LINE_DISTANCE_LIMIT_M)
        margins[rows] = np.minimum(margins[rows], _red_margins(approach(motions, line, rows), red))
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def describe(k: int) -> str:
        if margin[k] < 0.0:
            return f"crosses the stop line on red at {when[k]:.1f} s"
        if margin[k] < LINE_DISTANCE_LIMIT_M:
            return f"at least {margin[k]:.1f} m before a red stop line"
        return f"no red stop line within {LINE_DISTANCE_LIMIT_M:.0f} m"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, Reasons(count, describe), margins)


def stop_line(motions: MotionBatch) -> RuleResult:
    """Judge whether the ego stops (under 0.5 m/s) within 4 m before each stop line without signals: 1, else 0.

    The margin (m/s) is 0.5 m/s less the least speed within those 4 m, of the worst line that is crossed.
    """
    count = motions.count
    lines = motions.cached(_stop_lines)
    if not lines:
        return not_applicable(count, "there are no stop lines without signals")
    margins = np.full(motions.pose.shape[:2], STOPPED_AT_LINE_MPS)
    for line in lines:
        rows = _near(motions, line, STOP_ZONE_M)
        near = approach(motions, line, rows)
        in_zone = near.within & (near.before >= 0.0) & (near.before < STOP_ZONE_M)
        least = np.minimum.accumulate(np.where(in_zone, np.abs(motions.speed[rows]), np.inf), axis=1)
        broken = STOPPED_AT_LINE_MPS - np.minimum(least, OUTSIDE_ZONE_SPEED_MPS)
        margins[rows] = np.where(near.crosses, np.minimum(margins[rows], broken), margins[rows])
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def describe(k: int) -> str:
        if margin[k] < 0.0:
            return f"crosses a stop line at {when[k]:.1f} s without a stop"
        return "crosses no stop line without a stop"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, Reasons(count, describe), margins)


def red_crossings(motions: MotionBatch) -> Bool[Array, "k t"]:
    """Return whether the front bumper crosses a red line, at each time."""
    out = np.zeros(motions.pose.shape[:2], bool)
    for line, red in motions.cached(_red_lines):
        rows = _near(motions, line, LINE_DISTANCE_LIMIT_M)
        out[rows] |= approach(motions, line, rows).crosses & red
    return out


def _red_lines(motions: MotionBatch) -> list[tuple[Line, Bool[Array, " t"]]]:
    """Return the lines of all signals, and when each is red."""
    if motions.signals is None:
        return []
    return [
        (line, motions.signals[:, i] == SignalState.RED)
        for i, signal in enumerate(motions.scene.signals)
        for line in _signal_lines(motions, signal.lane_ids)
    ]


def _stop_lines(motions: MotionBatch) -> list[Line]:
    """Return the stop lines of lanes without signals."""
    signalled = {lane for signal in motions.scene.signals for lane in signal.lane_ids}
    return [
        _directed(motions, line)
        for line in motions.scene.road_map.stop_lines
        if line.lane_ids and not signalled.intersection(line.lane_ids) and _has_extent(line)
    ]


def approach(motions: MotionBatch, line: Line, rows: Int64[Array, " k"]) -> Approach:
    """Compute where the front bumpers of some motions are relative to one stop line."""
    (start, end), direction = line
    ego = motions.cached(ego_boxes)[rows]
    along = end - start
    length = max(float(np.linalg.norm(along)), 1e-6)
    x, y = _fronts(ego, motions.size) - start[:, None, None]
    before = -(x * direction[0] + y * direction[1])
    position = (x * along[0] + y * along[1]) / length
    aligned = ego[..., 2] * direction[0] + ego[..., 3] * direction[1] > MIN_DIRECTION_COSINE
    within = (position > -LINE_END_TOLERANCE_M) & (position < length + LINE_END_TOLERANCE_M) & aligned
    earlier = np.concatenate([before[:, :1], before[:, :-1]], axis=1)
    return Approach(before, within, within & (earlier > 0.0) & (before <= 0.0))


def _fronts(ego: Float64[Array, "n t 4"], size: Float64[Array, "2"]) -> Float64[Array, "2 n t"]:
    """Compute the centres of the front bumpers, x and y apart."""
    front = np.empty((2, *ego.shape[:2]))
    for i in range(2):
        np.multiply(ego[..., 2 + i], 0.5 * size[0], out=front[i])
        front[i] += ego[..., i]
    return front


def _front_bounds(motions: MotionBatch) -> tuple[Float64[Array, "k 2"], Float64[Array, "k 2"]]:
    """Compute the axis-aligned bounds of each motion's front bumpers: low and high corners."""
    low, high = np.empty((2, motions.count, 2))
    for rows in blocks(motions.count):
        front = _fronts(motions.cached(ego_boxes)[rows], motions.size)
        low[rows], high[rows] = front.min(axis=2).T, front.max(axis=2).T
    return low, high


def _near(motions: MotionBatch, line: Line, reach: float) -> Int64[Array, " n"]:
    """Return the motions whose front may come within ``reach`` (m) of a line."""
    low, high = motions.cached(_front_bounds)
    ends = line[0]
    apart = np.maximum(low - ends.max(axis=0), ends.min(axis=0) - high).max(axis=1)
    return np.flatnonzero(apart <= reach + LINE_END_TOLERANCE_M)


def _red_margins(near: Approach, red: Bool[Array, " t"]) -> Float64[Array, "k t"]:
    """Compute the margins to one line: before it while it is red, behind it after a crossing on red."""
    ahead = np.where(near.within & red & (near.before > 0.0), near.before, LINE_DISTANCE_LIMIT_M)
    broken = np.logical_or.accumulate(near.crosses & red, axis=1)
    return np.where(broken, np.minimum(near.before, -VIOLATION_MARGIN), ahead)


def _signal_lines(motions: MotionBatch, lane_ids: tuple[str, ...]) -> list[Line]:
    """Return the stop lines of lanes, or without any the starts of these lanes."""
    road_map, wanted = motions.scene.road_map, set(lane_ids)
    lines = [line for line in road_map.stop_lines if wanted.intersection(line.lane_ids) and _has_extent(line)]
    if lines:
        return [_directed(motions, line) for line in lines]
    out = []
    for name in lane_ids:
        if name in road_map.lane_by_id:
            lane = road_map.lane_by_id[name]
            start, direction = _lane_start(lane.centreline)
            if not direction.any():
                continue
            across = 0.5 * float(lane.width[0]) * np.array([-direction[1], direction[0]])
            out.append((np.stack([start + across, start - across]), direction))
    return out


def _directed(motions: MotionBatch, line: StopLine) -> Line:
    """Return the ends of a stop line and the direction of its lanes across it."""
    by_id = motions.scene.road_map.lane_by_id
    ends = line.line[[0, -1], :2].astype(np.float64)
    along = ends[1] - ends[0]
    direction = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    middle = ends.mean(axis=0)
    for name in line.lane_ids:
        if name in by_id:
            points = by_id[name].centreline[:, :2].astype(np.float64)
            near = int(np.clip(np.argmin(np.linalg.norm(points - middle, axis=1)), 0, len(points) - 2))
            return ends, direction if (points[near + 1] - points[near]) @ direction > 0.0 else -direction
    return ends, direction


def _lane_start(centreline: Array) -> tuple[Array, Array]:
    """Return the first point of a lane and its direction there; the direction is zero where the lane is a point."""
    points = centreline[:, :2].astype(np.float64)
    away = points - points[0]
    length = np.linalg.norm(away, axis=1)
    first = int(np.argmax(length > MIN_LINE_LENGTH_M))
    return points[0], away[first] / max(float(length[first]), MIN_LINE_LENGTH_M)


def _has_extent(line: StopLine) -> bool:
    return float(np.linalg.norm(line.line[-1, :2] - line.line[0, :2])) > MIN_LINE_LENGTH_M


RULES = (
    Rule(
        name="red_light",
        unit="m",
        summary="The front does not cross a stop line on red.",
        source="NAVSIM TLC, see docs/validator/differences.md",
        evaluate=red_light,
        hard=True,
        aliases=("tlc", "traffic_light_compliance"),
    ),
    Rule(
        name="stop_line",
        unit="m/s",
        summary="The ego stops within 4 m before every stop line without signals that it crosses.",
        source="ours",
        evaluate=stop_line,
        hard=True,
    ),
)
