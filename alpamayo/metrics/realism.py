"""Likelihoods of the Waymo Open Sim Agents Challenge 2025: how likely a recording is among simulated rollouts.

Each feature has a histogram of its values in the rollouts, with a pseudocount; times count independently. Sources:
Montali et al., "The Waymo Open Sim Agents Challenge", 2023, and the configuration of the challenge of 2025.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from alpamayo_sim.errors import InputError, check_known

Array = np.ndarray
PSEUDOCOUNT = 0.1


@dataclass(frozen=True)
class Feature:
    """A feature of the challenge: its weight, and the range and number of bins; no bins for yes or no."""

    weight: float
    low: float = 0.0
    high: float = 1.0
    bins: int = 0


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "linear_speed": Feature(0.05, 0.0, 25.0, 10),
        "linear_acceleration": Feature(0.05, -12.0, 12.0, 11),
        "angular_speed": Feature(0.05, -0.628, 0.628, 11),
        "angular_acceleration": Feature(0.05, -3.14, 3.14, 11),
        "distance_to_nearest_object": Feature(0.10, -5.0, 40.0, 10),
        "collision_indication": Feature(0.25),
        "time_to_collision": Feature(0.10, 0.0, 5.0, 10),
        "distance_to_road_edge": Feature(0.05, -20.0, 40.0, 10),
        "offroad_indication": Feature(0.25),
        "traffic_light_violation": Feature(0.05),
    }
)
"""The features of 2025; their weights have the sum 1."""


def likelihood(
    name: str,
    rollouts: Float[Array, "n a t"],
    recorded: Float[Array, "a t"],
    valid: Bool[Array, "a t"] | None = None,
) -> float:
    """Compute the likelihood, 0 to 1, of a recorded feature: exp of the mean log probability of its values.

    The probability of a value is the share of its bin in all rollouts and times of that agent, with 0.1 added to each
    bin; values outside the range belong to the outer bins. Yes or no has two bins.

    Args:
        name: the feature.
        rollouts: its values for each agent over time in the rollouts.
        recorded: its values in the recording.
        valid: the values of the recording that count.

    Raises:
        InputError: an unknown feature, shapes that differ, or values that are not finite where they count.
    """
    check_known("feature", name, FEATURES)
    feature = FEATURES[name]
    simulated, known = np.asarray(rollouts, np.float64), np.asarray(recorded, np.float64)
    counts = np.ones(known.shape, bool) if valid is None else np.asarray(valid, bool)
    if simulated.shape[1:] != known.shape or counts.shape != known.shape or not len(simulated) or not counts.any():
        raise InputError(f"likelihood: rollouts {simulated.shape}, recorded {known.shape}; needs [n >= 1, *recorded]")
    if not (np.isfinite(simulated[:, counts]).all() and np.isfinite(known[counts]).all()):
        raise InputError(f"likelihood: {name} has values that are not finite")
    agent, chosen = np.nonzero(counts)[0], np.broadcast_to(counts, simulated.shape)
    histogram = np.full((len(known), feature.bins or 2), PSEUDOCOUNT)
    np.add.at(histogram, (np.nonzero(chosen)[1], _bin(simulated[chosen], feature)), 1.0)
    probability = histogram / histogram.sum(axis=1, keepdims=True)
    return float(np.exp(np.log(probability[agent, _bin(known[counts], feature)]).mean()))


def realism(likelihoods: Mapping[str, float]) -> float:
    """Compute the realism meta-metric: the weighted sum of the likelihoods of all features.

    Raises:
        InputError: an unknown or a missing feature.
    """
    for name in likelihoods:
        check_known("feature", name, FEATURES)
    missing = sorted(set(FEATURES) - set(likelihoods))
    if missing:
        raise InputError(f"realism: the likelihoods of {', '.join(missing)} are missing")
    return float(sum(feature.weight * likelihoods[name] for name, feature in FEATURES.items()))


def _bin(values: Array, feature: Feature) -> Array:
    """Return the bin of each value."""
    if not feature.bins:
        return (values > 0.5).astype(np.int64)
    at = np.floor((values - feature.low) / (feature.high - feature.low) * feature.bins)
    return np.clip(at, 0, feature.bins - 1).astype(np.int64)
