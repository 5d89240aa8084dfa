"""The Jinja2 environment of the pages; it escapes every value."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from alpamayo.report.text import missing_text, number_text, words
from alpamayo.validator.scores import SCORE_MAXIMUM, TITLES


@cache
def environment() -> Environment:
    """Return the environment, with the filters that the templates use."""
    made = Environment(
        loader=PackageLoader("alpamayo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "ensure_ascii": False}
    made.filters |= {
        "words": words,
        "number": number_text,
        "missing": missing_text,
        "score_title": lambda name: TITLES.get(name, words(name)),
        "score_maximum": lambda name: SCORE_MAXIMUM.get(name, 1.0),
        "whisker": whisker,
        "scaled": scaled,
        "on_scale": on_scale,
    }
    return made


def whisker(fraction: float) -> float:
    """Return the position of a value in [0, 1], clipped, on an axis of width 100."""
    return round(2.0 + 96.0 * min(max(fraction, 0.0), 1.0), 1)


def on_scale(value: float, ends: tuple[float, float]) -> float:
    """Return where a value is between two ends, in percent."""
    return round(100.0 * (value - ends[0]) / max(ends[1] - ends[0], 1e-9), 1)


def scaled(value: float | None, factor: float) -> float | None:
    """Return a value times a factor; None stays None."""
    return None if value is None else factor * value
