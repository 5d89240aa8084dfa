"""Scenes that this project has saved: ``NAME.json`` and ``NAME.npz``."""

import re
from pathlib import Path

from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.io.scene_file import load_scene

KIND = re.compile(rb'"kind"\s*:\s*"Scene"')


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file is the JSON of a saved Scene, by its kind."""
    return path.suffix == ".json" and KIND.search(head) is not None


def read(path: Path) -> Scene:
    """Return the saved Scene.

    Raises:
        InputError: A file is missing, damaged or of another version.
    """
    return load_scene(path.with_suffix(""))
