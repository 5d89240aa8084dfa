"""What an evaluation found, on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alpamayo.report.evidence_console import bounds, comparison_lines, lacking, narrow_table

HEADS = ("driver", "guard", "at fault", "collision", "off-road", "arrived", "progress", "PDM score")
RATES = ("at_fault_rate", "collision_rate", "off_road_rate", "arrived_rate")


def show_evaluation(result: Mapping[str, Any]) -> None:
    """Drivers side by side, tests between them, claims, and what was left out."""
    console = Console()
    most = max((row["n"] + row["excluded"] for row in result["drivers"]), default=0)
    names = [row["driver"] for row in result["drivers"]]
    suite = f"{result['suite']} ({result['suite_digest'][:12]})"
    table = narrow_table(HEADS, f"{suite}: {most} scenarios a driver, 95 % intervals", names)
    for row in result["drivers"]:
        if not row["n"]:
            continue
        cells = [bounds(row[name], 0, unit="%", scale=100.0) for name in RATES]
        cells += [bounds(row["progress_m"], 0, unit=" m"), bounds(row["pdm_score"], 2)]
        table.add_row(row["driver"], "on" if row["guarded"] else "off", *cells)
    console.print(table)
    headline = {row["driver"]: row["pdm_score"] for row in result["drivers"] if row["n"]}
    for line in (*lacking(headline), *comparison_lines(result["comparisons"])):
        console.print(line, soft_wrap=True, highlight=False)
    for row in result["drivers"]:
        _show_claim(console, row)
    for failure in result["excluded"]:
        text = escape(f"{failure['driver']} {failure['scenario']}: {failure['reason']}")
        console.print(f"[red]excluded[/red] {text}")
    for row in result["drivers"]:
        if row["n"] and row["excluded"]:
            worst = bounds(row["at_fault_rate_if_excluded_failed"], 0, " ", "%", 100.0)
            console.print(f"{row['driver']}: at fault {worst} if the {row['excluded']} excluded had failed")


def show_importance(result: Mapping[str, Any]) -> None:
    """The probability with its error, what the pilot alone says, and where it was looked."""
    console = Console()
    found, pilot = result["probability"], result["pilot"]
    console.print(
        f"[bold]P(at-fault collision) of {result['driver']} in {result['family']}[/bold]: "
        f"{bounds(found, 1, ' ', ' %', 100.0)}, standard error {100.0 * found['standard_error']:.1f} %",
        highlight=False,
    )
    worth = "" if found["worth_plain_runs"] is None else f", worth {found['worth_plain_runs']:.0f} plain runs"
    console.print(
        f"{found['n']} runs, {found['distinct']} of them different{worth}; effective n of the failures", end=""
    )
    console.print(f" {found['effective_n']:.1f}")
    console.print(f"the pilot alone: {bounds(pilot, 1, ' ', ' %', 100.0)}, {pilot['count']} of {pilot['n']}")
    table = Table("parameter", "drawn more often than evenly, by part of its range", box=None, header_style="dim")
    for name, parts in result["driven_more_often"].items():
        table.add_row(name, "   ".join(f"{low:.3g} to {high:.3g}: {odds:.1f}x" for low, high, odds in parts))
    console.print(table)
    for name, reason in result["raised"].items():
        console.print(f"[red]counted as failed[/red] {escape(f'{name}: {reason}')}")


def _show_claim(console: Console, row: Mapping[str, Any]) -> None:
    claim = row.get("claim")
    if claim is None:
        return
    words = {"shown": "is shown", "refuted": "is refuted", "open": "is open: not enough scenarios to tell"}
    told = f"{100 * claim['low']:.1f} to {100 * claim['high']:.1f} % speak against it, whenever one looks"
    console.print(
        f"{row['driver']}: '{claim['claim']}' {words[claim['outcome']]} after {claim['n']} scenarios "
        f"({claim['against']} against; {told})",
        soft_wrap=True,
        highlight=False,
    )
