"""The commands of ``alpamayo scenarios``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from alpamayo.cli_options import (
    Checkpoint,
    ClusterName,
    DriverArgs,
    DriverName,
    Given,
    Guarded,
    GuardSees,
    Json,
    Seed,
    Workers,
    guard_of,
    parameters_of,
    print_json,
    progress_bar,
    workers_of,
)
from alpamayo_sim.errors import InputError

if TYPE_CHECKING:
    from alpamayo_scenarios.families import Family
    from alpamayo_scenarios.suites import Suite
    from alpamayo_sim.datatypes.scenario import Scenario

app = typer.Typer(help="The long-tail families: list, draw, sample and certify them.", no_args_is_help=True)

FamilyName = Annotated[str, typer.Argument(metavar="FAMILY", help="A family; see `alpamayo scenarios list`.")]
SuiteName = Annotated[str, typer.Argument(metavar="SUITE|FILE", help="The name of a suite, or the file of one.")]
Extrapolate = Annotated[
    bool, typer.Option("--extrapolate", help="Allow values of --set out of their ranges; they are marked.")
]


@app.command("list")
def list_scenarios(
    parameters: Annotated[
        bool, typer.Option("--parameters", help="With the parameters of each: ranges, units and sources.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the families by group, in a line each; with ``--parameters`` their ranges and sources, too."""
    from alpamayo.report.console import bold, plain_console
    from alpamayo_scenarios.families import FAMILIES, families_by_group

    if as_json:
        print_json([_family_json(family) for family in FAMILIES])
        return
    console = plain_console()
    width = max(len(family.name) for family in FAMILIES)
    for group, families in families_by_group().items():
        console.print(bold(group))
        for family in families:
            console.print(f"  {family.name:{width}}  {family.title}{' (held out)' if family.held_out else ''}")
            if parameters:
                console.print(_parameter_table(family))
    console.print("\nnext: alpamayo scenarios show FAMILY", soft_wrap=True)


@app.command()
def show(
    family: Annotated[str, typer.Argument(metavar="FAMILY|FILE", help="A family, or a scenario's file.")],
    seed: Seed = 0,
    given: Given = None,
    extrapolate: Extrapolate = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The picture; the film lies beside it. [default: runs/FAMILY-SEED.png]")
    ] = None,
    film: Annotated[bool, typer.Option("--film/--no-film", help="Write a film of the event, too.")] = True,
    as_json: Json = False,
) -> None:
    """Describe a family, draw one scenario shortly before the event, and film the event: bird's eye and front camera.

    The ego in them does not react.
    """
    from alpamayo.sources import scenario_file
    from alpamayo_scenarios.families import get_family
    from alpamayo_scenarios.pictures import caption, picture, write_film, write_picture

    scenario, kind = scenario_file(family), None
    if scenario is None:
        kind = get_family(family)
        scenario = kind.build(parameters_of(given), seed, extrapolate=extrapolate)
    name = scenario.scene.id
    title = name if kind is None else caption(kind)
    path = out or Path("runs") / f"{name}.png"
    write_picture(picture(scenario, title), path)
    files = {"picture": str(path)}
    if film:
        moving = path.with_suffix(".mp4")
        write_film(scenario, title, moving)
        files["film"] = str(moving)
    _show_scenario(kind, scenario, files, as_json)


def _show_scenario(kind: "Family | None", scenario: "Scenario", files: dict[str, str], as_json: bool) -> None:
    """Print a scenario, its family if it has one, and the files of its picture and film."""
    from alpamayo.report.console import bold, plain_console

    outside = [] if kind is None else list(kind.extrapolated(scenario.parameters))
    if as_json:
        drawn = {"parameters": dict(scenario.parameters), "seed": scenario.seed, "extrapolated": outside, **files}
        print_json(({} if kind is None else _family_json(kind)) | {"scenario": drawn})
        return
    console = plain_console()
    if kind is not None:
        console.print(bold(kind.name), "", kind.summary)
        console.print(_parameter_table(kind, scenario.parameters))
    if outside:
        console.print(f"out of range: {', '.join(outside)}")
    for what, file in files.items():
        console.print(f"{what}: {file}", soft_wrap=True)


