"""Metrics on arrays: comfort, criticality, RSS and signal temporal logic. No scene, no map."""

from alpamayo.metrics import comfort, criticality, rss, stl

__all__ = ["comfort", "criticality", "rss", "stl"]
