"""The evidence on a terminal: the headlines, who would have prevented what, and what was left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alpamayo.report.html import number, without, words
from alpamayo.validator.scores import TITLES

HEADS = ("driver", "n", "at fault", "off-road", "any failure", "km per incident", "PDM score")


def show(document: Mapping[str, Any], page: Path) -> None:
    """Print what a person wants to know first, and where the page is."""
    console = Console()
    title = f"{document['runs']} runs judged again, {100 * document['confidence']:g} % intervals"
    table = narrow_table(HEADS, title, document["drivers"])
    for name, row in document["drivers"].items():
        rates = [row["rules"]["at_fault_collision"]["broken"], row["rules"]["drivable_area"]["broken"], row["failed"]]
        cells = [bounds(rate, 0, scale=100.0, unit=" %") for rate in rates]
        cells += [bounds(row["kilometres_per_incident"], 2), bounds(row["scores"].get("pdms"), 2)]
        table.add_row(name, str(row["n"]), *cells)
    console.print(table)
    console.print(_scores(document))
    headline = {name: row["scores"]["pdms"] for name, row in document["drivers"].items() if "pdms" in row["scores"]}
    for line in (*lacking(headline), *comparison_lines(document["comparisons"]), *_preventable_lines(document)):
        console.print(line, soft_wrap=True, highlight=False)
    for row in document["raised"]:
        text = escape(
            f"{row['rule']} in {row['runs']} of {document['runs']} runs, which counts as broken: {row['error']}"
        )
        console.print(f"[red]raised[/red] {text}", soft_wrap=True, highlight=False)
    for row in document["excluded"]:
        console.print(f"[red]excluded[/red] {escape(row['run'] + ': ' + row['reason'])}", soft_wrap=True)
    console.print(f"report: {page}", soft_wrap=True)


def _scores(document: Mapping[str, Any]) -> Table:
    """All scores of each driver with what they lack; of a single run also with their parts and notes."""
    last = "parts" if document["runs"] == 1 else "lacks"
    names = [name for row in document["drivers"].values() for name in (TITLES.get(key, key) for key in row["scores"])]
    table = narrow_table(("score", "value", "n", last), "scores and their parts", names)
    for driver, row in document["drivers"].items():
        if len(document["drivers"]) > 1:
            table.add_row(f"[bold]{escape(driver)}[/bold]")
        for key, score in row["scores"].items():
            told = [without(score), *(f"n/a: {why}" for why in score["not_applicable"])]
            if document["runs"] == 1 and score["n"]:
                parts = (f"{words(part)} {number(found['value'])}" for part, found in score["parts"].items())
                told = [", ".join(parts), *document["records"][0]["scores"][key]["notes"]]
            table.add_row(
                TITLES.get(key, key), bounds(score, 2), str(score["n"]), escape("\n".join(filter(None, told)))
            )
    return table


def lacking(drivers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each driver whose PDM score lacks parts."""
    for name, score in drivers.items():
        if score["missing"]:
            yield f"PDM score of {name}: {without(score)}"


def narrow_table(heads: Sequence[str], title: str, names: Iterable[str]) -> Table:
    """A table without rows, for 80 columns: what does not fit goes on in the next line and is never cut.

    The first column is as wide as the longest name, at most 24 characters.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", title=title)
    table.add_column(heads[0], overflow="fold", width=min(24, max(map(len, (heads[0], *names)))))
    for head in heads[1:]:
        table.add_column(head, overflow="fold")
    return table


def comparison_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Two lines for each two drivers: at-fault collisions and the PDM score, with interval, p and n."""
    for row in rows:
        first, second = row["drivers"]
        for name, label, scale, unit, digits in (
            ("at_fault_collision", "at fault", 100.0, " points", 1),
            ("pdms", "PDM score", 1.0, "", 3),
        ):
            test = row["figures"].get(name)
            if test is not None:
                gap = bounds({**test, "value": test["difference"]}, digits, " ", unit, scale)
                yield f"{label}, {first} less {second}: {gap}, p {_p(test['p_holm'])}, {test['n']} pairs"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def bounds(row: Mapping[str, Any] | None, digits: int, between: str = "\n", unit: str = "", scale: float = 1.0) -> str:
    """A value with its interval; ``?`` and ``∞`` where there is no bound."""
    if row is None or (row["value"] is None and row["low"] is None):
        return "n/a"
    value, low, high = (None if row[k] is None else f"{scale * row[k]:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value or 'none yet'}{unit if value else ''}{between}[{low or '?'}, {high or '∞'}]"


def _preventable_lines(document: Mapping[str, Any]) -> Iterator[str]:
    for name, row in (document["preventability"] or {}).get("at_fault_collisions", {}).items():
        by = ", ".join(f"{driver} {rate['count']} of {rate['n']}" for driver, rate in row.items())
        yield f"at-fault collisions of {name} that are preventable by {by or 'anybody: none to prevent'}"
