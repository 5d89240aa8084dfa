"""Figures of a suite, each with its interval and its n, as JSON values."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from alpamayo.evaluation.run_record import HARD, INCIDENTS, is_failed
from alpamayo.evaluation.statistics import (
    bounded_mean,
    clopper_pearson,
    clustered_bootstrap,
    holm,
    kilometres_per_incident,
    mcnemar,
    paired_difference,
    ratio_bootstrap,
    rule_of_three,
)
from alpamayo.json_values import json_number
from alpamayo.validator.scores import SCORE_MAXIMUM

Array = np.ndarray
Run = Mapping[str, Any]
MIN_CLUSTERS = 10  # of a bootstrap
BOOTSTRAP_SEED = 0  # fixed, so that the same runs give the same interval


def by_driver(runs: Sequence[Run], confidence: float) -> dict[str, dict[str, Any]]:
    """Compute the figures of each driver, and of each family below it."""
    out = {}
    for name, rows in grouped(runs, "driver").items():
        families = {family: figures(some, confidence) for family, some in grouped(rows, "family").items()}
        out[name] = figures(rows, confidence) | {"families": families}
    return out


def figures(runs: Sequence[Run], confidence: float) -> dict[str, Any]:
    """Compute rates, scores with their parts, rules, kilometres per incident and the guard's figures of runs."""
    before = sum(run["kilometres_before_incident"] for run in runs)
    incidents = sum(any(is_failed(run, rule) for rule in INCIDENTS) for run in runs)
    clusters = [f"{run['scenario']} {run['hashes']['scenario']}" for run in runs]
    return {
        "n": len(runs),
        "failed": rate([bool(run["failures"]) for run in runs], confidence),
        "collided": rate([run["collided"] for run in runs], confidence),
        "arrived": rate([run["arrived"] for run in runs], confidence),
        "rules": {rule: _rule(rule, runs, confidence) for rule in runs[0]["rules"]},
        "scores": {name: _score(name, runs, clusters, confidence) for name in runs[0]["scores"]},
        "kilometres": sum(run["kilometres"] for run in runs),
        "incidents": incidents,
        "kilometres_before_incident": before,
        "kilometres_per_incident": _per_incident(before, incidents, confidence),
        "guard": _guard([run for run in runs if run["guard"] is not None], confidence),
    }


def rate(outcomes: Sequence[bool], confidence: float) -> dict[str, Any]:
    """Compute a share with its Clopper-Pearson interval; if the count is 0, also its one-sided upper bound."""
    count, n = sum(outcomes), len(outcomes)
    low, high = clopper_pearson(count, n, confidence)
    row = {"value": count / n if n else None, "low": low, "high": high, "count": count, "n": n}
    return row | ({"below": rule_of_three(n, confidence)} if n and not count else {})


def mean(values: Sequence[float], clusters: Sequence[Any], confidence: float, best: float = 1.0) -> dict[str, Any]:
    """Compute a mean with its clustered bootstrap interval.

    With fewer than ten clusters a bootstrap is too narrow: values in [0, ``best``] have Chernoff's bound, others none.
    """
    if not values:
        return {"value": None, "low": None, "high": None, "n": 0}
    array, member = np.asarray(values, np.float64), np.unique(np.asarray(clusters), return_inverse=True)[1]
    low, high = -np.inf, np.inf
    if member.max() + 1 >= MIN_CLUSTERS:
        low, high = clustered_bootstrap(array, member, confidence, rng=np.random.default_rng(BOOTSTRAP_SEED))
    elif array.min() >= 0.0 and array.max() <= best < np.inf:
        low, high = (best * bound for bound in bounded_mean(array / best, member, confidence))
    return {"value": float(array.mean()), "low": json_number(low), "high": json_number(high), "n": len(array)}


