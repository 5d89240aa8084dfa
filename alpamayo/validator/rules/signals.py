"""Red lights and stop signs: which lines the front bumper crosses, and when."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from alpamayo.validator.along_route import route_frame
from alpamayo.validator.motions import MotionBatch, blocks, driven_speed
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Scene, SignalState
from alpamayo_sim.map import stop_lines
from alpamayo_sim.map.stop_lines import (
    LINE_END_TOLERANCE_M,
    MIN_DIRECTION_COSINE,
    MIN_LINE_LENGTH_M,
    STOP_ZONE_M,
    DirectedLine,
)

Array = np.ndarray
Line = tuple[Array, Array]
"""Both ends of a stop line, and the unit direction of travel across it."""
LINE_DISTANCE_LIMIT_M = 50.0
"""Distances to red lines are computed up to this."""
STOPPED_AT_LINE_MPS = 0.5
OUTSIDE_ZONE_SPEED_MPS = 50.0
"""Speed that counts for a motion that crosses a line and was never within the stop zone."""
MAX_SHARED_SCENES = 8


@dataclass(frozen=True, eq=False)
class Approach:
    """The front bumper and one stop line: metres before it, whether it is within its ends, and when it crosses."""

    before: Float64[Array, "k t"]
    within: Bool[Array, "k t"]
    crosses: Bool[Array, "k t"]


def red_light(motions: MotionBatch) -> RuleResult:
    """Judge whether the front crosses the stop line of a lane whose signal is red: 0, else 1.

    Without a stop line, the start of the signal's lane is the line. The margin (m) is the least distance before a red
    line; after the crossing it is the distance of the front behind it, negative. The rule does not apply where no state
    is known, and to a motion that crosses a line while its state is unknown and breaks no other one.
    """
    count = motions.count
    if not motions.scene.signals or motions.signals is None:
        return not_applicable(count, "there are no signals")
    lines = motions.cached(_signal_lines_and_states)
    if not lines:
        return not_applicable(count, "no signal has a stop line or a lane on the map")
    if all((state == SignalState.UNKNOWN).all() for _, state in lines):
        return not_applicable(count, "no signal has a known state")
    margins = np.full(motions.pose.shape[:2], LINE_DISTANCE_LIMIT_M)
    unknown = np.zeros(count, bool)  # crosses a line whose state is unknown
    for line, state in lines:
        rows = _near(motions, line, LINE_DISTANCE_LIMIT_M)
        near = approach(motions, line, rows)
        margins[rows] = np.minimum(margins[rows], _red_margins(near, state == SignalState.RED))
        unknown[rows] |= (near.crosses & (state == SignalState.UNKNOWN)).any(axis=1)
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)
    valid = ~unknown | (margin < 0.0)

    def describe(k: int) -> str:
        if not valid[k]:
            return "crosses a stop line whose signal has an unknown state"
        if margin[k] < 0.0:
            return f"crosses the stop line on red at {when[k]:.1f} s"
        if margin[k] < LINE_DISTANCE_LIMIT_M:
            return f"at least {margin[k]:.1f} m before a red stop line"
        return f"no red stop line within {LINE_DISTANCE_LIMIT_M:.0f} m"

    value = np.where(valid, (margin >= 0.0).astype(np.float64), np.nan)
    margin = np.where(valid, margin, np.nan)
    return RuleResult(value, margin, valid, when, Reasons(count, describe), margins)


def stop_line(motions: MotionBatch) -> RuleResult:
    """Judge whether the ego stops (under 0.5 m/s) within 4 m before each stop line without signals: 1, else 0.

    The margin (m/s) is 0.5 m/s less the least speed within those 4 m, of the worst line that is crossed.
    """
    count = motions.count
    lines = motions.cached(sign_lines)
    if not lines:
        return not_applicable(count, "there are no stop lines without signals")
    speed = np.maximum(np.abs(motions.speed), driven_speed(motions))
    margins = np.full(motions.pose.shape[:2], STOPPED_AT_LINE_MPS)
    for line in lines:
        rows = _near(motions, line, STOP_ZONE_M)
        near = approach(motions, line, rows)
        in_zone = near.within & (near.before >= 0.0) & (near.before < STOP_ZONE_M)
        least = np.minimum.accumulate(np.where(in_zone, speed[rows], np.inf), axis=1)
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
    for line, red in motions.cached(red_lines):
        rows = _near(motions, line, LINE_DISTANCE_LIMIT_M)
        out[rows] |= approach(motions, line, rows).crosses & red
    return out


def red_lines(motions: MotionBatch) -> list[tuple[Line, Bool[Array, " t"]]]:
    """Return the lines of all signals, and when each is red."""
    return [(line, state == SignalState.RED) for line, state in motions.cached(_signal_lines_and_states)]


def crossings(motions: MotionBatch, line: Line) -> list[float]:
    """Return the arc lengths (m) at which the route crosses a line in its direction."""
    assert motions.scene.route is not None
    frame, ((start, end), direction) = route_frame(motions.scene.route), line
    along = end - start
    before = (frame.xy - start) @ direction
    k = np.flatnonzero((before[:-1] < 0.0) & (before[1:] >= 0.0))
    part = before[k] / (before[k] - before[k + 1])
    length = max(float(np.linalg.norm(along)), MIN_LINE_LENGTH_M)
    position = (frame.xy[k] + part[:, None] * (frame.xy[k + 1] - frame.xy[k]) - start) @ along / length
    aligned = np.cos(frame.heading[k] - np.arctan2(direction[1], direction[0])) > MIN_DIRECTION_COSINE
    within = (position > -LINE_END_TOLERANCE_M) & (position < length + LINE_END_TOLERANCE_M) & aligned
    return [float(s) for s in (frame.s[k] + part * (frame.s[k + 1] - frame.s[k]))[within]]


def _signal_lines_and_states(motions: MotionBatch) -> list[tuple[Line, Int8[Array, " t"]]]:
    """Return the lines of all signals on the ego's level, and the state of each over time."""
    if motions.signals is None:
        return []
    lines = _lines_of_signals(motions.scene)
    return [(line, motions.signals[:, i]) for i, found in enumerate(lines) for line in _on_the_level(motions, found)]


def sign_lines(motions: MotionBatch) -> list[Line]:
    """Return the stop lines of lanes without signals on the ego's level."""
    return _on_the_level(motions, _lines_of_signs(motions.scene))


@lru_cache(maxsize=MAX_SHARED_SCENES)
def _lines_of_signals(scene: Scene) -> list[list[DirectedLine]]:
    return stop_lines.signal_lines(scene)


@lru_cache(maxsize=MAX_SHARED_SCENES)
def _lines_of_signs(scene: Scene) -> list[DirectedLine]:
    return stop_lines.sign_lines(scene)


def _on_the_level(motions: MotionBatch, lines: list[DirectedLine]) -> list[Line]:
    ground = motions.elevation
    low, high = (-np.inf, np.inf) if ground is None else (float(ground.min()), float(ground.max()))
    return [(line.ends, line.direction) for line in lines if low - LEVEL_GAP_M < line.elevation < high + LEVEL_GAP_M]


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