@app.command()
def sample(
    family: FamilyName,
    count: Annotated[
        int | None,
        typer.Option("-n", help="Number of scenarios; a grid has at most as many. [default: 100; covering: as needed]"),
    ] = None,
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder. [default: runs/FAMILY-METHOD-SEED]")] = None,
    method: Annotated[str, typer.Option(help="random, grid, lhs, sobol or covering.")] = "random",
    strength: Annotated[int, typer.Option(min=1, max=4, help="t of a covering array.")] = 2,
    bins: Annotated[int, typer.Option(min=2, max=10, help="Parts of a range in a covering array.")] = 3,
    given: Given = None,
    extrapolate: Extrapolate = False,
    as_json: Json = False,
) -> None:
    """Sample a family's parameters and write the valid scenarios, with their list as a suite (sample.json)."""
    from alpamayo.report.console import plain_console
    from alpamayo_scenarios.families import get_family
    from alpamayo_scenarios.sampling import sample as drawn
    from alpamayo_scenarios.sampling import write_sample

    kind, values = get_family(family), parameters_of(given)
    wanted = 100 if count is None and method != "covering" else count
    found = drawn(
        kind, wanted, seed, method=method, given=values, extrapolate=extrapolate, strength=strength, bins=bins
    )
    folder = out or Path("runs") / f"{family}-{method}-{seed}"
    with progress_bar() as progress:
        path = write_sample(found, folder, lambda done, total: progress("sample", done, total))
    row: dict[str, Any] = {
        "family": family,
        "method": method,
        "seed": seed,
        "scenarios": len(found.entries),
        "rejected": found.rejected,
        "extrapolated": list(kind.extrapolated(kind.checked(values, extrapolate))),
        "suite": str(path),
    }
    if found.covered:
        row |= {"combinations": found.covered.of, "not_reached": len(found.covered.not_reached)}
    if as_json:
        print_json(row)
        return
    console = plain_console()
    console.print(f"{len(found.entries)} scenarios of {family}; {found.rejected} points did not satisfy its conditions")
    if found.covered:
        missed = len(found.covered.not_reached)
        console.print(f"{strength}-way combinations: {found.covered.of}, without a valid point: {missed}")
    console.print(f"suite: {path}", soft_wrap=True)


@app.command("contact-sheet")
def contact_sheet(
    families: Annotated[list[str] | None, typer.Argument(help="Families. [default: all]")] = None,
    out: Annotated[Path, typer.Option("--out", help="The picture.")] = Path("runs/contact_sheet.png"),
    columns: Annotated[int, typer.Option(min=1, help="Families in a row.")] = 3,
) -> None:
    """Draw one bird's-eye and one front camera picture of each family at its defaults."""
    from alpamayo_scenarios.families import FAMILIES, get_family
    from alpamayo_scenarios.pictures import contact_sheet as drawn
    from alpamayo_scenarios.pictures import write_picture

    chosen = [get_family(name) for name in families or []] or list(FAMILIES)
    with progress_bar() as progress:
        sheet = drawn(chosen, columns, lambda done: progress("draw", done, len(chosen)))
    write_picture(sheet, out)
    typer.echo(f"picture: {out}")


@app.command("suite")
def show_suite(name: SuiteName, as_json: Json = False) -> None:
    """Show a suite: its families, and what its certificates say."""
    from alpamayo.report.console import plain_console
    from alpamayo_scenarios.suites import open_suite

    suite = open_suite(name)
    row = _suite_json(suite)
    if as_json:
        print_json(row)
        return
    console = plain_console()
    counts = row["certificates"] or {"without a certificate": len(suite)}
    said = ", ".join(f"{count} {what}" for what, count in counts.items())
    console.print(f"{suite.name} ({suite.digest[:12]}): {len(suite)} scenarios, {said}")
    table = Table("scenario", "held out", "certificate", "by", "difficulty", box=None, padding=(0, 3, 0, 0))
    for each in row["scenarios"]:
        known = each["certificate"] or {"solvability": "none", "solver": "", "difficulty": None}
        difficulty = "" if known["difficulty"] is None else f"{known['difficulty']:.2f}"
        held_out = "yes" if each["family"] in row["held_out"] else ""
        table.add_row(f"{each['family']}-{each['seed']}", held_out, known["solvability"], known["solver"], difficulty)
    console.print(table)


@app.command("certify")
def certify_scenarios(
    source: Annotated[
        str, typer.Argument(metavar="FILE|SUITE", help="A scenario, the file of a suite, or the name of a suite.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the certificates. [default: runs/certificates-NAME]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Replay and check stored certificates, and look for no new ones.")
    ] = False,
    workers: Workers = None,
    cluster: ClusterName = None,
    as_json: Json = False,
) -> None:
    """Certify scenarios: a checked trajectory that solves each, or a proof that a contact is unavoidable, or neither.

    An interrupted run continues when it is repeated.
    """
    from alpamayo.certification.suite import certify_scenario, certify_suite, check_suite
    from alpamayo.report.console import plain_console
    from alpamayo.sources import scenario_file
    from alpamayo_scenarios.suites import open_suite
    from alpamayo_scenarios.suites.certificates import FOLDER, load_certificates, save_certificates

    if (scenario := scenario_file(source)) is not None:
        row = certify_scenario(scenario, check)
    else:
        suite, where = open_suite(source), workers_of(workers, cluster)
        with progress_bar() as progress:
            if check:
                row = check_suite(suite, load_certificates(suite, out or FOLDER), workers=where, progress=progress)
            else:
                folder = out or Path("runs") / f"certificates-{suite.name}"
                found = certify_suite(suite, folder / "scenarios", workers=where, progress=progress)
                row = {"suite": suite.name, "digest": suite.digest, **found.counts()}
                row |= {"certificates": str(save_certificates(found, folder))}
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        plain_console().print(f"{name}: {value}", soft_wrap=True)


