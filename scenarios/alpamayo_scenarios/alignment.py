"""The line that a road follows, and places beside it: s metres along, d metres to its left."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_sim.geometry import wrap_angle

Array = np.ndarray

STEP = 0.5  # m between the knots of an alignment
SPACING = 2.0  # m between the points of a polyline that is made from it
TRANSITION = 20.0  # m over which the curvature of a bend grows and fades
MAX_TURN = 1.4  # rad that one bend turns at most, so that a road never meets itself


@dataclass(frozen=True, eq=False)
class Alignment:
    """A smooth reference line as knots every half metre: arc length, x, y (m) and heading (rad)."""

    s: Float64[Array, " n"]
    xy: Float64[Array, "n 2"]
    heading: Float64[Array, " n"]

    @property
    def length(self) -> float:
        """Length (m)."""
        return float(self.s[-1])

    def pose(self, s: float, d: float = 0.0, forward: bool = True) -> tuple[float, float, float]:
        """x, y (m) and heading (rad) of the place ``s`` along and ``d`` left; backward turns the heading."""
        (x, y), heading = self.points(np.array([s]), d)[0], float(np.interp(s, self.s, self.heading))
        return float(x), float(y), float(wrap_angle(np.asarray(heading if forward else heading + np.pi)))

    def points(self, s: Float64[Array, " m"], d: float | Float64[Array, " m"] = 0.0) -> Float64[Array, "m 2"]:
        """Places ``s`` (m) along and ``d`` (m) to the left."""
        x, y = np.interp(s, self.s, self.xy[:, 0]), np.interp(s, self.s, self.xy[:, 1])
        heading = np.interp(s, self.s, self.heading)
        return np.stack([x - d * np.sin(heading), y + d * np.cos(heading)], axis=-1)

    def line(self, start: float, end: float, d: float) -> Float32[Array, "n 3"]:
        """The line at the offset ``d`` from ``start`` to ``end`` (m); runs backward where ``end < start``."""
        count = max(2, int(np.ceil(abs(end - start) / SPACING)) + 1)
        return flat(self.points(np.linspace(start, end, count), d))


def straight(length: float, start: tuple[float, float] = (0.0, 0.0), heading: float = 0.0) -> Alignment:
    """A straight line of ``length`` (m) from ``start`` (m) towards ``heading`` (rad)."""
    return bend(length, 0.0, 0.0, start, heading)


def bend(
    length: float, curvature: float, lead_in: float, start: tuple[float, float] = (0.0, 0.0), heading: float = 0.0
) -> Alignment:
    """Straight for ``lead_in`` m, then a circular arc of ``curvature`` (1/m, left positive), then straight.

    The curvature grows and fades linearly over 20 m (clothoids, as in road design guides), and the bend ends
    where it has turned by 1.4 rad.
    """
    s = np.linspace(0.0, length, int(np.ceil(length / STEP)) + 1)
    knots = lead_in + np.array([0.0, TRANSITION, 0.0, 0.0])
    if curvature:
        arc = max(0.0, MAX_TURN / abs(curvature) - TRANSITION)
        knots[2:] = knots[1] + arc, knots[1] + arc + TRANSITION
    else:
        knots[2:] = knots[1] + 1.0, knots[1] + 1.0 + TRANSITION
    kappa = np.interp(s, knots, curvature * np.array([0.0, 1.0, 1.0, 0.0]))
    step = np.diff(s)
    angle = heading + np.concatenate([[0.0], np.cumsum(0.5 * (kappa[1:] + kappa[:-1]) * step)])
    middle = 0.5 * (angle[1:] + angle[:-1])
    ahead = np.stack([np.cos(middle), np.sin(middle)], axis=-1) * step[:, None]
    xy = np.concatenate([[np.asarray(start, float)], np.asarray(start, float) + np.cumsum(ahead, axis=0)])
    return Alignment(s, xy, angle)


def flat(xy: Array) -> Float32[Array, "n 3"]:
    """Points on the ground plane z = 0, as the map stores them."""
    return np.concatenate([xy, np.zeros((len(xy), 1))], axis=1).astype(np.float32)
