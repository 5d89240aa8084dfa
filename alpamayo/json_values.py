"""Numbers as JSON values, and JSON files that are written whole or not at all."""

import json
import math
from pathlib import Path
from typing import Any

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import replacing


def json_number(value: Any, digits: int | None = None) -> float | None:
    """Return a float, rounded to ``digits`` decimals if given; None for a value that is not finite."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return number if digits is None else round(number, digits)


def write_json(value: Any, path: Path) -> None:
    """Write JSON to a temporary file and rename it.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_text(json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def check_writable(folder: Path) -> None:
    """Make a folder and try to write to it, so that a run fails before the work and not after it.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ".writable") as partial:
            partial.write_bytes(b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
