"""A leaderboard: drivers of one or several suite runs side by side, with intervals, capability and pairwise tests."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.evaluation.figures import comparisons, grouped, mean, rate
from alpamayo.evaluation.item_response import Capability, fit
from alpamayo.evaluation.run_table import CSV_FILE, read_runs, write_csv
from alpamayo.json_values import rounded, write_json
from alpamayo.report.leaderboard_page import page
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing
from alpamayo_sim.settings import path_of

LEADERBOARD_VERSION = 1
RANK_SEED = 0  # fixed, so that the same runs give the same intervals
PAGE_FILE, JSON_FILE = "leaderboard.html", "leaderboard.json"
Row = Mapping[str, Any]


def leaderboard(folders: Sequence[str | Path], confidence: float = 0.95) -> dict[str, Any]:
    """Compare all drivers of several suite runs.

    Drivers of one name in several folders are one driver with more runs, unless they drove the same scenario: then they
    are two versions, and the folder becomes part of the name.

    Args:
        folders: of suite runs, of drivers in them, or of single runs.
        confidence: of all intervals.

    Returns:
        JSON values: ``drivers``, the best first; ``comparisons`` of each pair on the scenarios of both; ``scenarios``
        with difficulty and discrimination, the most difficult first; and ``runs``, the rows for tables.

    Raises:
        InputError: a folder is no suite run or is named twice, or a confidence is not in (0, 1).
    """
    paths = [path_of(folder, "the folder of a suite run") for folder in folders]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(f"a folder is named twice: {', '.join(map(str, paths))}")
    return board(_told_apart({path: read_runs(path) for path in paths}), confidence)


def board(rows: Sequence[Row], confidence: float = 0.95) -> dict[str, Any]:
    """Return the leaderboard of rows of ``run_table``; see ``leaderboard``.

    Raises:
        InputError: a confidence is not in (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}, must be in (0, 1)")
    by_driver = grouped(rows, "driver")
    names = list(by_driver)
    keys = sorted({scenario_key(row) for row in rows})
    fitted = _capability(by_driver, keys, confidence)
    drivers = [
        _driver(name, by_driver[name], confidence) | {"capability": _ability(fitted, k)} for k, name in enumerate(names)
    ]
    drivers.sort(key=_order)
    return dict(
        rounded(
            {
                "version": LEADERBOARD_VERSION,
                "confidence": confidence,
                "drivers": drivers,
                "families": sorted({row["family"] for row in rows}),
                "comparisons": _compared(rows, confidence),
                "scenarios": _scenarios(rows, keys, fitted),
                "runs": sorted(rows, key=lambda row: (_score(row), row["scenario"], row["driver"])),
            }
        )
    )


