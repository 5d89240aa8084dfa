"""Lens models: how a camera maps directions to pixels, and pixels to directions.

To add a lens, write a frozen dataclass with the methods of ``LensModel``, and append it to ``LENS_MODELS`` (and, so
that scenes and episodes can store it, to ``Lens``). Rendering then works, because cameras render by the rays of their
pixels. Optical flow on the device also needs the Warp function of the lens in ``sensors.kernels.flow.project``.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.errors import InputError

Array = np.ndarray
MAX_TERMS = 6  # of a lens polynomial
MAX_PARAMETERS = 12  # of a lens on the device
NEWTON_STEPS = 12


@runtime_checkable
class LensModel(Protocol):
    """A lens about the optical axis; camera axes are x right, y down, z forward, pixels count from the centre."""

    name: ClassVar[str]

    @property
    def max_angle(self) -> float:
        """Return the largest angle (rad) from the optical axis that the lens sees."""
        ...

    @property
    def parameters(self) -> tuple[float, ...]:
        """Return at most ``MAX_PARAMETERS`` numbers for the Warp function of the lens."""
        ...

    def directions(
        self, x: Float64[Array, "*n"], y: Float64[Array, "*n"], focal: tuple[float, float]
    ) -> Float64[Array, "*n 3"]:
        """Return the unit directions in camera axes that pixels see."""
        ...

    def pixels(
        self, points: Float64[Array, "n 3"], focal: tuple[float, float]
    ) -> tuple[Float64[Array, " n"], Float64[Array, " n"], Bool[Array, " n"]]:
        """Return the pixels x and y of points in camera axes, and whether the lens sees each point."""
        ...


@dataclass(frozen=True)
class Pinhole:
    """A lens without distortion: pixels are proportional to the tangent of the angle."""

    name: ClassVar[str] = "pinhole"

    @property
    def max_angle(self) -> float:
        """Return a right angle."""
        return 0.5 * np.pi

    @property
    def parameters(self) -> tuple[float, ...]:
        """Return no numbers: focal lengths and centre are those of the camera."""
        return ()

    def directions(
        self, x: Float64[Array, "*n"], y: Float64[Array, "*n"], focal: tuple[float, float]
    ) -> Float64[Array, "*n 3"]:
        """Return the unit directions in camera axes that pixels see."""
        right, down = x / focal[0], y / focal[1]
        directions = np.stack([right, down, np.ones_like(right)], axis=-1)
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return directions

    def pixels(
        self, points: Float64[Array, "n 3"], focal: tuple[float, float]
    ) -> tuple[Float64[Array, " n"], Float64[Array, " n"], Bool[Array, " n"]]:
        """Return the pixels x and y of points in camera axes, and whether each point is in front of the camera."""
        depth = np.maximum(points[:, 2], 1e-9)
        x, y = (points[:, k] / depth * focal[k] for k in (0, 1))
        return x, y, points[:, 2] > 1e-6


@dataclass(frozen=True)
class FTheta:
    """A lens whose pixel distance from the centre is a polynomial of the angle from the optical axis.

    As in NVIDIA's f-theta model: ``forward`` gives the distance (pixels) for an angle (rad), ``backward`` the angle
    for a distance, lowest order first, at most six terms each. Without ``backward`` the forward polynomial is
    inverted by Newton's method. The lens sees nothing beyond ``max_angle`` (rad). ``linear`` is c, d, e of
    u = c x + d y + centre, v = e x + y + centre, for x, y along the image's axes.
    """

    forward: tuple[float, ...]
    max_angle: float
    backward: tuple[float, ...] = ()
    linear: tuple[float, float, float] = (1.0, 0.0, 0.0)

    name: ClassVar[str] = "ftheta"

    def __post_init__(self) -> None:
        if not (2 <= len(self.forward) <= MAX_TERMS and len(self.backward) <= MAX_TERMS):
            raise InputError(f"f-theta lens: polynomials have 2 to {MAX_TERMS} terms (backward may be left out)")
        if not 0.0 < self.max_angle <= np.pi:
            raise InputError(f"f-theta lens: max_angle is {self.max_angle}, must be in (0, pi] rad")
        angles = np.linspace(0.0, self.max_angle, 256)
        if not np.all(np.diff(_polynomial(self.forward, angles)) > 0):
            raise InputError("f-theta lens: forward must grow with the angle up to max_angle")
        if abs(self.linear[0] - self.linear[1] * self.linear[2]) < 1e-6:
            raise InputError(f"f-theta lens: linear part {self.linear} cannot be inverted")

    @property
    def parameters(self) -> tuple[float, ...]:
        """Return the six coefficients of the forward polynomial, the linear part, and the largest angle."""
        padded = (*self.forward, *(0.0,) * (MAX_TERMS - len(self.forward)))
        return (*padded, *self.linear, self.max_angle)

    def directions(
        self, x: Float64[Array, "*n"], y: Float64[Array, "*n"], focal: tuple[float, float]
    ) -> Float64[Array, "*n 3"]:
        """Return the unit directions in camera axes that pixels see; the focal lengths have no effect."""
        c, d, e = self.linear
        right, down = (x - d * y) / (c - d * e), (c * y - e * x) / (c - d * e)
        distance = np.hypot(right, down)
        angle = self.angle(distance)
        share = np.sin(angle) / np.maximum(distance, 1e-12)
        return np.stack([right * share, down * share, np.cos(angle)], axis=-1)

    def pixels(
        self, points: Float64[Array, "n 3"], focal: tuple[float, float]
    ) -> tuple[Float64[Array, " n"], Float64[Array, " n"], Bool[Array, " n"]]:
        """Return the pixels x and y of points in camera axes, and whether each is within the largest angle."""
        off = np.hypot(points[:, 0], points[:, 1])
        angle = np.arctan2(off, points[:, 2])
        right, down = (points[:, k] / np.maximum(off, 1e-12) * self.distance(angle) for k in (0, 1))
        c, d, e = self.linear
        return c * right + d * down, e * right + down, angle <= self.max_angle

    def angle(self, distance: Float64[Array, "*n"]) -> Float64[Array, "*n"]:
        """Return the angle (rad) from the axis at distances (pixels) from the centre."""
        if self.backward:
            return _polynomial(self.backward, distance)
        theta = distance / self.forward[1]
        slope = tuple(k * c for k, c in enumerate(self.forward))[1:]
        for _ in range(NEWTON_STEPS):
            theta = theta - (_polynomial(self.forward, theta) - distance) / np.maximum(_polynomial(slope, theta), 1e-3)
            theta = np.clip(theta, 0.0, np.pi)
        return theta

    def distance(self, angle: Float64[Array, "*n"]) -> Float64[Array, "*n"]:
        """Return the distance (pixels) from the centre at angles (rad) from the axis."""
        return _polynomial(self.forward, angle)


Lens = FTheta  # the lenses that documents store, as a union; a pinhole is stored as None
PINHOLE = Pinhole()
LENS_MODELS: tuple[type[LensModel], ...] = (Pinhole, FTheta)
"""All lens models; the place of a model is its number on the device."""


def _polynomial(coefficients: tuple[float, ...], x: Float64[Array, "*n"]) -> Float64[Array, "*n"]:
    return np.polynomial.polynomial.polyval(x, np.asarray(coefficients, np.float64))
