"""The reference line of a road, as a Frenet frame: s metres along it, d metres to its left."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.frenet import FrenetFrame

Array = np.ndarray

KNOT_SPACING_M = 0.5  # of an alignment
POINT_SPACING_M = 2.0  # of a polyline that is made from it
TRANSITION_M = 20.0  # over which the curvature of a bend grows and fades
MAX_TURN_RAD = 1.4  # of one bend, so that a road never meets itself


@dataclass(frozen=True, eq=False)
class Alignment(FrenetFrame):
    """A smooth reference line with knots every half metre."""

    def pose(self, s: float, d: float = 0.0, forward: bool = True) -> tuple[float, float, float]:
        """Return x, y (m) and heading (rad) at (s, d); not ``forward`` is against the direction of the line."""
        (x, y), heading = self.position(np.array([s]), d)[0], float(self.heading_at(s))
        return float(x), float(y), float(wrap_angle(np.asarray(heading if forward else heading + np.pi)))

    def line(self, start: float, end: float, d: float) -> Float32[Array, "n 3"]:
        """Return the polyline at offset ``d`` (m) from ``start`` to ``end`` (m); it may run backwards."""
        count = max(2, int(np.ceil(abs(end - start) / POINT_SPACING_M)) + 1)
        return flat(self.position(np.linspace(start, end, count), d))


def straight(length: float, start: tuple[float, float] = (0.0, 0.0), heading: float = 0.0) -> Alignment:
    """Return a straight line of ``length`` (m) from ``start`` (m) in the direction ``heading`` (rad)."""
    return bend(length, 0.0, 0.0, start, heading)


def bend(
    length: float, curvature: float, lead_in: float, start: tuple[float, float] = (0.0, 0.0), heading: float = 0.0
) -> Alignment:
    """Return a straight line with one bend of ``curvature`` (1/m, left positive) after ``lead_in`` (m).

    The curvature grows and fades linearly over 20 m (clothoids, as in road design guides). The bend ends after a turn
    of 1.4 rad.
    """
    s = np.linspace(0.0, length, int(np.ceil(length / KNOT_SPACING_M)) + 1)
    knots = lead_in + np.array([0.0, TRANSITION_M, 0.0, 0.0])
    if curvature:
        arc = max(0.0, MAX_TURN_RAD / abs(curvature) - TRANSITION_M)
        knots[2:] = knots[1] + arc, knots[1] + arc + TRANSITION_M
    else:
        knots[2:] = knots[1] + 1.0, knots[1] + 1.0 + TRANSITION_M
    kappa = np.interp(s, knots, curvature * np.array([0.0, 1.0, 1.0, 0.0]))
    step = np.diff(s)
    angle = heading + np.concatenate([[0.0], np.cumsum(0.5 * (kappa[1:] + kappa[:-1]) * step)])
    middle = 0.5 * (angle[1:] + angle[:-1])
    ahead = np.stack([np.cos(middle), np.sin(middle)], axis=-1) * step[:, None]
    xy = np.concatenate([[np.asarray(start, float)], np.asarray(start, float) + np.cumsum(ahead, axis=0)])
    return Alignment(s, xy, angle)


def flat(xy: Array) -> Float32[Array, "n 3"]:
    """Return points on the plane z = 0, in float32, as a map stores them."""
    return np.concatenate([xy, np.zeros((len(xy), 1))], axis=1).astype(np.float32)
