"""Results on the console: evaluations, importance sampling and validations, in 80 columns."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from alpamayo.report.text import missing_text, number_text, pair_text, words
from alpamayo.validator.scores import TITLES
from alpamayo_sim.errors import one_line

EVALUATION_HEADS = ("driver", "guard", "at fault", "collision", "off-road", "arrived", "progress", "PDM score")
VALIDATION_HEADS = ("driver", "n", "at fault", "off-road", "any failure", "km per incident", "PDM score")
LEADERBOARD_HEADS = ("driver", "guard", "n", "PDM score", "zero", "solved", "at fault", "capability", "rank")
FAITHFULNESS_HEADS = ("measure", "yes", "counts", "yes means")
OPEN_LOOP_HEADS = ("horizon", "ADE", "minADE", "minFDE", "corner", "missed")
BUSY_LOAD = 1.0  # of processes a core, beyond which speeds are too low
RATES = ("at_fault_rate", "collision_rate", "off_road_rate", "arrived_rate")


def plain_console() -> Console:
    """Return a console that prints text as it is: names of drivers, logs and rules are never read as markup."""
    return Console(markup=False, emoji=False, highlight=False)


def bold(text: str) -> Text:
    """Return text in bold."""
    return Text(text, style="bold")


def warn(console: Console, label: str, text: str) -> None:
    """Print a line with a label in red; the text may come from a file, and is shown as one line."""
    console.print(Text.assemble((label, "red"), " ", one_line(text)), soft_wrap=True)


def show_evaluation(result: Mapping[str, Any]) -> None:
    """Print drivers side by side, tests between them, claims, and excluded runs."""
    console = plain_console()
    most = max((row["n"] + row["excluded"] for row in result["drivers"]), default=0)
    names = [row["driver"] for row in result["drivers"]]
    suite = f"{result['suite']} ({result['suite_digest'][:12]})"
    table = narrow_table(EVALUATION_HEADS, f"{suite}: {most} scenarios a driver, 95 % intervals", names)
    for row in result["drivers"]:
        if not row["n"]:
            continue
        cells = [bounds(row[name], 0, unit="%", scale=100.0) for name in RATES]
        cells += [bounds(row["progress_m"], 0, unit=" m"), bounds(row["pdm_score"], 2)]
        table.add_row(row["base_driver"], row["guard_state"], *cells)
    console.print(table)
    headline = {row["driver"]: row["pdm_score"] for row in result["drivers"] if row["n"]}
    for line in (*missing_lines(headline), *comparison_lines(result["comparisons"])):
        console.print(line, soft_wrap=True)
    for row in result["drivers"]:
        _show_claim(console, row)
    for failure in result["excluded"]:
        warn(console, "excluded", f"{failure['driver']} {failure['scenario']}: {failure['reason']}")
    for row in result["drivers"]:
        if row["n"] and row["excluded"]:
            worst = bounds(row["at_fault_rate_if_excluded_failed"], 0, " ", "%", 100.0)
            console.print(f"{row['driver']}: at fault {worst} if the {row['excluded']} excluded had failed")


def show_places(folder: Path, page: Path) -> None:
    """Print where the results of an evaluation lie, and which command comes next."""
    console = plain_console()
    where = shlex.quote(str(folder))
    console.print(f"page:    {page}\nrows:    {folder / 'runs.csv'}", soft_wrap=True)
    console.print(f"next:    alpamayo view {where}\n         alpamayo validate {where}", soft_wrap=True)


def show_leaderboard(found: Mapping[str, Any], page: Path) -> None:
    """Print the drivers, the best first, the tests between them, and where the page is."""
    console = plain_console()
    title = f"{len(found['scenarios'])} scenarios, {100 * found['confidence']:g} % intervals"
    table = narrow_table(LEADERBOARD_HEADS, title, [row["base_driver"] for row in found["drivers"]])
    for row in found["drivers"]:
        ability = row["capability"]
        cells = [bounds(row["pdm_score"], 2)]
        cells += [bounds(row[name], 0, unit="%", scale=100.0) for name in ("zero_rate", "solved_rate", "at_fault_rate")]
        rank = "n/a" if ability is None else f"{ability['rank_low']} to {ability['rank_high']}"
        table.add_row(row["base_driver"], row["guard_state"], str(row["n"]), *cells, bounds(ability, 2), rank)
    console.print(table)
    for line in comparison_lines(found["comparisons"]):
        console.print(line, soft_wrap=True)
    console.print(f"page: {page}", soft_wrap=True)


def show_faithfulness(found: Mapping[str, Any]) -> None:
    """Print how often each question about the words of a driver was answered with yes."""
    console = plain_console()
    rows = found["measures"]
    table = narrow_table(FAITHFULNESS_HEADS, found["scenarios"], [row["measure"] for row in rows])
    for row in rows:
        low, high = row["interval"]
        share = "n/a" if row["share"] is None else f"{100 * row['share']:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"
        table.add_row(row["measure"], share, f"{row['yes']} of {row['asked']}", row["means"])
    console.print(table)


def show_doctor(found: Mapping[str, Any]) -> None:
    """Print what is installed, what is missing with what to do, and the measured speed."""
    console = plain_console()
    machine = found["machine"]
    console.print(f"alpamayo {found['code_version']}, Python {machine['python']}, {machine['system']}", soft_wrap=True)
    console.print(f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB", soft_wrap=True)
    table = narrow_table(("", "", "", ""), "", [row["name"] for row in found["findings"]])
    for row in found["findings"]:
        style = {"ok": "green", "missing": "red"}.get(row["state"], "")
        table.add_row(row["name"], Text(row["state"], style=style), row["found"], row["advice"])
    for row in found["speed"]:
        table.add_row(row["name"], "", f"{row['value']:.3g} {row['unit']}", "")
    console.print(table)
    if found["speed"] and found["load"] > BUSY_LOAD:
        console.print(f"the machine is busy (load {found['load']:g} a core): the speeds are lower than on a quiet one")


def show_open_loop(result: Mapping[str, Any]) -> None:
    """Print the errors of plans by driver and horizon, with intervals, and what could not be evaluated."""
    console = plain_console()
    for row in result["drivers"]:
        table = Table(*OPEN_LOOP_HEADS, box=None, padding=(0, 3, 0, 0), header_style="dim")
        for h, horizon in enumerate(result["horizons_s"]):
            missed = row["missed"][h]
            cells = [_with_bounds(row[name][h]) for name in ("ade_m", "min_ade_m", "min_fde_m", "corner_m")]
            rate = "n/a" if missed["mean"] is None else f"{missed['mean']:.0%}"
            table.add_row(f"{horizon:g} s", *cells, rate)
        console.print(bold(row["driver"]), f"{row['scenes']} scenes; m, mean and 95 % interval over scenes")
        console.print(table)
    for failure in result["failed"]:
        warn(console, "excluded", f"{failure['driver']} {failure['log']}: {failure['reason']}")


def _with_bounds(value: Mapping[str, float | None]) -> str:
    if value["mean"] is None:
        return "n/a"
    return f"{value['mean']:.2f}" + ("" if value["low"] is None else f" [{value['low']:.2f}, {value['high']:.2f}]")


def show_importance(result: Mapping[str, Any]) -> None:
    """Print the probability with its error, the result of the pilot alone, and the sampled parts of the ranges."""
    console = plain_console()
    found, pilot = result["probability"], result["pilot"]
    console.print(
        bold(f"P(at-fault collision) of {result['driver']} in {result['family']}:"),
        f"{bounds(found, 1, ' ', ' %', 100.0)}, standard error {100.0 * found['standard_error']:.1f} %",
    )
    worth = "" if found["worth_plain_runs"] is None else f", worth {found['worth_plain_runs']:.0f} plain runs"
    console.print(
        f"{found['n']} runs, {found['distinct']} of them distinct{worth}; effective n of the failures", end=""
    )
    console.print(f" {found['effective_n']:.1f}")
    console.print(f"the pilot alone: {bounds(pilot, 1, ' ', ' %', 100.0)}, {pilot['count']} of {pilot['n']}")
    table = Table("parameter", "sampling rate relative to uniform, by part of its range", box=None, header_style="dim")
    for name, parts in result["driven_more_often"].items():
        table.add_row(name, "   ".join(f"{low:.3g} to {high:.3g}: {odds:.1f}x" for low, high, odds in parts))
    console.print(table)
    for name, reason in result["raised"].items():
        warn(console, "counted as failed", f"{name}: {reason}")


def _show_claim(console: Console, row: Mapping[str, Any]) -> None:
    claim = row.get("claim")
    if claim is None:
        return
    words = {"shown": "is shown", "refuted": "is refuted", "open": "is open: not enough scenarios to decide"}
    bound = f"{100 * claim['low']:.1f} to {100 * claim['high']:.1f} % violate it, valid at every test"
    console.print(
        f"{row['driver']}: '{claim['claim']}' {words[claim['outcome']]} after {claim['n']} scenarios "
        f"({claim['against']} violate it; {bound})",
        soft_wrap=True,
    )


def show_validation(document: Mapping[str, Any], page: Path) -> None:
    """Print the headlines of a validation, the excluded runs, and the path of its page."""
    console = plain_console()
    title = f"{document['runs']} runs rescored, {100 * document['confidence']:g} % intervals"
    table = narrow_table(VALIDATION_HEADS, title, document["drivers"])
    for name, row in document["drivers"].items():
        rates = [row["rules"]["at_fault_collision"]["broken"], row["rules"]["drivable_area"]["broken"], row["failed"]]
        cells = [bounds(rate, 0, scale=100.0, unit=" %") for rate in rates]
        cells += [bounds(row["kilometres_per_incident"], 2), bounds(row["scores"].get("pdms"), 2)]
        table.add_row(name, str(row["n"]), *cells)
    console.print(table)
    console.print(_score_table(document))
    headline = {name: row["scores"]["pdms"] for name, row in document["drivers"].items() if "pdms" in row["scores"]}
    lines = (*_own_rule_lines(document), *missing_lines(headline), *comparison_lines(document["comparisons"]))
    for line in (*lines, *_preventable_lines(document)):
        console.print(line, soft_wrap=True)
    for row in document["raised"]:
        text = f"{row['rule']} in {row['runs']} of {document['runs']} runs, which counts as violated: {row['error']}"
        warn(console, "raised", text)
    for row in document["excluded"]:
        warn(console, "excluded", f"{row['run']}: {row['reason']}")
    console.print(f"report: {page}", soft_wrap=True)


def _own_rule_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each driver and rule of the user's own: how often it is violated, and the smallest margin."""
    for rule in document["formulas"]:
        for name, row in document["drivers"].items():
            found = row["rules"][rule]
            share = bounds(found["broken"], 0, " ", "%", 100.0)
            margin = number_text(found["margin"]["least"], unit=found["unit"])
            yield f"rule {rule} of {name}: violated in {share}, smallest margin {margin}"


