"""Files of training data: each is made once from its inputs, and made again only where these have changed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from alpamayo.parallel import Progress, Workers, all_in_order
from alpamayo.training.array_files import stored_inputs
from alpamayo_sim.errors import InputError


class FileJob(Protocol):
    """One file to make."""

    @property
    def path(self) -> Path:
        """The file."""

    def inputs(self) -> str:
        """Return what decides the content of the file, as JSON."""


Job = TypeVar("Job", bound=FileJob)


def make_files(
    folder: Path,
    jobs: Sequence[Job],
    make: Callable[[Job], object],
    version: int,
    *,
    workers: Workers,
    progress: Progress,
) -> list[Path]:
    """Make the files of jobs in ``folder`` and return them; those of the same inputs and version are kept.

    Raises:
        InputError: the folder cannot be made, or what a job raises.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot create the folder ({error.strerror})") from error
    missing = [job for job in jobs if stored_inputs(job.path, version) != job.inputs()]
    kept = len(jobs) - len(missing)

    def count(what: str, done: int, _: int) -> None:
        progress(what, kept + done, len(jobs))

    all_in_order(make, missing, workers=workers, what="collect", progress=count)
    return [job.path for job in jobs]
