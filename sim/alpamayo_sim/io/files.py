"""Files: read when they are regular and not too large, written whole or not at all."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alpamayo_sim.errors import InputError


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file of at most ``limit`` bytes.

    A pipe or a device is refused and not waited for. A file that grows while it is read is read no further.

    Raises:
        InputError: It is no regular file, or it is larger.
        OSError: It cannot be read.
    """
    check_regular(path, limit)
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise _too_large(path, limit)
    return data


def check_regular(path: Path, limit: int) -> int:
    """Return the size (bytes) of a regular file of at most ``limit`` bytes.

    Raises:
        InputError: It is no regular file, or it is larger.
        OSError: There is none, or it cannot be looked at.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise InputError(f"{path}: is {kind}, must be a file")
    if found.st_size > limit:
        raise _too_large(path, limit)
    return found.st_size


def _too_large(path: Path, limit: int) -> InputError:
    return InputError(f"{path}: larger than {limit >> 20} MiB, the limit for such a file")


class replacing:  # noqa: N801 - used as a verb: with replacing(path) as partial
    """Write to a temporary file in the folder of ``path``, then rename it; a failure leaves nothing behind.

    Where the file system can, the temporary file has no name until it is whole, so that even a killed process leaves
    nothing behind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Path:
        self.handle = _nameless(self.path.parent)
        if self.handle is not None:
            self.partial = Path(f"/proc/{os.getpid()}/fd/{self.handle}")
            return self.partial
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(handle)
        self.partial = Path(name)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            if self.handle is not None:
                os.close(self.handle)
            else:
                self.partial.unlink(missing_ok=True)

    def _publish(self) -> None:
        if self.handle is None:
            umask = os.umask(0)
            os.umask(umask)
            self.partial.chmod(0o666 & ~umask)
            self.partial.replace(self.path)
            return
        named = self.path.with_name(f".{self.path.name}.{os.getpid()}.{self.handle}")
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:  # with a folder given, the link in /proc is followed
            os.link(self.partial, named.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
        named.replace(self.path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Write a folder under a temporary name, then rename it to ``path``; a failure leaves nothing behind.

    Raises:
        InputError: There is a file or a folder with content at ``path``, or the folder cannot be written.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; name a new folder, or remove this one first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"cannot write to {path.parent}: {error.strerror or error}") from error
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        partial.rename(path)
    except OSError as error:
        raise InputError(f"cannot write {error.filename or path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _nameless(folder: Path) -> int | None:
    """Open a file without a name in a folder; None where the system has no such files."""
    if not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:
        return None
