"""Optimisers over the unit hypercube that are asked for points and told their values; lower is better."""

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import numpy as np
from cmaes import CMA
from jaxtyping import Float64

Array = np.ndarray
Point = Float64[Array, " d"]

ELITE_SHARE = 0.25
SMOOTHING = 0.7  # weight of the elite in the next distribution
LEAST_SPREAD = 0.05
FIRST_SPREAD = 0.3
FIRST_POINTS = 24  # of MAP-Elites, before elites vary
ISO_SPREAD, LINE_SPREAD = 0.08, 0.3  # of a variation: about an elite, and along the line to another one


class Optimiser(Protocol):
    """An optimiser that works generation by generation."""

    def ask(self) -> list[Point]:
        """Return the points of the next generation, within [0, 1]."""

    def tell(self, points: Sequence[Point], values: Sequence[float], kinds: Sequence[Hashable]) -> None:
        """Learn the values of the points of a generation, and of which kind the outcome of each is."""


class CmaEs:
    """CMA-ES (Hansen 2016), begun again at a random place when it has converged."""

    def __init__(self, dimensions: int, accepts: Callable[[Point], bool], rng: np.random.Generator) -> None:
        self._dimensions, self._accepts, self._rng = dimensions, accepts, rng
        self._start()

    def ask(self) -> list[Point]:
        """Return a generation of points that are accepted."""
        return [self._asked() for _ in range(self._cma.population_size)]

    def tell(self, points: Sequence[Point], values: Sequence[float], kinds: Sequence[Hashable]) -> None:
        """Learn the values of a generation."""
        self._cma.tell(list(zip(points, values, strict=True)))
        if self._cma.should_stop():
            self._start()

    def _start(self) -> None:
        self._cma = CMA(
            mean=accepted(self._accepts, self._dimensions, self._rng),
            sigma=FIRST_SPREAD,
            bounds=np.tile([0.0, 1.0], (self._dimensions, 1)),
            seed=int(self._rng.integers(2**31)),
        )

    def _asked(self) -> Point:
        return tried(self._cma.ask, self._accepts, self._dimensions, self._rng)


class CrossEntropy:
    """The cross-entropy method (Rubinstein 1999): independent normal distributions move to the best quarter."""

    def __init__(self, dimensions: int, accepts: Callable[[Point], bool], rng: np.random.Generator) -> None:
        self._accepts, self._rng = accepts, rng
        self._mean, self._spread = np.full(dimensions, 0.5), np.full(dimensions, 2.0 * FIRST_SPREAD)
        self.population_size = 4 + int(3.0 * np.log(dimensions))

    def ask(self) -> list[Point]:
        """Return a generation of points that are accepted."""
        draw = lambda: np.clip(self._rng.normal(self._mean, self._spread), 0.0, 1.0)  # noqa: E731
        return [tried(draw, self._accepts, len(self._mean), self._rng) for _ in range(self.population_size)]

    def tell(self, points: Sequence[Point], values: Sequence[float], kinds: Sequence[Hashable]) -> None:
        """Learn the values of a generation."""
        order = np.argsort(values, kind="stable")[: max(2, int(ELITE_SHARE * len(values)))]
        elite = np.array(points)[order]
        self._mean = SMOOTHING * elite.mean(axis=0) + (1.0 - SMOOTHING) * self._mean
        spread = SMOOTHING * elite.std(axis=0) + (1.0 - SMOOTHING) * self._spread
        self._spread = np.maximum(spread, LEAST_SPREAD)


class MapElites:
    """MAP-Elites (Mouret and Clune 2015): the best point of each kind of outcome is kept, and varied.

    A variation is that of Vassiliades and Mouret (2018): isotropic, and along the line to another elite.
    """

    population_size = 8

    def __init__(self, dimensions: int, accepts: Callable[[Point], bool], rng: np.random.Generator) -> None:
        self._dimensions, self._accepts, self._rng = dimensions, accepts, rng
        self._elites: dict[Hashable, tuple[float, Point]] = {}
        self._asked = 0

    def ask(self) -> list[Point]:
        """Return a generation of points that are accepted: uniform ones at first, then variations of elites."""
        uniform = self._asked < FIRST_POINTS or not self._elites
        self._asked += self.population_size
        if uniform:
            return [accepted(self._accepts, self._dimensions, self._rng) for _ in range(self.population_size)]
        return [tried(self._varied, self._accepts, self._dimensions, self._rng) for _ in range(self.population_size)]

    def tell(self, points: Sequence[Point], values: Sequence[float], kinds: Sequence[Hashable]) -> None:
        """Keep the points that are the best of their kinds so far."""
        for point, value, kind in zip(points, values, kinds, strict=True):
            if kind not in self._elites or value < self._elites[kind][0]:
                self._elites[kind] = value, point

    def _varied(self) -> Point:
        elites = [point for _, point in self._elites.values()]
        one, other = (elites[k] for k in self._rng.integers(len(elites), size=2))
        iso = ISO_SPREAD * self._rng.normal(size=self._dimensions)
        return np.clip(one + iso + LINE_SPREAD * self._rng.normal() * (other - one), 0.0, 1.0)


OPTIMISERS: dict[str, Callable[[int, Callable[[Point], bool], np.random.Generator], Optimiser]] = {
    "cma-es": CmaEs,
    "cross-entropy": CrossEntropy,
    "map-elites": MapElites,
}

TRIES = 200


def tried(
    draw: Callable[[], Point], accepts: Callable[[Point], bool], dimensions: int, rng: np.random.Generator
) -> Point:
    """Return the first accepted point of several draws, else an accepted uniform one."""
    for _ in range(TRIES):
        point = np.asarray(draw(), np.float64)
        if accepts(point):
            return point
    return accepted(accepts, dimensions, rng)


def accepted(accepts: Callable[[Point], bool], dimensions: int, rng: np.random.Generator) -> Point:
    """Return a uniform point that is accepted; the last of many tries where none is."""
    point = rng.random(dimensions)
    for _ in range(50 * TRIES):
        if accepts(point):
            break
        point = rng.random(dimensions)
    return point
