"""Search for failures: the optimisers on a closed form, and a search that is minimal, distinct and resumable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo.runs import DriverChoice
from alpamayo.search import search as module
from alpamayo.search import search_failures
from alpamayo.search.optimisers import OPTIMISERS
from alpamayo_scenarios import get_family
from alpamayo_sim.datatypes.scenario import Certificate, Solvability
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
        optimiser.tell(points, values)
        found += values
    assert min(found) < 0.1**2 + 0.01


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """A driver that fails at high crossing speed from the left or with low lateness from the right."""
    made: list[dict[str, float]] = []

    def driven(self: Any, parameters: dict[str, float]) -> tuple[bool, float]:
        made.append(parameters)
        gap = 8.5 - parameters["crossing_speed"] if parameters["from_left"] else 0.35 + parameters["lateness"]
        return gap < 0.0, gap

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
    for one in found["failures"]:
        others = [other for other in found["failures"] if other is not one]
        assert all(module.distance(family, one["parameters"], other["parameters"]) >= 0.25 for other in others)


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
