"""Gymnasium environments on the engine: one world, or many that step together."""

from alpamayo_sim.environments.fleet import Fleet, Reward, Settings, Source
from alpamayo_sim.environments.single import DrivingEnv
from alpamayo_sim.environments.vector import DrivingVectorEnv

__all__ = ["DrivingEnv", "DrivingVectorEnv", "Fleet", "Reward", "Settings", "Source"]
