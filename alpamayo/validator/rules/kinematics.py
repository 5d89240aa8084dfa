"""Kinematic feasibility: what a car with these tyres can do."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch, by_rows, differences
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable

Array = np.ndarray
GRAVITY = 9.81
WINDOW = 3  # steps; differences over less are noise
CURVATURE = 0.25  # 1/m; a turning circle of 8 m
SLOW = 1.0  # m/s; curvature means nothing slower than this
REVERSE = 0.05  # m a step
SLACK = 0.5  # m/s²


def kinematics(motions: MotionBatch) -> RuleResult:
    """The friction circle, the curvature and no reverse: 1, else 0.

    Accelerations along and across, from positions and headings over 0.3 s, stay within friction * g; the curvature
    within 0.25 1/m; no step goes backwards by more than 5 cm. The margin (m/s²) is what is left of the circle, or
    minus how much more the curvature would ask for at that speed.
    """
    name, count = "kinematics", motions.count
    if motions.pose.shape[1] <= WINDOW + 1:
        return not_applicable(name, "m/s²", count, "too few poses")
    limit = motions.scene.environment.friction * GRAVITY + SLACK

    def part(rows: slice) -> Float64[Array, "n t"]:
        along, across, speed, curvature = (each[rows] for each in motions.cached(motion))
        circle = limit - np.hypot(along, across)
        bend = (CURVATURE - np.abs(curvature)) * speed**2
        least = np.where((speed > SLOW) & (bend < 0.0), np.minimum(circle, bend), circle)
        return np.where(_backwards(motions, rows) > REVERSE, np.minimum(least, -limit), least)

    margins = by_rows(part, motions.pose.shape[:2])
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)
    reasons = Reasons(count, lambda k: _reason(motions, margins, k, limit))
    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(name, "m/s²", value, margin, np.ones(count, bool), when, reasons, margins)


def _reason(motions: MotionBatch, margins: Array, k: int, limit: float) -> str:
    """What is worst, and when the first bound was broken, whichever that was."""
    worst = int(np.argmin(margins[k]))
    along, across, _, curvature = (float(each[k, worst]) for each in motions.cached(motion))
    asked = np.hypot(along, across)
    if not margins[k, worst] < 0.0:
        return f"needs {asked:.1f} m/s² of {limit:.1f} m/s²"
    first = f"first at {motions.times[int(np.argmax(margins[k] < 0.0))]:.1f} s"
    back = float(_backwards(motions, slice(k, k + 1))[0, worst])
    if back > REVERSE:
        return f"goes backwards at {back / motions.dt:.1f} m/s, {first}"
    if margins[k, worst] < limit - asked:
        return f"turns at {abs(curvature):.2f} 1/m of {CURVATURE} 1/m, {first}"
    return f"asks for up to {asked:.1f} m/s² of {limit:.1f} m/s², {first}"


def motion(motions: MotionBatch) -> tuple[Array, Array, Array, Array]:
    """Acceleration along and across (m/s²), speed (m/s) and curvature (1/m) [k, t] over windows of 0.3 s."""
    dt = motions.dt

    def part(rows: slice) -> tuple[Array, Array, Array, Array]:
        step = differences(motions.pose[rows])
        speed = np.hypot(step[..., 0], step[..., 1]) / dt
        speed[:, 0] = np.abs(motions.speed[rows, 0])
        turn = step[..., 2] - 2.0 * np.pi * np.rint(step[..., 2] / (2.0 * np.pi))
        along, rate = _slope(speed, dt), _slope(np.cumsum(turn, axis=1), dt)
        return along, rate * speed, speed, rate / np.maximum(speed, SLOW)

    along, across, speed, curvature = by_rows(part, (4, *motions.pose.shape[:2]))
    return along, across, speed, curvature


def _slope(values: Array, dt: float) -> Float64[Array, "k t"]:
    """Differences over ``WINDOW`` steps up to each time; those of the first full window before that."""
    slope = (values[:, WINDOW:] - values[:, :-WINDOW]) / (WINDOW * dt)
    return np.concatenate([np.repeat(slope[:, :1], WINDOW, axis=1), slope], axis=1)


def _backwards(motions: MotionBatch, rows: slice) -> Float64[Array, "n t"]:
    """Metres that each step of some motions goes against the heading."""
    ego = motions.cached(ego_boxes)[rows]
    step = differences(ego)
    return np.asarray(-(step[..., 0] * ego[..., 2] + step[..., 1] * ego[..., 3]))
