"""Planting: the event of a family in a recorded scene, where its preconditions hold."""

from alpamayo.planting.plant import Planted, plant

__all__ = ["Planted", "plant"]
