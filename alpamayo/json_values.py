"""Numbers as JSON values, and JSON files: written whole or not at all, and those of an earlier call read with care."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular, replacing

MAX_JSON_BYTES = 256 << 20
SIGNIFICANT_DIGITS = 9
QUANTITY_DECIMALS = 9
"""Of physical quantities: what cancels to 1e-17 m on one machine and to 0 on another is 0."""
SEAL = "content_sha256"  # the field that shows whether a file is as it was written


def json_number(value: Any, digits: int | None = None) -> float | None:
    """Return a float, rounded to ``digits`` decimals if given; None for a value that is not finite.

    A zero has no sign.
    """
    number = float(value)
    if not math.isfinite(number):
        return None
    return (number if digits is None else round(number, digits)) + 0.0


def rounded(value: Any) -> Any:
    """Return JSON values with floats of 9 significant digits.

    The last digits of a sum depend on the order of its terms, and so on the numerical library, the processor and the
    number of threads.
    """
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, (list, tuple)) else value


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with a digest of its content, by which ``read_sealed`` notices any damage."""
    plain = {name: item for name, item in value.items() if name != SEAL}
    text = json.dumps(plain, sort_keys=True, allow_nan=False)
    return plain | {SEAL: hashlib.sha256(text.encode()).hexdigest()}


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Read a record that was sealed; None if there is none, or if it is damaged or changed."""
    try:
        value = json.loads(read_regular(path, MAX_JSON_BYTES))
        return value if isinstance(value, dict) and value == sealed(value) else None
    except (OSError, ValueError, RecursionError):
        return None


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
