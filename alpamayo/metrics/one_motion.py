"""Whether poses and speeds belong to one motion of a car: speeds, side slip and turning on the spot.

A car moves along its heading at its speed, and turns only while it moves. All sums are over windows of a few steps, so
that rounding and the noise of a single pose do not count.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

Array = np.ndarray
MAX_CURVATURE_PER_M = 0.25
"""A turning circle of 8 m."""


@dataclass(frozen=True)
class MotionTolerances:
    """How far poses and speeds of one motion may disagree.

    Attributes:
        speed_mps: the difference of the speeds to the distance driven per time.
        slip_m: the sideways motion in a window.
        slip_per_m: the sideways motion for each metre of the window: 0.15 is a slip of 8.5 degrees.
        turn_rad: the turn in a window beyond the one of the greatest curvature.
    """

    speed_mps: float = 1.0
    slip_m: float = 0.05
    slip_per_m: float = 0.15
    turn_rad: float = 0.03


TOLERANCES = MotionTolerances()


@dataclass(frozen=True, eq=False)
class Disagreement:
    """By how much motions exceed their tolerances in each window; not positive where they keep them.

    Attributes:
        speed: m/s, of the speeds and the distance driven.
        slip: m/s, sideways.
        turn: rad/s, without a motion that could turn the car.
    """

    speed: Float64[Array, "k windows"]
    slip: Float64[Array, "k windows"]
    turn: Float64[Array, "k windows"]

    @property
    def is_one_motion(self) -> Bool[Array, " k"]:
        """Whether all windows keep all tolerances."""
        return np.asarray(np.maximum(self.speed, np.maximum(self.slip, self.turn)).max(axis=1, initial=-np.inf) <= 0.0)


def disagreement(
    pose: Float64[Array, "k t 3"],
    speed: Float64[Array, "k t"],
    length: float,
    window: int,
    dt: float,
    tolerances: MotionTolerances = TOLERANCES,
) -> Disagreement:
    """Compute by how much poses and speeds disagree in each window.

    The centre of a box that turns moves sideways by up to half its ``length`` times the turn, since the axle that does
    not slip may be at either end.

    Args:
        pose: x, y (m) and heading (rad) of the box centre.
        speed: speeds (m/s) at the same times.
        length: of the box (m).
        window: the number of steps of a window.
        dt: the time step (s).
        tolerances: what is allowed.
    """
    c, s = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    return boxes_disagreement(pose[..., 0], pose[..., 1], c, s, speed, length, window, dt, tolerances)


def boxes_disagreement(
    x: Float64[Array, "k t"],
    y: Float64[Array, "k t"],
    cosine: Float64[Array, "k t"],
    sine: Float64[Array, "k t"],
    speed: Float64[Array, "k t"],
    length: float,
    window: int,
    dt: float,
    tolerances: MotionTolerances = TOLERANCES,
) -> Disagreement:
    """Compute ``disagreement`` of boxes whose headings are given by their cosine and sine.

    The heading of a step is the mean direction of both of its ends, and its turn the sine of their angle, 1 from a
    right angle on; both are exact enough for the turns of a car within a step.
    """
    dx, dy = x[:, 1:] - x[:, :-1], y[:, 1:] - y[:, :-1]
    c, s = 0.5 * (cosine[:, 1:] + cosine[:, :-1]), 0.5 * (sine[:, 1:] + sine[:, :-1])
    turn = cosine[:, :-1] * sine[:, 1:] - sine[:, :-1] * cosine[:, 1:]
    turn = np.where(cosine[:, :-1] * cosine[:, 1:] + sine[:, :-1] * sine[:, 1:] < 0.0, 1.0, turn)
    driven = np.sqrt(dx * dx + dy * dy)
    reported = np.abs(speed)
    missing = driven - 0.5 * dt * (reported[:, 1:] + reported[:, :-1])
    distance = _sums(driven, window)
    missing, sideways, turned = (np.abs(_sums(part, window)) for part in (missing, c * dy - s * dx, turn))
    duration = window * dt
    return Disagreement(
        speed=missing / duration - tolerances.speed_mps,
        slip=(sideways - tolerances.slip_m - tolerances.slip_per_m * distance - 0.5 * length * turned) / duration,
        turn=(turned - tolerances.turn_rad - MAX_CURVATURE_PER_M * distance) / duration,
    )


def _sums(values: Float64[Array, "k t"], window: int) -> Float64[Array, "k windows"]:
    """Compute the sums of each window of values."""
    count = values.shape[1] - window + 1
    total = values[:, :count].copy()
    for first in range(1, window):
        total += values[:, first : first + count]
    return total
