"""Kinematic feasibility: friction circle, curvature, no reverse driving."""

import numpy as np
from jaxtyping import Float64

from alpamayo.metrics.friction import friction_limit, windowed_slopes
from alpamayo.validator.motions import MotionBatch, by_rows, differences
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable

Array = np.ndarray
WINDOW_STEPS = 3
"""Differences over fewer steps are noise."""
MAX_CURVATURE_PER_M = 0.25
"""A turning circle of 8 m."""
MIN_CURVATURE_SPEED_MPS = 1.0
"""Below this speed the curvature is not judged."""
REVERSE_TOLERANCE_M = 0.05
"""For each step."""
FRICTION_TOLERANCE_MPS2 = 0.5


def kinematics(motions: MotionBatch) -> RuleResult:
    """Judge the friction circle, the curvature and reverse driving: 1 if all hold, else 0.

    Longitudinal and lateral acceleration, from positions and headings over 0.3 s, stay within friction times g; the
    curvature stays within 0.25 1/m; no step goes backwards by more than 5 cm. The margin (m/s²) is the unused part of
    the friction circle. Where the curvature is too large, it is minus the excess times the squared speed.
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
        return np.where(_reverse_distance(motions, rows) > REVERSE_TOLERANCE_M, np.minimum(least, -limit), least)

    margins = by_rows(part, motions.pose.shape[:2])
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)
    reasons = Reasons(count, lambda k: _reason(motions, margins, k, limit))
    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, reasons, margins)


def _reason(motions: MotionBatch, margins: Array, k: int, limit: float) -> str:
    """Describe the worst time, and when a bound was exceeded first."""
    worst = int(np.argmin(margins[k]))
    along, across, _, curvature = (float(each[k, worst]) for each in motions.cached(motion_quantities))
    needed = np.hypot(along, across)
    if not margins[k, worst] < 0.0:
        return f"needs {needed:.1f} m/s² of {limit:.1f} m/s²"
    first = f"first at {motions.times[int(np.argmax(margins[k] < 0.0))]:.1f} s"
    back = float(_reverse_distance(motions, slice(k, k + 1))[0, worst])
    if back > REVERSE_TOLERANCE_M:
        return f"drives backwards at {back / motions.dt:.1f} m/s, {first}"
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


def _slope(values: Array, dt: float) -> Float64[Array, "k t"]:
    """Compute slopes over the last ``WINDOW_STEPS`` steps; earlier times have that of the first full window."""
    slope = windowed_slopes(values, WINDOW_STEPS, dt)
    return np.concatenate([np.repeat(slope[:, :1], WINDOW_STEPS, axis=1), slope], axis=1)


def _reverse_distance(motions: MotionBatch, rows: slice) -> Float64[Array, "n t"]:
    """Compute the distance (m) that each step goes against the heading."""
    ego = motions.cached(ego_boxes)[rows]
    step = differences(ego)
    return np.asarray(-(step[..., 0] * ego[..., 2] + step[..., 1] * ego[..., 3]))


RULES = (
    Rule(
        name="kinematics",
        unit="m/s²",
        summary="Accelerations stay in the friction circle, the curvature within 0.25 1/m, and the ego never reverses.",
        source="ours",
        evaluate=kinematics,
        hard=True,
    ),
)
