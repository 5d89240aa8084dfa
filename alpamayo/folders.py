"""Folders of results: checked before the work, and written by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder, try to write to it, and keep other processes of this project from writing there meanwhile.

    A run that cannot write its results fails so before the work and not after it. A folder that this call has made
    and that stays empty is removed again.

    Raises:
        InputError: the folder cannot be written, or another process writes there.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        _lock(handle, folder)
        check_writable(folder)
        yield
    finally:
        os.close(handle)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def check_writable(folder: Path) -> None:
    """Make a folder and try to write to it.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ".writable") as partial:
            partial.write_bytes(b"\n")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{folder}: another run writes its results there; wait for its end or name another --out"
        ) from error
    except OSError:  # a file system without locks
        return
