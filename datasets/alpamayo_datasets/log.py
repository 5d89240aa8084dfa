"""Open a recorded log of any known format; its content decides, not its name."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alpamayo_datasets.readers import READERS, Reader, described_formats
from alpamayo_sim.datatypes.continuity import irregularities
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import check_regular
from alpamayo_sim.settings import path_of

if TYPE_CHECKING:
    from alpamayo_datasets.recorded_cameras import RecordedCameras
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
    log = find_log(path)
    scene = log.read(log.scene_id)
    for line in irregularities(scene):
        _log.warning("%s: %s", log.path, line)
    return scene


@dataclass(frozen=True)
class Log:
    """A recorded log that was found: its file or folder, its reader, and the scene that the path names, if any."""

    path: Path
    reader: Reader
    scene_id: str | None

    def scene_ids(self) -> list[str]:
        """Return the scene that the path names, or else all scenes of the log.

        Raises:
            InputError: The log is damaged.
        """
        return self.reader.scene_ids(self.path) if self.scene_id is None else [self.scene_id]

    def read(self, scene_id: str | None = None) -> Scene:
        """Return a scene: the named one, or the only one.

        Raises:
            InputError: The log is damaged, hostile or too large; or there is no such scene, or many and none is named.
        """
        try:
            with np.errstate(all="ignore"):  # values that overflow are refused by name where the Scene is assembled
                return self.reader.read(self.path, scene_id)
        except (MemoryError, RecursionError) as error:
            title = self.reader.title
            raise InputError(f"{self.path}: too large or too deep for {title} ({type(error).__name__})") from error

    def cameras(self) -> RecordedCameras:
        """Return the recorded cameras of the named scene, or of the only one.

        Raises:
            InputError: The log has no camera images that are read, or is damaged; or it has many scenes and none is
                named.
        """
        return self.reader.cameras(self.path, self.scene_id)


def find_log(path: Path | str) -> Log:
    """Return the log at ``PATH`` or ``PATH#ID``; no scene is read yet.

    Raises:
        InputError: The log is missing or of no known format.
    """
    file, scene_id = _split(path_of(path, "the path of a log"))
    return Log(file, _reader_of(file), scene_id)


def scene_ids(path: Path | str) -> list[str]:
    """Return the names of the scenes that a log holds: ``open_log("PATH#ID")`` opens one.

    Raises:
        InputError: The log is missing, damaged, or of no known format.
    """
    log = find_log(path)
    return log.reader.scene_ids(log.path)


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
