"""Signals: a command and its worker processes end soon, with their clean-up, and workers never outlive the command."""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S = 3.0  # for the clean-up after a signal
RETRY_S = 0.05  # after a signal that came inside a destructor, where Python swallows exceptions
FIRST_SIGNAL: list[int] = []
_working: list[bool] = []


class StopRequested(KeyboardInterrupt):
    """The user or the system asks the process to end."""


def stop_on_signals() -> None:
    """Let the stop signals of this process raise ``StopRequested``; those that are ignored stay ignored (nohup).

    A process that has not ended after ``GRACE_S``, or gets a second Ctrl-C, is ended at once with its children.
    """
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _stop)


def end_if_stopped() -> None:
    """End a process that a signal has stopped, after its exit functions; the interpreter's own end may take seconds."""
    if FIRST_SIGNAL:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        atexit._run_exitfuncs()
        os._exit(128 + FIRST_SIGNAL[0])


@contextmanager
def working() -> Iterator[None]:
    """Let a worker clean up a task when it is told to stop, and end it then; a worker without a task ends at once."""
    _working.append(True)
    try:
        yield
    except StopRequested:
        if multiprocessing.parent_process() is not None:
            end_if_stopped()
        raise
    finally:
        _working.pop()


def serve_parent() -> None:
    """Make this process a worker: the parent handles Ctrl-C, and the worker ends when it is told to or alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _stop(number: int, frame: FrameType | None) -> None:
    if FIRST_SIGNAL and number == signal.SIGINT:
        _end_now()
    if not FIRST_SIGNAL:
        FIRST_SIGNAL.append(number)
        threading.Thread(target=_end_late, daemon=True).start()
    if multiprocessing.parent_process() is not None and not _working:
        os._exit(128 + number)
    if _in_destructor(frame):
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        return
    raise StopRequested


def _in_destructor(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _end_late() -> None:
    time.sleep(GRACE_S)
    _end_now()


def _end_now() -> None:
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(128 + FIRST_SIGNAL[0])


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
