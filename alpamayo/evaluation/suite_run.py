"""Comparison of drivers on the same scenarios, in parallel, with intervals; an interrupted run can be continued."""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpamayo.drivers.registry import file_name_of, get_entry, guarded_by_default, takes_checkpoint
from alpamayo.evaluation import manifest
from alpamayo.evaluation.figures import comparisons, grouped, mean, missing_parts, rate
from alpamayo.evaluation.leaderboard import board, write_leaderboard
from alpamayo.evaluation.run_table import chosen_driver, table_row
from alpamayo.evaluation.selection import LOG, Entry, Selection, entry_name, select
from alpamayo.evaluation.stopping import ClaimMonitor, StopRule, clean_runs_needed, parse
from alpamayo.folders import claimed
from alpamayo.guard.config import GuardConfig
from alpamayo.json_values import rounded, write_json
from alpamayo.parallel import Progress, Workers, in_order
from alpamayo.provenance import code_version
from alpamayo.runs import DriverChoice, drive_run, driver_of, finished, run_inputs, say_taken, write_run
from alpamayo.validator import score_episode
from alpamayo_sim.errors import DriverError, InputError, one_line
from alpamayo_sim.settings import names_of, path_of

_log = logging.getLogger(__name__)
PAGE_FILE = "evaluation.html"
CONFIDENCE = 0.95
TAKEN = "taken"  # in the row of a run of an earlier call
AFTER_STOP = "driven after the stop rule was decided"


@dataclass(frozen=True)
class Task:
    """One episode to drive; ``name`` is its folder below the folder of the suite."""

    choice: DriverChoice
    entry: Entry
    name: str
    out: Path

    @property
    def driver(self) -> str:
        """The driver's name, with its guard."""
        return self.choice.label

    @property
    def family(self) -> str:
        """The scenario's family."""
        return self.entry.family

    @property
    def seed(self) -> int:
        """The scenario's seed."""
        return self.entry.seed

    @property
    def folder(self) -> Path:
        """The folder of its record."""
        return self.out / self.name


