"""Importance sampling of the failure probability in one family: more episodes where failures are likely.

The pool of seeds of a family is a sample of its scenarios. Seed i is drawn with a probability q_i, which is higher
where a pilot sample came close to failure. A run has the weight (1 / N) / q_i, so the estimate is unbiased for the
pool with any proposal (Owen, "Monte Carlo theory, methods and examples", chapter 9). The proposal comes from
a ridge regression of the pilot's clearance on the parameters' ranks and their squares. If P_i is its probability of a
negative clearance, the best q_i is proportional to the square root of P_i. A share of the draws stays uniform, which
bounds every weight (defensive mixture, Hesterberg, 1995). The pilot runs count too, with weight 1: their mean is
unbiased, and so is the mean of the other draws for any pilot result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from scipy import stats

from alpamayo.evaluation.figures import rate
from alpamayo.evaluation.statistics import RareRate, importance_rate
from alpamayo.evaluation.suite_run import TAKEN, Task, choices_of, run_task, task_of
from alpamayo.folders import claimed
from alpamayo.guard.config import GuardConfig
from alpamayo.json_values import json_number, rounded, write_json
from alpamayo.parallel import Progress, Workers, in_order
from alpamayo.provenance import code_version
from alpamayo.runs import say_taken
from alpamayo_scenarios.families import get_family
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED, SuiteEntry
from alpamayo_sim.errors import DriverError, InputError, one_line

Array = np.ndarray
CONFIDENCE = 0.95
POOL_SEEDS = 4000
PILOT_SHARE = 1.0 / 3.0  # share of the episodes
MIN_EPISODES = 12
UNIFORM_SHARE = 0.2  # share of uniform draws; no weight is above 1 / UNIFORM_SHARE
MIN_SPREAD_M = 0.1  # lower bound of the standard deviation of the residuals
RIDGE_PRIOR_RUNS = 1.0  # weight of the regression's prior, in runs
PARAMETER_PARTS = 4  # parts of a parameter's range in the result


@dataclass(frozen=True)
class Outcome:
    """Whether a run failed, and its smallest clearance (m) to another road user."""

    failed: bool
    clearance: float


def failure_probability(
    driver: str,
    family: str,
    episodes: int,
    out: Path,
    *,
    seed: int = 0,
    guard: bool | GuardConfig | None = None,
    checkpoint: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Estimate the probability of an at-fault collision in a family by importance sampling over its seeds.

    A third of the episodes is a uniform pilot; the others are drawn from the proposal fitted to it. Runs in ``out``
    with the same inputs are not driven again. A run whose driver raises counts as failed; a fault of the machine ends
    the estimation.

    Args:
        driver: name of the driver.
        family: name of the family.
        episodes: number of episodes, including the pilot; at least 12.
        out: folder of the records.
        seed: seed of the draws.
        guard: guard on (with the thresholds, if they are given) or off; None means off.
        checkpoint: weights in place of the shipped ones.
        arguments: arguments of the constructor of a user's own driver.
        workers: number of processes; None means one for each core.
        progress: called for each episode.

    Returns:
        JSON values: the estimate with standard error, interval, effective n and equivalent number of plain runs;
        the pilot's rate; the relative sampling rate for each part of a parameter's range.

    Raises:
        InputError: unknown driver or family, too few episodes, a folder that cannot be written.
    """
    if episodes < MIN_EPISODES:
        raise InputError(f"importance sampling needs at least {MIN_EPISODES} episodes, got {episodes}")
    (choice,) = choices_of([driver], False if guard is None else guard, checkpoint, arguments)
    seeds = FIRST_EVALUATION_SEED + np.arange(POOL_SEEDS)
    drawn = [get_family(family).draw(int(s)) for s in seeds]
    names = sorted(drawn[0])
    pool = np.array([[values[name] for name in names] for values in drawn])
    reasons: dict[str, str] = {}
    taken: set[str] = set()

    def drive(rows: Int[Array, " n"], what: str) -> list[Outcome]:
        tasks = [task_of(choice, SuiteEntry(family, drawn[i], int(seeds[i])), out) for i in rows]
        return _outcomes(tasks, workers, what, progress, reasons, taken)

    with claimed(out):
        found = sample(drive, pool, episodes, np.random.default_rng(seed))
    result = {"driver": driver, "family": family, "confidence": CONFIDENCE, "code_version": code_version()}
    result |= found.as_json(names, pool) | {"raised": reasons}
    write_json(result := rounded(result), out / "importance.json")
    say_taken(driver, len(taken), found.distinct)
    return result


