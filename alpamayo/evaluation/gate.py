"""A regression gate: whether the runs of a driver are as good as earlier ones of the same scenarios."""

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.evaluation import manifest
from alpamayo.evaluation.statistics import PairedTest, mcnemar, paired_difference
from alpamayo.json_values import read_sealed, rounded
from alpamayo_sim.errors import InputError

Runs = dict[tuple[str, str], Mapping[str, Any]]  # by the scenario's name and digest
BOOTSTRAP_SEED = 0  # fixed, so that the same runs give the same interval


@dataclass(frozen=True)
class GateConfig:
    """When a change is no regression.

    Attributes:
        at_fault_tolerance: by how much the rate of at-fault collisions may be higher.
        pdm_tolerance: by how much the PDM score may be lower.
        confidence: of the intervals that have to be within these tolerances.
    """

    at_fault_tolerance: float = 0.02
    pdm_tolerance: float = 0.02
    confidence: float = 0.95


class Decision(enum.StrEnum):
    """What the runs allow to say."""

    SHIP = "SHIP"
    HOLD = "HOLD"
    INCONCLUSIVE = "INCONCLUSIVE"


EXIT_CODES = {Decision.SHIP: 0, Decision.HOLD: 1, Decision.INCONCLUSIVE: 3}


def compare_runs(before: Path, after: Path, config: GateConfig | None = None) -> dict[str, Any]:
    """Compare the runs of two folders on the scenarios that both have.

    The decision is HOLD where a figure is worse for sure, SHIP where both intervals exclude a change beyond the
    tolerances, else INCONCLUSIVE. Scenarios are the same only if their digests are.

    Args:
        before: the folder of a suite run with one driver, or the folder of one driver in it.
        after: the same of the change.
        config: tolerances and confidence.

    Returns:
        JSON values: the decision and its reason; the differences, after minus before, with intervals and p values; the
        number of pairs, and the scenarios that one side lacks.

    Raises:
        InputError: a folder is no suite run, has several drivers or damaged runs, or both have no scenario in common.
    """
    config = config or GateConfig()
    old, new = runs_of(before), runs_of(after)
    both = sorted(set(old) & set(new))
    if not both:
        raise InputError(f"{before} and {after} have no scenario in common; scenarios are the same by their digests")
    failed = [np.array([bool(runs[key]["at_fault_collision"]) for key in both]) for runs in (new, old)]
    faults = mcnemar(failed[0], failed[1], config.confidence)
    judged = [key for key in both if None not in (old[key]["pdm_score"], new[key]["pdm_score"])]
    scores = [np.array([float(runs[key]["pdm_score"]) for key in judged]) for runs in (new, old)]
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    pdm = paired_difference(scores[0], scores[1], config.confidence, rng=rng) if judged else None
    decision, reason = decide(faults, pdm, config)
    row = {
        "decision": decision.value,
        "reason": reason,
        "pairs": len(both),
        "only_before": sorted(name for name, _ in set(old) - set(new)),
        "only_after": sorted(name for name, _ in set(new) - set(old)),
        "at_fault_collision": _values(faults),
        "pdm_score": None if pdm is None else _values(pdm),
        "config": asdict(config),
    }
    return dict(rounded(row))


def decide(faults: PairedTest, pdm: PairedTest | None, config: GateConfig) -> tuple[Decision, str]:
    """Return the decision, and why; differences are after minus before."""
    if faults.interval.low > 0.0:
        return Decision.HOLD, f"at-fault collisions rose by {_points(faults)}"
    if pdm is not None and pdm.interval.high < 0.0:
        return Decision.HOLD, f"the PDM score fell by {_text(pdm)}"
    if faults.interval.high > config.at_fault_tolerance:
        more = f"it may be up to {100.0 * faults.interval.high:.1f} points"
        return Decision.INCONCLUSIVE, f"at-fault collisions changed by {_points(faults)}: {more}; drive more scenarios"
    if pdm is None:
        return Decision.INCONCLUSIVE, "no pair of runs has a PDM score"
    if pdm.interval.low < -config.pdm_tolerance:
        less = f"it may be down to {pdm.interval.low:.3f}"
        return Decision.INCONCLUSIVE, f"the PDM score changed by {_text(pdm)}: {less}; drive more scenarios"
    return Decision.SHIP, f"at-fault collisions changed by {_points(faults)}, the PDM score by {_text(pdm)}"


def runs_of(folder: Path) -> Runs:
    """Return the finished runs of one driver in the folder of a suite run.

    Raises:
        InputError: there are none, those of several drivers, or a damaged one.
    """
    listed = manifest.read(folder) or manifest.read(folder.parent)
    root = folder if (folder / manifest.FILE).exists() else folder.parent
    if listed is None:
        raise InputError(f"{folder}: is no suite run: `alpamayo evaluate --out FOLDER` writes one")
    names = [name for name in listed.runs if root == folder or name.partition("/")[0] == folder.name]
    names = [name for name in names if name not in listed.left_out]
    drivers = sorted({name.partition("/")[0] for name in names})
    if len(drivers) > 1:
        raise InputError(f"{folder}: has runs of {', '.join(drivers)}; name one, such as {folder / drivers[0]}")
    rows: Runs = {}
    for name in names:
        row = read_sealed(root / name / "summary.json")
        if row is None:
            raise InputError(f"{root / name}: the run is not finished, or its summary.json is damaged")
        rows[row["scenario"], row["inputs"]["scenario_sha256"]] = row
    if not rows:
        raise InputError(f"{folder}: holds no finished run")
    return rows


def _values(test: PairedTest) -> dict[str, Any]:
    low, high = test.interval
    return {
        "difference": test.difference,
        "low": low,
        "high": high,
        "p": test.p_value,
        "n": test.n,
        "test": test.method,
    }


def _points(test: PairedTest) -> str:
    low, high = test.interval
    return f"{100.0 * test.difference:+.1f} points [{100.0 * low:.1f}, {100.0 * high:.1f}]"


def _text(test: PairedTest) -> str:
    low, high = test.interval
    return f"{test.difference:+.3f} [{low:.3f}, {high:.3f}]"
