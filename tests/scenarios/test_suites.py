"""Suites are frozen: their lists and their Scenes are pinned here for good."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alpamayo_scenarios import Suite, families, get_suite, make_scenario, suite_names
from alpamayo_scenarios.suites import freeze, read_suite
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest

LIST_DIGESTS = {"long-tail-6": "24fad16f766f888593ac62e3f4961efc2993eda941484d94613598ae0451dd66"}
SCENES_DIGESTS = {
    ("long-tail-6", "cut-in"): "30ed505a7860658ea5d0961154fe8b52d03ae57d12aec1e9c65641bb5ef5462e",
    ("long-tail-6", "occluded-child"): "7ed334f38074bd24af65aaa3eb51fea492250d4138ce48b31a25c6c0733a62ef",
    ("long-tail-6", "debris"): "1a14b7d19f9bb21c591005084452a386dd8a403702b02e83662758ef0b1ef492",
    ("long-tail-6", "construction-bypass"): "24b18b8e5d4f857479d5f3ee43488ebc68968cca45bc9627f8a8f4b55971abc2",
    ("long-tail-6", "red-light-runner"): "0ceb6b59af88aa4cff2c172e9389c4047f7784d474604ed52d5d0d04ea484508",
    ("long-tail-6", "wrong-way"): "c55a1fb8fe90525d20143129478f2f128830e0b286911e8e6ffaf7192062c522",
}


def of_family(suite: Suite, family: str) -> Suite:
    return Suite(family, suite.version, tuple(entry for entry in suite.entries if entry.family == family))


def test_the_list_of_each_suite_is_pinned() -> None:
    assert {name: get_suite(name).digest for name in suite_names()} == LIST_DIGESTS
    assert {name for name, _ in SCENES_DIGESTS} == set(LIST_DIGESTS)


@pytest.mark.parametrize(("name", "family"), SCENES_DIGESTS)
def test_the_scenes_of_each_suite_are_pinned(name: str, family: str) -> None:
    suite = get_suite(name)
    assert {entry.family for entry in suite.entries} == {each for of, each in SCENES_DIGESTS if of == name}
    assert of_family(suite, family).scenes_digest() == SCENES_DIGESTS[name, family]


def test_the_long_tail_has_ten_of_six_families_in_its_first_sixty_and_no_training_seed() -> None:
    suite = get_suite("long-tail-6").first(60)
    assert len(suite) == 60
    assert set(Counter(entry.family for entry in suite.entries).values()) == {10}
    for name in suite_names():
        points = [(entry.family, entry.seed) for entry in get_suite(name).entries]
        assert all(seed >= 10_000 for _, seed in points)
        assert len(set(points)) == len(points)


def test_a_suite_makes_its_scenarios_in_order_and_as_their_seeds_do() -> None:
    suite = get_suite("long-tail-6").first(7)
    made = list(suite)
    assert [(scenario.family, scenario.seed) for scenario in made] == [(e.family, e.seed) for e in suite.entries]
    assert {entry.family for entry in suite.entries} == {f.name for f in families.FAMILIES if f.number <= 6}
    seeded = [digest(make_scenario(entry.family, entry.seed)) for entry in suite.entries]
    assert [digest(scenario) for scenario in made] == seeded
    assert len(set(seeded)) == 7


def test_digests_tell_lists_and_scenes_apart() -> None:
    suite = get_suite("long-tail-6")
    swapped = Suite("x", 1, suite.entries[:2][::-1])
    other_seed = Suite("x", 1, (suite.entries[0], dataclasses.replace(suite.entries[1], seed=3)))
    several = (suite.first(1), suite.first(2), swapped, other_seed)
    assert len({each.digest for each in several}) == 4
    assert len({each.scenes_digest() for each in several}) == 4
    assert suite.first(2).digest == Suite("another name", 2, suite.entries[:2]).digest


def test_a_new_family_changes_no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_in = families.get_family("cut-in")
    new = dataclasses.replace(cut_in, name="cut-in-again", number=max(f.number for f in families.FAMILIES) + 1)
    before = [digest(scenario) for scenario in get_suite("long-tail-6").first(6)]
    monkeypatch.setattr(families, "FAMILIES", (new, *families.FAMILIES))
    assert make_scenario("cut-in-again", 0).family == "cut-in-again"
    get_suite.cache_clear()
    suite = get_suite("long-tail-6")
    assert suite.digest == LIST_DIGESTS["long-tail-6"]
    assert [digest(scenario) for scenario in suite.first(6)] == before


def test_another_way_of_drawing_parameters_changes_no_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = get_suite("long-tail-6").entries[0]
    before = digest(entry.make())
    monkeypatch.setattr(families.Parameter, "draw", lambda self, rng: self.high)
    assert digest(entry.make()) == before


def test_freeze_writes_what_is_read_and_never_replaces_a_suite(tmp_path: Path) -> None:
    points = [(entry.family, entry.seed) for entry in get_suite("long-tail-6").entries]
    path = freeze("long-tail-6", 1, points, tmp_path)
    assert read_suite(path) == get_suite("long-tail-6")
    assert path.read_bytes() == (Path(families.__file__).parents[1] / "suites" / "long-tail-6.json").read_bytes()
    with pytest.raises(InputError, match="exists, and a suite never changes"):
        freeze("long-tail-6", 2, points[:1], tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenarios": []}, "scenarios must be a list of 1 to"),
        ({"scenarios": [["cut-in", 10_000]]}, r"scenario 0: must be \[family, parameters, seed\]"),
        ({"scenarios": [["cut-in", {"gap": "wide"}, 1]]}, "scenario 0: gap is 'wide', must be a finite number"),
        ({"scenarios": [["cut-in", {}, -1]]}, "scenario 0: seed is -1"),
        ({"scenarios": [["cut-in", {}, 10_000]]}, "A suite never changes"),
        ({"version": "1"}, "version a whole number"),
        ({"more": 1}, "not a suite, which has name, version, digest, scenarios"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_of_the_fault(tmp_path: Path, change: Any, message: str) -> None:
    path = freeze("three", 1, [("cut-in", 10_000), ("debris", 10_000)], tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message) as caught:
        read_suite(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"name": ')
    with pytest.raises(InputError, match="not valid JSON"):
        read_suite(tmp_path / "torn.json")
    with pytest.raises(InputError, match="cannot read"):
        read_suite(tmp_path / "absent.json")


def test_bad_names_and_counts() -> None:
    with pytest.raises(InputError, match="did you mean long-tail-6"):
        get_suite("longtail6")
    for count in (0, 601):
        with pytest.raises(InputError, match=f"has 600 scenarios, asked for {count}"):
            get_suite("long-tail-6").first(count)
