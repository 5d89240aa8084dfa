"""Training data of perception on disk: one compact file a drive or a scattered scene."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float32, Int8, Int64, UInt8

from alpamayo.training.array_files import ArrayFile
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_vla_model.perception.perception import EARLIER_STEPS
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

VERSION = 2
COMPRESSION = 1
SAMPLE_STEPS = EARLIER_STEPS  # of 0.1 s, between two samples: the frames that perception compares


def compressed(images: UInt8[Array, "cameras height width 3"]) -> bytes:
    """Return the stream of one frame."""
    return zlib.compress(np.ascontiguousarray(images).tobytes(), COMPRESSION)


@dataclass(frozen=True, eq=False)
class PerceptionShard(ArrayFile):
    """The samples of one file. A sample sees its own images and those half a second before.

    ``images`` holds the zlib streams of all frames (each uint8 [cameras, height, width, 3]), ``offsets`` the start of
    each stream and the end of the last one; ``pairs`` are the earlier and the present frame of each sample. The other
    tables are as in ``ObjectLabels``, ``RoadLabels``, ``Observation`` and ``RigTensors``. ``motion`` is x, y, heading
    of the ego half a second before.
    """

    file_version = VERSION

    images: UInt8[Array, " bytes"]
    offsets: Int64[Array, " frames_and_end"]
    pairs: Int64[Array, "samples 2"]
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

    @classmethod
    def of(
        cls,
        streams: Sequence[bytes],
        rows: Mapping[str, Sequence[Array]],
        rig: Rig,
        pairs: Int64[Array, "samples 2"],
    ) -> Self:
        """Return a shard of compressed frames and of the rows of its tables."""
        tensors = RigTensors.of(rig)
        height, width = rig.image_size
        return cls(
            images=np.frombuffer(b"".join(streams), np.uint8),
            offsets=np.cumsum([0, *(len(stream) for stream in streams)]).astype(np.int64),
            pairs=pairs,
            image_shape=np.array((len(rig.cameras), height, width, 3), np.int64),
            lens=tensors.lens[0].numpy(),
            position=tensors.position[0].numpy(),
            rotation=tensors.rotation[0].numpy(),
            **{name: np.stack(values) for name, values in rows.items()},
        )

    def pair(self, sample: int) -> UInt8[Array, "2 cameras height width 3"]:
        """Return the images half a second before (the same ones at the start of a drive) and those of a sample."""
        return np.stack([self._image(frame) for frame in self.pairs[sample]])

    def _image(self, frame: int) -> UInt8[Array, "cameras height width 3"]:
        stream = self.images[self.offsets[frame] : self.offsets[frame + 1]]
        return np.frombuffer(zlib.decompress(stream.tobytes()), np.uint8).reshape(self.image_shape)
