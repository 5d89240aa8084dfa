"""Red lights and stop signs: what the front bumper crosses, and when."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo.validator.motions import MotionBatch, blocks
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import SignalState, StopLine

Array = np.ndarray
Line = tuple[Array, Array]  # both ends, and the way across
FURTHEST = 50.0  # m; a line further ahead is not told apart
REACH = 1.0  # m; beside the ends of a line
STANDS = 0.5  # m/s
EXTENT = 0.01  # m; a line or a lane that is shorter is a point, which nobody crosses
BEFORE = 4.0  # m; so near to the line one has to have stood


@dataclass(frozen=True, eq=False)
class Approach:
    """Where the front bumper is to one stop line: metres before it, and at which times it crosses it."""

    before: Float64[Array, "k t"]
    beside: Bool[Array, "k t"]
    crosses: Bool[Array, "k t"]


def red_light(motions: MotionBatch) -> RuleResult:
    """The front does not cross the stop line of a lane whose signal is red: 1, else 0 (NAVSIM's TLC).

    Where a signal's lanes have no stop line, the start of the lane is the line. The margin (m) is the least distance
    before a red line; after crossing it is how far behind it the front is, negative.
    """
    name, count = "red_light", motions.count
    if not motions.scene.signals or motions.signals is None:
        return not_applicable(name, "m", count, "there are no signals")
    lines = motions.cached(_red_lines)
    if not lines:
        return not_applicable(name, "m", count, "no signal has a stop line or a lane on the map")
    margins = np.full(motions.pose.shape[:2], FURTHEST)
    for line, red in lines:
        rows = _near(motions, line, FURTHEST)
        margins[rows] = np.minimum(margins[rows], _red_margins(approach(motions, line, rows), red))
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def say(k: int) -> str:
        if margin[k] < 0.0:
            return f"crosses the line at red at {when[k]:.1f} s"
        near = margin[k] < FURTHEST
        return f"never nearer than {margin[k]:.1f} m to a red line" if near else f"no red line within {FURTHEST:.0f} m"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(name, "m", value, margin, np.ones(count, bool), when, Reasons(count, say), margins)


def stop_line(motions: MotionBatch) -> RuleResult:
    """The ego stands (under 0.5 m/s) within 4 m before a stop line without signals, before it crosses it: 1, else 0.

    The margin (m/s) is 0.5 m/s less the least speed within those 4 m, of the worst line crossed.
    """
    name, count = "stop_line", motions.count
    lines = motions.cached(_stop_lines)
    if not lines:
        return not_applicable(name, "m/s", count, "there are no stop lines without signals")
    margins = np.full(motions.pose.shape[:2], STANDS)
    for line in lines:
        rows = _near(motions, line, BEFORE)
        near = approach(motions, line, rows)
        stops = near.beside & (near.before >= 0.0) & (near.before < BEFORE)
        least = np.minimum.accumulate(np.where(stops, np.abs(motions.speed[rows]), np.inf), axis=1)
        broken = STANDS - np.minimum(least, FURTHEST)
        margins[rows] = np.where(near.crosses, np.minimum(margins[rows], broken), margins[rows])
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def say(k: int) -> str:
        if margin[k] < 0.0:
            return f"crosses a stop line at {when[k]:.1f} s without a stop"
        return "crosses no stop line without a stop"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(name, "m/s", value, margin, np.ones(count, bool), when, Reasons(count, say), margins)


def red_crossings(motions: MotionBatch) -> Bool[Array, "k t"]:
    """Times at which a front bumper crosses a line that is red."""
    out = np.zeros(motions.pose.shape[:2], bool)
    for line, red in motions.cached(_red_lines):
        rows = _near(motions, line, FURTHEST)
        out[rows] |= approach(motions, line, rows).crosses & red
    return out


def _red_lines(motions: MotionBatch) -> list[tuple[Line, Bool[Array, " t"]]]:
    """The lines of all signals, and when each is red."""
    if motions.signals is None:
        return []
    return [
        (line, motions.signals[:, i] == SignalState.RED)
        for i, signal in enumerate(motions.scene.signals)
        for line in _lines(motions, signal.lane_ids)
    ]


def _stop_lines(motions: MotionBatch) -> list[Line]:
    """The stop lines of lanes without signals."""
    signalled = {lane for signal in motions.scene.signals for lane in signal.lane_ids}
    return [
        _oriented(motions, line)
        for line in motions.scene.road_map.stop_lines
        if line.lane_ids and not signalled.intersection(line.lane_ids) and _has_extent(line)
    ]


def approach(motions: MotionBatch, line: Line, rows: Int64[Array, " k"]) -> Approach:
    """The front bumpers of some of the motions and one stop line."""
    (start, end), way = line
    ego = motions.cached(ego_boxes)[rows]
    along = end - start
    length = max(float(np.linalg.norm(along)), 1e-6)
    x, y = _noses(ego, motions.size) - start[:, None, None]
    before = -(x * way[0] + y * way[1])
    place = (x * along[0] + y * along[1]) / length
    aligned = ego[..., 2] * way[0] + ego[..., 3] * way[1] > 0.5
    beside = (place > -REACH) & (place < length + REACH) & aligned
    earlier = np.concatenate([before[:, :1], before[:, :-1]], axis=1)
    return Approach(before, beside, beside & (earlier > 0.0) & (before <= 0.0))


def _noses(ego: Float64[Array, "n t 4"], size: Float64[Array, "2"]) -> Float64[Array, "2 n t"]:
    """Middles of the front bumpers, x and y apart."""
    nose = np.empty((2, *ego.shape[:2]))
    for i in range(2):
        np.multiply(ego[..., 2 + i], 0.5 * size[0], out=nose[i])
        nose[i] += ego[..., i]
    return nose


def _spans(motions: MotionBatch) -> tuple[Float64[Array, "k 2"], Float64[Array, "k 2"]]:
    """Low and high corners of the upright rectangles around each motion's front bumpers."""
    low, high = np.empty((2, motions.count, 2))
    for rows in blocks(motions.count):
        nose = _noses(motions.cached(ego_boxes)[rows], motions.size)
        low[rows], high[rows] = nose.min(axis=2).T, nose.max(axis=2).T
    return low, high


def _near(motions: MotionBatch, line: Line, reach: float) -> Int64[Array, " n"]:
    """Motions whose front may come within ``reach`` (m) of a line at all."""
    low, high = motions.cached(_spans)
    ends = line[0]
    apart = np.maximum(low - ends.max(axis=0), ends.min(axis=0) - high).max(axis=1)
    return np.flatnonzero(apart <= reach + REACH)


def _red_margins(near: Approach, red: Bool[Array, " t"]) -> Float64[Array, "k t"]:
    """Margins to one line: before it while it is red, behind it from a crossing at red on."""
    ahead = np.where(near.beside & red & (near.before > 0.0), near.before, FURTHEST)
    broken = np.logical_or.accumulate(near.crosses & red, axis=1)
    return np.where(broken, np.minimum(near.before, -1e-3), ahead)


def _lines(motions: MotionBatch, lane_ids: tuple[str, ...]) -> list[Line]:
    """Segments and ways across them of the stop lines of lanes, or of the starts of these lanes."""
    road_map, wanted = motions.scene.road_map, set(lane_ids)
    lines = [line for line in road_map.stop_lines if wanted.intersection(line.lane_ids) and _has_extent(line)]
    if lines:
        return [_oriented(motions, line) for line in lines]
    out = []
    for name in lane_ids:
        if name in road_map.lane_by_id:
            lane = road_map.lane_by_id[name]
            start, way = _start(lane.centreline)
            if not way.any():
                continue
            across = 0.5 * float(lane.width[0]) * np.array([-way[1], way[0]])
            out.append((np.stack([start + across, start - across]), way))
    return out


def _oriented(motions: MotionBatch, line: StopLine) -> Line:
    """Ends of a stop line and the way its lanes go across it."""
    by_id = motions.scene.road_map.lane_by_id
    ends = line.line[[0, -1], :2].astype(np.float64)
    along = ends[1] - ends[0]
    way = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    middle = ends.mean(axis=0)
    for name in line.lane_ids:
        if name in by_id:
            points = by_id[name].centreline[:, :2].astype(np.float64)
            near = int(np.clip(np.argmin(np.linalg.norm(points - middle, axis=1)), 0, len(points) - 2))
            return ends, way if (points[near + 1] - points[near]) @ way > 0.0 else -way
    return ends, way


def _start(centreline: Array) -> tuple[Array, Array]:
    """Where a lane begins and which way it goes there; no way where it is a point."""
    points = centreline[:, :2].astype(np.float64)
    away = points - points[0]
    length = np.linalg.norm(away, axis=1)
    first = int(np.argmax(length > EXTENT))
    return points[0], away[first] / max(float(length[first]), EXTENT)


def _has_extent(line: StopLine) -> bool:
    return float(np.linalg.norm(line.line[-1, :2] - line.line[0, :2])) > EXTENT
