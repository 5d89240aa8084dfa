"""The runs of an evaluation as a table: rows of plain values, as CSV, and for pandas."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.evaluation import manifest
from alpamayo.json_values import read_sealed
from alpamayo.runs import GuardState
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing

if TYPE_CHECKING:
    import pandas

CSV_FILE = "runs.csv"
COLUMNS = (
    "run",
    "driver",
    "base_driver",
    "guard_state",
    "scenario",
    "family",
    "seed",
    "solved",
    "arrived",
    "at_fault_collision",
    "collision",
    "off_road",
    "pdm_score",
    "comfort",
    "progress_m",
    "goal_m",
    "duration_s",
    "clearance_m",
    "time_to_collision_margin_s",
    "interventions",
    "steps",
    "scenario_sha256",
    "folder",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # of a text that a spreadsheet would compute


def table_row(row: Mapping[str, Any], run: str, folder: Path) -> dict[str, Any]:
    """Return the summary of a run as a row of the table; what it lacks is None.

    A run is ``solved`` if the ego has arrived without an at-fault collision and without leaving the road.
    """
    guarded = GuardState.ON if row.get("guarded") else GuardState.OFF
    state = GuardState(row.get("guard_state", guarded))
    about = {
        "run": run,
        "driver": state.label(chosen_driver(row)),
        "base_driver": chosen_driver(row),
        "guard_state": state.value,
        "family": row["family"] or "log",
        "solved": solved(row),
        "scenario_sha256": row.get("inputs", {}).get("scenario_sha256"),
        "folder": str(folder),
    }
    return {name: about[name] if name in about else row.get(name) for name in COLUMNS}


def chosen_driver(row: Mapping[str, Any]) -> str:
    """Return the driver of a run as the user chose it: two classes of one's own may have the same name."""
    return str(row.get("inputs", {}).get("driver") or row["driver"])


def solved(row: Mapping[str, Any]) -> bool:
    """Return whether the ego has arrived without an at-fault collision and without leaving the road."""
    return bool(row["arrived"] and not row["at_fault_collision"] and not row["off_road"])


def read_runs(folder: Path, *, partial: bool = False) -> list[dict[str, Any]]:
    """Read the runs of a suite run's folder, of one driver's folder in it, or of a single run.

    Runs that the list of the suite run leaves out are left out.

    Args:
        folder: the folder.
        partial: leave out runs that are not finished, in place of an error.

    Raises:
        InputError: the folder is none of these, holds no finished run, or a listed run is not finished or damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; `alpamayo evaluate --out FOLDER` writes one")
    listed = manifest.read(folder)
    names = {file.parent.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("summary.json"))}
    wanted = list(names) if listed is None else [name for name in listed.runs if name not in listed.left_out]
    rows = []
    for name in wanted:
        row = read_sealed(names[name]) if name in names else None
        if row is None and partial:
            continue
        if row is None:
            raise InputError(
                f"{folder / name}: the run is not finished, or its summary.json is damaged; the same `alpamayo "
                "evaluate` continues it, and folders of single drivers can be given, too"
            )
        rows.append(_table_row(row, name, folder))
    if not rows:
        raise InputError(f"{folder}: holds no finished run; `alpamayo evaluate --out FOLDER` makes some")
    return rows


def _table_row(row: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any]:
    try:
        return table_row(row, name, folder / name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{folder / name}: its summary.json is of another version ({error})") from error


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe.

    Raises:
        InputError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
    try:
        with replacing(path) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def to_pandas(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Return rows as a data frame of pandas.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise InputError("pandas is not installed: pip install 'pandas>=2.2,<3'") from error
    return pandas.DataFrame(list(rows))


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
