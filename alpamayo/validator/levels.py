"""Levels: agents that share no height with the ego, as those on a bridge above it, are absent for it."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.geometry import heights_overlap
from alpamayo_sim.prediction.trajectories import AgentTrajectories

Array = np.ndarray


def on_the_level(traffic: AgentTrajectories, elevation: Float64[Array, "k t"], height: float) -> AgentTrajectories:
    """Return the agents, absent at times at which they share no height with any of K motions of the ego.

    Args:
        traffic: the agents; without elevations all of them are kept.
        elevation: the z (m) of the ground under the ego; after its end the last one holds.
        height: the height (m) of the ego.
    """
    if traffic.elevation is None or traffic.height is None:
        return traffic
    at = np.minimum(np.arange(traffic.pose.shape[1]), elevation.shape[1] - 1)
    low, high = elevation.min(axis=0)[at], elevation.max(axis=0)[at]
    meets = heights_overlap(low, high - low + height, traffic.elevation, traffic.height[:, None])
    return traffic if meets.all() else replace(traffic, valid=traffic.valid & meets)
