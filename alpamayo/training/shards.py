"""Training data on disk: one compact file per episode; the images of each step are compressed."""

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float16, Float32, Int8, Int16, Int64, UInt8

from alpamayo_sim.errors import InputError

Array = np.ndarray

VERSION = 1
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
    patch_kind: Int8[Array, "rows cameras rows columns"]
    patch_distance: Float16[Array, "rows cameras rows columns"]
    patch_velocity: Float16[Array, "rows cameras rows columns 2"]
    patch_road: UInt8[Array, "rows cameras rows columns"]
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

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        images = path.with_suffix(".images")
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(self.images.tobytes())
        partial.replace(images)
        with partial.open("wb") as file:
            rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "images"}
            np.savez(file, version=VERSION, **rest)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is damaged or has another version.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                if int(file["version"]) != VERSION:
                    raise InputError(f"{path}: has version {int(file['version'])}, this release reads {VERSION}")
                rest = {f.name: file[f.name] for f in fields(cls) if f.name != "images"}
            images = np.fromfile(path.with_suffix(".images"), np.uint8)
            if len(images) != rest["offsets"][-1]:
                raise InputError(f"{path}: its images are incomplete; delete the file to make it again")
            return cls(images=images, **rest)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: cannot be read as training data ({error}); delete it to make it again"
            ) from error


def compress(image: UInt8[Array, "cameras 3 height width"]) -> bytes:
    """Compress the images of one step."""
    return zlib.compress(np.ascontiguousarray(image).tobytes(), 1)
