"""Suites: frozen lists of scenarios to evaluate on, one JSON file each in this folder.

A suite of a name never changes: another list gets another name. The parameters of each scenario are written
literally, so neither a new family nor another way of drawing parameters can change a suite.

Seeds below 10,000 are for training. Those of suites begin there, so no driver is evaluated on what it was trained on.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from alpamayo_scenarios.suites.suite import Suite, SuiteEntry, entry_values, read_suite
from alpamayo_sim.errors import InputError, unknown_name
from alpamayo_sim.io.files import replacing

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

FOLDER = Path(__file__).parent
FIRST_EVALUATION_SEED = 10_000


def suite_names() -> tuple[str, ...]:
    """Return the names of all suites, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


@lru_cache(maxsize=8)
def get_suite(name: str) -> Suite:
    """Return the suite of a name.

    Raises:
        InputError: There is no such suite; the message offers similar names.
    """
    if name not in suite_names():
        raise unknown_name("suite", name, suite_names())
    return read_suite(FOLDER / f"{name}.json")


def open_suite(name: str) -> Suite:
    """Return the suite of a name, or of a file.

    Raises:
        InputError: There is no such suite or file, or the file is not a suite.
    """
    path = Path(name)
    return read_suite(path) if path.suffix == ".json" or path.is_file() else get_suite(name)


def freeze(name: str, version: int, points: Iterable[tuple[str, int]], folder: Path | str = FOLDER) -> Path:
    """Write a new suite of (family, seed) points, with the parameters that each seed draws now.

    ``long-tail-6`` was made by ``freeze("long-tail-6", 1, [(family, 10_000 + k) for k in range(100) for family in
    family_names()])`` when there were six families.

    Returns:
        The file that it wrote.

    Raises:
        InputError: There is a suite of that name already, no such family, or the folder cannot be written.
    """
    return save_suite(Suite(name, version, tuple(SuiteEntry.drawn(family, seed) for family, seed in points)), folder)


def save_suite(suite: Suite, folder: Path | str = FOLDER) -> Path:
    """Write a new suite; return its file.

    Raises:
        InputError: There is a suite of that name already, or the folder cannot be written.
    """
    path = Path(folder) / f"{suite.name}.json"
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
