"""Comfort of a motion: nuPlan's six bounds with NAVSIM's filters."""

from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.signal import savgol_filter

from alpamayo_sim.errors import InputError

Array = np.ndarray
BOUNDS: dict[str, tuple[float, float]] = {
    "longitudinal_acceleration": (-4.05, 2.40),  # m/s²
    "lateral_acceleration": (-4.89, 4.89),  # m/s²
    "jerk": (-8.37, 8.37),  # m/s³, of the magnitude of the acceleration
    "longitudinal_jerk": (-4.13, 4.13),  # m/s³
    "yaw_acceleration": (-1.93, 1.93),  # rad/s²
    "yaw_rate": (-0.95, 0.95),  # rad/s
}
MIN_SAMPLES = 5
"""Shorter motions have no comfort."""
FILTER_REACH_STEPS = 13
"""A position changes the quantities up to this far away: 2 by the differences, 4 and 7 by the filters."""
EDGE_SAMPLES = 5
"""A second difference at an end is made of this many samples."""


@dataclass(frozen=True, eq=False)
class Comfort:
    """The six comfort quantities of motions.

    Attributes:
        series: each quantity at each time.
        margins: distance to the nearer bound divided by that bound: 1 at rest, 0 at the bound.
        comfortable: whether all bounds hold at all times; one truth value for one motion.
    """

    series: dict[str, Float64[Array, "... t"]]
    margins: dict[str, Float64[Array, "... t"]]
    comfortable: Bool[Array, "..."] | np.bool_


def comfort(positions: Float[Array, "... t 2"], headings: Float[Array, "... t"], dt: float) -> Comfort:
    """Compute the six comfort quantities of nuPlan and their bounds, on motions sampled every ``dt`` seconds.

    Velocity and acceleration are central differences of the positions (m), in the frame of the headings (rad).
    NAVSIM's filters (Savitzky and Golay) follow: acceleration window 8, order 2; jerk is its derivative, window 15,
    order 2; yaw rate window 5, order 2; yaw acceleration window 5, order 3. Shorter motions use shorter windows.
    The bounds: longitudinal acceleration in (-4.05, 2.40) m/s², lateral within 4.89 m/s², jerk of the magnitude within
    8.37 m/s³, longitudinal jerk within 4.13 m/s³, yaw acceleration within 1.93 rad/s², yaw rate within 0.95 rad/s.

    Raises:
        InputError: fewer than 5 samples, shapes that do not fit, ``dt`` not positive, values that are not finite.
    """
    xy, heading = np.asarray(positions, np.float64), np.asarray(headings, np.float64)
    _check(xy, heading, dt)
    series = _series(xy, np.cos(heading), np.sin(heading), heading, dt)
    margins = {name: 1.0 - _bound_part(values, *BOUNDS[name]) for name, values in series.items()}
    comfortable = np.all([(margin > 0.0).all(axis=-1) for margin in margins.values()], axis=0)
    return Comfort(series, margins, comfortable)


def least_margins(boxes: Float64[Array, "k t 4"], headings: Float64[Array, "k t"], dt: float) -> Float64[Array, "k t"]:
    """Compute the least of ``comfort``'s margins at each time; boxes are x, y, cosine and sine of the heading."""
    _check(boxes[..., :2], headings, dt)
    series = _series(boxes[..., :2], boxes[..., 2], boxes[..., 3], headings, dt)
    parts = (_bound_part(values, *BOUNDS[name]) for name, values in series.items())
    return np.asarray(1.0 - reduce(np.maximum, parts))


def _series(xy: Array, cosine: Array, sine: Array, heading: Array, dt: float) -> dict[str, Float64[Array, "... t"]]:
    """Compute the six quantities, by the names of ``BOUNDS``."""
    if np.abs(np.diff(heading, axis=-1)).max(initial=0.0) >= np.pi:
        heading = np.unwrap(heading, axis=-1)
    steps = heading.shape[-1]
    x, y = _second_difference(xy[..., 0], dt), _second_difference(xy[..., 1], dt)
    forward, lateral = cosine * x + sine * y, cosine * y - sine * x
    smooth, slope, turns = _filters(steps, dt)
    along, turning = forward @ np.hstack([smooth, slope]), heading @ turns
    return {
        "longitudinal_acceleration": along[..., :steps],
        "lateral_acceleration": lateral @ smooth,
        "jerk": np.hypot(forward, lateral) @ slope,
        "longitudinal_jerk": along[..., steps:],
        "yaw_acceleration": turning[..., :steps],
        "yaw_rate": turning[..., steps:],
    }


def _check(xy: Array, heading: Array, dt: float) -> None:
    if xy.shape != (*heading.shape, 2) or heading.shape[-1] < MIN_SAMPLES:
        raise InputError(
            f"comfort: positions have shape {xy.shape}, headings {heading.shape}; "
            f"must be [..., t, 2] and [..., t] with t >= {MIN_SAMPLES}"
        )
    if not dt > 0.0:
        raise InputError(f"comfort: dt is {dt} s, must be positive")
    if not (np.isfinite(xy).all() and np.isfinite(heading).all()):
        raise InputError("comfort: positions and headings must be finite")


def _second_difference(x: Array, dt: float) -> Float64[Array, "... t"]:
    """Compute central differences of central differences; three points at both ends (``np.gradient`` twice)."""
    steps = x.shape[-1]
    twice = _gradient(steps, dt) @ _gradient(steps, dt)
    if steps < 2 * EDGE_SAMPLES:
        return x @ twice
    out = np.empty(x.shape)
    out[..., 2:-2] = (x[..., 4:] - 2.0 * x[..., 2:-2] + x[..., :-4]) * (0.25 / dt**2)
    out[..., :2] = x[..., :EDGE_SAMPLES] @ twice[:EDGE_SAMPLES, :2]
    out[..., -2:] = x[..., -EDGE_SAMPLES:] @ twice[-EDGE_SAMPLES:, -2:]
    return out


def _bound_part(values: Array, low: float, high: float) -> Float64[Array, "... t"]:
    """Compute the used part of the nearer bound."""
    return np.maximum(values / high, values / low)


@lru_cache(maxsize=16)
def _gradient(steps: int, dt: float) -> Float64[Array, "t t"]:
    """Return central differences as a matrix that rows of ``steps`` samples are multiplied with."""
    return np.ascontiguousarray(np.gradient(np.eye(steps), dt, axis=0, edge_order=2).T)


@lru_cache(maxsize=16)
def _filters(steps: int, dt: float) -> tuple[Float64[Array, "t t"], Float64[Array, "t t"], Float64[Array, "t 2*t"]]:
    """Return the filters of the acceleration; of the jerk; and of yaw acceleration and yaw rate in one matrix."""
    smooth = _filter(steps, 8, 2, 0, dt)
    turns = np.hstack([_filter(steps, 5, 3, 2, dt), _filter(steps, 5, 2, 1, dt)])
    return smooth, smooth @ _filter(steps, 15, 2, 1, dt), turns


def _filter(steps: int, window: int, order: int, derivative: int, dt: float) -> Float64[Array, "t t"]:
    """Return the linear filter as a matrix that rows of ``steps`` samples are multiplied with: that is fast."""
    eye = np.eye(steps)
    matrix = savgol_filter(eye, min(window, steps), order, deriv=derivative, delta=dt, axis=0)
    return np.ascontiguousarray(matrix.T)
