"""Open a recorded log of any known format; its content decides, not its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo_datasets.readers import READERS, described_formats
from alpamayo_sim.errors import InputError

if TYPE_CHECKING:
    from alpamayo_sim.datatypes.scene import Scene

HEAD_BYTES = 256


def open_log(path: Path | str) -> Scene:
    """Return the Scene of a recorded log: a file, or ``NAME`` for a saved scene ``NAME.json``.

    Raises:
        InputError: The file is missing, damaged, hostile, too large, or of no known format.
    """
    path = Path(path)
    if not path.exists() and path.with_name(path.name + ".json").exists():
        path = path.with_name(path.name + ".json")
    head = _head(path)
    for reader in READERS:
        if reader.matches(path, head):
            return reader.read(path)
    raise InputError(f"{path}: of no known format; must be {described_formats()}")


def _head(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path}: is a folder, must be {described_formats()}")
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
