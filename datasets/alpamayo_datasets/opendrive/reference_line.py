"""Reference lines of roads: lines, arcs, clothoids and cubic polynomials, as functions of the arc length.

Formulas: ASAM OpenDRIVE 1.7, chapter 7 (geometry).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import fresnel

Array = np.ndarray
Local = Callable[[Float64[Array, " n"]], Float64[Array, "n 3"]]
"""x, y (m) and heading (rad) in the frame of a geometry's start, at distances (m) from it."""

LEAST_TURN_RATE = 1e-9  # of a clothoid over its length (rad); below it is an arc
TABLE_SPACING_M = 0.1  # of the parameter of a polynomial, for its arc length
TABLE_POINTS = (512, 20_000)  # the least and the greatest number


@dataclass(frozen=True, eq=False)
class Geometry:
    """A part of a reference line that begins at the arc length ``s`` (m), with a pose in the world (m, rad)."""

    s: float
    x: float
    y: float
    heading: float
    local: Local

    def pose(self, s: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        """Return x, y (m) and heading (rad) at arc lengths (m) of the road."""
        x, y, turned = self.local(s - self.s).T
        c, sn = np.cos(self.heading), np.sin(self.heading)
        return np.stack([self.x + c * x - sn * y, self.y + sn * x + c * y, self.heading + turned], axis=-1)


@dataclass(frozen=True, eq=False)
class ReferenceLine:
    """The reference line of a road, whose geometries follow each other by ``s``."""

    geometries: tuple[Geometry, ...]

    def pose(self, s: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        """Return x, y (m) and heading (rad) at arc lengths (m)."""
        starts = np.array([geometry.s for geometry in self.geometries])
        which = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, len(starts) - 1)
        out = np.empty((len(s), 3))
        for k in np.unique(which).tolist():
            rows = which == k
            out[rows] = self.geometries[k].pose(s[rows])
        return out


def arc(curvature: float) -> Local:
    """Return an arc; a curvature (1/m) of 0 is a straight line."""

    def local(u: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        half = 0.5 * curvature * u
        chord = u * np.sinc(half / np.pi)
        return np.stack([chord * np.cos(half), chord * np.sin(half), curvature * u], axis=-1)

    return local


def clothoid(start: float, end: float, length: float) -> Local:
    """Return a clothoid of a length (m) whose curvature (1/m) goes from ``start`` to ``end``, by Fresnel integrals."""
    rate = (end - start) / length
    if abs(rate) * length**2 < LEAST_TURN_RATE:
        return arc(0.5 * (start + end))
    scale, shift = np.sqrt(np.pi / abs(rate)), start / rate
    first_sine, first_cosine = fresnel(shift / scale)
    c, sn = np.cos(0.5 * rate * shift**2), -np.sin(0.5 * rate * shift**2)

    def local(u: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        sine, cosine = fresnel((u + shift) / scale)
        x, y = scale * (cosine - first_cosine), np.sign(rate) * scale * (sine - first_sine)
        return np.stack([c * x - sn * y, sn * x + c * y, start * u + 0.5 * rate * u**2], axis=-1)

    return local


def polynomial(u: Sequence[float], v: Sequence[float], greatest: float, length: float | None) -> Local:
    """Return the curve of two cubic polynomials, given by coefficients of rising powers of one parameter.

    Args:
        u: the coefficients of x.
        v: the coefficients of y.
        greatest: the parameter at the end.
        length: the arc length (m) that the curve is taken to have, or None for its own.
    """
    count = int(np.clip(np.ceil(greatest / TABLE_SPACING_M), *TABLE_POINTS)) + 1
    parameter = np.linspace(0.0, greatest, count)
    points = np.stack([_cubic(u, parameter), _cubic(v, parameter)], axis=-1)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    if length is not None and along[-1] > 0.0:
        along *= length / along[-1]

    def local(distance: Float64[Array, " n"]) -> Float64[Array, "n 3"]:
        p = np.interp(distance, along, parameter)
        heading = np.arctan2(_slope(v, p), _slope(u, p))
        return np.stack([_cubic(u, p), _cubic(v, p), heading], axis=-1)

    return local


def _cubic(coefficients: Sequence[float], p: Array) -> Array:
    a, b, c, d = coefficients
    return a + p * (b + p * (c + p * d))


def _slope(coefficients: Sequence[float], p: Array) -> Array:
    _, b, c, d = coefficients
    return b + p * (2.0 * c + 3.0 * p * d)
