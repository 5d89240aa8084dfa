"""NVIDIA Warp, started quietly: import ``wp`` from here so that a run without a GPU prints nothing about it."""

import ctypes
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import warp as wp

from alpamayo_sim.errors import InputError, shown

__all__ = ["check_device", "wp"]


def check_device(device: str) -> str:
    """Return the device after a check that Warp has it.

    Raises:
        InputError: it is not one of the devices of this machine.
    """
    known = [str(each) for each in wp.get_devices()]
    if not isinstance(device, str) or device not in known:
        raise InputError(f"device {shown(device)} is not on this machine; it has {', '.join(known)}")
    return device


def _start() -> None:
    wp.config.log_level = wp.LOG_WARNING
    wp.config.use_precompiled_headers = False  # its temporary folder is left to the interpreter's exit
    _choose_kernel_cache()
    try:
        ctypes.CDLL("libcuda.so.1")
        wp.init()
    except OSError:
        with _no_stderr():  # Warp warns that there is no driver, whatever its log level
            wp.init()


def _choose_kernel_cache() -> None:
    """Keep compiled kernels in a private folder where the usual one cannot be written.

    Raises:
        InputError: no folder can be written.
    """
    named = os.environ.get("WARP_CACHE_PATH")
    usual = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "warp"  # noqa: PTH111
    if usual.is_absolute() and _writable(usual):
        return
    if named:
        raise InputError(f"kernels cannot be kept in {named}; WARP_CACHE_PATH must be a folder that you can write")
    private = Path(tempfile.gettempdir()) / f"alpamayo-kernels-{os.getuid()}"
    try:
        private.mkdir(mode=0o700, exist_ok=True)
        found = private.lstat()
    except OSError as error:
        raise InputError(f"cannot keep kernels in {private}: {error.strerror}; set WARP_CACHE_PATH") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(f"{private} is not a folder of yours alone; set WARP_CACHE_PATH to one that you can write")
    print(f"alpamayo: {usual} cannot be written; kernels are kept in {private} (see WARP_CACHE_PATH)", file=sys.stderr)  # noqa: T201
    os.environ["WARP_CACHE_PATH"] = str(private)  # of worker processes, too


def _writable(folder: Path) -> bool:
    """Return whether a folder and what is in it can be written, or the folder be made."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    inner = [path for path in folder.glob("*") if path.is_dir()] if folder.name == "warp" else []
    return all(os.access(path, os.W_OK | os.X_OK) for path in (folder, *inner))


@contextmanager
def _no_stderr() -> Iterator[None]:
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


_start()