def _score_table(document: Mapping[str, Any]) -> Table:
    """List all scores of each driver with their missing parts; of a single run also their parts and notes."""
    last = "parts" if document["runs"] == 1 else "lacks"
    names = [name for row in document["drivers"].values() for name in (TITLES.get(key, key) for key in row["scores"])]
    table = narrow_table(("score", "value", "n", last), "scores and their parts", names)
    for driver, row in document["drivers"].items():
        if len(document["drivers"]) > 1:
            table.add_row(bold(driver))
        for key, score in row["scores"].items():
            details = [missing_text(score), *(f"n/a: {why}" for why in score["not_applicable"])]
            if document["runs"] == 1 and score["n"]:
                parts = (f"{words(part)} {number_text(found['value'])}" for part, found in score["parts"].items())
                details = [", ".join(parts), *document["records"][0]["scores"][key]["notes"]]
            table.add_row(TITLES.get(key, key), bounds(score, 2), str(score["n"]), "\n".join(filter(None, details)))
    return table


def missing_lines(drivers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each driver whose PDM score lacks parts."""
    for name, score in drivers.items():
        if score["missing"]:
            yield f"PDM score of {name}: {missing_text(score)}"


def narrow_table(heads: Sequence[str], title: str, names: Iterable[str]) -> Table:
    """Make a table without rows for 80 columns: long text continues on the next line and is never cut.

    The first column is as wide as the longest name, at most 24 characters.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", title=title)
    table.add_column(heads[0], overflow="fold", width=min(24, max(map(len, (heads[0], *names)))))
    for head in heads[1:]:
        table.add_column(head, overflow="fold")
    return table


def comparison_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield two lines for each pair of drivers: at-fault collisions and the PDM score, with interval, p and n."""
    for row in rows:
        pair = pair_text(row["base_drivers"], row["guard_states"])
        for name, label, scale, unit, digits in (
            ("at_fault_collision", "at fault", 100.0, " points", 1),
            ("pdms", "PDM score", 1.0, "", 3),
        ):
            test = row["figures"].get(name)
            if test is not None:
                gap = bounds({**test, "value": test["difference"]}, digits, " ", unit, scale)
                yield f"{label}, {pair}: {gap}, p {_p(test['p_holm'])}, {test['n']} pairs"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def bounds(row: Mapping[str, Any] | None, digits: int, between: str = "\n", unit: str = "", scale: float = 1.0) -> str:
    """Return a value with its interval; ``?`` and ``∞`` where there is no bound."""
    if row is None or (row["value"] is None and row["low"] is None):
        return "n/a"
    if row["value"] is not None and row["low"] is None and row["high"] is None:
        return f"{scale * row['value']:.{digits}f}{unit}"
    value, low, high = (None if row[k] is None else f"{scale * row[k]:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value or 'none yet'}{unit if value else ''}{between}[{low or '?'}, {high or '∞'}]"


def _preventable_lines(document: Mapping[str, Any]) -> Iterator[str]:
    for name, row in (document["preventability"] or {}).get("at_fault_collisions", {}).items():
        by = ", ".join(f"{driver} {rate['count']} of {rate['n']}" for driver, rate in row.items())
        yield f"at-fault collisions of {name} that are preventable by {by or 'no driver: there are none'}"
