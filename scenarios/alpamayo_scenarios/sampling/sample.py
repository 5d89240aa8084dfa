"""Points of a family by a design; only valid ones are kept, and the others are counted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64

from alpamayo_scenarios.families import Family, Parameter
from alpamayo_scenarios.sampling import designs
from alpamayo_scenarios.sampling.covering import Covered, covering_points
from alpamayo_scenarios.suites import SuiteEntry
from alpamayo_sim.errors import InputError, unknown_name

Array = np.ndarray
Rng = np.random.Generator
Values = dict[str, float]

MOST_REJECTED_PER_POINT = 1000
CELL_TRIES = 40  # draws within the cells of a row of a covering array
BINS = 3  # levels of a parameter in a covering array
GRID_LEVELS = 1000  # of a parameter, at most
MOST_POINTS = 100_000


@dataclass(frozen=True)
class Sample:
    """Valid points of a family, as entries of a suite.

    Attributes:
        entries: the points, each with its seed.
        method: how they were chosen.
        rejected: how many points did not satisfy the family's preconditions.
        covered: for a covering array, the combinations that it has and those for which no valid point was found.
    """

    entries: tuple[SuiteEntry, ...]
    method: str
    rejected: int
    covered: Covered | None = None


@dataclass(frozen=True)
class _Space:
    """The free parameters of a family beside those that are given."""

    family: Family
    given: Values

    @property
    def free(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.family.parameters if p.name not in self.given)

    def values(self, point: Float64[Array, " d"], *, typical: bool = True) -> Values:
        """Return the parameters at a point of the unit hypercube.

        With ``typical``, a typical value takes its share of its axis from the start; the rest of the axis is the range.
        """
        at = _value if typical else Parameter.value
        drawn = {p.name: at(p, float(u)) for p, u in zip(self.free, point, strict=True)}
        return {p.name: (self.given | drawn)[p.name] for p in self.family.parameters}


def sample(
    family: Family,
    count: int | None,
    seed: int,
    *,
    method: str = "random",
    given: Mapping[str, float] = MappingProxyType({}),
    extrapolate: bool = False,
    strength: int = 2,
    bins: int = BINS,
) -> Sample:
    """Sample a family.

    Args:
        family: the family.
        count: the number of points; a grid has at most as many, a covering array as many as it needs.
        seed: the seed of the first point and of the design; the seeds of the others count up.
        method: one of ``METHODS``.
        given: parameters that are fixed.
        extrapolate: allow given parameters out of their ranges; such points are marked.
        strength: t of a covering array.
        bins: the number of parts of a parameter's range in a covering array.

    Raises:
        InputError: an unknown method or parameter, a value out of range, or too few valid points.
    """
    if method not in METHODS:
        raise unknown_name("sampling method", method, METHODS)
    if not ((method == "covering" and count is None) or (count is not None and 0 < count <= MOST_POINTS)):
        raise InputError(f"the number of scenarios is {count}, must be from 1 to {MOST_POINTS}")
    space = _Space(family, family.checked(given, extrapolate))
    if method == "covering" and not (1 <= strength <= len(space.free) and 2 <= bins <= 10):
        raise InputError(
            f"a covering array of {family.name!r} has a strength from 1 to {len(space.free)} and 2 to 10 bins; "
            f"found {strength} and {bins}"
        )
    rng = np.random.default_rng([family.number, seed, 2])
    points, rejected, covered = _METHODS[method](space, count or MOST_POINTS, rng, strength, bins)
    marked = bool(family.extrapolated(space.given))
    entries = tuple(SuiteEntry(family.name, values, seed + k, marked) for k, values in enumerate(points))
    return Sample(entries, method, rejected, covered)


_Found = tuple[list[Values], int, Covered | None]
_Rounds = Callable[[int, int, Rng], Iterator[Float64[Array, "n d"]]]


def _by_rounds(rounds: _Rounds) -> Callable[[_Space, int, Rng, int, int], _Found]:
    def method(space: _Space, count: int, rng: Rng, strength: int, bins: int) -> _Found:
        kept: list[Values] = []
        rejected = 0
        dimensions = len(space.free)
        endless = rounds(dimensions, count, rng) if dimensions else iter(lambda: np.zeros((1, 0)), None)
        for point in (point for some in endless for point in some):
            values = space.values(point)
            if space.family.accepts(values):
                kept.append(values)
            else:
                rejected += 1
            if len(kept) == count:
                return kept, rejected, None
            if rejected > MOST_REJECTED_PER_POINT * (len(kept) + 1):
                break
        raise InputError(
            f"family {space.family.name!r}: {len(kept)} of {len(kept) + rejected} points satisfy its preconditions"
            + (f" with {_text(space.given)}" if space.given else "")
        )

    return method


def _grid(space: _Space, count: int, rng: Rng, strength: int, bins: int) -> _Found:
    most = [round(p.high - p.low) + 1 if p.integer else GRID_LEVELS for p in space.free]
    levels = designs.grid_levels(most, count)
    points = designs.grid([designs.middles(n) for n in levels])
    values = [space.values(point, typical=False) for point in points]
    kept = [each for each in values if space.family.accepts(each)]
    if not kept:
        raise InputError(f"family {space.family.name!r}: none of the {len(points)} points of the grid is valid")
    return kept, len(points) - len(kept), None


def _covering(space: _Space, count: int, rng: Rng, strength: int, bins: int) -> _Found:
    levels = [min(bins, round(p.high - p.low) + 1) if p.integer else bins for p in space.free]
    rejected = 0

    def realise(row: Sequence[int]) -> tuple[Values, Sequence[int]] | None:
        nonlocal rejected
        for _ in range(CELL_TRIES):
            point = (np.array(row) + rng.random(len(row))) / np.array(levels)
            values = space.values(point, typical=False)
            if space.family.accepts(values):
                return values, row
            rejected += 1
        return None

    points, covered = covering_points(levels, strength, realise, rng)
    if not points:
        raise InputError(f"family {space.family.name!r}: no valid point was found")
    return points[:count], rejected, covered


def _value(parameter: Parameter, position: float) -> float:
    share = parameter.typical_share
    if position < share:
        return parameter.typical
    return parameter.value((position - share) / (1.0 - share) if share < 1.0 else position)


def _text(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in values.items())


_METHODS: Mapping[str, Callable[[_Space, int, Rng, int, int], _Found]] = MappingProxyType(
    {
        "random": _by_rounds(designs.random_rounds),
        "grid": _grid,
        "lhs": _by_rounds(designs.latin_hypercube_rounds),
        "sobol": _by_rounds(designs.sobol_rounds),
        "covering": _covering,
    }
)
METHODS = tuple(_METHODS)
"""Independent points, a grid, Latin hypercubes, Sobol's sequence, and a covering array of strength t."""