def comparisons(
    runs: Sequence[Run],
    confidence: float,
    failed: Mapping[str, Callable[[Run], bool | None]],
    scored: Mapping[str, Callable[[Run], float | None]],
    key: Callable[[Run], Any],
    best: Mapping[str, float] = SCORE_MAXIMUM,
) -> list[dict[str, Any]]:
    """Compare each pair of drivers on the scenarios that both drove: McNemar for failures, sign flips for scores.

    Several runs of a driver in one scenario count as their mean; failures are then tested by sign flips, too. ``p`` is
    of one comparison, ``p_holm`` is corrected for all comparisons of the same figure (Holm, 1979). ``base_drivers``
    and ``guard_states`` are the two without the guard's name, and the guard of each: a difference between two settings
    may be the guard's and not the drivers'.

    Args:
        runs: rows with a "driver", and its "base_driver" and "guard_state".
        confidence: of the intervals.
        failed: by the figure's name, whether a run failed; None if unknown.
        scored: by the figure's name, the score of a run; None if it has none.
        key: identifies the scenario of a run.
        best: by the figure's name, the highest possible score; the lowest is 0. Default 1.
    """
    rows = {name: _by_scenario(some, key) for name, some in grouped(runs, "driver").items()}
    out: list[dict[str, Any]] = []
    for first, second in itertools.combinations(rows, 2):
        both = sorted(set(rows[first]) & set(rows[second]))
        pairs = [(rows[first][name], rows[second][name]) for name in both]
        tests = {name: _paired(pairs, figure, confidence, rates=True) for name, figure in failed.items()}
        tests |= {
            name: _paired(pairs, figure, confidence, rates=False, best=best.get(name, 1.0))
            for name, figure in scored.items()
        }
        used = [sum(len(pair[i]) for pair in pairs) for i in (0, 1)]
        out.append(
            {
                "drivers": [first, second],
                "base_drivers": [_common(rows[name], "base_driver") or name for name in (first, second)],
                "guard_states": [_common(rows[name], "guard_state") for name in (first, second)],
                "n": len(both),
                "runs": used,
                "figures": tests,
            }
        )
    for name in (*failed, *scored):
        rows_of = [row["figures"][name] for row in out if row["figures"][name] is not None]
        for row, p in zip(rows_of, holm([row["p"] for row in rows_of]), strict=True):
            row["p_holm"] = p
    return out


