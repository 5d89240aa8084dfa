"""Suites: frozen lists of scenarios to evaluate on, one JSON file each in this folder.

A suite of a name never changes: another list gets another name. The parameters of each scenario are written
literally, so neither a new family nor another way of drawing parameters can change a suite.

Seeds below 10,000 are for training. Those of suites begin there, so no driver is evaluated on what it was trained on.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from alpamayo_scenarios.suites.suite import Suite, SuiteEntry, entry_values, read_suite
from alpamayo_sim.errors import InputError, check_known, shown
from alpamayo_sim.io.files import replacing
from alpamayo_sim.settings import instance_of, path_of, whole_number

__all__ = [
    "FIRST_EVALUATION_SEED",
    "Suite",
    "SuiteEntry",
    "freeze",
    "get_suite",
    "open_suite",
    "read_suite",
    "save_suite",
    "suite_names",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
FOLDER = Path(__file__).parent
FIRST_EVALUATION_SEED = 10_000


def suite_names() -> tuple[str, ...]:
    """Return the names of all suites, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def get_suite(name: str) -> Suite:
    """Return the suite of a name.

    Raises:
        InputError: There is no such suite; the message offers similar names.
    """
    check_known("suite", name, suite_names())
    return cached_suite(FOLDER / f"{name}.json")


def open_suite(name: str) -> Suite:
    """Return the suite of a name, or of a file.

    Raises:
        InputError: There is no such suite or file, or the file is not a suite.
    """
    path = path_of(name, "the suite")
    return read_suite(path) if path.suffix == ".json" or path.is_file() else get_suite(name)


def freeze(name: str, version: int, points: Iterable[tuple[str, int]], folder: Path | str = FOLDER) -> Path:
    """Write a new suite of (family, seed) points, with the parameters that each seed draws now.

    ``long-tail-6`` was made by ``freeze("long-tail-6", 1, [(family, 10_000 + k) for k in range(100) for family in
    family_names()])`` when there were six families.

    Returns:
        The file that it wrote.

    Raises:
        InputError: There is a suite of that name already, no such family, a value is of a wrong type, or the folder
            cannot be written.
    """
    return save_suite(
        Suite(_checked_name(name), whole_number(version, "the version of a suite"), _drawn(points)), folder
    )


def save_suite(suite: Suite, folder: Path | str = FOLDER) -> Path:
    """Write a new suite; return its file.

    Raises:
        InputError: There is a suite of that name already, or the folder cannot be written.
    """
    path = path_of(folder, "the folder of a suite") / f"{_checked_name(suite.name)}.json"
    if path.exists():
        raise InputError(f"{path} exists, and a suite never changes: choose another name")
    head = json.dumps({"name": suite.name, "version": suite.version, "digest": suite.digest}, indent=1)[:-2]
    rows = ",\n  ".join(json.dumps(entry_values(entry)) for entry in suite.entries)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(f'{head},\n "scenarios": [\n  {rows}\n ]\n}}\n', encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"the name of a suite is {shown(name)}, must be letters, digits, -, _ and .")
    return name


def _drawn(points: Any) -> tuple[SuiteEntry, ...]:
    entries = []
    for point in instance_of(points, Iterable, "the list of a suite"):
        if not isinstance(point, (tuple, list)) or len(point) != 2:
            raise InputError(f"a point of a suite is {shown(point)}, must be a family and a seed")
        entries.append(SuiteEntry.drawn(*point))
    return tuple(entries)


@lru_cache(maxsize=8)
def cached_suite(path: Path) -> Suite:
    return read_suite(path)
