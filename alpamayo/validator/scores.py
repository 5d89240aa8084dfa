"""Scores made of the rules' values; each keeps the parts that it was made of."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from alpamayo.validator.verdict import RuleResult, Score

Array = np.ndarray

PDMS_GATES = ("at_fault_collision", "drivable_area")
PDMS_WEIGHTS = {"progress": 5.0, "time_to_collision": 5.0, "comfort": 2.0}


def pdms(parts: Mapping[str, Float[Array, "..."] | float]) -> Float[Array, "..."]:
    """PDM score of NAVSIM v1: NC * DAC * (5 EP + 5 TTC + 2 C) / 12.

    ``parts`` holds at_fault_collision, drivable_area, progress, time_to_collision and comfort, in [0, 1]. A part
    that is missing or NaN is left out with its weight; NaN where no part is left.

    Source: Dauner et al., "NAVSIM", 2024; navsim's pdm_scorer.py.
    """
    return gated_mean(parts, PDMS_GATES, PDMS_WEIGHTS)


def gated_mean(
    parts: Mapping[str, Float[Array, "..."] | float], gates: tuple[str, ...], weights: Mapping[str, float]
) -> Float[Array, "..."]:
    """Product of the gates times the weighted mean of the rest, over the parts that are there and not NaN."""
    values = {name: np.asarray(parts.get(name, np.nan), np.float64) for name in (*gates, *weights)}
    shape = np.broadcast_shapes(*(value.shape for value in values.values()))
    product, total, weight = np.ones(shape), np.zeros(shape), np.zeros(shape)
    for name in gates:
        product = product * np.where(np.isnan(values[name]), 1.0, values[name])
    for name, share in weights.items():
        there = ~np.isnan(values[name])
        total = total + np.where(there, share * values[name], 0.0)
        weight = weight + share * there
    any_gate = np.any([~np.isnan(np.broadcast_to(values[name], shape)) for name in gates], axis=0)
    mean = np.divide(total, weight, out=np.ones(shape), where=weight > 0.0)
    return np.where((weight > 0.0) | any_gate, product * mean, np.nan)


def pdm_score(rules: Mapping[str, RuleResult]) -> Score:
    """The PDM score of a verdict's rules, with its parts and what was missing of them."""
    return score_of(rules, "pdms", PDMS_GATES, PDMS_WEIGHTS)


def score_of(rules: Mapping[str, RuleResult], name: str, gates: tuple[str, ...], weights: Mapping[str, float]) -> Score:
    """A gated mean of rules as a ``Score``."""
    names = (*gates, *weights)
    parts = {part: np.where(rules[part].valid, rules[part].value, np.nan) for part in names}
    count = len(next(iter(parts.values())))
    missing = tuple(tuple(part for part in names if np.isnan(parts[part][k])) for k in range(count))
    return Score(name, np.asarray(gated_mean(parts, gates, weights)), parts, missing, formula(gates, weights))


def formula(gates: tuple[str, ...], weights: Mapping[str, float]) -> str:
    """The formula of a gated mean in one line."""
    inner = " + ".join(f"{share:g} {name}" for name, share in weights.items())
    return f"{' * '.join(gates)} * ({inner}) / {sum(weights.values()):g}"
