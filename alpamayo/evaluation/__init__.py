"""Drivers evaluated: on a suite, side by side, until the evidence is enough, or where failures are thought to be."""

from alpamayo.evaluation.importance import failure_probability
from alpamayo.evaluation.suite_run import evaluate

__all__ = ["evaluate", "failure_probability"]
