"""Gymnasium environments on the engine: one world, many worlds that step together, many cars of one world."""

from typing import TYPE_CHECKING, Any

from alpamayo_sim.environments.episode_batch import EpisodeBatch, Settings, Source
from alpamayo_sim.environments.rewards import Reward
from alpamayo_sim.environments.single import DrivingEnv
from alpamayo_sim.environments.vector import DrivingVectorEnv

if TYPE_CHECKING:
    from alpamayo_sim.environments.parallel import DrivingParallelEnv

__all__ = ["DrivingEnv", "DrivingParallelEnv", "DrivingVectorEnv", "EpisodeBatch", "Reward", "Settings", "Source"]


def __getattr__(name: str) -> Any:
    """``DrivingParallelEnv`` is imported when it is first used, since PettingZoo is optional."""
    if name != "DrivingParallelEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from alpamayo_sim.environments.parallel import DrivingParallelEnv

    return DrivingParallelEnv
