"""The commands of ``alpamayo datasets``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from alpamayo.cli_options import (
    Checkpoint,
    ClusterName,
    DriverArgs,
    Json,
    Seed,
    Workers,
    print_json,
    progress_bar,
    workers_of,
)
from alpamayo_datasets.readers import described_formats
from alpamayo_datasets.writers import WRITERS, writer_named

if TYPE_CHECKING:
    from alpamayo.parallel import Progress
    from alpamayo_datasets.log import Log
    from alpamayo_datasets.recording import Recording
    from alpamayo_sim.datatypes.scene import Scene

app = typer.Typer(help="Recorded logs: look into them and convert them.", no_args_is_help=True)

LogPath = Annotated[
    Path,
    typer.Argument(metavar="LOG", help=f"A recorded log: {described_formats()}. LOG#ID names one of many scenes."),
]
Format = Annotated[
    str, typer.Option("--to", metavar="FORMAT", help="; ".join(f"{each.name}: {each.title}" for each in WRITERS) + ".")
]


@app.command()
def info(
    log: LogPath,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the middle of the scene from above.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a log holds: format, licence, scenes, rate, road users, map, and what is missing or odd."""
    from alpamayo_datasets import describe, find_log

    found = find_log(log)
    about = describe(found)
    if picture is not None:
        _draw(found.read(found.scene_id or about["scene_ids"][0]), picture)
        about["picture"] = str(picture)
    if as_json:
        print_json(about)
    else:
        _show(about)


@app.command()
def convert(
    log: LogPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; it must be new or empty.")],
    to: Format,
    as_json: Json = False,
) -> None:
    """Write the scenes of a log in another format. Sensor data is drawn where the format has it."""
    from alpamayo_datasets import find_log

    writer = writer_named(to)
    found = find_log(log)
    ids = found.scene_ids()
    with progress_bar() as progress:
        writer.write(_recordings(found, ids, progress), out)
    row = {"format": writer.name, "scenes": len(ids), "out": str(out)}
    if as_json:
        print_json(row)
    else:
        print(f"{len(ids)} scenes as {writer.title}: {out}")  # noqa: T201


@app.command("open-loop")
def open_loop(
    logs: Annotated[list[str], typer.Argument(metavar="LOG...", help="Recorded logs; all scenes of each are taken.")],
    driver: Annotated[str, typer.Option("--driver", help="Drivers, separated by commas.")] = "tiny",
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the whole result as JSON into this file.")] = None,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Compare the plans of drivers with what the recorded ego then did, at each step: minADE, minFDE, misses."""
    from alpamayo.drivers.own import parse_arguments
    from alpamayo.evaluation.open_loop import evaluate_open_loop
    from alpamayo.json_values import write_json
    from alpamayo.report.console import show_open_loop
    from alpamayo.runs import DriverChoice

    arguments = parse_arguments(driver_args or [])
    names = [name for name in driver.split(",") if name]
    choices = [DriverChoice.of(name, False, checkpoint, arguments) for name in names]
    for choice in choices:
        choice.make()
    where = workers_of(workers, cluster)
    with progress_bar() as progress:
        result = evaluate_open_loop(logs, choices, seed=seed, workers=where, progress=progress)
    if out is not None:
        write_json(result, out)
    if as_json:
        print_json(result)
    else:
        show_open_loop(result)


@app.command("mine")
def mine_logs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of recorded logs, also in folders below.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of index.parquet and failures.json. [default: runs/mined-DIR]")
    ] = None,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Find hard brakes, cut-ins, near misses, jaywalkers, red lights and wrong-way drivers in many logs.

    An interrupted run goes on when it is repeated.
    """
    from alpamayo.mining import mine
    from alpamayo.report.console import plain_console, warn

    out = out or Path("runs") / f"mined-{folder.resolve().name}"
    with progress_bar() as progress:
        found = mine(folder, out, workers=workers_of(workers, cluster), progress=progress)
    if as_json:
        print_json(found)
        return
    console = plain_console()
    for failure in found["failed"]:
        warn(console, "failed", f"{failure['log']}: {failure['reason']}")
    console.print(f"{found['scenes']} scenes, {found['taken']} of them mined before, {len(found['failed'])} failed")
    console.print(f"moments: {_counts(found['moments'])}", soft_wrap=True)
    console.print(f"index: {found['index']}", soft_wrap=True)


def _recordings(log: "Log", ids: list[str], progress: "Progress") -> "Iterator[Recording]":
    from alpamayo_datasets import Recording

    for done, scene_id in enumerate(ids):
        progress("convert", done, len(ids))
        yield Recording(log.read(scene_id))
    progress("convert", len(ids), len(ids))


def _draw(scene: "Scene", path: Path) -> None:
    from alpamayo_datasets.recording import recorded_truth
    from alpamayo_scenarios.pictures import write_picture
    from alpamayo_sim.sensors import BirdsEye

    write_picture(BirdsEye(scene).draw(recorded_truth(scene, scene.steps // 2), metres=120.0), path)


def _show(about: dict[str, Any]) -> None:
    from alpamayo.report.console import bold, plain_console

    console, scene = plain_console(), about["scene"]
    console.print(bold(about["path"]), about["title"], soft_wrap=True)
    more = "" if about["scenes"] == 1 else f"; this is {scene['id']}, LOG#ID shows another"
    rows = {
        "scenes": f"{about['scenes']}{more}",
        "source": scene["source"],
        "licence": scene["licence"],
        "duration": f"{scene['duration_s']:g} s, {scene['steps']} steps at {scene['rate_hz']:g} Hz",
        "ego": f"{scene['ego']['id']}: {scene['ego']['distance_m']:g} m, up to {scene['ego']['top_speed_mps']:g} m/s",
        "tracks": _counts(scene["tracks"]),
        "props": _counts(scene["props"]),
        "map": _counts(scene["map"]),
    }
    table = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for note in scene["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    if "picture" in about:
        console.print(f"picture: {about['picture']}", soft_wrap=True)


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counted.items()) or "none"
