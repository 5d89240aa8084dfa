"""Small pieces of HTML: cells, tables, and figures with their intervals."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "n/a"


@dataclass(frozen=True)
class Raw:
    """Text that is HTML already."""

    text: str


def cell(value: Any) -> str:
    """A value as HTML: text is escaped, None is empty."""
    if isinstance(value, Raw):
        return value.text
    return "" if value is None else html.escape(str(value))


def table(heads: Sequence[Any], rows: Iterable[Sequence[Any]], *, empty: str = "None.") -> str:
    """A table; ``empty`` where it would have no rows."""
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>\n" for row in rows)
    if not body:
        return f'<p class="none">{cell(empty)}</p>'
    head = "".join(f"<th>{cell(name)}</th>" for name in heads)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def section(title: str, *parts: str, note: str = "", anchor: str = "") -> str:
    """A titled part of the page, with a line that says how to read it."""
    name = anchor or title.lower().replace(" ", "-")
    told = f'<p class="note">{note}</p>' if note else ""
    return f'<section id="{name}"><h2>{cell(title)}</h2>{told}\n{"".join(parts)}</section>\n'


def folded(title: str, body: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{cell(title)}</summary>{body}</details>"


def percent(rate: Mapping[str, Any], *, good: bool = False) -> Raw:
    """A rate with its interval as text and as a bar; ``good`` where more is better."""
    if rate["value"] is None:
        return Raw(f'<span class="none">{NONE}</span>')
    low, high, value = 100 * rate["low"], 100 * rate["high"], 100 * rate["value"]
    text = f'<b>{value:.1f} %</b> <span class="ci">[{low:.1f}, {high:.1f}]</span>'
    below = f", under {100 * rate['below']:.1f} %" if "below" in rate and not good else ""
    count = f'<span class="n">{rate["count"]} of {rate["n"]}{below}</span>'
    return Raw(f"{text}{whisker(rate['value'], rate['low'], rate['high'], good=good)}{count}")


def score(mean: Mapping[str, Any], top: float = 1.0) -> Raw:
    """A mean score with its interval as text and as a bar."""
    if mean["value"] is None:
        return Raw(f'<span class="none">{NONE}</span>')
    bounds = "no interval" if mean["low"] is None else f"[{mean['low']:.3f}, {mean['high']:.3f}]"
    bar = "" if mean["low"] is None else whisker(mean["value"] / top, mean["low"] / top, mean["high"] / top, good=True)
    return Raw(
        f'<b>{mean["value"]:.3f}</b> <span class="ci">{bounds}</span>{bar}<span class="n">n = {mean["n"]}</span>'
    )


def interval(row: Mapping[str, Any] | None, digits: int, unit: str = "") -> Raw:
    """A figure with bounds that may be missing: nothing is known beyond them."""
    if row is None:
        return Raw(f'<span class="none">{NONE}</span>')
    value, low, high = (None if row[name] is None else f"{row[name]:.{digits}f}" for name in ("value", "low", "high"))
    text = f"{value}{unit}" if value is not None else "none yet"
    return Raw(f'<b>{text}</b> <span class="ci">[{low or "?"}, {high or "∞"}]</span>')


def whisker(value: float, low: float, high: float, *, good: bool) -> str:
    """A dot on its interval, from 0 to 1."""
    x = [round(2.0 + 96.0 * min(max(v, 0.0), 1.0), 1) for v in (low, value, high)]
    kind = "good" if good else "bad"
    return (
        f'<svg class="whisker {kind}" viewBox="0 0 100 10" preserveAspectRatio="none">'
        f'<line class="axis" x1="2" x2="98" y1="5" y2="5"/><line x1="{x[0]}" x2="{x[2]}" y1="5" y2="5"/>'
        f'<rect x="{x[1] - 1.2:.1f}" y="1" width="2.4" height="8"/></svg>'
    )


def bar(part: int, whole: int) -> Raw:
    """A count and its share of the whole."""
    share = 100.0 * part / whole if whole else 0.0
    return Raw(f'<span class="bar"><i style="width:{share:.1f}%"></i></span><span class="n">{part}</span>')


def words(name: str) -> str:
    """A rule's or score's name for people."""
    return name.replace("_", " ")


def without(row: Mapping[str, Any]) -> str:
    """Which parts a score lacks, and in how many of its runs where not in all; empty where it lacks none."""
    missing = row["missing"].items()
    names = (words(part) + ("" if count == row["n"] else f" in {count} of {row['n']}") for part, count in missing)
    return f"without {', '.join(names)}" if missing else ""


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A number, or that there is none."""
    return NONE if value is None else f"{value:.{digits}f}{' ' + unit if unit else ''}"
