"""Metrics as pure functions of arrays, without scene or map."""

from alpamayo.metrics import comfort, criticality, friction, rss, stl

__all__ = ["comfort", "criticality", "friction", "rss", "stl"]
