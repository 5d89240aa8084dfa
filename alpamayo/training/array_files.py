"""Files of named arrays with a version and what they were made from: whole or not at all, checked when read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from alpamayo_sim.errors import InputError, is_machine_fault, one_line
from alpamayo_sim.io.files import check_regular, replacing

MAX_FILE_BYTES = 1 << 30


def write_arrays(path: Path, version: int, inputs: str, arrays: Mapping[str, Any]) -> None:
    """Write a file; ``inputs`` says what it was made from.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, version=version, inputs=inputs, **arrays)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def read_arrays(path: Path, version: int, names: Sequence[str]) -> dict[str, Any]:
    """Read the named arrays of a file.

    Raises:
        InputError: it has another version.
    """
    check_regular(path, MAX_FILE_BYTES)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        if int(file["version"]) != version:
            raise InputError(f"{path}: has version {int(file['version'])}, this release reads {version}")
        return {name: file[name] for name in names}


class ArrayFile:
    """A dataclass of arrays that is a file; ``file_version`` is the version that is written and read."""

    file_version: ClassVar[int]

    def save(self, path: Path, inputs: str = "") -> None:
        """Write the file; ``inputs`` says what it was made from.

        Raises:
            InputError: it cannot be written.
        """
        write_arrays(path, self.file_version, inputs, {name: getattr(self, name) for name in _columns(type(self))})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: it is damaged or has another version.
        """
        with reading(path):
            return cls(**read_arrays(path, cls.file_version, _columns(cls)))


def _columns(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def stored_inputs(path: Path, version: int) -> str | None:
    """Return what a file was made from; None if there is none or it is damaged."""
    try:
        with reading(path):
            return str(read_arrays(path, version, ["inputs"])["inputs"])
    except InputError:
        return None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises, which can be nearly anything, into an error that names the file."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise InputError(
            f"{path}: cannot be read as training data ({one_line(str(error))}); delete it to make it again"
        ) from error
