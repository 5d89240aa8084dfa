"""A pool of processes: tasks in, results in the order of the tasks out, with progress."""

import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from alpamayo_sim.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")
MAX_PROCESSES = 8  # unless told otherwise

Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the number of items done, and the number of all items."""


def in_order(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    what: str = "",
    progress: Progress = lambda what, done, total: None,
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Yield each task with its result, or with the exception that it raised; both must be picklable.

    To close the generator stops the work: tasks that have not begun are dropped, tasks that have begun are finished.
    A single worker or a single task runs in this process.

    Args:
        work: a function at the top level of its module.
        tasks: its arguments.
        workers: number of processes; one for each core unless given, at most 8.
        what: the name of the work, for ``progress``.
        progress: called with (what, done, total) after each task.

    Raises:
        InputError: the system has killed a worker.
    """
    count = min(workers or min(MAX_PROCESSES, os.cpu_count() or 1), len(tasks))
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
            f"{what}: a worker process was killed, perhaps because memory ran out; try fewer workers"
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
    """Use one thread in each process, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:  # loaded before the variable was set
        sys.modules["torch"].set_num_threads(1)