@dataclass(frozen=True, eq=False)
class Sample:
    """The result: the estimate, failures and runs of the pilot, number of distinct runs, and q of each seed."""

    estimate: RareRate
    pilot: tuple[int, int]
    distinct: int
    q: Float64[Array, " n"]

    def as_json(self, names: Sequence[str], pool: Float64[Array, "n p"]) -> dict[str, Any]:
        """Return JSON values; ``driven_more_often`` has the relative sampling rate for each quarter of a parameter."""
        e = self.estimate
        plain = e.estimate * (1.0 - e.estimate) / e.standard_error**2 if e.standard_error > 0.0 else None
        return {
            "probability": {
                "value": e.estimate,
                "standard_error": json_number(e.standard_error),
                "low": e.interval.low,
                "high": e.interval.high,
                "n": e.n,
                "distinct": self.distinct,
                "effective_n": e.effective_n,
                "worth_plain_runs": plain,
            },
            "pilot": rate([i < self.pilot[0] for i in range(self.pilot[1])], CONFIDENCE),
            "driven_more_often": {name: _emphasis(values, self.q) for name, values in zip(names, pool.T, strict=True)},
        }


def sample(
    drive: Callable[[Int[Array, " n"], str], list[Outcome]],
    pool: Float64[Array, "n p"],
    episodes: int,
    rng: np.random.Generator,
) -> Sample:
    """Run a pilot, fit the proposal, and run the draws from it.

    Args:
        drive: function of rows of the pool and a name for the progress; it returns an outcome for each row.
        pool: parameters of each seed.
        episodes: number of episodes.
        rng: generator of the draws.
    """
    count = max(MIN_EPISODES // 2, round(PILOT_SHARE * episodes))
    first = rng.integers(0, len(pool), count)
    pilot = drive(first, "pilot")
    q = proposal(pool, first, pilot)
    rows = rng.choice(len(pool), episodes - count, p=q)
    outcomes = [*pilot, *drive(rows, "where failures are likely")]
    weights = np.concatenate([np.ones(count), 1.0 / (len(pool) * q[rows])])
    estimate = importance_rate(np.array([o.failed for o in outcomes]), weights, CONFIDENCE)
    failed = sum(outcome.failed for outcome in pilot)
    return Sample(estimate, (failed, count), len(np.unique([*first, *rows])), q)


def proposal(pool: Float64[Array, "n p"], rows: Int[Array, " m"], outcomes: Sequence[Outcome]) -> Float64[Array, " n"]:
    """Compute the sampling probability of each seed, at least ``UNIFORM_SHARE`` / N, from the outcomes of some rows."""
    features = _features(pool)
    seen = features[rows]
    near = np.array([min(o.clearance, 0.0) if o.failed else o.clearance for o in outcomes])
    prior = RIDGE_PRIOR_RUNS * np.diag(np.concatenate([[0.0], np.ones(features.shape[1] - 1)]))
    slopes = np.linalg.solve(seen.T @ seen + prior, seen.T @ near)
    spread = max(float(np.std(near - seen @ slopes)), MIN_SPREAD_M)
    likelihood = stats.norm.logcdf(-(features @ slopes) / spread)
    wanted = np.exp(0.5 * (likelihood - likelihood.max()))
    return UNIFORM_SHARE / len(pool) + (1.0 - UNIFORM_SHARE) * wanted / wanted.sum()


def _features(pool: Float64[Array, "n p"]) -> Float64[Array, "n f"]:
    """Return one, the rank of each parameter in [-1, 1], and its square minus the mean."""
    ranks = 2.0 * stats.rankdata(pool, axis=0) / (len(pool) + 1.0) - 1.0
    return np.concatenate([np.ones((len(pool), 1)), ranks, ranks**2 - np.mean(ranks**2, axis=0)], axis=1)


def _emphasis(values: Float64[Array, " n"], q: Float64[Array, " n"]) -> list[list[float]]:
    """Return (from, to, sampling rate relative to uniform) for each part of a parameter's values."""
    different = np.unique(values)
    quantiles = np.arange(PARAMETER_PARTS) / PARAMETER_PARTS
    edges = different if len(different) <= PARAMETER_PARTS else np.quantile(values, quantiles)
    part = np.searchsorted(edges, values, side="right") - 1
    return [
        [float(values[part == k].min()), float(values[part == k].max()), float(q[part == k].mean() * len(values))]
        for k in np.unique(part)
    ]


def _outcomes(
    tasks: Sequence[Task],
    workers: Workers,
    what: str,
    progress: Progress,
    reasons: dict[str, str],
    taken: set[str],
) -> list[Outcome]:
    """Drive tasks, some of which may be equal, and return their outcomes."""
    different = list({task.name: task for task in tasks}.values())
    found: dict[str, Outcome] = {}
    for task, row in in_order(run_task, different, workers=workers, what=what, progress=progress):
        if isinstance(row, Exception) and not isinstance(row, DriverError):
            raise row
        if isinstance(row, DriverError):
            reasons[task.name] = one_line(str(row))
        elif TAKEN in row:
            taken.add(task.name)
        found[task.name] = _outcome(None if isinstance(row, Exception) else row)
    return [found[task.name] for task in tasks]


def _outcome(row: Mapping[str, Any] | None) -> Outcome:
    if row is None:
        return Outcome(True, 0.0)
    return Outcome(bool(row["at_fault_collision"]), 0.0 if row["clearance_m"] is None else float(row["clearance_m"]))
