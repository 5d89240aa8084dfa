"""Commands around drives: a driver of one's own, leaderboards, the viewer, and what is installed."""

import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from alpamayo import serve_commands
from alpamayo.cli_options import MAX_SEED, Checkpoint, Json, listed, print_json, progress_bar

app = typer.Typer()
new_app = typer.Typer(help="Make a file to begin with.", no_args_is_help=True)
app.add_typer(new_app, name="new")


@new_app.callback()
def new() -> None:
    """Make a file to begin with."""


@new_app.command("driver")
def new_driver(
    name: Annotated[str, typer.Argument(help="A name such as my-driver: it makes my_driver.py with MyDriver.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where the file goes.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write a driver of your own, which follows its route as it is, and say how to drive and measure it."""
    from alpamayo.drivers.new import new_driver

    path, driver = new_driver(name, folder)
    commands = [f"alpamayo drive cut-in --driver {driver}", f"alpamayo evaluate --driver {driver},idm --episodes 12"]
    if as_json:
        print_json({"file": str(path), "driver": driver, "next": commands})
        return
    where = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    print(f"wrote {path}\nnext: " + "\n      ".join(where + command for command in commands))  # noqa: T201


@app.command()
def leaderboard(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of suite runs, or of one driver in them.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder for leaderboard.html, leaderboard.json and runs.csv.")
    ] = Path("runs/leaderboard"),
    confidence: Annotated[float, typer.Option(help="Confidence of all intervals.")] = 0.95,
    as_json: Json = False,
) -> None:
    """Rank drivers: scores with intervals, capability by item response theory, families, tests of each pair."""
    from alpamayo.evaluation.leaderboard import leaderboard, write_leaderboard
    from alpamayo.report.console import show_leaderboard

    found = leaderboard(folders, confidence)
    page = write_leaderboard(found, out)
    if as_json:
        print_json(found)
    else:
        show_leaderboard(found, page)


@app.command()
def faithfulness(
    family: Annotated[
        str | None, typer.Option(help="Families, separated by commas. [default: those of long-tail-6]")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds of the families, such as 0-9,42.")] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Scenarios, from the first on. [default: 12 of long-tail-6]")
    ] = None,
    checkpoint: Checkpoint = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the driver and of the questions.")] = 0,
    as_json: Json = False,
) -> None:
    """Question the words of tiny while it drives: are they true, do they decide, are they stable?"""
    from alpamayo.drivers.registry import make_driver
    from alpamayo.evaluation.faithfulness import DEFAULT_EPISODES, faithfulness
    from alpamayo.evaluation.selection import seeds_of, select
    from alpamayo.report.console import show_faithfulness

    families = listed(family or "")
    count = episodes or (None if families else DEFAULT_EPISODES)
    chosen = select(families=families, seeds=[] if seeds is None else seeds_of(seeds), episodes=count)
    with progress_bar() as progress:
        found = faithfulness(make_driver("tiny", checkpoint), chosen.entries, seed=seed, progress=progress)
    result = {"scenarios": chosen.name, "digest": chosen.digest, "seed": seed, "measures": found.rows()}
    if as_json:
        print_json(result)
    else:
        show_faithfulness(result)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="Folder of a suite run with one driver, or of one driver in it.")],
    after: Annotated[Path, typer.Argument(help="The same of the change, on the same scenarios.")],
    gate: Annotated[
        bool, typer.Option("--gate", help="Exit with 0 for SHIP, 1 for HOLD and 3 for INCONCLUSIVE.")
    ] = False,
    at_fault: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="By how much the rate of at-fault collisions may be higher.")
    ] = 0.02,
    pdm: Annotated[float, typer.Option(min=0.0, max=1.0, help="By how much the PDM score may be lower.")] = 0.02,
    as_json: Json = False,
) -> None:
    """Say whether a change of a driver is a regression: SHIP, HOLD or INCONCLUSIVE, and why."""
    from alpamayo.evaluation.gate import EXIT_CODES, Decision, GateConfig, compare_runs
    from alpamayo.report.console import bold, plain_console

    found = compare_runs(before, after, GateConfig(at_fault, pdm))
    if as_json:
        print_json(found)
    else:
        console = plain_console()
        console.print(bold(found["decision"]), found["reason"], soft_wrap=True)
        lacks = f"; {len(found['only_before'])} only before, {len(found['only_after'])} only after"
        console.print(f"{found['pairs']} scenarios in both{lacks}", soft_wrap=True)
    if gate:
        raise typer.Exit(EXIT_CODES[Decision(found["decision"])])


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(metavar="RUN|SUITE_RUN", help="Folder of a run, or of a suite run.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    as_json: Json = False,
) -> None:
    """Show episodes in the browser: gallery, world and cameras, two drivers side by side. Ends with Ctrl-C."""
    from alpamayo.viewer.library import Library
    from alpamayo.viewer.server import ViewerServer

    server = ViewerServer(Library(folder), port)
    count = len(server.library.rows)
    if as_json:
        print_json({"address": server.address, "episodes": count})
    else:
        print(f"{count} episode{'' if count == 1 else 's'} at {server.address} (Ctrl-C ends it)", flush=True)  # noqa: T201
    sys.stdout.flush()
    if browser and not as_json:
        webbrowser.open(server.address)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


@app.command()
def doctor(
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure how fast this machine is; a few seconds.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Say what is installed, what is missing, and how fast this machine is; code 1 if something needed is missing."""
    from alpamayo.doctor import examine
    from alpamayo.report.console import show_doctor

    found = examine(measure=measure)
    if as_json:
        print_json(found)
    else:
        show_doctor(found)
    if not found["complete"]:
        raise typer.Exit(1)


app.command()(serve_commands.serve)
