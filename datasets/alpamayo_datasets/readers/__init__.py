"""The formats of recorded logs: one module each in this folder, and one line each in ``READERS``.

A module has at least two functions. ``matches(path, head)`` tells from the path and the first bytes of a file (none for
a folder) whether it has this format. ``read(path)`` returns its Scene. A format whose files or folders hold many scenes
has a third one, ``scene_ids(path)``, and ``read(path, scene_id)``. A format with camera images that are read has
``cameras(path, scene_id)``. ``datasets/README.md`` shows how to add one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo_datasets.containers import choose_scene
from alpamayo_sim.errors import InputError

if TYPE_CHECKING:
    from alpamayo_datasets.recorded_cameras import RecordedCameras
    from alpamayo_sim.datatypes.scene import Scene

__all__ = ["READERS", "Reader", "described_formats"]


@dataclass(frozen=True)
class Reader:
    """A format of recorded logs: its name, what a user calls it, and its module, imported at the first use."""

    name: str
    title: str
    module: str

    def matches(self, path: Path, head: bytes) -> bool:
        """Return whether a file with these first bytes, or a folder, has this format."""
        return bool(self._functions().matches(path, head))

    def scene_ids(self, path: Path) -> list[str]:
        """Return the names of the scenes in a file or folder of this format, without reading the scenes.

        Raises:
            InputError: The file is damaged, or not of this format after all.
        """
        functions = self._functions()
        return list(functions.scene_ids(path)) if hasattr(functions, "scene_ids") else [path.stem]

    def read(self, path: Path, scene_id: str | None = None) -> Scene:
        """Return a Scene of a file or folder of this format: the named one, or the only one.

        Raises:
            InputError: The file is damaged, too large, hostile, or not of this format after all; or there is no such
                scene, or more than one and none is named.
        """
        functions = self._functions()
        if hasattr(functions, "scene_ids"):
            scene: Scene = functions.read(path, scene_id)
        else:
            choose_scene([path.stem], scene_id, str(path))
            scene = functions.read(path)
        return scene

    def cameras(self, path: Path, scene_id: str | None = None) -> RecordedCameras:
        """Return the recorded cameras of a scene.

        Raises:
            InputError: The format or the log has no camera images that are read, or the log is damaged.
        """
        functions = self._functions()
        if not hasattr(functions, "cameras"):
            raise InputError(f"{path}: camera images of {self.title} are not read; take --sensors rendered")
        if hasattr(functions, "scene_ids"):
            recorded: RecordedCameras = functions.cameras(path, scene_id)
        else:
            choose_scene([path.stem], scene_id, str(path))
            recorded = functions.cameras(path)
        return recorded

    def _functions(self) -> Any:
        return importlib.import_module(self.module)


# The first reader that matches reads the file: put a special format before a general one.
READERS = (
    Reader("womd-tfrecord", "a Waymo Open Motion tfrecord", "alpamayo_datasets.readers.womd_tfrecord"),
    Reader("av2-forecasting", "an Argoverse 2 forecasting scenario", "alpamayo_datasets.readers.av2_forecasting"),
    Reader("av2-sensor", "an Argoverse 2 sensor log", "alpamayo_datasets.readers.av2_sensor"),
    Reader("nuscenes", "a nuScenes folder", "alpamayo_datasets.readers.nuscenes"),
    Reader("physical-ai-av", "a folder of Physical AI AV clips", "alpamayo_datasets.readers.physical_ai_av"),
    Reader("123d", "a 123D log", "alpamayo_datasets.readers.arrow_123d"),
    Reader("ros2-bag", "a ROS 2 bag", "alpamayo_datasets.readers.ros2_bag"),
    Reader("mcap", "an MCAP file with Foxglove's schemas", "alpamayo_datasets.readers.mcap"),
    Reader("nuplan", "a nuPlan log", "alpamayo_datasets.readers.nuplan"),
    Reader("commonroad", "a CommonRoad XML scenario", "alpamayo_datasets.readers.commonroad"),
    Reader("openscenario", "an OpenSCENARIO XML scenario", "alpamayo_datasets.readers.openscenario"),
    Reader("opendrive", "an OpenDRIVE road network", "alpamayo_datasets.readers.opendrive"),
    Reader("scenarionet", "a ScenarioNet pickle", "alpamayo_datasets.readers.scenarionet"),
    Reader("episode", "a finished run of this project", "alpamayo_datasets.readers.episode"),
    Reader("scene", "a scene saved by this project", "alpamayo_datasets.readers.saved_scene"),
    Reader("womd-json", "Waymo Open Motion as JSON", "alpamayo_datasets.readers.womd_json"),
)


def described_formats() -> str:
    """Return the titles of all formats as one phrase."""
    *titles, last = [reader.title for reader in READERS]
    return f"{', '.join(titles)} or {last}"
