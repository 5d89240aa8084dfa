"""Recorded cameras of a log, seen through any rig: a pixel shows what a recorded camera saw in its direction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
NOT_SEEN = 0  # grey value of pixels that no recorded camera shows


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


class RecordedCameras:
    """The cameras of a log.

    The wanted cameras stand where the recorded ones stood: near things are shown from the recorded places.

    Raises:
        InputError: There is no camera, or one without frames.
    """

    def __init__(self, cameras: Sequence[RecordedCamera]) -> None:
        if not cameras or not all(len(each.times) for each in cameras):
            raise InputError("recorded cameras: needs at least one camera, and frames of each")
        self.cameras = tuple(cameras)
        self._views: dict[int, tuple[Rig, list[_View]]] = {}
        self._decoded = lru_cache(maxsize=KEPT_FRAMES)(self._decode)

    def observe(self, rig: Rig, frames: int, time: float, dt: float = 0.1) -> CameraFrames:
        """Return what a rig sees at ``time`` (s) and at the ``frames`` - 1 steps of ``dt`` before, oldest first.

        ``times`` have the ages of the recorded frames: of several that a wanted camera needs, that of the oldest.
        """
        moments = [time - dt * k for k in range(frames - 1, -1, -1)]
        taken = [self.images(rig, moment) for moment in moments]
        rgb = np.stack([np.moveaxis(images, -1, 1) for images, _ in taken], axis=1)
        ages = np.stack([age + time - moment for (_, age), moment in zip(taken, moments, strict=True)], axis=1)
        return CameraFrames(rig, rgb, np.minimum(-ages, 0.0).astype(np.float32))

    def images(
        self, rig: Rig, time: float
    ) -> tuple[UInt8[Array, "cameras height width 3"], Float64[Array, " cameras"]]:
        """Return the images of a rig at a time (s), from the newest frames that are not later, and their ages (s)."""
        numbers = [_newest(each.times, time) for each in self.cameras]
        ages = np.array([time - each.times[k] for each, k in zip(self.cameras, numbers, strict=True)])
        out = np.full((len(rig.cameras), *rig.image_size, 3), NOT_SEEN, np.uint8)
        oldest = np.zeros(len(rig.cameras))
        for c, view in enumerate(self.views(rig)):
            used = np.unique(view.source[view.source >= 0]).tolist()
            oldest[c] = max((ages[k] for k in used), default=0.0)
            for k in used:
                seen = view.source == k
                whole = self._decoded(k, numbers[k])
                found = cv2.remap(whole, view.u, view.v, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
                out[c][seen] = found[seen]
        return out, oldest

    def seen(self, rig: Rig) -> Bool[Array, "cameras height width"]:
        """Return which pixels of a rig a recorded camera shows."""
        return np.stack([view.source >= 0 for view in self.views(rig)])

    def views(self, rig: Rig) -> list[_View]:
        """Return for each camera of a rig where its pixels come from; worked out once for a rig."""
        if id(rig) not in self._views:
            self._views[id(rig)] = rig, [self._view(camera) for camera in rig.cameras]
        return self._views[id(rig)][1]

    def _view(self, wanted: Camera) -> _View:
        directions = wanted.rays.reshape(-1, 3).astype(np.float64)
        source, best = np.full(len(directions), -1), np.full(len(directions), -np.inf)
        pixels = np.zeros((len(directions), 2), np.float32)
        for k, each in enumerate(self.cameras):
            uv, visible = each.camera.project(each.camera.position + FAR_M * directions)
            along = directions @ each.camera.rotation[:, 2].astype(np.float64)
            better = visible & (along > best)
            source[better], best[better], pixels[better] = k, along[better], uv[better] - 0.5
        shape = wanted.height, wanted.width
        return _View(source.reshape(shape), *(pixels[:, k].reshape(shape) for k in (0, 1)))

    def _decode(self, camera: int, frame: int) -> UInt8[Array, "height width 3"]:
        each = self.cameras[camera]
        image, size = each.image(frame), (each.camera.height, each.camera.width)
        if image.shape != (*size, 3):
            raise InputError(
                f"camera {each.camera.name!r}: frame {frame} is {image.shape[1]} by {image.shape[0]} pixels, "
                f"must be {size[1]} by {size[0]} as its calibration says"
            )
        return image


def _newest(times: Float64[Array, " n"], now: float) -> int:
    """Return the newest frame that is not later than now, else the first one."""
    return max(int(np.searchsorted(times, now + EARLY_S, side="right")) - 1, 0)
