"""Open a recorded log of any known format; its content decides, not its name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alpamayo_datasets.continuity import irregularities
from alpamayo_datasets.readers import READERS, Reader, described_formats
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import check_regular
from alpamayo_sim.settings import path_of

if TYPE_CHECKING:
    from alpamayo_sim.datatypes.scene import Scene

HEAD_BYTES = 256
MAX_LOG_BYTES = 1 << 40

_log = logging.getLogger(__name__)


def open_log(path: Path | str) -> Scene:
    """Return a Scene of a recorded log: a file or folder, or ``PATH#ID`` for one of its scenes.

    ``NAME`` opens the saved scene ``NAME.json``. Gaps and jumps of the recording are logged as warnings.

    Raises:
        InputError: The log is missing, damaged, hostile, too large, or of no known format; or it holds no such scene,
            or many and none is named.
    """
    path, scene_id = _split(path_of(path, "the path of a log"))
    reader = _reader_of(path)
    try:
        with np.errstate(all="ignore"):  # values that overflow are refused by name where the Scene is assembled
            scene = reader.read(path, scene_id)
    except (MemoryError, RecursionError) as error:
        raise InputError(f"{path}: too large or too deep for {reader.title} ({type(error).__name__})") from error
    for line in irregularities(scene):
        _log.warning("%s: %s", path, line)
    return scene


def scene_ids(path: Path | str) -> list[str]:
    """Return the names of the scenes that a log holds: ``open_log("PATH#ID")`` opens one.

    Raises:
        InputError: The log is missing, damaged, or of no known format.
    """
    path, _ = _split(path_of(path, "the path of a log"))
    return _reader_of(path).scene_ids(path)


def _split(path: Path) -> tuple[Path, str | None]:
    """Return the file or folder and the name of the scene in it."""
    if path.exists():
        return path, None
    named = path.with_name(path.name + ".json")
    if named.exists():
        return named, None
    before, sign, scene_id = str(path).rpartition("#")
    return (Path(before), scene_id) if sign and before else (path, None)


def _reader_of(path: Path) -> Reader:
    head = _head(path)
    for reader in READERS:
        if reader.matches(path, head):
            return reader
    kind = "is a folder" if path.is_dir() else "is"
    raise InputError(f"{path}: {kind} of no known format; must be {described_formats()}")


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none for a folder."""
    if path.is_dir():
        return b""
    try:
        check_regular(path, MAX_LOG_BYTES)
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
