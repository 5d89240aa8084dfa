"""What several commands share: their options, the progress bar on stderr, and JSON on stdout."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alpamayo.drivers.registry import BUILT_IN
from alpamayo_datasets.writers import WRITERS
from alpamayo_sim.errors import InputError, check_known

if TYPE_CHECKING:
    from alpamayo import parallel
    from alpamayo.guard.config import GuardConfig

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the results. [default: a name under runs/]")]
DriverName = Annotated[
    str,
    typer.Option(
        "--driver",
        help=f"{', '.join(name for name, entry in BUILT_IN.items() if not entry.replays_recording)}; a driver of an "
        "installed package (see `alpamayo drivers list`); or your own as module:Class, in this folder or installed.",
    ),
]
DriverArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--driver-args",
        metavar="KEY=VALUE|JSON",
        help="Arguments of the constructor of your own driver: speed=8.5, or a JSON object; may be repeated.",
    ),
]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights in place of the shipped ones.  [default: shipped]")]
Guarded = Annotated[
    bool | None,
    typer.Option(
        "--guard/--no-guard",
        help="Let the guard choose among the plans and brake when none is safe. "
        "[default: as `alpamayo drivers list` says; off for your own]",
    ),
]
Given = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Fix a parameter of the family; may be repeated. `alpamayo scenarios show` lists parameters with unit and "
        "range.",
    ),
]
Export = Annotated[
    str | None,
    typer.Option(
        "--export",
        metavar="FORMAT",
        help=f"Write what happened as a data set, too: {', '.join(writer.name for writer in WRITERS)}.",
    ),
]
GuardSees = Annotated[
    str,
    typer.Option(
        "--guard-sees",
        help="What the guard is told of other road users: truth, or belief: what the driver takes to be there. "
        "belief turns the guard on.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Number of processes. [default: one per core, at most 8]")
]
ClusterName = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="auto|ray://HOST:PORT",
        help="Work on a Ray cluster whose nodes share this folder. [default: processes of this machine]",
    ),
]
MAX_SEED, MAX_EPISODES, MAX_MINUTES = (1 << 63) - 1, 100_000, 1e6
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the scenario and of all random draws.")]


def parameters_of(texts: list[str] | None) -> dict[str, float]:
    """Read the values of ``--set``.

    Raises:
        InputError: A text is not NAME=VALUE, or its value is not a number.
    """
    found: dict[str, float] = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise InputError(f"--set {text!r}: must be NAME=VALUE with a number, such as gap=12.5") from None
    return found


def guard_of(guard: bool | None, sees: str) -> "bool | GuardConfig | None":
    """Return the guard that the options ask for; None is the default of a driver.

    Raises:
        InputError: an unknown word, or a guard on belief that shall be off.
    """
    check_known("--guard-sees", sees, ("truth", "belief"))
    if sees == "truth":
        return guard
    if guard is False:
        raise InputError("--guard-sees belief turns the guard on; it does not go with --no-guard")
    from alpamayo.guard.config import GuardConfig

    return GuardConfig(on_belief=True)


def workers_of(workers: int | None, cluster: str | None) -> "parallel.Workers":
    """Return where the work is done: on this machine, or on a cluster."""
    from alpamayo.cluster import Cluster

    return workers if cluster is None else Cluster(cluster, workers)


def listed(text: str) -> list[str]:
    """Return the different words of a list separated by commas."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar on stderr; yield a function that takes (name, done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True, markup=False))
    tasks: dict[str, Any] = {}

    def update(what: str, done: int, total: int) -> None:
        bar.start()  # at the first update, so that an error before it is one line
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    try:
        yield update
    except KeyboardInterrupt:
        bar.console.print("interrupted; what was finished is kept")
        raise
    finally:
        if tasks:
            bar.stop()


def print_json(value: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False))  # noqa: T201
