"""Cameras and where they sit: plain data, and the viewing ray of every pixel."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.errors import InputError

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera fixed to the ego.

    ``position`` (m) is in the ego frame (box centre on the ground, x forward, y left, z up). ``rotation`` takes
    camera axes (x right, y down, z forward) to ego axes. Focal lengths and principal point are in pixels; the
    centre of the top left pixel is (0.5, 0.5).
    """

    name: str
    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    position: Float32[Array, "3"]
    rotation: Float32[Array, "3 3"]

    def __post_init__(self) -> None:
        if not (0 < self.width <= 8192 and 0 < self.height <= 8192 and min(self.focal) > 0):
            raise InputError(f"camera {self.name!r}: image must be 1 to 8192 pixels a side and focal positive")

    @cached_property
    def rays(self) -> Float32[Array, "height width 3"]:
        """Unit viewing directions of the pixel centres in the ego frame."""
        u, v = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        x, y = (u - self.centre[0]) / self.focal[0], (v - self.centre[1]) / self.focal[1]
        directions = np.stack([x, y, np.ones_like(x)], axis=-1)
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        return (directions @ self.rotation.T.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Rig:
    """The cameras of a car, all with images of one size."""

    cameras: tuple[Camera, ...]

    def __post_init__(self) -> None:
        if len({(c.height, c.width) for c in self.cameras}) != 1:
            raise InputError("rig: needs at least one camera, and all of them with images of one size")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width (pixels)."""
        return self.cameras[0].height, self.cameras[0].width


def pinhole(
    name: str,
    position: tuple[float, float, float],
    yaw: float,
    horizontal_fov: float,
    width: int,
    height: int,
) -> Camera:
    """A level pinhole camera that looks along ``yaw`` (rad, left positive) with ``horizontal_fov`` (rad)."""
    focal = 0.5 * width / np.tan(0.5 * horizontal_fov)
    c, s = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[s, 0.0, c], [-c, 0.0, s], [0.0, -1.0, 0.0]], np.float32)
    return Camera(
        name,
        width,
        height,
        (focal, focal),
        (0.5 * width, 0.5 * height),
        np.asarray(position, np.float32),
        rotation,
    )


def default_rig(width: int = 224, height: int = 128) -> Rig:
    """The four cameras of Alpamayo 1 and 1.5: cross left, front wide (120°), cross right, front tele (30°).

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
