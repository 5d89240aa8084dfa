"""Compiles `step.h` with Warp's own compiler, once a machine, and calls it."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

_log = logging.getLogger(__name__)
RUN, REPLAY, MULTIPLY = 0, 1, 2


@cache
def available() -> bool:
    """Whether the operator can be compiled here; the first call does, which takes seconds on a new machine."""
    try:
        entry()
    except Exception as error:  # Warp raises plain ones where its compiler fails
        _log.warning("the fused step cannot be compiled here, decoding is slower: %s", error)
        return False
    return True


@cache
def entry() -> Callable[..., None]:
    """Return the compiled function; it takes up to seven integers.

    - ``(RUN, step)``
    - ``(REPLAY, mamba, state, batch, time, counts, scratch)``
    - ``(MULTIPLY, weight, x, y, rows)``
    """
    import warp as wp

    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    with _quiet():
        wp.init()
    from alpamayo_kernels.cpu_step.entry import enter

    command = wp.launch(enter, dim=1, inputs=[-1] * 7, device="cpu", record_cmd=True)
    forward, bounds = command.hooks.forward, ctypes.byref(command.bounds)
    arguments = (ctypes.c_longlong * 7)()

    def call(*values: int) -> None:
        arguments[: len(values)] = list(values)
        forward(bounds, arguments)

    return call


@contextmanager
def _quiet() -> Iterator[None]:
    """Without standard error: Warp says there that it found no CUDA driver, whatever its log level."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