def write_leaderboard(found: Mapping[str, Any], folder: Path, page_file: str = PAGE_FILE) -> Path:
    """Write page, JSON and CSV into a folder; return the path of the page.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / page_file) as partial:
            partial.write_text(page(found, folder), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    write_csv(found["runs"], folder / CSV_FILE)
    if page_file == PAGE_FILE:
        write_json(found, folder / JSON_FILE)
    return folder / page_file


def scenario_key(row: Row) -> tuple[str, str]:
    """Return what identifies a scenario: its name and its digest."""
    return row["scenario"], row["scenario_sha256"] or ""


def _told_apart(runs: Mapping[Path, Sequence[Row]]) -> list[Row]:
    """Return all rows; versions of a driver that drove the same scenario get the folder in their name."""
    driven = Counter(pair for rows in runs.values() for pair in {(row["driver"], scenario_key(row)) for row in rows})
    twice = {driver for (driver, _), count in driven.items() if count > 1}
    named = ((path, row) for path, rows in runs.items() for row in rows)
    return [_named_by_folder(row, path) if row["driver"] in twice else row for path, row in named]


def _named_by_folder(row: Row, path: Path) -> Row:
    return {**row, **{name: f"{row[name]} @ {path}" for name in ("driver", "base_driver")}}


def _driver(name: str, rows: Sequence[Row], confidence: float) -> dict[str, Any]:
    return {
        "driver": name,
        "base_driver": rows[0]["base_driver"],
        "guard_state": rows[0]["guard_state"],
        **_figures(rows, confidence),
        "families": {family: _figures(some, confidence) for family, some in grouped(rows, "family").items()},
    }


def _figures(rows: Sequence[Row], confidence: float) -> dict[str, Any]:
    scored = [row for row in rows if row["pdm_score"] is not None]
    return {
        "n": len(rows),
        "pdm_score": mean([row["pdm_score"] for row in scored], [row["scenario"] for row in scored], confidence),
        "zero_rate": rate([row["pdm_score"] == 0.0 for row in scored], confidence),
        "solved_rate": rate([row["solved"] for row in rows], confidence),
        "at_fault_rate": rate([row["at_fault_collision"] for row in rows], confidence),
        "off_road_rate": rate([bool(row["off_road"]) for row in rows if row["off_road"] is not None], confidence),
        "arrived_rate": rate([row["arrived"] for row in rows], confidence),
    }


def _capability(by_driver: Mapping[str, Sequence[Row]], keys: Sequence[Any], confidence: float) -> Capability | None:
    """Fit abilities by the share of solved runs of each driver in each scenario; None for a single driver."""
    if len(by_driver) < 2:
        return None
    column = {key: s for s, key in enumerate(keys)}
    runs, wins = (np.zeros((len(by_driver), len(keys))) for _ in range(2))
    for d, rows in enumerate(by_driver.values()):
        for row in rows:
            runs[d, column[scenario_key(row)]] += 1.0
            wins[d, column[scenario_key(row)]] += row["solved"]
    return fit(wins / np.maximum(runs, 1.0), runs > 0.0, confidence, rng=np.random.default_rng(RANK_SEED))


def _ability(fitted: Capability | None, k: int) -> dict[str, Any] | None:
    if fitted is None:
        return None
    return {
        "value": float(fitted.ability[k]),
        "low": float(fitted.ability_low[k]),
        "high": float(fitted.ability_high[k]),
        "rank_low": int(fitted.rank_low[k]),
        "rank_high": int(fitted.rank_high[k]),
    }


def _order(driver: Mapping[str, Any]) -> tuple[float, float, str]:
    """Order drivers by ability, then by their mean score; the best comes first."""
    ability = -math.inf if driver["capability"] is None else driver["capability"]["value"]
    score = driver["pdm_score"]["value"]
    return -ability, -(-math.inf if score is None else score), driver["driver"]


def _scenarios(rows: Sequence[Row], keys: Sequence[Any], fitted: Capability | None) -> list[dict[str, Any]]:
    there: dict[Any, list[Row]] = {key: [] for key in keys}
    for row in rows:
        there[scenario_key(row)].append(row)
    found = [
        {
            "scenario": some[0]["scenario"],
            "family": some[0]["family"],
            "n": len(some),
            "solved_by": sorted({row["driver"] for row in some if row["solved"]}),
            "failed_by": sorted({row["driver"] for row in some if not row["solved"]}),
            "difficulty": None if fitted is None else float(fitted.difficulty[s]),
            "discrimination": None if fitted is None else float(fitted.discrimination[s]),
        }
        for s, some in enumerate(there.values())
    ]
    return sorted(found, key=lambda row: (-(row["difficulty"] or 0.0), -len(row["failed_by"]), row["scenario"]))


def _compared(rows: Sequence[Row], confidence: float) -> list[dict[str, Any]]:
    return comparisons(
        rows,
        confidence,
        {"solved": lambda row: row["solved"], "at_fault_collision": lambda row: row["at_fault_collision"]},
        {"pdms": lambda row: row["pdm_score"]},
        scenario_key,
    )


def _score(row: Row) -> float:
    """Return what runs are sorted by, the worst first."""
    return -1.0 if row["pdm_score"] is None else float(row["pdm_score"])
