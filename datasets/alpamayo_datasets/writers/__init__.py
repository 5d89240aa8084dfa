"""The formats that recordings are written in: one module each in this folder, and one line each in ``WRITERS``.

A format's module has one function, ``write(recordings, folder)``. It writes all recordings into an empty folder, which
appears under its name only when it is whole. ``datasets/README.md`` shows how to add one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo_sim.errors import check_known
from alpamayo_sim.io.files import new_folder

if TYPE_CHECKING:
    from alpamayo_datasets.recording import Recording

__all__ = ["WRITERS", "Writer", "writer_named"]


@dataclass(frozen=True)
class Writer:
    """A format to write: its name, what a user calls it, and its module, imported at the first use."""

    name: str
    title: str
    module: str

    def write(self, recordings: Iterable[Recording], folder: Path) -> None:
        """Write recordings into a new folder; each is read, drawn and written before the next one.

        Raises:
            InputError: The folder exists and is not empty, cannot be written, or a recording does not fit the format.
        """
        functions: Any = importlib.import_module(self.module)
        with new_folder(folder) as partial:
            functions.write(recordings, partial)


WRITERS = (
    Writer("scene", "scenes of this project", "alpamayo_datasets.writers.saved_scene"),
    Writer("nuscenes", "a nuScenes folder, drawn cameras and lidar", "alpamayo_datasets.writers.nuscenes"),
    Writer("physical-ai-av", "Physical AI AV clips, drawn cameras", "alpamayo_datasets.writers.physical_ai_av"),
    Writer("mcap", "MCAP with Foxglove's schemas, drawn cameras and lidar", "alpamayo_datasets.writers.mcap"),
    Writer("ros2-bag", "ROS 2 bags with MCAP storage", "alpamayo_datasets.writers.ros2_bag"),
    Writer("hugging-face", "a Hugging Face dataset folder, drawn cameras", "alpamayo_datasets.writers.hugging_face"),
    Writer("commonroad", "CommonRoad XML 2020a", "alpamayo_datasets.writers.commonroad"),
)


def writer_named(name: str) -> Writer:
    """Return the writer of a format.

    Raises:
        InputError: No writer has that name.
    """
    known = {writer.name: writer for writer in WRITERS}
    check_known("format to write", name, known)
    return known[name]
