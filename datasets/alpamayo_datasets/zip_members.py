"""Members of zip files, unpacked into a folder of their own with bounds on names, numbers and sizes."""

import lzma
import shutil
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from alpamayo_sim.errors import InputError

MAX_MEMBERS = 1_000_000
MAX_UNPACKED_BYTES = 8 << 30  # of one call
PIECE_BYTES = 1 << 20
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError)


class UnpackedFolder:
    """A temporary folder that is removed with the last reference to this object, or at the end of the program."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="alpamayo-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def member_names(path: Path) -> list[str]:
    """Return the names of the files in a zip file, without their folders.

    Raises:
        InputError: It is no zip file, or has too many members.
    """
    with _opened(path) as file:
        return [PurePosixPath(each.filename).name for each in _members(file, path)]


def unpack(path: Path, wanted: Callable[[str], bool], folder: Path) -> None:
    """Write the members with a wanted name into a folder, by their names alone; folders in the file are left out.

    Raises:
        InputError: It is no zip file, is damaged or encrypted, or holds too much.
    """
    with _opened(path) as file:
        left = MAX_UNPACKED_BYTES
        for member in _members(file, path):
            name = PurePosixPath(member.filename).name
            if wanted(name):
                left -= member.file_size
                if left < 0:
                    raise InputError(f"{path}: unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB")
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    with file.open(member) as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target, PIECE_BYTES)  # no further than to the size that it names
                except DAMAGE as error:
                    raise InputError(
                        f"{path}: member {name[:80]!r} is damaged, encrypted or of another kind"
                    ) from error


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: is no zip file, or is damaged") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _members(file: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    found = [each for each in file.infolist() if not each.is_dir()]
    if len(found) > MAX_MEMBERS:
        raise InputError(f"{path}: has {len(found)} members, must be at most {MAX_MEMBERS}")
    return found
