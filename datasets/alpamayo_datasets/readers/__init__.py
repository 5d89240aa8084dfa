"""The formats of recorded logs: one module each in this folder, and one line each in ``READERS``.

A format's module has two functions. ``matches(path, head)`` tells from the path and the first bytes of a file whether
the file has this format. ``read(path)`` returns its Scene. ``datasets/README.md`` shows how to add one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo_sim.datatypes.scene import Scene

__all__ = ["READERS", "Reader", "described_formats"]


@dataclass(frozen=True)
class Reader:
    """A format of recorded logs: its name, what a user calls it, and its module, imported at the first use."""

    name: str
    title: str
    module: str

    def matches(self, path: Path, head: bytes) -> bool:
        """Return whether a file with these first bytes has this format."""
        return bool(self._functions().matches(path, head))

    def read(self, path: Path) -> Scene:
        """Return the Scene of a file of this format.

        Raises:
            InputError: The file is damaged, too large, hostile, or not of this format after all.
        """
        scene: Scene = self._functions().read(path)
        return scene

    def _functions(self) -> Any:
        return importlib.import_module(self.module)


# The first reader that matches reads the file: put a special format before a general one.
READERS = (
    Reader("scenarionet", "a ScenarioNet pickle", "alpamayo_datasets.readers.scenarionet"),
    Reader("scene", "a scene saved by this project", "alpamayo_datasets.readers.saved_scene"),
    Reader("womd-json", "Waymo Open Motion as JSON", "alpamayo_datasets.readers.womd_json"),
)


def described_formats() -> str:
    """Return the titles of all formats as one phrase."""
    *titles, last = [reader.title for reader in READERS]
    return f"{', '.join(titles)} or {last}"
