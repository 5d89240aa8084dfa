"""Training data of perception on disk: one compact file an episode, one sample each half second."""

import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float32, Int8, Int64, UInt8

from alpamayo.training.array_files import read_arrays, reading, write_arrays

Array = np.ndarray

VERSION = 1
SAMPLE_STEPS = 5  # of 0.1 s, between two samples


@dataclass(frozen=True, eq=False)
class PerceptionShard:
    """The samples of one episode. A sample sees its own images and those half a second before.

    ``images`` holds the zlib streams of the images of all samples (each uint8 [cameras, height, width, 3]),
    ``offsets`` the start of each stream and the end of the last one. The other tables are as in ``ObjectLabels``,
    ``RoadLabels``, ``Observation`` and ``RigTensors``. ``motion`` is x, y, heading of the ego half a second before.
    """

    images: UInt8[Array, " bytes"]
    offsets: Int64[Array, " samples_and_end"]
    image_shape: Int64[Array, "4"]
    route: Float32[Array, "samples 32 2"]
    state: Float32[Array, "samples 4"]
    motion: Float32[Array, "samples 3"]
    objects: Float32[Array, "samples 48 10"]
    owner: Int8[Array, "samples cameras rows columns"]
    ground: UInt8[Array, "samples 16 17"]
    control: Float32[Array, "samples 2"]
    lens: Float32[Array, "cameras 4"]
    position: Float32[Array, "cameras 3"]
    rotation: Float32[Array, "cameras 3 3"]

    def __len__(self) -> int:
        return len(self.state)

    def pair(self, sample: int) -> UInt8[Array, "2 cameras height width 3"]:
        """Return the images half a second before (the same ones at the start) and those of a sample."""
        return np.stack([self._image(max(sample - 1, 0)), self._image(sample)])

    def _image(self, sample: int) -> UInt8[Array, "cameras height width 3"]:
        stream = self.images[self.offsets[sample] : self.offsets[sample + 1]]
        return np.frombuffer(zlib.decompress(stream.tobytes()), np.uint8).reshape(self.image_shape)

    def save(self, path: Path, inputs: str = "") -> None:
        """Write the file; ``inputs`` says what it was made from.

        Raises:
            InputError: it cannot be written.
        """
        write_arrays(path, VERSION, inputs, {f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is damaged or has another version.
        """
        with reading(path):
            return cls(**read_arrays(path, VERSION, [f.name for f in fields(cls)]))
