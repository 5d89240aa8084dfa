"""Cameras and their positions: plain data, the viewing ray of each pixel and the pixel of each point."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from alpamayo_sim.datatypes.lenses import PINHOLE, FTheta, Lens, LensModel
from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.settings import Bounds, check_fields

Array = np.ndarray
SIDE_PIXELS: Bounds = (1, 8192)  # of an image


@described
@dataclass(frozen=True, eq=False)
class Camera:
    """A camera fixed to the ego, with a lens model; without ``lens`` it is a pinhole.

    ``position`` (m) is in the ego frame (box centre on the ground, x forward, y left, z up). ``rotation`` takes
    camera axes (x right, y down, z forward) to ego axes. Focal lengths (f-theta: pixels per radian at the centre)
    and principal point are in pixels; the centre of the top left pixel is (0.5, 0.5).
    """

    name: str
    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    position: Float32[Array, "3"]
    rotation: Float32[Array, "3 3"]
    lens: Lens | None = None

    def __post_init__(self) -> None:
        check_fields(self, f"camera {shown(self.name)}", {"width": SIDE_PIXELS, "height": SIDE_PIXELS})
        if min(self.focal) <= 0.0:
            raise InputError(f"camera {self.name!r}: focal is {self.focal} pixels, must be positive")

    @property
    def optics(self) -> LensModel:
        """Return the lens model: ``lens``, or a pinhole without one."""
        return self.lens or PINHOLE

    @cached_property
    def rays(self) -> Float32[Array, "height width 3"]:
        """Return the unit viewing directions of the pixel centres in the ego frame."""
        u, v = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        directions = self.optics.directions(u - self.centre[0], v - self.centre[1], self.focal)
        return (directions @ self.rotation.T.astype(np.float64)).astype(np.float32)

    @cached_property
    def sees(self) -> Bool[Array, "height width"]:
        """Return the pixels that lie within the lens's largest angle."""
        axis = self.rotation[:, 2].astype(np.float64)
        return self.rays.astype(np.float64) @ axis >= np.cos(self.optics.max_angle) - 1e-6

    def project(self, points: Float[Array, "n 3"]) -> tuple[Float64[Array, "n 2"], Bool[Array, " n"]]:
        """Return the pixels (u, v) of points of the ego frame (m), and which points the image shows."""
        seen = (points.astype(np.float64) - self.position) @ self.rotation.astype(np.float64)
        x, y, visible = self.optics.pixels(seen, self.focal)
        u, v = x + self.centre[0], y + self.centre[1]
        inside = (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)
        return np.stack([u, v], axis=-1), visible & inside


@dataclass(frozen=True)
class Imaging:
    """Imperfections of cameras; by default there are none.

    ``readout`` is the time (s) that a rolling shutter takes from the first row to the last, the middle row being
    exposed at the frame's time. ``exposure`` is in stops. ``noise`` is the standard deviation of a fully lit pixel's
    brightness (0 to 1); it grows with the square root of the light, as photon noise does. ``dirt`` is the share of
    the lens that is dirty. ``dropped`` and ``late`` are the shares of a camera's frames that never come, or come one
    frame late (see ``sensors.FrameBuffer``).
    """

    readout: float = 0.0
    exposure: float = 0.0
    noise: float = 0.0
    dirt: float = 0.0
    dropped: float = 0.0
    late: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "imaging")
        if not (0.0 <= self.readout <= 0.1 and abs(self.exposure) <= 16.0 and 0.0 <= self.noise <= 1.0):
            raise InputError("imaging: readout must be 0 to 0.1 s, exposure -16 to 16 stops, noise 0 to 1")
        if not (0.0 <= self.dirt <= 1.0 and min(self.dropped, self.late) >= 0.0 and self.dropped + self.late <= 1.0):
            raise InputError("imaging: dirt must be 0 to 1, dropped and late shares that add up to at most 1")


@described
@dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a car, all with images of one size."""

    cameras: tuple[Camera, ...]
    imaging: Imaging = Imaging()

    def __post_init__(self) -> None:
        if len({(c.height, c.width) for c in self.cameras}) != 1:
            raise InputError("rig: needs at least one camera, and all of them with images of one size")

    @property
    def image_size(self) -> tuple[int, int]:
        """Return the height and width of the images (pixels)."""
        return self.cameras[0].height, self.cameras[0].width


def pinhole(
    name: str,
    position: tuple[float, float, float],
    yaw: float,
    horizontal_fov: float,
    width: int,
    height: int,
) -> Camera:
    """Return a level pinhole camera that looks along ``yaw`` (rad, left positive) with ``horizontal_fov`` (rad)."""
    focal = 0.5 * width / np.tan(0.5 * horizontal_fov)
    place = np.asarray(position, np.float32)
    return Camera(name, width, height, (focal, focal), (0.5 * width, 0.5 * height), place, looking_along(yaw))


def ftheta(
    name: str,
    position: tuple[float, float, float],
    yaw: float,
    horizontal_fov: float,
    width: int,
    height: int,
    pitch: float = 0.0,
) -> Camera:
    """Return an equidistant f-theta camera: pixel distance is proportional to the angle; ``pitch`` (rad) looks up."""
    focal = width / horizontal_fov
    reach = float(np.hypot(width, height)) / (2.0 * focal)
    lens = FTheta((0.0, focal), min(1.05 * reach, np.pi))
    place, turn = np.asarray(position, np.float32), looking_along(yaw, pitch)
    return Camera(name, width, height, (focal, focal), (0.5 * width, 0.5 * height), place, turn, lens)


def looking_along(yaw: float, pitch: float = 0.0) -> Float32[Array, "3 3"]:
    """Return the rotation of a camera that looks along ``yaw`` (rad, left) and ``pitch`` (rad, up)."""
    c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    forward, right = np.array([c * cp, s * cp, sp]), np.array([s, -c, 0.0])
    down = np.cross(forward, right)
    return np.stack([right, down, forward], axis=-1).astype(np.float32)


def default_rig(width: int = 224, height: int = 128) -> Rig:
    """Return the four cameras of Alpamayo 1 and 1.5: cross left, front wide (120°), cross right, front tele (30°).

    Names and fields of view as in NVIDIA's physical-ai-av rig; pinhole, and positions of a common saloon.
    """
    wide, tele = np.deg2rad(120.0), np.deg2rad(30.0)
    side = np.deg2rad(60.0)
    return Rig(
        (
            pinhole("camera_cross_left_120fov", (0.8, 0.9, 1.1), side, wide, width, height),
            pinhole("camera_front_wide_120fov", (0.4, 0.0, 1.45), 0.0, wide, width, height),
            pinhole("camera_cross_right_120fov", (0.8, -0.9, 1.1), -side, wide, width, height),
            pinhole("camera_front_tele_30fov", (0.4, 0.1, 1.45), 0.0, tele, width, height),
        )
    )
