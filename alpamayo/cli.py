"""The command line. Results go to stdout, progress and errors to stderr; invalid input ends with code 2.

Large packages are imported only by the commands that need them, so that ``alpamayo --help`` is fast.
"""

import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from alpamayo import dataset_commands, scenario_commands, tool_commands
from alpamayo.cli_options import (
    MAX_EPISODES,
    MAX_MINUTES,
    MAX_SEED,
    Checkpoint,
    ClusterName,
    DriverArgs,
    DriverName,
    Export,
    Given,
    Guarded,
    GuardSees,
    Json,
    Out,
    Seed,
    Workers,
    guard_of,
    listed,
    parameters_of,
    print_json,
    progress_bar,
    workers_of,
)
from alpamayo.drivers.registry import BUILT_IN, JOINT, file_name_of
from alpamayo_datasets.readers import described_formats
from alpamayo_sim.errors import InputError, check_known, is_machine_fault, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alpamayo.parallel import Progress
    from alpamayo_datasets import Writer
    from alpamayo_sim.datatypes.scenario import Scenario

GROUPS = {
    "Drive": ("drive", "replay", "serve", "view"),
    "Measure": ("evaluate", "validate", "leaderboard", "compare", "faithfulness"),
    "Scenes and data": ("scenarios", "datasets"),
    "Drivers and training": ("drivers", "new", "train", "train-end-to-end", "model"),
    "This machine": ("doctor",),
}
"""The commands as the help shows them."""


class GroupedHelp(TyperGroup):
    """A command whose help lists its commands in ``GROUPS``."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the groups; a command in none of them would be an error of this file."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(200)) for name in names])


app = typer.Typer(
    name="alpamayo",
    cls=GroupedHelp,
    help="The long tail of driving: simulate the rare scene, drive it, score what was decided.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # as markup, a "[default: ...]" in a help text would be lost
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(scenario_commands.app, name="scenarios")
app.add_typer(dataset_commands.app, name="datasets")
app.add_typer(tool_commands.app)
drivers_app = typer.Typer(help="The drivers: built-in ones and those of installed packages.", no_args_is_help=True)
app.add_typer(drivers_app, name="drivers")
model_app = typer.Typer(help="The Nemotron backbone and its checkpoints.", no_args_is_help=True)
app.add_typer(model_app, name="model")


def main() -> None:
    """Run the command line."""
    from alpamayo.signals import end_if_stopped, stop_on_signals

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names and units are UTF-8 in any locale
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    stop_on_signals()
    try:
        app()
    except InputError as error:
        _fail(str(error))
    except (MemoryError, OSError, RuntimeError) as error:
        if not is_machine_fault(error):
            raise
        _fail(f"the machine is at its limit: {error or 'out of memory'}; what was finished is kept")
    finally:
        end_if_stopped()


def _version(asked: bool) -> None:
    if asked:
        from alpamayo.provenance import code_version

        print(code_version())  # noqa: T201
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Drive the long tail: simulate the rare scene, drive it, score what was decided."""


