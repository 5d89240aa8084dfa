"""Drivers compared on the same scenarios, in parallel, with intervals; interrupted, it goes on where it stopped."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.drivers import guarded_by_default, make_driver, shipped_checkpoint
from alpamayo.progress import Progress
from alpamayo.provenance import code_version, file_digest
from alpamayo.runs import write_json, write_run
from alpamayo.validator.statistics import clopper_pearson, clustered_bootstrap
from alpamayo_scenarios.families import make_scenario
from alpamayo_scenarios.suite import get_suite
from alpamayo_sim.errors import InputError

SUITE = "longtail-600"  # its first 60 are the suite longtail-60
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Task:
    """One episode to be driven."""

    driver: str
    guarded: bool
    family: str
    seed: int
    folder: Path
    checkpoint: Path | None = None


def evaluate(
    drivers: Sequence[str],
    episodes: int,
    out: Path,
    *,
    guard: bool | None = None,
    checkpoint: Path | None = None,
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Drive ``episodes`` scenarios with each driver; episodes that ``out`` already holds are not driven again.

    They are the first of the suite ``longtail-600``: the families in turn, with seeds that training never uses.
    A driver that raises is excluded from that scenario and listed with the reason.

    Returns:
        JSON values: per driver rates with Clopper-Pearson and means with bootstrap intervals (95 %), per family
        rows, and what was excluded.

    Raises:
        InputError: unknown driver, bad checkpoint, more than 600 episodes, a folder that cannot be written.
    """
    for name in drivers:
        make_driver(name, checkpoint if name == "tiny" else None)
    tasks = list(_tasks(drivers, episodes, out, guard, checkpoint))
    rows: dict[Task, dict[str, Any]] = {}
    excluded: list[dict[str, str]] = []
    with _pool(workers) as pool:
        futures: dict[Future[dict[str, Any]], Task] = {pool.submit(_run, task): task for task in tasks}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                task = futures[future]
                try:
                    rows[task] = future.result()
                except InputError:
                    raise
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    scenario = f"{task.family}-{task.seed:05d}"
                    excluded.append({"driver": task.driver, "scenario": scenario, "reason": reason})
                progress("episodes", done, len(tasks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ordered = [rows[task] for task in tasks if task in rows]
    result = {
        "suite": SUITE,
        "episodes": episodes,
        "confidence": CONFIDENCE,
        "code_version": code_version(),
        "drivers": [compare(name, [row for row in ordered if row["name"] == name]) for name in drivers],
        "excluded": sorted(excluded, key=lambda entry: (entry["driver"], entry["scenario"])),
    }
    write_json(result, out / "evaluation.json")
    return result


def compare(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What one driver scored over its episodes. Empty rows give n = 0 and nothing else."""
    result: dict[str, Any] = {"driver": name, "n": len(rows)}
    if not rows:
        return result
    families = sorted({row["family"] for row in rows})
    return (
        result
        | {"guarded": rows[0]["guarded"]}
        | _headline(rows)
        | {"families": {f: _headline([row for row in rows if row["family"] == f]) for f in families}}
    )


def _headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "at_fault_rate": _rate([row["at_fault_collision"] for row in rows]),
        "collision_rate": _rate([row["collision"] for row in rows]),
        "off_road_rate": _rate([row["off_road"] for row in rows if row["off_road"] is not None]),
        "arrived_rate": _rate([row["arrived"] for row in rows]),
        "progress_m": _mean([row["progress_m"] for row in rows]),
        "pdm_score": _mean([row["pdm_score"] for row in rows if row["pdm_score"] is not None]),
        "comfort": _mean([row["comfort"] for row in rows if row["comfort"] is not None]),
        "intervention_share": _mean([row["interventions"] / row["steps"] for row in rows]),
    }


def _rate(outcomes: list[bool]) -> dict[str, float | int] | None:
    if not outcomes:
        return None
    low, high = clopper_pearson(sum(outcomes), len(outcomes), CONFIDENCE)
    return {
        "value": sum(outcomes) / len(outcomes),
        "low": low,
        "high": high,
        "count": sum(outcomes),
        "n": len(outcomes),
    }


def _mean(values: list[float]) -> dict[str, float | int | None] | None:
    """The mean and its bootstrap interval, None where so few values bound nothing."""
    if not values:
        return None
    array = np.asarray(values, np.float64)
    interval = clustered_bootstrap(array, np.arange(len(array)), CONFIDENCE, rng=np.random.default_rng(0))
    low, high = (float(bound) if np.isfinite(bound) else None for bound in interval)
    return {"value": float(array.mean()), "low": low, "high": high, "n": len(values)}


def _tasks(
    drivers: Sequence[str], episodes: int, out: Path, guard: bool | None, checkpoint: Path | None
) -> Iterator[Task]:
    suite = get_suite(SUITE).first(episodes)
    for name in drivers:
        guarded = guarded_by_default(name) if guard is None else guard
        for family, seed in suite.entries:
            folder = out / f"{name.replace(':', '.')}{'+guard' if guarded else ''}" / f"{family}-{seed:05d}"
            yield Task(name, guarded, family, seed, folder, checkpoint if name == "tiny" else None)


def _pool(workers: int | None) -> ProcessPoolExecutor:
    count = workers or min(8, os.cpu_count() or 1)
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    """One thread a process; Ctrl-C is the parent's to handle."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"


def _run(task: Task) -> dict[str, Any]:
    weights = task.checkpoint or shipped_checkpoint(task.driver)
    key = {
        "name": task.driver,
        "code_version": code_version(),
        "checkpoint": file_digest(weights) if weights else "",
    }
    done = _finished(task, key)
    if done is not None:
        return done
    from alpamayo.closed_loop import drive
    from alpamayo.validator import score_episode

    driver = make_driver(task.driver, task.checkpoint)
    episode = drive(make_scenario(task.family, task.seed), driver, seed=task.seed, guard=task.guarded)
    return write_run(episode, score_episode(episode), task.folder, extra=key)


def _finished(task: Task, key: dict[str, str]) -> dict[str, Any] | None:
    """The row of an earlier run of the same task by the same code and weights."""
    path = task.folder / "summary.json"
    if not path.is_file():
        return None
    try:
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if all(row.get(name) == value for name, value in key.items()) else None
