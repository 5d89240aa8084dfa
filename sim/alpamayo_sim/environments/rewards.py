"""Rewards of a step, and infos beyond the observation."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.engine import Egos
from alpamayo_sim.settings import Bounds, check_fields

Array = np.ndarray
WEIGHTS: Bounds = (-1e6, 1e6)


@dataclass(frozen=True)
class Reward:
    """Weights of the reward; a step's reward is the sum.

    ``progress`` per metre of route gained; ``arrival``, ``collision`` and ``off_road`` in the step of the event;
    ``acceleration`` per (m/s²)² of longitudinal and ``lateral`` per (m/s²)² of lateral acceleration.
    """

    progress: float = 0.1
    arrival: float = 5.0
    collision: float = -10.0
    off_road: float = -5.0
    acceleration: float = -0.001
    lateral: float = -0.001

    def __post_init__(self) -> None:
        check_fields(self, "reward", {field.name: WEIGHTS for field in fields(self)})


def terms_of(egos: Egos, before: Float32[Array, "worlds egos"], weights: Reward) -> dict[str, Array]:
    """Return the terms of the reward of each ego for the last step; ``before`` is the progress (m) at its start.

    The names are those of the weights; a step's reward is the sum.
    """
    return {
        "progress": weights.progress * (egos.progress - before),
        "arrival": weights.arrival * egos.arrived,
        "collision": weights.collision * egos.collided,
        "off_road": weights.off_road * egos.off_road,
        "acceleration": weights.acceleration * egos.acceleration**2,
        "lateral": weights.lateral * (egos.curvature * egos.speed**2) ** 2,
    }


def infos_of(egos: Egos) -> dict[str, Array]:
    """Return the infos of each ego by name, as arrays [worlds, egos]."""
    return {
        "progress": egos.progress.astype(np.float64),
        "lateral_offset": egos.lateral_offset.astype(np.float64),
        "speed": egos.speed.astype(np.float64),
        "collided": egos.collided.copy(),
        "off_road": egos.off_road,
        "arrived": egos.arrived.copy(),
        "success": egos.arrived & ~egos.collided,
    }


def no_terms(shape: tuple[int, ...]) -> dict[str, Array]:
    """Return the terms of the reward before the first step: zeros."""
    return {field.name: np.zeros(shape) for field in fields(Reward)}


def named_terms(terms: dict[str, Array]) -> dict[str, Array]:
    """Return the terms of a reward as infos: ``reward_progress`` and so on."""
    return {f"reward_{name}": values.astype(np.float64) for name, values in terms.items()}


def identity_of(scenario: Scenario) -> dict[str, Any]:
    """Return what names a scenario: its id, family ("" for a recording), seed, and parameters as pairs.

    ``make_scenario(family, seed)`` makes a scenario of a family again; ``dict`` of the pairs are its parameters.
    """
    return {
        "scenario": scenario.scene.id,
        "family": scenario.family,
        "seed": scenario.seed,
        "parameters": tuple(sorted(scenario.parameters.items())),
    }
