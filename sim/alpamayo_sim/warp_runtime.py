"""NVIDIA Warp, started quietly: import ``wp`` from here so that a run without a GPU prints nothing about it."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import warp as wp

from alpamayo_sim.errors import InputError

__all__ = ["check_device", "wp"]


def check_device(device: str) -> str:
    """Return the device after a check that Warp has it.

    Raises:
        InputError: it is not one of the devices of this machine.
    """
    known = [str(each) for each in wp.get_devices()]
    if device not in known:
        raise InputError(f"device {device!r} is not on this machine; it has {', '.join(known)}")
    return device


def _start() -> None:
    wp.config.log_level = wp.LOG_WARNING
    wp.config.use_precompiled_headers = False  # its temporary folder is left to the interpreter's exit
    try:
        ctypes.CDLL("libcuda.so.1")
        wp.init()
    except OSError:
        with _no_stderr():  # Warp warns that there is no driver, whatever its log level
            wp.init()


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
