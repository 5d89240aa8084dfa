"""One line and a small table of HTML for data with large arrays, as a notebook shows them."""

import dataclasses
import html
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from alpamayo_sim.errors import one_line, shown

T = TypeVar("T")
MAX_LINE_CHARACTERS = 160
MAX_CELL_CHARACTERS = 80
MAX_ARRAY_VALUES = 4  # that are written out


def described(cls: type[T]) -> type[T]:
    """Decorate a dataclass: its ``repr`` fits a line, and notebooks show a table of its fields."""
    cls.__repr__ = line  # type: ignore[method-assign]
    if not hasattr(cls, "_repr_html_"):
        cls._repr_html_ = table  # type: ignore[attr-defined]
    return cls


def line(value: Any) -> str:
    """Return a dataclass as one line: first numbers and words, then arrays and collections by their size."""
    told = [(name, item) for name, item in _fields(value) if not _is_default(value, name)]
    told.sort(key=lambda pair: not isinstance(pair[1], str | int | float | Enum))
    cells = ", ".join(f"{name}={short(item)}" for name, item in told)
    text = f"{type(value).__name__}({cells})"
    return text if len(text) <= MAX_LINE_CHARACTERS else text[: MAX_LINE_CHARACTERS - 4] + "...)"


def table(value: Any) -> str:
    """Return a dataclass as a table of HTML with one row for each field."""
    rows = ((name, short(item, MAX_CELL_CHARACTERS)) for name, item in _fields(value))
    return table_of(type(value).__name__, ("field", "value"), rows)


def table_of(title: str, heads: Any, rows: Any) -> str:
    """Return rows of texts as a table of HTML, every text escaped."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{html.escape(title)}</caption><tr>{head}</tr>{body}</table>"


def short(value: Any, most: int = 40) -> str:
    """Return any value as a few characters."""
    if isinstance(value, np.ndarray):
        is_small = value.ndim == 1 and 0 < value.size <= MAX_ARRAY_VALUES
        return (
            f"[{', '.join(short(item) for item in value.tolist())}]"
            if is_small
            else f"{value.dtype}{list(value.shape)}"
        )
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        few = ", ".join(f"{one_line(str(key))}: {short(item, 16)}" for key, item in list(value.items())[:3])
        text = f"{{{few}}}"
        return text if len(value) <= 3 and len(text) <= most else f"<{len(value)} entries>"
    if isinstance(value, list | tuple | set | frozenset):
        plain = all(isinstance(item, str | int | float | bool) for item in value)
        told = one_line(repr(value)) if plain and len(value) <= 8 else ""
        return told if 0 < len(told) <= most else f"<{len(value)} items>"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}(...)"
    text = shown(value)
    if " object at 0x" in text:  # that says nothing
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else text[: most - 3] + "..."


def _fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr]


def _is_default(value: Any, name: str) -> bool:
    """Return whether a field has its default, so that a line need not show it."""
    field = next(field for field in dataclasses.fields(value) if field.name == name)
    item = getattr(value, name)
    if field.default_factory is not dataclasses.MISSING:
        return isinstance(item, Mapping | list | tuple) and not item
    return field.default is not dataclasses.MISSING and not isinstance(item, np.ndarray) and item is field.default