@app.command("coverage")
def show_coverage(name: SuiteName, as_json: Json = False) -> None:
    """Say which 2-way combinations of family, road, weather, speed band and actor a suite holds and misses."""
    from alpamayo.evaluation.suite_coverage import suite_coverage
    from alpamayo.report.console import plain_console
    from alpamayo_scenarios.suites import open_suite

    suite = open_suite(name)
    with progress_bar() as progress:
        found = suite_coverage(suite, lambda done, total: progress("coverage", done, total))
    if as_json:
        print_json(found)
        return
    console = plain_console()
    console.print(f"{suite.name} ({suite.digest[:12]}): {len(suite)} scenarios")
    table = Table("axes", "pairs held", "of", box=None, padding=(0, 3, 0, 0), header_style="dim")
    for pair in (*found["pairs"], {"axes": ["all"]} | found["two_way"]):
        table.add_row(" x ".join(pair["axes"]), str(pair["covered"]), str(pair["of"]))
    console.print(table)
    short = [pair for pair in found["missing"] if not pair[0].startswith("family")]
    for one, other in short:
        console.print(f"missing: {one} with {other}", soft_wrap=True)
    rest = len(found["missing"]) - len(short)
    console.print(f"missing pairs with a family: {rest}; --json lists them", soft_wrap=True)


@app.command()
def search(
    family: FamilyName,
    driver: DriverName = "idm",
    budget: Annotated[int, typer.Option(min=1, help="Drives of the driver.")] = 200,
    method: Annotated[str, typer.Option(help="cma-es, cross-entropy, or map-elites: different kinds.")] = "cma-es",
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder. [default: runs/search-FAMILY-DRIVER]")] = None,
    guard: Guarded = None,
    guard_sees: GuardSees = "truth",
    checkpoint: Checkpoint = None,
    driver_args: DriverArgs = None,
    as_json: Json = False,
) -> None:
    """Search for parameters at which a driver collides at fault although the scenario can be solved.

    A search that was interrupted goes on when it is repeated.
    """
    from alpamayo.drivers.own import parse_arguments
    from alpamayo.drivers.registry import file_name_of
    from alpamayo.report.console import bold, plain_console
    from alpamayo.runs import DriverChoice
    from alpamayo.search import search_failures
    from alpamayo_scenarios.families import get_family

    kind = get_family(family)
    choice = DriverChoice.of(driver, guard_of(guard, guard_sees), checkpoint, parse_arguments(driver_args or []))
    choice.make()
    folder = out or Path("runs") / f"search-{family}-{file_name_of(driver)}"
    with progress_bar() as progress:
        found = search_failures(kind, choice, budget, folder, seed=seed, method=method, progress=progress)
    if as_json:
        print_json(found)
        return
    console = plain_console()
    console.print(f"{found['drives']} drives: {len(found['failures'])} distinct failures that can be solved")
    for row in found["failures"]:
        console.print(bold("failure"), f"{row['kind']}; solved by {row['certificate']['solver']}")
        console.print(_parameter_table(kind, row["parameters"]))
        console.print(f"not at their defaults: {', '.join(row['essential']) or 'none'}", soft_wrap=True)
    if found["not_certified"]:
        console.print(f"{len(found['not_certified'])} more failures, for which no solution was found")


