"""Training data on disk: one compact file per episode; the images of each step are compressed."""

import hashlib
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float16, Float32, Int8, Int16, Int64, UInt8

from alpamayo.training.array_files import MAX_FILE_BYTES, read_arrays, reading, write_arrays
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular, replacing

Array = np.ndarray

VERSION = 2
FRAMES = 4  # camera frames of an observation
LABEL_EVERY = 2  # steps of 0.1 s between labels


@dataclass(frozen=True, eq=False)
class Shard:
    """One episode: images at 10 Hz; the other inputs of the driver and the labels of the expert at 5 Hz.

    ``images`` holds the zlib streams of all images in sequence (each uint8 [cameras, 3, height, width]), ``offsets``
    the start of each stream and the end of the last one; on disk they are a separate file (``.images``). Patch labels
    are those of ``PatchLabels``, with the share of road in 1/255. ``lens``, ``position`` and ``rotation`` are those
    of the rig, as in ``RigTensors``.
    """

    images: UInt8[Array, " bytes"]
    offsets: Int64[Array, " images_and_end"]
    image_shape: Int64[Array, "4"]
    history: Float32[Array, "rows 16 4"]
    route: Float32[Array, "rows 32 2"]
    state: Float32[Array, "rows 4"]
    navigation: Int16[Array, "rows words"]
    plan: Float32[Array, "rows 64 4"]
    actions: Float32[Array, "rows 64 2"]
    reasoning: Int16[Array, "rows tokens"]
    patch_kind: Int8[Array, "rows cameras patch_rows patch_columns"]
    patch_distance: Float16[Array, "rows cameras patch_rows patch_columns"]
    patch_velocity: Float16[Array, "rows cameras patch_rows patch_columns 2"]
    patch_road: UInt8[Array, "rows cameras patch_rows patch_columns"]
    lens: Float32[Array, "cameras 4"]
    position: Float32[Array, "cameras 3"]
    rotation: Float32[Array, "cameras 3 3"]

    @property
    def rows(self) -> int:
        """Number of labelled steps."""
        return len(self.plan)

    def frames(self, row: int, frames: int) -> UInt8[Array, "cameras frames 3 height width"]:
        """Return the last ``frames`` images up to ``row``, oldest first; the first image pads the start."""
        step = row * LABEL_EVERY
        return np.stack([self._image(max(step - back, 0)) for back in range(frames - 1, -1, -1)], axis=1)

    def _image(self, step: int) -> UInt8[Array, "cameras 3 height width"]:
        stream = self.images[self.offsets[step] : self.offsets[step + 1]]
        return np.frombuffer(zlib.decompress(stream.tobytes()), np.uint8).reshape(self.image_shape)

    def save(self, path: Path, inputs: str = "") -> None:
        """Write the file atomically; ``inputs`` says what it was made from.

        Raises:
            InputError: it cannot be written.
        """
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "images"}
        digest = hashlib.sha256(self.images.tobytes()).hexdigest()
        try:
            with replacing(path.with_suffix(".images")) as images:
                images.write_bytes(self.images.tobytes())
                write_arrays(path, VERSION, inputs, rest | {"images_sha256": digest})
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is damaged or has another version.
        """
        names = [f.name for f in fields(cls) if f.name != "images"]
        with reading(path):
            rest = read_arrays(path, VERSION, [*names, "images_sha256"])
            digest = str(rest.pop("images_sha256"))
            images = read_regular(path.with_suffix(".images"), MAX_FILE_BYTES)
            if hashlib.sha256(images).hexdigest() != digest:
                raise InputError(f"{path}: its images are incomplete or damaged; delete the file to make it again")
            return cls(images=np.frombuffer(images, np.uint8), **rest)


def compress(image: UInt8[Array, "cameras 3 height width"]) -> bytes:
    """Compress the images of one step."""
    return zlib.compress(np.ascontiguousarray(image).tobytes(), 1)
