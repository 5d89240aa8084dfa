"""Coverage of a suite, counted by hand on three scenarios."""

import itertools

from alpamayo.evaluation.suite_coverage import ACTORS, AXES, actor_of, point_of, suite_coverage
from alpamayo_scenarios import Suite, get_family
from alpamayo_scenarios.families import FAMILIES
from alpamayo_scenarios.suites import SuiteEntry

NAMES = ("jaywalker", "animal", "red-light-runner")
SUITE = Suite("three", 1, tuple(SuiteEntry(name, get_family(name).defaults(), 10_000) for name in NAMES))


def test_a_suite_of_three_is_counted_by_hand() -> None:
    found = suite_coverage(SUITE)
    points = [point_of(entry.make()) for entry in SUITE.entries]
    assert [point["actor"] for point in points] == ["person", "animal", "car"]
    assert [point["road"] for point in points] == ["straight", "straight", "intersection"]
    assert found["axes"]["actor"] == {kind: int(kind in ("person", "animal", "car")) for kind in ACTORS}
    assert sum(found["axes"]["family"].values()) == 3
    pairs = {(a, point[a], b, point[b]) for point in points for a, b in itertools.combinations(AXES, 2)}
    assert found["two_way"]["covered"] == len(pairs)
    assert found["two_way"]["of"] == found["two_way"]["covered"] + len(found["missing"])
    assert ["road: straight", "actor: person"] not in found["missing"]
    assert ["road: intersection", "actor: person"] in found["missing"]
    family_road = next(pair for pair in found["pairs"] if pair["axes"] == ["family", "road"])
    assert (family_road["covered"], family_road["of"]) == (3, 3 * len(FAMILIES))


def test_props_are_actors_too() -> None:
    assert actor_of(get_family("debris").build(get_family("debris").defaults(), 10_000)) == "object"
