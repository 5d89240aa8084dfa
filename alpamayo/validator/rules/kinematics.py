"""Kinematic feasibility: friction circle, curvature, no reverse driving, and poses and speeds of one motion."""

import numpy as np
from jaxtyping import Float64

from alpamayo.metrics.friction import friction_limit, windowed_slopes
from alpamayo.metrics.one_motion import MAX_CURVATURE_PER_M, TOLERANCES, Disagreement, boxes_disagreement
from alpamayo.validator.motions import MotionBatch, by_rows, differences
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.recorded_jumps import near_jumps, told
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult, first_time, not_applicable

Array = np.ndarray
WINDOW_STEPS = 3
"""Differences over fewer steps are noise."""
MIN_CURVATURE_SPEED_MPS = 1.0
"""Below this speed the curvature is not judged."""
REVERSE_TOLERANCE_M = 0.05
"""For each step."""
FRICTION_TOLERANCE_MPS2 = 0.5


def kinematics(motions: MotionBatch) -> RuleResult:
    """Judge the friction circle, the curvature, reverse driving, and whether poses and speeds agree: 1 if all hold.

    Longitudinal and lateral acceleration, from positions and headings over 0.3 s, stay within friction times g; the
    curvature stays within 0.25 1/m; no step goes backwards by more than 5 cm. Poses and speeds are one motion within
    ``one_motion.TOLERANCES``: speeds agree with the distance driven, and the car neither slips sideways nor turns on
    the spot. The margin (m/s²) is the unused part of the friction circle. Where the curvature is too large, it is minus
    the excess times the squared speed; where poses and speeds disagree, minus the excess (m/s) over the 0.3 s.
    Where an ego repeats a jump of its recording it is not judged.
    """
    count = motions.count
    if motions.pose.shape[1] <= WINDOW_STEPS + 1:
        return not_applicable(count, "too few poses")
    limit = friction_limit(motions.scene.environment.friction, FRICTION_TOLERANCE_MPS2)

    def part(rows: slice) -> Float64[Array, "n t"]:
        along, across, speed, curvature = (each[rows] for each in motions.cached(motion_quantities))
        circle = limit - np.hypot(along, across)
        bend = (MAX_CURVATURE_PER_M - np.abs(curvature)) * speed**2
        least = np.where((speed > MIN_CURVATURE_SPEED_MPS) & (bend < 0.0), np.minimum(circle, bend), circle)
        least = np.where(_reverse_distance(motions, rows) > REVERSE_TOLERANCE_M, np.minimum(least, -limit), least)
        found = _disagreement(motions, rows)
        turn = np.where(speed > MIN_CURVATURE_SPEED_MPS, -np.inf, _from_windows(found.turn))
        excess = np.maximum(_from_windows(np.maximum(found.speed, found.slip)), turn)
        excess = np.where(excess > 0.0, -np.maximum(excess / (WINDOW_STEPS * motions.dt), VIOLATION_MARGIN), np.inf)
        return np.minimum(least, excess)

    left_out = near_jumps(motions, WINDOW_STEPS)
    if left_out.all():
        return not_applicable(count, told("nothing is judged", left_out))
    margins = by_rows(part, motions.pose.shape[:2])
    margins[:, left_out] = np.nan
    margin = np.nanmin(margins, axis=1)
    when = first_time(margins < 0.0, motions.times)
    reasons = Reasons(count, lambda k: told(_reason(motions, margins, k, limit), left_out))
    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, reasons, margins)


def _reason(motions: MotionBatch, margins: Array, k: int, limit: float) -> str:
    """Describe the worst time, and when a bound was exceeded first."""
    worst = int(np.nanargmin(margins[k]))
    along, across, moved, curvature = (float(each[k, worst]) for each in motions.cached(motion_quantities))
    needed = np.hypot(along, across)
    if not margins[k, worst] < 0.0:
        return f"needs {needed:.1f} m/s² of {limit:.1f} m/s²"
    first = f"first at {motions.times[int(np.argmax(margins[k] < 0.0))]:.1f} s"
    back = float(_reverse_distance(motions, slice(k, k + 1))[0, worst])
    if back > REVERSE_TOLERANCE_M:
        return f"drives backwards at {back / motions.dt:.1f} m/s, {first}"
    found = _disagreement(motions, slice(k, k + 1))
    speed, slip, turn = (float(_from_windows(each)[0, worst]) for each in (found.speed, found.slip, found.turn))
    turn = -np.inf if moved > MIN_CURVATURE_SPEED_MPS else turn
    if max(speed, slip, turn) > 0.0:
        if speed >= max(slip, turn):
            return f"its speeds differ from its positions by {speed + TOLERANCES.speed_mps:.1f} m/s, {first}"
        return f"slips sideways, {first}" if slip >= turn else f"turns on the spot, {first}"
    if margins[k, worst] < limit - needed:
        return f"curvature {abs(curvature):.2f} 1/m, allowed {MAX_CURVATURE_PER_M} 1/m, {first}"
    return f"needs up to {needed:.1f} m/s² of {limit:.1f} m/s², {first}"


def motion_quantities(motions: MotionBatch) -> tuple[Array, Array, Array, Array]:
    """Compute longitudinal and lateral acceleration (m/s²), speed (m/s) and curvature (1/m), all [k, t], over 0.3 s."""
    dt = motions.dt

    def part(rows: slice) -> tuple[Array, Array, Array, Array]:
        step = differences(motions.pose[rows])
        speed = np.hypot(step[..., 0], step[..., 1]) / dt
        speed[:, 0] = np.abs(motions.speed[rows, 0])
        turn = step[..., 2] - 2.0 * np.pi * np.rint(step[..., 2] / (2.0 * np.pi))
        along, rate = _slope(speed, dt), _slope(np.cumsum(turn, axis=1), dt)
        return along, rate * speed, speed, rate / np.maximum(speed, MIN_CURVATURE_SPEED_MPS)

    along, across, speed, curvature = by_rows(part, (4, *motions.pose.shape[:2]))
    return along, across, speed, curvature


def _disagreement(motions: MotionBatch, rows: slice) -> Disagreement:
    x, y, cosine, sine = np.moveaxis(motions.cached(ego_boxes)[rows], -1, 0)
    length = float(motions.size[0])
    return boxes_disagreement(x, y, cosine, sine, motions.speed[rows], length, WINDOW_STEPS, motions.dt)


def _slope(values: Array, dt: float) -> Float64[Array, "k t"]:
    """Compute slopes over the last ``WINDOW_STEPS`` steps."""
    return _from_windows(windowed_slopes(values, WINDOW_STEPS, dt))


def _from_windows(values: Float64[Array, "k windows"]) -> Float64[Array, "k t"]:
    """Give each time the value of the window that ends there; earlier times have that of the first full window."""
    return np.concatenate([np.repeat(values[:, :1], WINDOW_STEPS, axis=1), values], axis=1)


def _reverse_distance(motions: MotionBatch, rows: slice) -> Float64[Array, "n t"]:
    """Compute the distance (m) that each step goes against the heading."""
    ego = motions.cached(ego_boxes)[rows]
    step = differences(ego)
    return np.asarray(-(step[..., 0] * ego[..., 2] + step[..., 1] * ego[..., 3]))


RULES = (
    Rule(
        name="kinematics",
        unit="m/s²",
        summary="One motion of a car: within the friction circle and 0.25 1/m, no reverse, slip or turn on the spot.",
        source="ours",
        evaluate=kinematics,
        hard=True,
    ),
)
