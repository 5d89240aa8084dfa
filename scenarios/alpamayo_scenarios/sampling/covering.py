"""Covering arrays: rows in which each combination of the levels of any t axes occurs, found one row at a time.

Each row begins with a combination that is still open and takes, axis after axis, the level that covers most open
combinations with the axes that are set already (the greedy step of AETG, Cohen et al. 1997). A caller says whether a
row can be realised; a combination for which no try can be is given up and reported.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Combination = tuple[tuple[int, int], ...]
"""Axes with their levels, in the order of the axes."""
Point = TypeVar("Point")

TRIES = 6  # for each open combination


@dataclass(frozen=True)
class Covered:
    """The state of a covering array: how many combinations it covers, and those for which no row was found."""

    covered: int
    of: int
    not_reached: tuple[Combination, ...]


def covering_points(
    levels: Sequence[int],
    strength: int,
    realise: Callable[[Sequence[int]], tuple[Point, Sequence[int]] | None],
    rng: np.random.Generator,
) -> tuple[list[Point], Covered]:
    """Return points that cover all combinations of ``strength`` axes that can be realised.

    Args:
        levels: the number of levels of each axis.
        strength: t, the number of axes of a combination.
        realise: returns a point in the cells of a row with the levels that it has, or None if there is none.
        rng: for the order of the axes.
    """
    remaining = all_combinations(levels, strength)
    total = len(remaining)
    points: list[Point] = []
    given_up: dict[Combination, None] = {}
    while remaining:
        target = next(iter(remaining))
        for _ in range(TRIES):
            made = realise(greedy_row(target, remaining, levels, strength, rng))
            if made is not None and target in set(combinations_of(made[1], strength)):
                points.append(made[0])
                for each in combinations_of(made[1], strength):
                    remaining.pop(each, None)
                    given_up.pop(each, None)
                break
        else:
            remaining.pop(target)
            given_up[target] = None
    return points, Covered(total - len(given_up), total, tuple(given_up))


def all_combinations(levels: Sequence[int], strength: int) -> dict[Combination, None]:
    """Return all combinations, as an ordered set."""
    return {
        tuple(zip(axes, values, strict=True)): None
        for axes in itertools.combinations(range(len(levels)), strength)
        for values in itertools.product(*(range(levels[axis]) for axis in axes))
    }


def combinations_of(row: Sequence[int], strength: int) -> list[Combination]:
    """Return the combinations that a row has."""
    return list(itertools.combinations(tuple(enumerate(row)), strength))


def greedy_row(
    target: Combination,
    remaining: dict[Combination, None],
    levels: Sequence[int],
    strength: int,
    rng: np.random.Generator,
) -> list[int]:
    """Return a row with the target's levels, and with those levels that cover most combinations that remain."""
    row = dict(target)
    free = [axis for axis in range(len(levels)) if axis not in row]
    for axis in rng.permutation(free).tolist():
        order = rng.permutation(levels[axis]).tolist()
        row[axis] = max(order, key=lambda level: _gain(row, (axis, level), remaining, strength))
    return [row[axis] for axis in range(len(levels))]


def _gain(row: dict[int, int], new: tuple[int, int], remaining: dict[Combination, None], strength: int) -> int:
    others = itertools.combinations(row.items(), strength - 1)
    return sum(tuple(sorted((*some, new))) in remaining for some in others)
