"""Designs: points of the unit hypercube, in rounds that go on for as long as they are asked for."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.stats import qmc

Array = np.ndarray
Points = Float64[Array, "n d"]

SOBOL_ROUND = 64  # points; Sobol's sequence is balanced at powers of two


def random_rounds(dimensions: int, count: int, rng: np.random.Generator) -> Iterator[Points]:
    """Yield independent uniform points."""
    while True:
        yield rng.random((count, dimensions))


def latin_hypercube_rounds(dimensions: int, count: int, rng: np.random.Generator) -> Iterator[Points]:
    """Yield Latin hypercubes of ``count`` points: each of ``count`` slices of each axis has one point."""
    while True:
        yield qmc.LatinHypercube(dimensions, seed=rng).random(count)


def sobol_rounds(dimensions: int, count: int, rng: np.random.Generator) -> Iterator[Points]:
    """Yield the points of one scrambled Sobol sequence (Owen 1998) in order."""
    sequence = qmc.Sobol(dimensions, scramble=True, seed=rng)
    while True:
        yield sequence.random(SOBOL_ROUND)


def grid(levels: Sequence[Sequence[float]]) -> Points:
    """Return all combinations of the levels of each axis."""
    return np.array(list(itertools.product(*levels)), np.float64).reshape(-1, len(levels))


def grid_levels(most: Sequence[int], count: int) -> list[int]:
    """Return the numbers of levels of a grid of at most ``count`` points, as even as possible.

    Args:
        most: the number of levels that each axis has at most.
        count: the number of points that the grid has at most.
    """
    levels = [1] * len(most)
    grown = True
    while grown:
        grown = False
        for k in sorted(range(len(most)), key=lambda axis: levels[axis]):
            total = int(np.prod(levels)) // levels[k] * (levels[k] + 1)
            if levels[k] < most[k] and total <= count:
                levels[k] += 1
                grown = True
    return levels


def middles(count: int) -> list[float]:
    """Return the middles of ``count`` equal parts of [0, 1]."""
    return [(k + 0.5) / count for k in range(count)]