@app.command()
def plant(
    family: FamilyName,
    log: Annotated[
        str, typer.Argument(metavar="LOG", help="A recorded log or an OpenDRIVE file; LOG#ID opens one of many scenes.")
    ],
    seed: Seed = 0,
    given: Given = None,
    start: Annotated[
        float | None, typer.Option(help="Time (s) of the recording to begin at. [default: the first that fits]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The scenario, without suffix. [default: runs/SCENE-FAMILY-SEED]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the event of a family into a recorded scene, or say why it does not fit there.

    `alpamayo drive FILE` drives the scenario, `alpamayo scenarios certify FILE` certifies it.
    """
    from alpamayo.planting import plant as planted
    from alpamayo.report.console import plain_console
    from alpamayo.sources import open_log
    from alpamayo_scenarios.families import get_family
    from alpamayo_sim.io.scene_file import save_scenario

    kind = get_family(family)
    found = planted(kind, open_log(log), seed, parameters=parameters_of(given), start_s=start)
    scenario = found.scenario
    path = out or Path("runs") / scenario.scene.id
    save_scenario(scenario, path)
    if as_json:
        row = {"scenario": f"{path}.json", "family": family, "seed": scenario.seed, "start_s": found.start_s}
        about = {"planted": list(found.names), "left_out": dict(found.left_out), "event_s": found.event_s}
        print_json(row | about | {"clearance_m": found.clearance_m, "parameters": dict(scenario.parameters)})
        return
    console = plain_console()
    console.print(f"{scenario.scene.id}: {', '.join(found.names)} from {found.start_s:.1f} s of the recording on")
    console.print(
        f"an ego that keeps its speed comes within {max(found.clearance_m, 0.0):.1f} m at {found.event_s:.1f} s"
    )
    for name, reason in found.left_out.items():
        console.print(f"left out: {name}: {reason}", soft_wrap=True)
    console.print(f"scenario: {path}.json", soft_wrap=True)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An OpenSCENARIO XML 1.x file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The scenario, without suffix. [default: runs/NAME]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a scenario with its OpenDRIVE roads; what is not supported is listed with its lines."""
    from alpamayo.exchange import import_scenario
    from alpamayo.report.console import plain_console
    from alpamayo_sim.io.scene_file import save_scenario

    found = import_scenario(file)
    path, scene = out or Path("runs") / file.stem, found.scenario.scene
    save_scenario(found.scenario, path)
    if as_json:
        about = {"scenario": f"{path}.json", "ego": scene.ego_id, "steps": scene.steps, "agents": len(scene.tracks)}
        print_json(about | {"unsupported": list(found.unsupported)})
        return
    console = plain_console()
    console.print(f"{scene.id}: ego {scene.ego_id}, {len(scene.tracks)} agents, {scene.steps * scene.dt:.1f} s")
    for line in found.unsupported:
        console.print(f"not supported: {line}", soft_wrap=True)
    console.print(f"scenario: {path}.json", soft_wrap=True)


@app.command("export")
def export_file(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A scenario of this project.")],
    to: Annotated[str, typer.Option("--to", help="openscenario or commonroad.")] = "openscenario",
    out: Annotated[Path, typer.Option("--out", help="Folder.")] = Path("runs/export"),
    as_json: Json = False,
) -> None:
    """Export a scenario: OpenSCENARIO XML 1.2 with OpenDRIVE 1.7, or CommonRoad XML 2020a."""
    from alpamayo.exchange import export_scenario
    from alpamayo.report.console import plain_console
    from alpamayo.sources import scenario_file

    scenario = scenario_file(source)
    if scenario is None:
        raise InputError(f"{source}: is no scenario of this project; `alpamayo scenarios sample` writes some")
    files = [str(path) for path in export_scenario(scenario, out, to)]
    if as_json:
        print_json({"files": files})
        return
    for path in files:
        plain_console().print(path, soft_wrap=True)


def _suite_json(suite: "Suite") -> dict[str, Any]:
    from alpamayo.certification.suite import certificate_row
    from alpamayo_scenarios.suites.certificates import has_certificates, held_out_families, load_certificates

    found = load_certificates(suite) if has_certificates(suite) else None
    certificates = found.certificates if found else (None,) * len(suite)
    return {
        "suite": suite.name,
        "digest": suite.digest,
        "count": len(suite),
        "certificates": found.counts() if found else None,
        "held_out": list(held_out_families(suite)),
        "scenarios": [
            {
                "family": entry.family,
                "seed": entry.seed,
                "parameters": dict(entry.parameters),
                "certificate": None if certificate is None else certificate_row(certificate),
            }
            for entry, certificate in zip(suite.entries, certificates, strict=True)
        ],
    }


def _parameter_table(family: "Family", values: Mapping[str, float] | None = None) -> Table:
    """Return the parameters of a family as a table, with the values of one scenario if given."""
    heads = ("parameter", *(("value",) if values else ()), "low", "high", "unit", "source")
    table = Table(*heads, box=None, padding=(0, 3, 0, 2), header_style="dim")
    for p in family.parameters:
        value = (f"{values[p.name]:.4g}",) if values else ()
        table.add_row(p.name, *value, f"{p.low:g}", f"{p.high:g}", p.shown_unit, p.source)
    return table


def _family_json(family: "Family") -> dict[str, Any]:
    return {
        "name": family.name,
        "title": family.title,
        "summary": family.summary,
        "group": family.group.value,
        "held_out": family.held_out,
        "parameters": [
            {"name": p.name, "unit": p.unit, "low": p.low, "high": p.high, "default": p.default, "source": p.source}
            for p in family.parameters
        ],
    }
