"""The last frames of the cameras, as a driver gets them."""

from collections import deque

import numpy as np
from jaxtyping import UInt8

from alpamayo_sim.driver import CameraFrames
from alpamayo_sim.errors import InputError
from alpamayo_sim.rig import Rig

Array = np.ndarray


class FrameBuffer:
    """Keeps the last ``frames`` images of a rig, taken every ``dt`` seconds.

    At the start, when there are fewer, the first image stands in for those before it.
    """

    def __init__(self, rig: Rig, frames: int = 4, dt: float = 0.1) -> None:
        if frames < 1:
            raise InputError(f"frame buffer: frames is {frames}, must be at least 1")
        self.rig = rig
        self._kept: deque[Array] = deque(maxlen=frames)
        self._times = ((np.arange(frames) - (frames - 1)) * dt).astype(np.float32)

    def clear(self) -> None:
        """Forget all images, for a new episode."""
        self._kept.clear()

    def push(self, rgb: UInt8[Array, "cameras height width 3"]) -> None:
        """Add the newest image."""
        expected = (len(self.rig.cameras), *self.rig.image_size, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise InputError(f"frame buffer: image is {rgb.dtype} {rgb.shape}, must be uint8 {expected}")
        image = np.ascontiguousarray(np.moveaxis(rgb, -1, 1))
        missing = self._times.size - 1 if not self._kept else 0
        self._kept.extend([image] * (missing + 1))

    def frames(self) -> CameraFrames:
        """The kept images, oldest first. At least one must have been pushed."""
        if not self._kept:
            raise InputError("frame buffer: no image yet; push one first")
        cameras = len(self.rig.cameras)
        times = np.broadcast_to(self._times, (cameras, self._times.size)).copy()
        return CameraFrames(rig=self.rig, rgb=np.stack(list(self._kept), axis=1), times=times)