def _fail(message: str) -> None:
    print(f"alpamayo: {one_line(message)}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


@app.command()
def drive(
    family: Annotated[
        str,
        typer.Argument(metavar="FAMILY|FILE", help="A family (see `alpamayo scenarios list`), or a scenario's file."),
    ] = "cut-in",
    driver: DriverName = "tiny",
    seed: Seed = 0,
    episodes: Annotated[
        int, typer.Option(min=1, max=MAX_EPISODES, help="Number of episodes; their seeds count up from --seed.")
    ] = 1,
    out: Out = None,
    guard: Guarded = None,
    guard_sees: GuardSees = "truth",
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    given: Given = None,
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Make a long-tail scenario, drive it in closed loop, and write a record, a video and a report."""
    from alpamayo.drivers.registry import check_name
    from alpamayo.sources import scenario_file

    stored = scenario_file(family)
    scenarios = _of_family(family, given, seed, episodes) if stored is None else _of_file(stored, given, episodes)
    check_name(driver, recorded=False)
    arguments = _arguments(driver_args)
    from alpamayo.export import export_folder
    from alpamayo.runs import run_scenarios

    name = family if stored is None else stored.scene.id
    out = out or Path("runs") / f"{name}-{file_name_of(driver)}-{seed}"
    exported = export_folder(export, out) if export else None
    with progress_bar() as progress:
        rows = run_scenarios(
            scenarios,
            episodes,
            driver,
            out,
            guard=guard_of(guard, guard_sees),
            checkpoint=checkpoint,
            arguments=arguments,
            progress=progress,
            seed=None if stored is None else seed,
        )
        if exported:
            _export(rows, *exported, progress)
    _show_runs(rows, as_json)


def _of_family(name: str, given: list[str] | None, seed: int, episodes: int) -> "Iterator[Scenario]":
    """Return scenarios of a family, whose seeds count up."""
    from alpamayo_scenarios.families import get_family

    kind = get_family(name)
    parameters = kind.checked(parameters_of(given))
    return (kind.build(parameters, s) for s in range(seed, seed + episodes))


def _of_file(scenario: "Scenario", given: list[str] | None, episodes: int) -> "Iterator[Scenario]":
    """Return the scenario of a file, whose parameters are fixed."""
    if given or episodes > 1:
        raise InputError(
            "a scenario's file holds one scenario with its parameters: --set and --episodes do not go with it"
        )
    return iter((scenario,))


@app.command()
def replay(
    log: Annotated[
        Path, typer.Argument(help=f"A recorded log: {described_formats()}. LOG#ID opens one of many scenes.")
    ],
    driver: Annotated[str, typer.Option("--driver", help="As for drive; or log: repeat the recording.")] = "tiny",
    seed: Seed = 0,
    out: Out = None,
    guard: Guarded = None,
    guard_sees: GuardSees = "truth",
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    reactive: Annotated[
        bool, typer.Option("--reactive", help="Recorded road users react where the recording has become impossible.")
    ] = False,
    sensors: Annotated[
        str,
        typer.Option(
            help="What the driver sees: rendered, the drawn world; recorded, the log's own cameras; or both: it sees "
            "the recorded ones, and the report shows both."
        ),
    ] = "rendered",
    export: Export = None,
    as_json: Json = False,
) -> None:
    """Drive in a recorded scene in closed loop, while the other road users repeat their recorded motions."""
    from alpamayo.drivers.registry import check_name, get_entry
    from alpamayo.report.sensors import Sensors, SensorSource
    from alpamayo.sources import scenario_file
    from alpamayo_datasets import find_log, open_log
    from alpamayo_sim.datatypes.scenario import scenario_of_log

    check_name(driver)
    arguments = _arguments(driver_args)
    check_known("source of sensors", sensors, [*SensorSource])
    scenario = scenario_file(log) or scenario_of_log(open_log(log), reactive=reactive)
    cameras = None if sensors == SensorSource.RENDERED else find_log(log).cameras()
    if checkpoint is None and (note := get_entry(driver).recordings_note):
        typer.echo(note, err=True)
    from alpamayo.export import export_folder
    from alpamayo.runs import run_scenarios

    out = out or Path("runs") / f"{log.stem}-{file_name_of(driver)}"
    exported = export_folder(export, out) if export else None
    with progress_bar() as progress:
        rows = run_scenarios(
            [scenario],
            1,
            driver,
            out,
            guard=guard_of(guard, guard_sees),
            checkpoint=checkpoint,
            arguments=arguments,
            progress=progress,
            seed=seed,
            sensors=Sensors(SensorSource(sensors), cameras),
        )
        if exported:
            _export(rows, *exported, progress)
    if rows[0]["collision"] and not reactive:
        typer.echo("The other road users only repeat their recording; --reactive lets them react to the ego.", err=True)
    _show_runs(rows, as_json)


@drivers_app.command("list")
def list_drivers(as_json: Json = False) -> None:
    """List the drivers, and the plug-ins that cannot be loaded."""
    from alpamayo.drivers.registry import plugin_entries
    from alpamayo.report.console import bold, plain_console

    plugins, broken = plugin_entries()
    entries = [*BUILT_IN.values(), *plugins.values()]
    if as_json:
        print_json({"drivers": [asdict(entry) for entry in entries], "broken": broken})
        return
    table = Table("driver", "", "needs", "guard", "package", box=None, padding=(0, 3, 0, 0), header_style="dim")
    for entry in entries:
        guard = "on" if entry.guarded else "off"
        table.add_row(bold(entry.name), entry.title, entry.needs, guard, entry.package)
    plain_console().print(table)
    for name, reason in broken.items():
        print(f"alpamayo: driver {name!r}: its plug-in cannot be loaded: {one_line(reason)}", file=sys.stderr)  # noqa: T201


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, states, losses and weights.")] = Path(
        "runs/train"
    ),
    driven: Annotated[int, typer.Option(min=0, help="Scenarios driven for perception, by two pilots each.")] = 383,
    scattered: Annotated[int, typer.Option(min=0, help="Scenes with scattered things for perception.")] = 400,
    perception_steps: Annotated[int, typer.Option(min=1, help="Steps of perception's training.")] = 12000,
    believed: Annotated[int, typer.Option(min=1, help="Scenarios driven for the words, without cameras.")] = 300,
    reasoner_steps: Annotated[int, typer.Option(min=1, help="Steps of the words' training.")] = 4000,
    seed: Seed = 0,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Train tiny: make data, train perception and the words, join them. An interrupted run resumes when repeated."""
    from alpamayo.training import BeliefPlan, train_belief

    plan = BeliefPlan(
        driven=driven,
        scattered=scattered,
        perception_steps=perception_steps,
        believed=believed,
        reasoner_steps=reasoner_steps,
        seed=seed,
    )
    with progress_bar() as progress:
        path = train_belief(out, plan, workers=workers_of(workers, cluster), progress=progress)
    if as_json:
        print_json({"checkpoint": str(path)})
        return
    print(f"checkpoint: {path}\nnext: alpamayo evaluate --driver tiny --checkpoint {path}")  # noqa: T201


@app.command("train-end-to-end")
def train_end_to_end_driver(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, checkpoints and the log.")] = Path(
        "runs/end-to-end"
    ),
    episodes: Annotated[int, typer.Option(min=1, max=MAX_EPISODES, help="Episodes of training data.")] = 240,
    minutes: Annotated[float, typer.Option(min=0.0, max=MAX_MINUTES, help="Wall time of the training itself.")] = 25.0,
    seed: Seed = 0,
    evaluation_episodes: Annotated[
        int, typer.Option(min=0, max=MAX_EPISODES, help="Closed-loop episodes to evaluate on afterwards; 0 for none.")
    ] = 60,
    start: Annotated[Path | None, typer.Option(help="Weights to start from, in place of random ones.")] = None,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Train end-to-end on data of the expert, and evaluate it. An interrupted run resumes when repeated."""
    from alpamayo.evaluation import evaluate as run_evaluation
    from alpamayo.report import console as evaluation_console
    from alpamayo.training import train_end_to_end

    where = workers_of(workers, cluster)
    with progress_bar() as progress:
        result = train_end_to_end(
            out, episodes=episodes, minutes=minutes, seed=seed, start=start, workers=where, progress=progress
        )
        report: dict[str, Any] = {"checkpoint": str(result.checkpoint), "open_loop": result.open_loop}
        if evaluation_episodes:
            evaluation = run_evaluation(
                ["end-to-end"],
                evaluation_episodes,
                out / "evaluation",
                checkpoint=result.checkpoint,
                workers=where,
                progress=progress,
            )
            report["closed_loop"] = evaluation
    if as_json:
        print_json(report)
        return
    console = evaluation_console.plain_console()
    console.print(f"checkpoint: {result.checkpoint}", soft_wrap=True)
    for name, value in result.open_loop.items():
        console.print(f"{name}: {value:.4g}")
    if evaluation_episodes:
        evaluation_console.show_evaluation(report["closed_loop"])


@app.command()
def evaluate(
    driver: Annotated[str, typer.Option("--driver", help="Drivers, separated by commas.")] = "tiny",
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_EPISODES, help="Scenarios, from the first on. [default: 60 of long-tail-6, else all]"
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="Suites by name or file, separated by commas. [default: long-tail-6]")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Families, separated by commas, each with the seeds of --seeds.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of the families, such as 0-9,42. [default: ten that training never uses]")
    ] = None,
    logs: Annotated[
        list[Path] | None, typer.Option(help="A recorded log, or a folder of them; may be repeated.")
    ] = None,
    reactive: Annotated[
        bool, typer.Option("--reactive", help="Recorded road users react where the recording has become impossible.")
    ] = False,
    out: Out = None,
    guard: Guarded = None,
    guard_sees: GuardSees = "truth",
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    ablate: Annotated[
        str | None,
        typer.Option(
            help="Drive also without these inputs or parts, separated by commas: cameras, tele, frames, route, "
            "history, navigation; words of tiny. Each is a driver of its own, as in --driver "
            "tiny-without-tele."
        ),
    ] = None,
    stop_when: Annotated[
        str | None,
        typer.Option(help="Stop a driver when a claim is shown or refuted: 'at-fault < 5%', 'arrived > 90%'."),
    ] = None,
    importance: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY",
            help="Estimate the probability of an at-fault collision in one family by importance sampling: more "
            "episodes where a pilot came close to a collision.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the draws of --importance.")] = 0,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Drive suites, families or logs, and compare drivers (95 % intervals).

    Without a choice it drives a suite that training never uses. Drivers are measured without the guard. One that is
    guarded by default gets a second row, with the guard.
    """
    from alpamayo.drivers.registry import check_name

    names = listed(driver)
    names += [f"{name}{JOINT}{what}" for name in names for what in listed(ablate or "")]
    for name in names:
        check_name(name, recorded=bool(logs) and not (suite or family))
    if not names:
        raise InputError("evaluate needs a driver, such as --driver idm")
    if importance and (len(names) > 1 or stop_when or suite or family or logs):
        raise InputError("--importance is for one driver, and goes without --stop-when, --suite, --family and --logs")
    from alpamayo.evaluation import evaluate as run_evaluation
    from alpamayo.evaluation import failure_probability
    from alpamayo.evaluation.selection import DEFAULT_EPISODES, seeds_of
    from alpamayo.report import console

    arguments = _arguments(driver_args)
    options: dict[str, Any] = {
        "guard": guard_of(guard, guard_sees),
        "checkpoint": checkpoint,
        "arguments": arguments,
        "workers": workers_of(workers, cluster),
    }
    with progress_bar() as progress:
        if importance:
            folder = out or Path("runs") / f"importance-{importance}"
            result = failure_probability(
                names[0], importance, episodes or DEFAULT_EPISODES, folder, seed=seed, progress=progress, **options
            )
        else:
            folder = out or Path("runs") / "evaluation"
            result = run_evaluation(
                names,
                episodes,
                folder,
                suite=listed(suite or ""),
                families=listed(family or ""),
                seeds=[] if seeds is None else seeds_of(seeds),
                logs=logs or [],
                reactive=reactive,
                stop_when=stop_when,
                progress=progress,
                **options,
            )
    if as_json:
        print_json(result)
    elif importance:
        console.show_importance(result)
    else:
        console.show_evaluation(result)
        console.show_places(folder, folder / "evaluation.html")


@app.command()
def validate(
    path: Annotated[Path, typer.Argument(metavar="EPISODE|SUITE_RUN", help="Folder of an episode, or of a suite run.")],
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for validation.html and validation.json.  [default: runs/validation-NAME]"),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of all intervals.")] = 0.95,
    preventability: Annotated[
        bool,
        typer.Option(
            "--preventability/--no-preventability",
            help="Drive the scenarios with collisions again with the reference drivers of UN R157.",
        ),
    ] = True,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            metavar="NAME=FORMULA",
            help="Your own rule in temporal logic, such as 'room=always(clearance > 0.5)'; may be repeated. "
            "docs/validator/formulas.md has the signals.",
        ),
    ] = None,
    rules: Annotated[
        list[Path] | None, typer.Option("--rules", metavar="FILE", help="Your own rules in a TOML or JSON file.")
    ] = None,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Rescore episodes from their records: figures with intervals, failures, coverage, hashes."""
    from alpamayo.evaluation.validation import as_json as text_of
    from alpamayo.evaluation.validation import validate as run_validation
    from alpamayo.report.console import show_validation
    from alpamayo.validator.formulas import given_formulas

    formulas = given_formulas(rule or [], rules or [])
    folder = report or Path("runs") / f"validation-{path.resolve().name}"
    with progress_bar() as progress:
        document, page = run_validation(
            path,
            folder,
            confidence=confidence,
            workers=workers_of(workers, cluster),
            prevent=preventability,
            formulas=formulas,
            progress=progress,
        )
    if as_json:
        sys.stdout.write(text_of(document))
    else:
        show_validation(document, page)


@model_app.command("info")
def info(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|FOLDER", help="tiny, small, nano, super, ultra, or a folder.")
    ],
    context: Annotated[
        int | None,
        typer.Option(min=0, help="Number of tokens in the cache. [default: 32768, or the model's limit where lower]"),
    ] = None,
    device: Annotated[str, typer.Option(help="Device whose memory bandwidth sets the roofline.")] = "h200",
    weights: Annotated[str, typer.Option(help="Data type of the stored weights.")] = "bfloat16",
    as_json: Json = False,
) -> None:
    """Print parameters, cache bytes and the decoding roofline of a model, computed from its shape."""
    from alpamayo.report.console import bold, plain_console
    from alpamayo_vla_model.nemotron.errors import NemotronInputError
    from alpamayo_vla_model.nemotron.model_info import format_value, model_info

    try:
        values = model_info(source, context=context, device=device, weights=weights).as_dict()
    except NemotronInputError as error:
        raise InputError(str(error)) from error
    if as_json:
        print_json(values)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in values.items():
        table.add_row(bold(name.replace("_", " ")), format_value(name, value))
    plain_console().print(table)


def _arguments(texts: list[str] | None) -> dict[str, Any]:
    if not texts:
        return {}
    from alpamayo.drivers.own import parse_arguments

    return parse_arguments(texts)


def _export(rows: list[dict[str, Any]], writer: "Writer", folder: Path, progress: "Progress") -> None:
    """Write finished runs as one data set, and say where."""
    from alpamayo.export import export_runs

    export_runs([Path(row["episode"]).parent for row in rows], writer, folder, progress)
    for row in rows:
        row["export"] = str(folder)


def _show_runs(rows: list[dict[str, Any]], as_json: bool) -> None:
    from alpamayo.report.console import bold, plain_console

    if as_json:
        print_json(rows[0] if len(rows) == 1 else {"episodes": rows})
        return
    console = plain_console()
    cells = [_run_cells(row) for row in rows]
    if len(rows) == 1:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in cells[0].items():
            table.add_row(bold(name), value)
    else:
        table = Table(*cells[0], header_style="bold")
        for row in cells:
            table.add_row(*row.values())
    console.print(table)
    for row in rows:
        console.print(f"report: {row['report']}", soft_wrap=True)
        console.print(f"video:  {row['video']}", soft_wrap=True)


def _run_cells(row: dict[str, Any]) -> dict[str, str]:
    from alpamayo.report.text import number_text, outcome_text, single_score_text

    area = {True: "left the road", False: "stayed on the road", None: "n/a"}[row["off_road"]]
    cells = {
        "scenario": row["scenario"],
        "driver": row["driver"],
        "outcome": f"{outcome_text(row | {'off_road': False})} after {row['duration_s']:.1f} s",
        "road": area,
        "progress": f"{row['progress_m']:.0f} of {row['goal_m']:.0f} m",
        "TTC margin": number_text(row["time_to_collision_margin_s"], unit="s"),
        "PDM score": single_score_text(row["scores"]["pdms"]),
        "guard": f"intervened in {row['interventions'] / row['steps']:.0%} of the steps" if row["guarded"] else "off",
    }
    if row["deviation_from_recording_m"] is not None:
        cells["from the recording"] = f"at most {row['deviation_from_recording_m']:.3f} m"
    return cells
