"""The page of a leaderboard: one self-contained HTML file with tables to sort and to filter."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alpamayo.report.templates import environment
from alpamayo.report.text import outcome_text, pair_text

SCENARIOS_SHOWN = 100
REPORT_FILE = "report.html"


def page(found: Mapping[str, Any], folder: Path) -> str:
    """Render the page of a leaderboard that will lie in ``folder``."""
    drivers = found["drivers"]
    abilities = [row["capability"] for row in drivers if row["capability"] is not None]
    runs = [(row, outcome_text(row), _link(Path(row["folder"]), folder)) for row in found["runs"]]
    return (
        environment()
        .get_template("leaderboard_page.html.j2")
        .render(
            found=found,
            title=f"{len(drivers)} driver{'s' if len(drivers) > 1 else ''}, {len(found['scenarios'])} scenarios",
            ranked=len(abilities) == len(drivers),
            scale=(min([0.0, *(row["low"] for row in abilities)]), max([0.0, *(row["high"] for row in abilities)])),
            comparisons=_comparisons(found["comparisons"]),
            scenarios_shown=SCENARIOS_SHOWN,
            runs=runs,
            outcomes=sorted({outcome for _, outcome, _ in runs}),
            view=f"alpamayo view {shlex.quote(str(_root(found['runs'])))}",
        )
    )


def _comparisons(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Return (drivers, figure, test) of all tests with a result."""
    return [
        (pair_text(row["base_drivers"], row["guard_states"]), name, test)
        for row in rows
        for name, test in row["figures"].items()
        if test is not None
    ]


def _link(run: Path, folder: Path) -> str:
    """Return the address of a run's report, relative to the page; empty if it has none."""
    report = run / REPORT_FILE
    return quote(Path(os.path.relpath(report, folder)).as_posix()) if report.is_file() else ""


def _root(runs: Sequence[Mapping[str, Any]]) -> Path:
    """Return the folder of the suite run of the first run."""
    first = runs[0]
    depth = 0 if first["run"] == "." else len(Path(first["run"]).parts)
    return [Path(first["folder"]), *Path(first["folder"]).parents][depth]
