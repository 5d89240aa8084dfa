"""A pool of processes, here or on a cluster: tasks in, results in the order of the tasks out, with progress."""

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import TypeVar

from alpamayo import cluster
from alpamayo.cluster import Cluster
from alpamayo.signals import serve_parent, working
from alpamayo_sim.errors import InputError

Task = TypeVar("Task")
Result = TypeVar("Result")
MAX_PROCESSES = 8  # unless told otherwise
STOP_S = 2.0  # for the clean-up of workers that are told to stop

Workers = int | Cluster | None
"""Number of processes of this machine, or a cluster; None is one process for each core, at most 8."""
Progress = Callable[[str, int, int], None]
"""Called with the name of the work, the number of items done, and the number of all items."""


def in_order(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: Workers = None,
    what: str = "",
    progress: Progress = lambda what, done, total: None,
) -> Generator[tuple[Task, Result | Exception], None, None]:
    """Yield each task with its result, or with the exception that it raised; both must be picklable.

    To close the generator stops the work: tasks that have not begun are dropped, tasks that have begun are finished.
    An interrupt stops the tasks that have begun, too. Workers end with this process, however it ends. A single worker
    or a single task runs in this process.

    Args:
        work: a function at the top level of its module.
        tasks: its arguments.
        workers: number of processes; one for each core unless given, at most 8; or a cluster.
        what: the name of the work, for ``progress``.
        progress: called with (what, done, total) before the first task and after each.

    Raises:
        InputError: the system has killed a worker, or there is no such cluster.
    """
    progress(what, 0, len(tasks))
    if isinstance(workers, Cluster):
        attempt = partial(_attempt, work)
        with closing(cluster.in_order(attempt, tasks, workers, _use_one_thread, what)) as results:
            for done, (task, result) in enumerate(zip(tasks, results, strict=True), start=1):
                progress(what, done, len(tasks))
                yield task, result
        return
    count = min(workers or min(MAX_PROCESSES, os.cpu_count() or 1), len(tasks))
    if count <= 1:
        for done, task in enumerate(tasks, start=1):
            result = _attempt(work, task)
            progress(what, done, len(tasks))
            yield task, result
        return
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)
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
        _stop(list(pool._processes.values()))
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def all_in_order(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: Workers = None,
    what: str = "",
    progress: Progress = lambda what, done, total: None,
) -> list[Result]:
    """Return the results of all tasks; see ``in_order``. The first task that raises ends the work.

    Raises:
        Exception: what a task raised.
        InputError: the system has killed a worker.
    """
    found: list[Result] = []
    with closing(in_order(work, tasks, workers=workers, what=what, progress=progress)) as results:
        for _, result in results:
            if isinstance(result, Exception):
                raise result
            found.append(result)
    return found


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Tell workers to clean up and end, and kill those that do not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        process.kill()


def _attempt(work: Callable[[Task], Result], task: Task) -> Result | Exception:
    try:
        with working():
            return work(task)
    except Exception as error:
        return error


def _start_worker() -> None:
    """Use one thread in each process; end when the parent says so or ends."""
    serve_parent()
    _use_one_thread()


def _use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:  # loaded before the variable was set
        sys.modules["torch"].set_num_threads(1)
