"""Compiles ``step.h`` with Warp's own compiler, once a machine, and calls it."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from alpamayo_kernels.cpu_step import tables

_log = logging.getLogger(__name__)
RUN, REPLAY, MULTIPLY, CHECKSUM, LAYOUT, PROBE = range(6)
MOST_ARGUMENTS = 7


@cache
def available() -> bool:
    """Return whether the step can be compiled here; the first call compiles, which takes seconds on a new machine."""
    try:
        _compiled()
    except Exception as error:  # Warp raises plain ones where its compiler fails
        _log.warning("the CPU step cannot be compiled here, decoding is slower: %s", error)
        return False
    entry()
    return True


@cache
def entry() -> Callable[..., None]:
    """Return the compiled function; it takes up to seven integers.

    - ``(RUN, step)``
    - ``(REPLAY, mamba, state, batch, time, counts, scratch)``
    - ``(MULTIPLY, weight, x, y, rows)``
    - ``(CHECKSUM, pieces, count, result)``
    - ``(LAYOUT, fields, count)``
    - ``(PROBE, pieces, count, result)``

    Every call has its own arguments, so threads may call it at once.

    Raises:
        RuntimeError: The structures of ``tables.py`` are not laid out as those of ``step.h``.
    """
    call = _compiled()
    check_layout(tables.layout(), _compiled_layout(call))
    return call


@cache
def _compiled() -> Callable[..., None]:
    import warp as wp

    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    with _no_stderr():
        wp.init()
    from alpamayo_kernels.cpu_step.entry import enter

    command = wp.launch(enter, dim=1, inputs=[-1] * MOST_ARGUMENTS, device="cpu", record_cmd=True)
    forward, bounds = command.hooks.forward, ctypes.byref(command.bounds)
    arguments_of_a_call = ctypes.c_longlong * MOST_ARGUMENTS

    def call(*values: int) -> None:
        forward(bounds, arguments_of_a_call(*values))

    return call


class _Field(ctypes.Structure):
    """A field of a structure of ``step.h``, as ``layout.h`` exports it."""

    _fields_ = [("structure", ctypes.c_char_p), ("name", ctypes.c_char_p), ("offset", ctypes.c_longlong),
                ("size", ctypes.c_longlong)]  # fmt: skip


Layout = Mapping[tuple[str, str], tuple[int, int]]


def _compiled_layout(call: Callable[..., None]) -> Layout:
    fields, count = ctypes.POINTER(_Field)(), ctypes.c_longlong(0)
    call(LAYOUT, ctypes.addressof(fields), ctypes.addressof(count))
    listed = (fields[i] for i in range(count.value))
    return {(f.structure.decode(), f.name.decode()): (f.offset, f.size) for f in listed}


def check_layout(python: Layout, compiled: Layout) -> None:
    """Compare offset and size of every field as Python and the compiler lay them out.

    Raises:
        RuntimeError: A field is missing on one side, or lies at another place.
    """
    for structure, name in sorted({*python, *compiled}):
        ours, theirs = python.get((structure, name)), compiled.get((structure, name))
        if ours != theirs:
            raise RuntimeError(
                f"tables.py and step.h disagree on {structure}.{name}: offset and size are {ours} in Python and "
                f"{theirs} in C"
            )


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Discard standard error: Warp reports a missing CUDA driver there, whatever its log level."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
