"""Rewards of a step, and infos beyond the observation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_sim.engine import Egos

Array = np.ndarray


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


def rewards_of(egos: Egos, before: Float32[Array, "worlds egos"], weights: Reward) -> Float64[Array, "worlds egos"]:
    """Return the reward of each ego for the last step; ``before`` is the progress (m) at its start."""
    reward = (
        weights.progress * (egos.progress - before)
        + weights.arrival * egos.arrived
        + weights.collision * egos.collided
        + weights.off_road * egos.off_road
        + weights.acceleration * egos.acceleration**2
        + weights.lateral * (egos.curvature * egos.speed**2) ** 2
    )
    return reward.astype(np.float64)


def infos_of(egos: Egos) -> dict[str, Array]:
    """Return the infos of each ego by name, as arrays [worlds, egos]."""
    return {
        "progress": egos.progress.astype(np.float64),
        "lateral_offset": egos.lateral_offset.astype(np.float64),
        "speed": egos.speed.astype(np.float64),
        "collided": egos.collided.copy(),
        "off_road": egos.off_road,
        "arrived": egos.arrived.copy(),
    }
