"""Search for failures: the optimisers on a closed form, and a search that is minimal, distinct and resumable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.runs import DriverChoice
from alpamayo.search import search as module
from alpamayo.search import search_failures
from alpamayo.search.kinds import Kind, Side, kind_of
from alpamayo.search.optimisers import OPTIMISERS, MapElites
from alpamayo_scenarios import get_family
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Certificate, Solvability
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError


@pytest.mark.parametrize("method", OPTIMISERS)
def test_an_optimiser_finds_the_lowest_valid_point(method: str) -> None:
    """The bowl around (0.8, 0.2, 0.5), of which the half with x > 0.7 is not valid: the best is at x = 0.7."""
    best = np.array([0.8, 0.2, 0.5])
    optimiser = OPTIMISERS[method](3, lambda point: bool(point[0] <= 0.7), np.random.default_rng(1))
    found = []
    for _ in range(40):
        points = optimiser.ask()
        assert all(point[0] <= 0.7 and point.min() >= 0.0 and point.max() <= 1.0 for point in points)
        values = [float(((point - best) ** 2).sum()) for point in points]
        optimiser.tell(points, values, [0] * len(points))
        found += values
    assert min(found) < 0.1**2 + 0.01


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """A driver that fails at high crossing speed from the left or with low lateness from the right."""
    made: list[dict[str, float]] = []

    def driven(self: Any, parameters: dict[str, float]) -> tuple[bool, float, Kind]:
        made.append(parameters)
        gap = 8.5 - parameters["crossing_speed"] if parameters["from_left"] else 0.35 + parameters["lateness"]
        return gap < 0.0, gap, Kind(Side.LEFT if parameters["from_left"] else Side.RIGHT, 1)

    monkeypatch.setattr(module._Drives, "_driven", driven)
    solved = Certificate(np.zeros((1, 4), np.float32), {}, solvability=Solvability.SOLVED, solver="expert")
    monkeypatch.setattr(module, "certify", lambda scenario: solved)
    return made


@pytest.mark.parametrize("method", OPTIMISERS)
def test_failures_are_found_minimal_and_distinct(method: str, drives: list[dict[str, float]], tmp_path: Path) -> None:
    family = get_family("dark-signals")
    found = search_failures(family, DriverChoice.of("idm"), 150, tmp_path, method=method)
    assert found["failures"]
    assert found["drives"] == len({repr(sorted(each.items())) for each in drives}) <= 150
    for row in found["failures"]:
        essential = set(row["essential"])
        assert essential <= {"crossing_speed", "lateness", "from_left", "ego_speed", "lanes"}
        assert "crossing_speed" in essential or "lateness" in essential
        assert family.accepts(row["parameters"])
    if method == "map-elites":
        kinds = [row["kind"] for row in found["failures"]]
        assert sorted(kinds) == ["left, ego at 0.5 to 5 m/s", "right, ego at 0.5 to 5 m/s"]
        return
    for one in found["failures"]:
        others = [other for other in found["failures"] if other is not one]
        assert all(module.distance(family, one["parameters"], other["parameters"]) >= 0.25 for other in others)


def test_an_archive_keeps_the_best_of_each_kind() -> None:
    """Two bowls of different kinds, of which one is deeper: both bottoms are found."""
    low, high = np.array([0.2, 0.2]), np.array([0.8, 0.8])
    archive = MapElites(2, lambda point: True, np.random.default_rng(2))
    best = {"low": np.inf, "high": np.inf}
    for _ in range(40):
        points = archive.ask()
        kinds = ["low" if point.sum() < 1.0 else "high" for point in points]
        bottoms = {"low": (low, -5.0), "high": (high, 0.0)}
        values = [float(((p - bottoms[k][0]) ** 2).sum()) + bottoms[k][1] for p, k in zip(points, kinds, strict=True)]
        archive.tell(points, values, kinds)
        for value, kind in zip(values, kinds, strict=True):
            best[kind] = min(best[kind], value - bottoms[kind][1])
    assert max(best.values()) < 0.01


@pytest.mark.parametrize(
    ("place", "side"),
    [((6.0, 0.5), Side.AHEAD), ((1.0, 3.0), Side.LEFT), ((0.0, -3.0), Side.RIGHT), ((-7.0, 0.0), Side.BEHIND)],
)
def test_the_kind_is_the_side_of_the_nearest_box_and_the_speed(place: tuple[float, float], side: Side) -> None:
    still = testing.standing("obstacle", place[0], place[1], category=Category.PEDESTRIAN)
    far = testing.standing("far", 150.0, 0.0)
    scenario = testing.scenario(still, far, ego=testing.standing("ego"), duration=0.3)
    episode = drive(scenario, make_driver("constant-velocity"), seed=0, guard=False)
    kind = kind_of(episode)
    assert (kind.side, kind.speed_band) == (side, 0)
    assert kind.described() == f"{side.name.lower()}, ego at 0 to 0.5 m/s"
    assert Kind(Side.AHEAD, 4).described() == "ahead, ego at 15 and more m/s"


def test_a_search_goes_on_where_it_was(drives: list[dict[str, float]], tmp_path: Path) -> None:
    family = get_family("dark-signals")
    search_failures(family, DriverChoice.of("idm"), 20, tmp_path)
    before = len(drives)
    longer = search_failures(family, DriverChoice.of("idm"), 60, tmp_path)
    assert len(drives) == longer["drives"]
    fresh = search_failures(family, DriverChoice.of("idm"), 60, tmp_path / "fresh")
    assert fresh == longer
    assert before == 20 or fresh["drives"] < 60


def test_bad_requests_are_one_line(tmp_path: Path) -> None:
    family, choice = get_family("dark-signals"), DriverChoice.of("idm")
    with pytest.raises(InputError, match="did you mean cma-es"):
        search_failures(family, choice, 5, tmp_path, method="cmaes")
    with pytest.raises(InputError, match="budget is 0 drives"):
        search_failures(family, choice, 0, tmp_path)
