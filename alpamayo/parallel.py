"""Tasks over processes, results in the order of the tasks."""

import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from alpamayo.progress import Progress
from alpamayo_sim.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")
MOST = 8  # processes, unless told otherwise


def in_order(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    what: str = "",
    progress: Progress = lambda what, done, total: None,
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Each task with its result, or with the exception that it raised; both have to pickle.

    Whoever closes the generator stops the work: what has not begun is dropped, what has begun is finished. One
    worker or one task needs no process.

    Args:
        work: a function at the top of its module.
        tasks: its arguments.
        workers: processes; one a core unless given, at most 8.
        what: the name under which ``progress`` is told.
        progress: called with (what, done, of how many).

    Raises:
        InputError: the system has killed a worker.
    """
    count = min(workers or min(MOST, os.cpu_count() or 1), len(tasks))
    if count <= 1:
        for done, task in enumerate(tasks, start=1):
            result = _attempt(work, task)
            progress(what, done, len(tasks))
            yield task, result
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)
    wait = True
    try:
        futures = [pool.submit(_attempt, work, task) for task in tasks]
        for done, (task, future) in enumerate(zip(tasks, futures, strict=True), start=1):
            result = future.result()
            progress(what, done, len(tasks))
            yield task, result
    except BrokenProcessPool as error:
        raise InputError(
            f"{what}: a worker process was killed, perhaps for want of memory; try fewer workers"
        ) from error
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)


def _attempt(work: Callable[[Task], Result], task: Task) -> Result | Exception:
    try:
        return work(task)
    except Exception as error:
        return error


def _start_worker() -> None:
    """One thread a process; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
