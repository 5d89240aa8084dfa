"""Metrics as pure functions of arrays, without scene or map: comfort, criticality, RSS, signal temporal logic."""

from alpamayo.metrics import comfort, criticality, rss, stl

__all__ = ["comfort", "criticality", "rss", "stl"]