def raised(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """List the rules that raised, with the exception and the number of runs."""
    counts = Counter((rule, error) for run in runs for rule, error in run["errors"].items())
    return [{"rule": rule, "error": error, "runs": count} for (rule, error), count in sorted(counts.items())]


def grouped(runs: Sequence[Run], field: str) -> dict[str, list[Run]]:
    """Group runs by the value of a field, in the order of the values."""
    return {value: [run for run in runs if run[field] == value] for value in sorted({run[field] for run in runs})}


def preventable(runs: Sequence[Run], scenarios: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """Compute, for each driver's at-fault collisions, the share that each reference driver avoids."""
    avoided = {row["hash"]: row["avoided_by"] for row in scenarios}
    out: dict[str, Any] = {}
    for name, rows in grouped(runs, "driver").items():
        known = [
            avoided[run["hashes"]["scenario"]]
            for run in rows
            if is_failed(run, "at_fault_collision") and run["hashes"]["scenario"] in avoided
        ]
        drivers = sorted({driver for some in known for driver in some})
        out[name] = {driver: rate([some[driver] for some in known if driver in some], confidence) for driver in drivers}
    return out


def _rule(name: str, runs: Sequence[Run], confidence: float) -> dict[str, Any]:
    rows = [run["rules"][name] for run in runs if name in run["rules"]]
    judged = [(run, run["rules"][name]) for run in runs if name in run["rules"] and run["rules"][name]["applies"]]
    values = [row["value"] for _, row in judged if row["value"] is not None]
    margins = [row["margin"] for _, row in judged if row["margin"] is not None]
    return {
        "hard": name in HARD,
        "unit": rows[0]["unit"] if rows else "",
        "broken": rate([is_failed(run, name) for run, _ in judged], confidence),
        "not_applicable": len(rows) - len(judged),
        "raised": sum(name in run["errors"] for run in runs),
        "value": float(np.mean(values)) if values else None,
        "margin": {
            "least": min(margins) if margins else None,
            "median": float(np.median(margins)) if margins else None,
        },
    }


def _score(name: str, runs: Sequence[Run], clusters: Sequence[str], confidence: float) -> dict[str, Any]:
    there = [(run["scores"][name], c) for run, c in zip(runs, clusters, strict=True) if name in run["scores"]]
    known = [(score["value"], cluster) for score, cluster in there if score["value"] is not None]
    parts: dict[str, Any] = {}
    for part in there[0][0]["parts"] if there else ():
        values = [score["parts"][part] for score, _ in there if score["parts"][part] is not None]
        parts[part] = {"value": float(np.mean(values)) if values else None, "n": len(values)}
    valued = [score for score, _ in there if score["value"] is not None]
    figure = mean([value for value, _ in known], [c for _, c in known], confidence, SCORE_MAXIMUM.get(name, 1.0))
    return figure | {
        "parts": parts,
        "missing": missing_parts(valued),
        "not_applicable": dict(
            sorted(Counter("; ".join(s["notes"]) for s, _ in there if s["value"] is None).items()),
        ),
    }


def missing_parts(scores: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the runs with a score in which each part is missing, by name."""
    return dict(sorted(Counter(part for score in scores for part in score["missing"]).items()))


def _per_incident(kilometres: float, incidents: int, confidence: float) -> dict[str, float | None] | None:
    if kilometres <= 0.0:
        return None
    per = kilometres_per_incident(kilometres, incidents, confidence)
    return {"value": json_number(per.value), "low": json_number(per.low), "high": json_number(per.high)}


def _guard(rows: Sequence[Run], confidence: float) -> dict[str, Any] | None:
    if not rows:
        return None
    clusters = [f"{run['scenario']} {run['hashes']['scenario']}" for run in rows]
    names = ("interventions", "false_alarms", "progress_lost_m")
    interventions, alarms, lost = ([run["guard"][name] for run in rows] for name in names)
    collided = [run["guard"]["missed"] for run in rows if is_failed(run, "at_fault_collision")]
    kilometres = [run["kilometres"] for run in rows]
    latency = [run["guard"]["latency_ms"] for run in rows if run["guard"]["latency_ms"] is not None]
    return {
        "runs": len(rows),
        "interventions": sum(interventions),
        "interventions_per_km": _ratio(interventions, kilometres, clusters, confidence),
        "progress_lost_m_per_km": _ratio(lost, kilometres, clusters, confidence),
        "false_alarms": {"count": sum(alarms)} | _ratio(alarms, interventions, clusters, confidence),
        "missed": rate(collided, confidence),
        "latency_ms": {
            "p50": float(np.median([row["50"] for row in latency])) if latency else None,
            "p99": max(row["99"] for row in latency) if latency else None,
        },
    }


def _ratio(
    tops: Sequence[float], bottoms: Sequence[float], clusters: Sequence[str], confidence: float
) -> dict[str, float | None]:
    """Compute a ratio of sums with its clustered bootstrap interval, none below ten clusters; n is the divisor."""
    total = sum(bottoms)
    if not total > 0.0:
        return {"value": None, "low": None, "high": None, "n": total}
    low, high = -np.inf, np.inf
    if len(set(clusters)) >= MIN_CLUSTERS:
        top, bottom = np.array(tops, np.float64), np.array(bottoms, np.float64)
        member = np.unique(np.asarray(clusters), return_inverse=True)[1]
        low, high = ratio_bootstrap(top, bottom, member, confidence, rng=np.random.default_rng(BOOTSTRAP_SEED))
    return {"value": sum(tops) / total, "low": json_number(low), "high": json_number(high), "n": total}


def _common(rows: Mapping[Any, Sequence[Run]], field: str) -> str | None:
    """Return the value that a field has in all runs of a driver; None if it differs or is missing."""
    values = {run.get(field) for runs in rows.values() for run in runs}
    return values.pop() if len(values) == 1 else None


def _by_scenario(runs: Sequence[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    out: dict[Any, list[Run]] = {}
    for run in runs:
        out.setdefault(key(run), []).append(run)
    return out


def _of_scenario(runs: Sequence[Run], figure: Callable[[Run], float | bool | None]) -> float | None:
    """Compute the mean of a driver's runs in one scenario; None if no run has the figure."""
    known = [float(value) for value in map(figure, runs) if value is not None]
    return sum(known) / len(known) if known else None


def _paired(
    pairs: Sequence[tuple[Sequence[Run], Sequence[Run]]],
    figure: Callable[[Run], float | bool | None],
    confidence: float,
    *,
    rates: bool,
    best: float = 1.0,
) -> dict[str, Any] | None:
    values = [(_of_scenario(a, figure), _of_scenario(b, figure)) for a, b in pairs]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if not known:
        return None
    first, second = (np.array(column) for column in zip(*known, strict=True))
    once = rates and all(len(runs) == 1 for pair in pairs for runs in pair)
    test = (
        mcnemar(first == 1.0, second == 1.0, confidence)
        if once
        else paired_difference(first, second, confidence, rng=np.random.default_rng(BOOTSTRAP_SEED))
    )
    low, high = test.interval
    if not once and test.n < MIN_CLUSTERS:
        low, high = _few_differences(first - second, confidence, best)
    return {
        "rate": rates,
        "difference": test.difference,
        "low": json_number(low),
        "high": json_number(high),
        "p": test.p_value,
        "n": test.n,
        "discordant": test.discordant,
        "test": test.method,
    }


def _few_differences(values: Array, confidence: float, best: float) -> tuple[float, float]:
    """Bound a mean difference of few pairs as ``mean`` does; unbounded for scores outside [0, ``best``]."""
    if not np.abs(values).max() <= best < np.inf:
        return -np.inf, np.inf
    low, high = bounded_mean(0.5 * (values / best + 1.0), np.arange(len(values)), confidence)
    return best * (2.0 * low - 1.0), best * (2.0 * high - 1.0)
