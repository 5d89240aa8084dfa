"""Work on a Ray cluster: one actor for each worker, at most two tasks in flight, results in the order of the tasks."""

import logging
import os
import socket
import sys
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from alpamayo.provenance import code_version
from alpamayo_sim.errors import DriverError, InputError, one_line

Task = TypeVar("Task")
Result = TypeVar("Result")
_log = logging.getLogger(__name__)

IN_FLIGHT = 2  # tasks of one worker: one that runs, and one that waits
DEATHS = 3  # a task whose worker has died so often is a failure
KNOCK_S = 10.0  # for an answer of the head
START_S = 300.0  # for the workers of a cluster, which import the project


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster: ``auto`` for the one of this machine, ``ray://HOST:PORT``, or ``HOST:PORT`` of its head.

    ``workers`` is the number of workers; None is one for each core of the cluster.
    """

    address: str
    workers: int | None = None


@dataclass
class _Worker:
    """An actor, and the numbers of its tasks by what will be their results."""

    actor: Any
    running: dict[Any, int] = field(default_factory=dict)


class Actor:
    """A worker process on some node: it runs in the folder of the command, which all nodes must share.

    Args:
        folder: the current folder of the command.
        token: a file in it.
        start: sets the process up.
    """

    def __init__(self, folder: str, token: str, start: Callable[[], None]) -> None:
        self._problem = ""
        try:
            os.chdir(folder)
        except OSError as error:
            self._problem = f"has no folder {folder} ({error.strerror})"
        else:
            if not Path(token).exists():
                self._problem = f"has another folder {folder}; the nodes must share it"
        start()

    def about(self) -> tuple[str, str, str]:
        """Return the node, the version of its code, and what is wrong with it."""
        return os.uname().nodename, code_version(), self._problem

    def run(self, work: Callable[[Any], Any], task: Any) -> Any:
        """Do a task."""
        return work(task)


def in_order(
    work: Callable[[Task], Result | Exception],
    tasks: Sequence[Task],
    cluster: Cluster,
    start: Callable[[], None],
    what: str,
) -> Generator[Result | Exception, None, None]:
    """Yield the result of each task; a worker that dies is replaced, and its tasks are done again.

    Args:
        work: a function that can be imported on the nodes; it returns what goes wrong.
        tasks: its arguments, of a few kB.
        cluster: where.
        start: sets a worker up.
        what: the name of the work, for errors.

    Raises:
        InputError: there is no such cluster, or none of its nodes has this code and this folder.
    """
    with _connected(cluster) as ray, _token() as token:
        make = ray.remote(num_cpus=1)(Actor).remote
        pool = _Pool(ray, lambda: make(str(Path.cwd()), token, start), cluster.workers)
        try:
            yield from pool.run(work, tasks, what)
        finally:
            pool.end()


class _Pool:
    def __init__(self, ray: Any, make: Callable[[], Any], workers: int | None) -> None:
        self._ray, self._make = ray, make
        cores = int(ray.cluster_resources().get("CPU", 0))
        self._count = min(workers or cores, cores)
        self._workers: list[_Worker] = []
        self._deaths: dict[int, int] = {}

    def run(
        self, work: Callable[[Task], Result | Exception], tasks: Sequence[Task], what: str
    ) -> Generator[Result | Exception, None, None]:
        """Yield the results of the tasks in their order."""
        self._fill(min(self._count, len(tasks)))
        waiting = deque(range(len(tasks)))
        done: dict[int, Result | Exception] = {}
        for number in range(len(tasks)):
            while number not in done:
                self._send(work, tasks, waiting)
                done.update(self._received(waiting, what))
            yield done.pop(number)

    def end(self) -> None:
        """End all workers."""
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _fill(self, count: int) -> None:
        """Make workers, and keep those whose node has this code and this folder.

        Raises:
            InputError: there is none.
        """
        made = [self._make() for _ in range(count - len(self._workers))]
        asked = [actor.about.remote() for actor in made]
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=START_S)
        problems = set()
        for actor, answer in zip(made, asked, strict=True):
            problem = self._problem(answer) if answer in ready else f"a worker did not start within {START_S:g} s"
            if problem:
                problems.add(problem)
                self._ray.kill(actor)
            else:
                self._workers.append(_Worker(actor))
        for problem in sorted(problems):
            _log.warning("cluster: %s", problem)
        if not self._workers:
            raise InputError(f"the cluster has no node that can work: {'; '.join(sorted(problems)) or 'no free core'}")

    def _problem(self, answer: Any) -> str:
        try:
            node, version, problem = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            return f"a worker cannot start: {one_line(str(error))[-300:]}"
        if version != code_version():
            return f"node {node} has another version of the code, {version}, and is left out; here is {code_version()}"
        return f"node {node} {problem}" if problem else ""

    def _send(self, work: Callable[[Any], Any], tasks: Sequence[Any], waiting: deque[int]) -> None:
        for _ in range(IN_FLIGHT):
            for worker in self._workers:
                if waiting and len(worker.running) < IN_FLIGHT:
                    number = waiting.popleft()
                    worker.running[worker.actor.run.remote(work, tasks[number])] = number

    def _received(self, waiting: deque[int], what: str) -> Iterator[tuple[int, Any]]:
        """Yield what has come: numbers and results."""
        ready, _ = self._ray.wait([one for worker in self._workers for one in worker.running], num_returns=1)
        for answer in ready:
            worker = next((worker for worker in self._workers if answer in worker.running), None)
            if worker is None:  # it has died meanwhile
                continue
            try:
                result = self._ray.get(answer)
                yield worker.running.pop(answer), result
            except self._ray.exceptions.RayActorError:
                yield from self._buried(worker, waiting, what)
            except self._ray.exceptions.RayError as error:  # the node could not read the task
                yield worker.running.pop(answer), InputError(f"{what}: {one_line(str(error))[-300:]}")

    def _buried(self, worker: _Worker, waiting: deque[int], what: str) -> Iterator[tuple[int, Any]]:
        """Replace a worker that has died; its tasks wait again, but for one that has outlived too many."""
        first, *others = sorted(worker.running.values())  # the first was running, the other waited
        self._deaths[first] = self._deaths.get(first, 0) + 1
        waiting.extendleft(reversed(others))
        if self._deaths[first] < DEATHS:
            _log.warning("%s: a worker has died; its task is done again", what)
            waiting.appendleft(first)
        else:
            yield first, DriverError(f"{what}: {DEATHS} workers have died of this task, perhaps for lack of memory")
        self._workers.remove(worker)
        self._fill(len(self._workers) + 1)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    """Give Ray, connected to a cluster.

    Raises:
        InputError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("a cluster needs Ray; install it with: pip install 'alpamayo[ray]'") from error
    with redirect_stdout(sys.stderr):  # Ray prints what happens to workers; stdout is for results
        try:
            _knock(cluster.address)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises ConnectionError, ValueError, RuntimeError and those of gRPC
            hint = "start one with `ray start --head`, or leave out --cluster"
            raise InputError(f"no Ray cluster at {cluster.address!r} ({one_line(str(error))[:200]}); {hint}") from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _knock(address: str) -> None:
    """Try an address, which Ray itself would do for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), KNOCK_S).close()


@contextmanager
def _token() -> Iterator[str]:
    """Give the name of a file in the current folder, by which a node knows that it shares the folder."""
    token = Path(f".alpamayo-{uuid.uuid4().hex}")
    token.touch()
    try:
        yield token.name
    finally:
        token.unlink(missing_ok=True)
