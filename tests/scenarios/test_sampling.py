"""Samples of families: valid points only, the designs' own properties, points out of range, and files."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from alpamayo_scenarios import get_family
from alpamayo_scenarios.sampling import METHODS, sample, write_sample
from alpamayo_scenarios.sampling.covering import all_combinations, combinations_of, covering_points
from alpamayo_scenarios.sampling.designs import grid_levels
from alpamayo_scenarios.suites import read_suite
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest
from alpamayo_sim.io.scene_file import load_scenario


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["cut-in", "unprotected-left", "debris"])
def test_only_valid_points_are_kept_and_the_others_counted(name: str, method: str) -> None:
    family = get_family(name)
    found = sample(family, None if method == "covering" else 40, 7, method=method)
    assert all(family.accepts(entry.parameters) for entry in found.entries)
    assert not any(family.extrapolated(entry.parameters) for entry in found.entries)
    assert found.rejected > 0 or method == "grid"
    assert [entry.seed for entry in found.entries] == list(range(7, 7 + len(found.entries)))
    assert found == sample(family, None if method == "covering" else 40, 7, method=method)
    if method in ("random", "lhs", "sobol"):
        assert len(found.entries) == 40
        assert found != sample(family, 40, 8, method=method)


@pytest.mark.parametrize("method", ["lhs", "sobol"])
def test_a_design_fills_each_axis_more_evenly_than_chance(method: str) -> None:
    """Largest gap between neighbouring values: 1/n to 2/n of the range for a design, about log(n)/n for chance."""
    family = get_family("stop-sign-violation")
    values = np.sort([e.parameters["crossing_speed"] for e in sample(family, 64, 3, method=method).entries])
    random = np.sort([e.parameters["crossing_speed"] for e in sample(family, 64, 3).entries])
    assert np.diff(values).max() < np.diff(random).max()


@pytest.mark.parametrize(("levels", "strength"), [((3, 3, 2, 4), 2), ((2, 3, 2, 3), 3)])
def test_a_covering_array_has_every_combination(levels: tuple[int, ...], strength: int) -> None:
    rows, covered = covering_points(levels, strength, lambda row: (tuple(row), row), np.random.default_rng(0))
    wanted = set(all_combinations(levels, strength))
    assert {each for row in rows for each in combinations_of(row, strength)} == wanted
    assert covered.covered == covered.of == len(wanted)
    assert len(rows) < np.prod(levels) / 2 + 1


def test_a_covering_array_reports_what_no_point_has() -> None:
    """Rows with equal levels on the first two axes cannot be realised."""
    rows, covered = covering_points(
        (2, 2, 2), 2, lambda row: None if row[0] == row[1] else (tuple(row), row), np.random.default_rng(0)
    )
    assert set(covered.not_reached) == {((0, 0), (1, 0)), ((0, 1), (1, 1))}
    assert covered.of - covered.covered == 2
    assert all(a != b for a, b, _ in rows)


def test_a_covering_array_of_a_family_has_all_pairs_that_are_not_reported() -> None:
    family = get_family("debris")
    found = sample(family, None, 1, method="covering")
    assert found.covered is not None
    levels = {p.name: 2 if p.integer and p.high - p.low == 1 else 3 for p in family.parameters}
    rows = []
    for entry in found.entries:
        parts = [(entry.parameters[p.name] - p.low) / (p.high - p.low + p.integer) for p in family.parameters]
        rows.append([min(int(part * levels[p.name]), 2) for part, p in zip(parts, family.parameters, strict=True)])
    have = {each for row in rows for each in itertools.combinations(enumerate(row), 2)}
    assert len(have) == found.covered.covered


def test_a_grid_has_at_most_as_many_points_as_asked() -> None:
    assert grid_levels([1000, 1000, 2], 100) == [7, 7, 2]
    assert grid_levels([2, 2], 100) == [2, 2]
    assert grid_levels([5, 5], 1) == [1, 1]


def test_given_parameters_are_kept_and_out_of_range_ones_marked() -> None:
    family = get_family("slower-lead")
    entries = sample(family, 5, 0, method="lhs", given={"curvature": 0.0}).entries
    assert all(entry.parameters["curvature"] == 0.0 and not entry.extrapolated for entry in entries)
    with pytest.raises(InputError, match=r"curvature is 0\.05 1/m, must be a number in"):
        sample(family, 5, 0, given={"curvature": 0.05})
    outside = sample(family, 2, 0, given={"curvature": 0.005}, extrapolate=True).entries
    assert all(entry.extrapolated and family.extrapolated(entry.parameters) == ("curvature",) for entry in outside)
    assert outside[0].make().parameters["curvature"] == 0.005
    with pytest.raises(InputError, match="there is no scenario at gap=-8"):
        family.build({**family.defaults(), "gap": -8.0}, 0, extrapolate=True)


def test_bad_requests_are_one_line() -> None:
    family = get_family("cut-in")
    for options, words in (
        ({"method": "sobl"}, "did you mean sobol"),
        ({"method": "covering", "strength": 9}, "strength from 1 to 8"),
        ({"given": {"gap": 39.9, "closing_speed": 2.8}}, "0 of 1001 points satisfy its preconditions"),
        ({"given": {"no-such": 1.0}}, "no-such"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            sample(family, 5, 0, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="number of scenarios is 0"):
        sample(family, 0, 0)


def test_a_sample_on_disk_is_a_suite_and_its_scenarios(tmp_path: Path) -> None:
    found = sample(get_family("slower-lead"), 2, 4, given={"curvature": 0.005}, extrapolate=True)
    path = write_sample(found, tmp_path / "s")
    suite = read_suite(path)
    assert suite.entries == found.entries
    assert digest(load_scenario(tmp_path / "s" / "slower-lead-4")) == digest(suite.entries[0].make())
    with pytest.raises(InputError, match=r"sample\.json exists"):
        write_sample(found, tmp_path / "s")
