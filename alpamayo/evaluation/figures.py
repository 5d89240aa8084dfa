"""Headlines of a suite: each figure with its interval and its n, JSON values throughout."""

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
ENOUGH = 10  # clusters that a bootstrap needs
SAME = 0  # seed of the bootstrap's draws, so that the same runs give the same interval


def by_driver(runs: Sequence[Run], confidence: float) -> dict[str, dict[str, Any]]:
    """The figures of each driver, and of each family under it."""
    out = {}
    for name, rows in grouped(runs, "driver").items():
        families = {family: figures(some, confidence) for family, some in grouped(rows, "family").items()}
        out[name] = figures(rows, confidence) | {"families": families}
    return out


def figures(runs: Sequence[Run], confidence: float) -> dict[str, Any]:
    """What a list of runs shows: rates, scores with their parts, rules, kilometres per incident, the guard."""
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
    """A share with Clopper-Pearson's interval; where nothing happened, also what the rate is below (one-sided)."""
    count, n = sum(outcomes), len(outcomes)
    low, high = clopper_pearson(count, n, confidence)
    row = {"value": count / n if n else None, "low": low, "high": high, "count": count, "n": n}
    return row | ({"below": rule_of_three(n, confidence)} if n and not count else {})


def mean(values: Sequence[float], clusters: Sequence[Any], confidence: float, best: float = 1.0) -> dict[str, Any]:
    """A mean with the bootstrap interval that draws clusters.

    Of fewer than ten clusters a bootstrap is too sure: values in [0, ``best``] then have Chernoff's bound, others none.
    """
    if not values:
        return {"value": None, "low": None, "high": None, "n": 0}
    array, member = np.asarray(values, np.float64), np.unique(np.asarray(clusters), return_inverse=True)[1]
    low, high = -np.inf, np.inf
    if member.max() + 1 >= ENOUGH:
        low, high = clustered_bootstrap(array, member, confidence, rng=np.random.default_rng(SAME))
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
    """Each two drivers on the scenarios that both drove: McNemar for failures, sign flips for scores.

    Several runs of a driver in one scenario count as their mean; failures then are tested by sign flips, too. ``p`` is
    of the one comparison, ``p_holm`` corrected for all comparisons of the same figure (Holm, 1979).

    Args:
        runs: rows with a "driver".
        confidence: of the intervals.
        failed: by the figure's name, whether a run failed; None where it cannot be said.
        scored: by the figure's name, what a run scored; None where it has no score.
        key: what tells a scenario from others.
        best: by the figure's name, the most that a run may score, from 0 on; 1 unless told.
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
        out.append({"drivers": [first, second], "n": len(both), "runs": used, "figures": tests})
    for name in (*failed, *scored):
        rows_of = [row["figures"][name] for row in out if row["figures"][name] is not None]
        for row, p in zip(rows_of, holm([row["p"] for row in rows_of]), strict=True):
            row["p_holm"] = p
    return out


def raised(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Rules that raised, with the exception and in how many runs it was."""
    counts = Counter((rule, error) for run in runs for rule, error in run["errors"].items())
    return [{"rule": rule, "error": error, "runs": count} for (rule, error), count in sorted(counts.items())]


def grouped(runs: Sequence[Run], field: str) -> dict[str, list[Run]]:
    """Runs by the value of a field, the values in order."""
    return {value: [run for run in runs if run[field] == value] for value in sorted({run[field] for run in runs})}


def preventable(runs: Sequence[Run], scenarios: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """Of each driver's at-fault collisions: in how many scenarios each named reference driver has none at all."""
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
    """In how many of the runs that have the score each part is missing, in the order of their names."""
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
    """Sum over sum with the bootstrap that draws clusters, of fewer than ten without an interval; n is the divisor."""
    total = sum(bottoms)
    if not total > 0.0:
        return {"value": None, "low": None, "high": None, "n": total}
    low, high = -np.inf, np.inf
    if len(set(clusters)) >= ENOUGH:
        top, bottom = np.array(tops, np.float64), np.array(bottoms, np.float64)
        member = np.unique(np.asarray(clusters), return_inverse=True)[1]
        low, high = ratio_bootstrap(top, bottom, member, confidence, rng=np.random.default_rng(SAME))
    return {"value": sum(tops) / total, "low": json_number(low), "high": json_number(high), "n": total}


def _by_scenario(runs: Sequence[Run], key: Callable[[Run], Any]) -> dict[Any, list[Run]]:
    out: dict[Any, list[Run]] = {}
    for run in runs:
        out.setdefault(key(run), []).append(run)
    return out


def _of_scenario(runs: Sequence[Run], figure: Callable[[Run], float | bool | None]) -> float | None:
    """The mean of a driver's runs in one scenario; None where none of them has the figure."""
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
        else paired_difference(first, second, confidence, rng=np.random.default_rng(SAME))
    )
    low, high = test.interval
    if not once and test.n < ENOUGH:
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
    """As for ``mean``: of scores in [0, ``best``] Chernoff's bound, of others nothing is known."""
    if not np.abs(values).max() <= best < np.inf:
        return -np.inf, np.inf
    low, high = bounded_mean(0.5 * (values / best + 1.0), np.arange(len(values)), confidence)
    return best * (2.0 * low - 1.0), best * (2.0 * high - 1.0)
