"""Recorded cameras of a log, seen through any rig: a pixel shows what a recorded camera saw in its direction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from alpamayo_sim.datatypes.observation import CameraFrames
from alpamayo_sim.datatypes.rig import Camera, Rig
from alpamayo_sim.errors import InputError

Array = np.ndarray

FAR_M = 1000.0  # recorded and wanted cameras see the same in one direction from this distance on
EARLY_S = 0.02  # a frame that was taken this much later than now still counts as now's
KEPT_FRAMES = 64  # decoded images that are kept
KEPT_DRAWINGS = 8  # sets of images of a rig that are kept: one is new at each step
SAME_PLACE_M = 1e-3
SAME_PIXELS = 0.015  # places that are this near are one: interpolation knows 1/32 of a pixel
NOT_SEEN = 0  # grey value of pixels that no recorded camera shows


class TimedCamera(Protocol):
    """A camera whose frames have times, which may become more."""

    @property
    def camera(self) -> Camera:
        """Return the calibration."""
        ...

    @property
    def times(self) -> Float64[Array, " n"]:
        """Return the growing times (s) of the frames, from the first step of the scene."""
        ...

    @property
    def image(self) -> Callable[[int], UInt8[Array, "height width 3"]]:
        """Return what decodes frame k as RGB."""
        ...


@dataclass(frozen=True, eq=False)
class RecordedCamera:
    """One camera of a log: its calibration, the growing times of its frames, and what decodes frame k as RGB.

    ``times`` are s from the first step of the scene.
    """

    camera: Camera
    times: Float64[Array, " n"]
    image: Callable[[int], UInt8[Array, "height width 3"]]


@dataclass(frozen=True, eq=False)
class _View:
    """What a wanted camera takes from the recorded ones: the number of the camera, and the pixel, for each pixel."""

    source: Int64[Array, "height width"]
    u: Float32[Array, "height width"]
    v: Float32[Array, "height width"]
    is_whole: bool = False  # each pixel is that at its own place

    def of(self, whole: UInt8[Array, "h w 3"]) -> UInt8[Array, "height width 3"]:
        """Return what is taken from the image of one recorded camera; the image itself where the cameras are equal."""
        if self.is_whole:
            return whole
        return cv2.remap(whole, self.u, self.v, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)

    @cached_property
    def used(self) -> tuple[tuple[int, Bool[Array, "height width"]], ...]:
        """The recorded cameras that are needed, each with the pixels that it shows."""
        return tuple((int(k), self.source == k) for k in np.unique(self.source) if k >= 0)


class RecordedCameras:
    """The cameras of a log.

    The wanted cameras stand where the recorded ones stood: near things are shown from the recorded places.

    Raises:
        InputError: There is no camera, or one without frames.
    """

    def __init__(self, cameras: Sequence[TimedCamera]) -> None:
        if not cameras or not all(len(each.times) for each in cameras):
            raise InputError("recorded cameras: needs at least one camera, and frames of each")
        self.cameras = tuple(cameras)
        self._views: dict[int, tuple[Rig, list[_View]]] = {}
        self._decoded = lru_cache(maxsize=KEPT_FRAMES)(self._decode)
        self._drawn = lru_cache(maxsize=KEPT_DRAWINGS)(self._draw)

    def observe(self, rig: Rig, frames: int, time: float, dt: float = 0.1) -> CameraFrames:
        """Return what a rig sees at ``time`` (s) and at the ``frames`` - 1 steps of ``dt`` before, oldest first.

        ``times`` have the ages of the recorded frames: of several that a wanted camera needs, that of the oldest.
        """
        moments = [time - dt * k for k in range(frames - 1, -1, -1)]
        taken = [self.images(rig, moment) for moment in moments]
        rgb = np.stack([np.moveaxis(images, -1, 1) for images, _ in taken], axis=1)  # kept images lie in this order
        ages = np.stack([age + time - moment for (_, age), moment in zip(taken, moments, strict=True)], axis=1)
        return CameraFrames(rig, rgb, np.minimum(-ages, 0.0).astype(np.float32))

    def images(
        self, rig: Rig, time: float
    ) -> tuple[UInt8[Array, "cameras height width 3"], Float64[Array, " cameras"]]:
        """Return the images of a rig at a time (s), from the newest frames that are not later, and their ages (s).

        The images are kept for later calls and cannot be written to.
        """
        numbers = tuple(_newest(each.times, time) for each in self.cameras)
        ages = np.array([time - each.times[k] for each, k in zip(self.cameras, numbers, strict=True)])
        oldest = [max((ages[k] for k, _ in view.used), default=0.0) for view in self.views(rig)]
        return self._drawn(rig, numbers), np.array(oldest)

    def _draw(self, rig: Rig, numbers: tuple[int, ...]) -> UInt8[Array, "cameras height width 3"]:
        """Draw the images of a rig; in memory each colour lies apart, as drivers take them."""
        planes = np.empty((len(rig.cameras), 3, *rig.image_size), np.uint8)
        for c, view in enumerate(self.views(rig)):
            image = np.full((*rig.image_size, 3), NOT_SEEN, np.uint8)
            for k, seen in view.used:
                found = view.of(self._decoded(k, numbers[k]))
                image = found if seen.all() else np.where(seen[..., None], found, image)
            planes[c] = cv2.split(image)
        planes.flags.writeable = False
        return np.moveaxis(planes, 1, -1)

    def seen(self, rig: Rig) -> Bool[Array, "cameras height width"]:
        """Return which pixels of a rig a recorded camera shows."""
        return np.stack([view.source >= 0 for view in self.views(rig)])

    def views(self, rig: Rig) -> list[_View]:
        """Return for each camera of a rig where its pixels come from; worked out once for a rig."""
        if id(rig) not in self._views:
            self._views[id(rig)] = rig, [self._view(camera) for camera in rig.cameras]
        return self._views[id(rig)][1]

    def _view(self, wanted: Camera) -> _View:
        """Find for each pixel the camera whose axis is nearest; a camera that equals the wanted one shows all."""
        shape = wanted.height, wanted.width
        v, u = (index.ravel().astype(np.float32) for index in np.indices(shape))
        directions = wanted.rays.reshape(-1, 3).astype(np.float64)
        source, best = np.full(len(directions), -1), np.full(len(directions), -np.inf)
        pixels = np.zeros((len(directions), 2), np.float32)
        for k, each in enumerate(self.cameras):
            uv, visible = each.camera.project(each.camera.position + FAR_M * directions)
            if (each.camera.height, each.camera.width) == shape and _is_same(each.camera, wanted, uv, u, v):
                whole = np.full(shape, k)
                return _View(whole, u.reshape(shape), v.reshape(shape), is_whole=True)
            along = directions @ each.camera.rotation[:, 2].astype(np.float64)
            better = visible & (along > best)
            source[better], best[better], pixels[better] = k, along[better], uv[better] - 0.5
        return _View(source.reshape(shape), pixels[:, 0].reshape(shape), pixels[:, 1].reshape(shape))

    def _decode(self, camera: int, frame: int) -> UInt8[Array, "height width 3"]:
        each = self.cameras[camera]
        image, size = each.image(frame), (each.camera.height, each.camera.width)
        if image.shape != (*size, 3):
            raise InputError(
                f"camera {each.camera.name!r}: frame {frame} is {image.shape[1]} by {image.shape[0]} pixels, "
                f"must be {size[1]} by {size[0]} as its calibration says"
            )
        return image


def _is_same(recorded: Camera, wanted: Camera, uv: Float64[Array, "n 2"], u: Array, v: Array) -> bool:
    """Return whether a camera equals the wanted one: its place, and where it shows the pixels of the wanted one."""
    is_near = np.allclose(recorded.position, wanted.position, atol=SAME_PLACE_M)
    return is_near and bool(np.all(np.hypot(uv[:, 0] - 0.5 - u, uv[:, 1] - 0.5 - v) < SAME_PIXELS))


def _newest(times: Float64[Array, " n"], now: float) -> int:
    """Return the newest frame that is not later than now, else the first one."""
    return max(int(np.searchsorted(times, now + EARLY_S, side="right")) - 1, 0)
