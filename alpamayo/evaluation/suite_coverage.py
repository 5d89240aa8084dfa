"""Coverage of a suite: which 2-way combinations of family, road, weather, speed band and actor it holds and misses."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from alpamayo.evaluation.odd_coverage import LEVELS, conditions, missing_pairs, t_wise
from alpamayo_scenarios.families import FAMILIES, get_family
from alpamayo_scenarios.suites import Suite
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import STATIC, Category, Prop, Track

ACTORS: Mapping[str, frozenset[Category]] = MappingProxyType(
    {
        "car": frozenset({Category.VEHICLE}),
        "truck or bus": frozenset({Category.TRUCK, Category.BUS}),
        "motorcycle or bicycle": frozenset({Category.MOTORCYCLE, Category.CYCLIST}),
        "person": frozenset({Category.PEDESTRIAN}),
        "animal": frozenset({Category.ANIMAL}),
        "object": STATIC | {Category.UNKNOWN},
    }
)
"""Kinds of the critical actors; the first one that a scenario names is its actor."""

AXES = ("family", "road", "weather", "speed", "actor")


def suite_coverage(suite: Suite, progress: Callable[[int, int], None] = lambda done, total: None) -> dict[str, Any]:
    """Count the combinations of a suite.

    The axis of the families is all of the catalogue; a pair counts as missing even if no scenario can have it.

    Returns:
        JSON values: how many scenarios have each level, the covered share of the pairs of all axes and of each two
        axes, and the pairs that are missing.
    """
    points = []
    for done, entry in enumerate(suite.entries, start=1):
        points.append(point_of(entry.make()))
        progress(done, len(suite))
    axes: dict[str, Sequence[str]] = {
        "family": tuple(family.name for family in FAMILIES),
        "road": LEVELS["road"],
        "weather": LEVELS["weather"],
        "speed": LEVELS["speed"],
        "actor": tuple(ACTORS),
    }
    return {
        "suite": suite.name,
        "digest": suite.digest,
        "scenarios": len(suite),
        "axes": {axis: {level: sum(p[axis] == level for p in points) for level in axes[axis]} for axis in AXES},
        "two_way": t_wise(points, axes, 2),
        "pairs": [
            {"axes": [a, b]} | t_wise(points, {a: axes[a], b: axes[b]}, 2) for a, b in itertools.combinations(AXES, 2)
        ],
        "missing": missing_pairs(points, axes),
    }


def point_of(scenario: Scenario) -> dict[str, str]:
    """Return the level of a scenario on each axis."""
    scene = scenario.scene
    found = conditions(scene, float(np.hypot(*scene.ego.velocity[0])))
    shared = {axis: found[axis] for axis in ("road", "weather", "speed")}
    return {"family": scenario.family, **shared, "actor": actor_of(scenario)}


def actor_of(scenario: Scenario) -> str:
    """Return the kind of the first critical actor of a scenario; tracks come before props."""
    family = get_family(scenario.family)
    things: tuple[Track | Prop, ...] = (*scenario.scene.tracks, *scenario.scene.props)
    category = next((thing.category for thing in things if family.is_critical(thing.id)), Category.UNKNOWN)
    return next(kind for kind, categories in ACTORS.items() if category in categories)