def evaluate(
    drivers: str | Sequence[str],
    episodes: int | None,
    out: str | Path,
    *,
    suite: str | Sequence[str] | None = None,
    families: Sequence[str] = (),
    seeds: Sequence[int] = (),
    logs: Sequence[str | Path] = (),
    reactive: bool = False,
    guard: bool | GuardConfig | None = None,
    checkpoint: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    workers: Workers = None,
    stop_when: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Drive suites, families or logs with each driver; finished runs in ``out`` are not repeated.

    A driver is measured by what it does without the guard, so these rows come first. A driver that is guarded by
    default gets a second row below them, with the guard, named DRIVER+guard. ``long-tail-6`` has six families in turn,
    with seeds that training never uses.
    A driver that raises is excluded from that scenario and listed with the reason; the rates "if excluded runs had
    failed" stand beside the others. A fault of the machine, such as a full disk, ends the evaluation. ``out`` is what
    ``alpamayo validate`` takes: a record for each run, and ``suite.json``, which lists the runs that should exist. It
    gets ``evaluation.json``, the page ``evaluation.html``, and ``runs.csv`` with a row for each run.

    Args:
        drivers: one name, or several.
        episodes: the first scenarios, at most as many as there are; None is all, and 60 if nothing else is chosen.
        out: the folder.
        suite: names or files of suites; long-tail-6 if neither families nor logs are given.
        families: names of families, driven with ``seeds``.
        seeds: of the families; ten that training never uses unless given.
        logs: files of recorded logs, or folders of them.
        reactive: recorded road users react where the recording has become impossible.
        guard: on (with the thresholds, if they are given) or off for all drivers; None as above.
        checkpoint: weights in place of the shipped ones.
        arguments: arguments of the constructors of the user's own drivers.
        workers: number of processes; one for each core unless given.
        stop_when: a claim such as "at-fault < 5%"; a driver stops as soon as it is shown or refuted.
        progress: called for each episode.

    Returns:
        JSON values: per driver rates with Clopper-Pearson and means with bootstrap intervals (95 %), per family
        rows, tests between drivers, the outcome of the claim, and the excluded runs.

    Raises:
        InputError: unknown driver or suite, bad checkpoint or claim, too many episodes, a folder that is not writable.
    """
    out = path_of(out, "the folder of an evaluation")
    rule = None if stop_when is None else parse(stop_when)
    drivers = list(names_of(drivers, "the drivers of an evaluation"))
    if not drivers:
        raise InputError("an evaluation needs a driver, such as idm")
    progress("make drivers", 0, len(drivers))
    choices = choices_of(drivers, False if guard is None else guard, checkpoint, arguments)
    if guard is None:
        choices += choices_of([name for name in drivers if guarded_by_default(name)], True, checkpoint, arguments)
    progress("make drivers", len(drivers), len(drivers))
    suites = [suite] if isinstance(suite, str) else list(suite or ())
    part = select(suites=suites, families=families, seeds=seeds, logs=logs, reactive=reactive, episodes=episodes)
    if rule is not None and (needed := clean_runs_needed(rule, CONFIDENCE)) > len(part.entries):
        text = "%r cannot be shown with %d scenarios, only refuted: it takes %d without a failure"
        _log.warning(text, rule.text, len(part.entries), needed)
    tasks = {choice.label: [task_of(choice, entry, out) for entry in part.entries] for choice in choices}
    with claimed(out):
        return _evaluated(tasks, rule, part, out, workers, progress)


def choices_of(
    names: Sequence[str], guard: bool | GuardConfig, checkpoint: Path | None, arguments: Mapping[str, Any] | None
) -> list[DriverChoice]:
    """Return the choices of several drivers, each made once as a check; weights and arguments go where they can.

    Raises:
        InputError: unknown driver, bad checkpoint, or arguments where no driver takes any.
    """
    own = {name for name in names if not get_entry(name).built_in}
    if arguments and names and not own:
        raise InputError(f"none of the drivers {', '.join(names)} takes arguments; they are for drivers of your own")
    choices = [
        DriverChoice.of(name, guard, checkpoint if takes_checkpoint(name) else None, arguments if name in own else None)
        for name in names
    ]
    for choice in choices:
        choice.make()
    return choices


def _evaluated(
    tasks: Mapping[str, Sequence[Task]],
    rule: StopRule | None,
    suite: Selection,
    out: Path,
    workers: Workers,
    progress: Progress,
) -> dict[str, Any]:
    everything = [task for some in tasks.values() for task in some]
    stop_when = None if rule is None else rule.text
    _list(out, everything, {}, list(tasks), suite, stop_when)
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    excluded: list[dict[str, str]] = []
    results = []
    for name, some in tasks.items():
        watch = None if rule is None else ClaimMonitor(rule, CONFIDENCE)
        driven, failed = _drive(some, watch, workers, progress)
        say_taken(name, sum(TAKEN in row for row in driven), len(driven) + len(failed))
        rows += driven
        excluded += failed
        left_out |= {task.name: AFTER_STOP for task in some[len(driven) + len(failed) :] if task.folder.exists()}
        left_out |= {row["run"]: row["reason"] for row in failed}
        about = {"base_driver": some[0].choice.name, "guard_state": some[0].choice.guard_state.value}
        results.append(
            compare(name, driven, len(failed)) | about | ({} if watch is None else {"claim": watch.as_json()})
        )
    kept = [task for task in everything if task.folder.exists() or task.name in left_out]
    _list(out, kept, left_out, list(tasks), suite, stop_when)
    result: dict[str, Any] = {
        "suite": suite.name,
        "suite_digest": suite.digest,
        "episodes": len(suite.entries),
        "confidence": CONFIDENCE,
        "code_version": code_version(),
        "drivers": results,
        "comparisons": _compared(rows),
        "excluded": excluded,
    }
    table = [table_row(row, row["run"], out / row["run"]) for row in rows]
    write_json(result := rounded(result | {"runs": table}), out / "evaluation.json")
    if table:
        write_leaderboard(board(table, CONFIDENCE), out, PAGE_FILE)
    return result


def compare(name: str, rows: Sequence[Mapping[str, Any]], excluded: int = 0) -> dict[str, Any]:
    """Summarise the episodes of one driver. Empty rows give n = 0 and no figures."""
    result: dict[str, Any] = {"driver": name, "n": len(rows), "excluded": excluded}
    if not rows:
        return result
    worst = [row["at_fault_collision"] for row in rows] + [True] * excluded
    return (
        result
        | {"guarded": rows[0]["guarded"]}
        | _headline(rows)
        | {"at_fault_rate_if_excluded_failed": rate(worst, CONFIDENCE)}
        | {"families": {family or LOG: _headline(some) for family, some in grouped(rows, "family").items()}}
    )


def _drive(
    tasks: Sequence[Task], watch: ClaimMonitor | None, workers: Workers, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Drive the tasks of one driver until its claim is decided; return rows and exclusions."""
    rows: list[dict[str, Any]] = []
    excluded: list[dict[str, str]] = []
    with closing(in_order(run_task, tasks, workers=workers, what=tasks[0].driver, progress=progress)) as driven:
        for task, found in driven:
            if isinstance(found, Exception) and not isinstance(found, DriverError):
                raise found
            if isinstance(found, DriverError):
                scenario, reason = entry_name(task.entry), one_line(str(found))
                excluded.append({"driver": task.driver, "scenario": scenario, "run": task.name, "reason": reason})
            else:
                rows.append(found | {"run": task.name})
            if watch is not None and watch.add(None if isinstance(found, Exception) else found):
                break
    return rows, excluded


def _list(
    out: Path,
    tasks: Sequence[Task],
    left_out: Mapping[str, str],
    drivers: Sequence[str],
    suite: Selection,
    stop_when: str | None,
) -> None:
    """Write the manifest; runs of other drivers that it already lists stay."""
    mine = {task.name.partition("/")[0] for task in tasks}
    before = manifest.read_kept(out)
    about = {
        "suite": suite.name,
        "suite_digest": suite.digest,
        "drivers": list(drivers),
        "stop_when": stop_when,
    }
    others = [name for name in before.runs if name.partition("/")[0] not in mine]
    kept = {name: reason for name, reason in before.left_out.items() if name.partition("/")[0] not in mine}
    if others:
        about["drivers"] = sorted({*before.about.get("drivers", ()), *drivers})
    manifest.write(manifest.Manifest(about, (*others, *(task.name for task in tasks)), {**kept, **left_out}), out)


def _compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    named = [{**row, "driver": row["name"], "base_driver": chosen_driver(row)} for row in rows]
    failed = {"at_fault_collision": lambda row: row["at_fault_collision"], "collision": lambda row: row["collision"]}
    scored = {"pdms": lambda row: row["pdm_score"], "progress_m": lambda row: row["progress_m"]}
    no_best = {"progress_m": math.inf}
    return comparisons(named, CONFIDENCE, failed, scored, lambda row: row["scenario"], no_best)


def _headline(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "at_fault_rate": rate([row["at_fault_collision"] for row in rows], CONFIDENCE),
        "collision_rate": rate([row["collision"] for row in rows], CONFIDENCE),
        "off_road_rate": rate([row["off_road"] for row in rows if row["off_road"] is not None], CONFIDENCE),
        "arrived_rate": rate([row["arrived"] for row in rows], CONFIDENCE),
        "progress_m": _mean(rows, "progress_m", math.inf),
        "pdm_score": _mean(rows, "pdm_score")
        | {"missing": missing_parts([row["scores"]["pdms"] for row in rows if row["pdm_score"] is not None])},
        "comfort": _mean(rows, "comfort"),
        "intervention_share": mean(
            [row["interventions"] / row["steps"] for row in rows], [row["scenario"] for row in rows], CONFIDENCE
        ),
    }


def _mean(rows: Sequence[Mapping[str, Any]], name: str, best: float = 1.0) -> dict[str, Any]:
    known = [row for row in rows if row[name] is not None]
    return mean([row[name] for row in known], [row["scenario"] for row in known], CONFIDENCE, best)


def task_of(choice: DriverChoice, entry: Entry, out: Path) -> Task:
    """Return the task of a driver on a scenario, with the folder of its record."""
    folder = f"{file_name_of(choice.label)}/{entry_name(entry)}"
    return Task(choice, entry, folder, out)


def run_task(task: Task) -> dict[str, Any]:
    """Drive, score and write one episode unless its record exists; return its row."""
    scenario = task.entry.make()
    inputs = run_inputs(task.choice, scenario, task.seed)
    row = finished(task.folder, inputs)
    if row is None:
        episode = drive_run(task.choice, driver_of(task.choice, inputs["weights"]), scenario, task.seed)
        return write_run(episode, score_episode(episode), task.folder, {"inputs": inputs}) | {"name": task.driver}
    return row | {"name": task.driver, TAKEN: True}
