"""Names and numbers as text, for pages and for the console."""

from collections.abc import Mapping, Sequence
from typing import Any

NOT_AVAILABLE = "n/a"


def words(name: str) -> str:
    """Return the name of a rule, a score or a parameter with spaces in place of underscores."""
    return name.replace("_", " ").strip()


def number_text(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Return a number with its unit, or "n/a" for None."""
    return NOT_AVAILABLE if value is None else f"{value:.{digits}f} {unit}".rstrip()


def missing_text(score: Mapping[str, Any]) -> str:
    """Return the missing parts of a score, with the number of runs if not all; empty if no part is missing."""
    parts = score["missing"].items()
    names = (words(part) + ("" if count == score["n"] else f" in {count} of {score['n']}") for part, count in parts)
    return f"without {', '.join(names)}" if parts else ""


def single_score_text(score: Mapping[str, Any]) -> str:
    """Return the score of one run with its missing parts."""
    parts = ", ".join(map(words, score["missing"]))
    return number_text(score["value"]) + (f", without {parts}" if parts and score["value"] is not None else "")


def pair_text(drivers: Sequence[str], guarded: Sequence[bool | None]) -> str:
    """Return two compared drivers with the guard of each; settings that differ are said to differ."""
    states = [{True: "guard on", False: "guard off", None: "guard in some runs"}[on] for on in guarded]
    first, second = (f"{name.partition('+guard')[0]} ({state})" for name, state in zip(drivers, states, strict=True))
    return f"{first} minus {second}" + ("" if states[0] == states[1] else ", which differ in the guard, too")
