"""Samples of a family's parameters: random, grid, Latin hypercube, Sobol, and covering arrays."""

from alpamayo_scenarios.sampling.files import write_sample
from alpamayo_scenarios.sampling.sample import METHODS, Sample, sample

__all__ = ["METHODS", "Sample", "sample", "write_sample"]
