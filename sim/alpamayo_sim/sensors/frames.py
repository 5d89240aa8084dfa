"""The last frames of the cameras, as a driver receives them."""

from collections import deque

import numpy as np
from jaxtyping import UInt8

from alpamayo_sim.datatypes.observation import CameraFrames
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.errors import InputError

Array = np.ndarray


class FrameBuffer:
    """Keep the last ``frames`` images that arrived from each camera of a rig, taken every ``dt`` seconds.

    At the start the first image replaces missing earlier ones. Frames are dropped and late according to the rig's
    ``imaging``, each by a number that only depends on ``seed``, camera and frame: a dropped frame never arrives, a
    late frame arrives at the next push; the first image always arrives. ``times`` are the ages of the kept images.
    """

    def __init__(self, rig: Rig, frames: int = 4, dt: float = 0.1, seed: int = 0) -> None:
        if frames < 1:
            raise InputError(f"frame buffer: frames is {frames}, must be at least 1")
        self.rig = rig
        self._frames, self._dt, self._seed = frames, dt, seed
        self.clear()

    def clear(self) -> None:
        """Forget all images, for a new episode."""
        self._count = 0
        self._kept: list[deque[tuple[int, Array]]] = [deque(maxlen=self._frames) for _ in self.rig.cameras]
        self._late: dict[int, tuple[int, Array]] = {}

    def push(self, rgb: UInt8[Array, "cameras height width 3"]) -> None:
        """Add the newest image."""
        expected = (len(self.rig.cameras), *self.rig.image_size, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise InputError(f"frame buffer: image is {rgb.dtype} {rgb.shape}, must be uint8 {expected}")
        images = np.ascontiguousarray(np.moveaxis(rgb, -1, 1))
        waiting, self._late = self._late, {}
        for camera, frame in waiting.items():
            self._kept[camera].append(frame)
        for camera, image in enumerate(images):
            self._take(camera, (self._count, image))
        self._count += 1

    def frames(self) -> CameraFrames:
        """Return the kept images, oldest first; at least one must have been pushed."""
        if not self._count:
            raise InputError("frame buffer: no image yet; push one first")
        taken = [[self._ago(kept, k) for k in range(self._frames - 1, -1, -1)] for kept in self._kept]
        ages = [[number - (self._count - 1) for number, _ in frames] for frames in taken]
        rgb = np.stack([np.stack([image for _, image in frames]) for frames in taken])
        return CameraFrames(rig=self.rig, rgb=rgb, times=(np.array(ages) * self._dt).astype(np.float32))

    def _take(self, camera: int, frame: tuple[int, Array]) -> None:
        imaging = self.rig.imaging
        luck = self._luck(camera) if imaging.dropped + imaging.late > 0.0 and self._count else 1.0
        if luck < imaging.dropped:
            return
        if luck < imaging.dropped + imaging.late:
            self._late[camera] = frame
        else:
            self._kept[camera].append(frame)

    def _ago(self, kept: deque[tuple[int, Array]], k: int) -> tuple[int, Array]:
        """Return the k-th last frame; before the first image, the first image at an earlier time."""
        if k < len(kept):
            return kept[-1 - k]
        number, image = kept[0]
        return number - (k - len(kept) + 1), image

    def _luck(self, camera: int) -> float:
        counter = np.random.Philox(key=self._seed, counter=[self._count, camera, 0, 0])
        return float(np.random.Generator(counter).random())
