"""Suites are frozen: their lists and their Scenes are pinned here for good."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from alpamayo_scenarios import Suite, families, get_suite, make_scenario, suite_names
from alpamayo_scenarios.suites import cached_suite, freeze, read_suite
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest

LIST_DIGESTS = {
    "long-tail-6": "24fad16f766f888593ac62e3f4961efc2993eda941484d94613598ae0451dd66",
    "longtail-mini": "9d9699e745ab017df07d8003b4ff395680aeaf9e43655fe4ad9fd589705ac03c",
}
SCENES_DIGESTS = {
    ("long-tail-6", "cut-in"): "30ed505a7860658ea5d0961154fe8b52d03ae57d12aec1e9c65641bb5ef5462e",
    ("long-tail-6", "occluded-child"): "7ed334f38074bd24af65aaa3eb51fea492250d4138ce48b31a25c6c0733a62ef",
    ("long-tail-6", "debris"): "1a14b7d19f9bb21c591005084452a386dd8a403702b02e83662758ef0b1ef492",
    ("long-tail-6", "construction-bypass"): "24b18b8e5d4f857479d5f3ee43488ebc68968cca45bc9627f8a8f4b55971abc2",
    ("long-tail-6", "red-light-runner"): "0ceb6b59af88aa4cff2c172e9389c4047f7784d474604ed52d5d0d04ea484508",
    ("long-tail-6", "wrong-way"): "c55a1fb8fe90525d20143129478f2f128830e0b286911e8e6ffaf7192062c522",
    ("longtail-mini", "stopped-lead"): "d37e74466ed2160cc47948268d38c114972d8e35f18026d89e35dd54296121cb",
    ("longtail-mini", "cut-out-stopped-car"): "6d6232368e0f297302f1e6b58bb21e199b12fe3bb373a1b3184f23a7c68d811b",
    ("longtail-mini", "debris"): "b2ba4578af48855a71857f332d801d9cdf7aa5f6ccb9212aec66a3775b3d042e",
    ("longtail-mini", "tailgater"): "8c553e7560a60a498da6e00b1adc8d3688231650be702bcd8fefba2cd5768de8",
    ("longtail-mini", "cut-in"): "6a23919a651db9620f5466b0dac7adc819665aac4b28015b796efc9391c6e3d4",
    ("longtail-mini", "lane-drop"): "a215142372b0d18b49695109effdb6fe2ecb4fb1e05af5267365280815ce6d4d",
    ("longtail-mini", "slow-merge"): "9ec52504db2e249e82f3aa791f43c12b422420839e64b76c9896c2bf0f5e2ce7",
    ("longtail-mini", "motorcycle-filtering"): "8e308f52d800c6321ccabbb1ce351c269947b7b67d2797cc5540d6a85fd9d9a9",
    ("longtail-mini", "construction-bypass"): "4fcb5f110605090ae4bdc0efb95f4d481531c1243e8a45fe9396b2f8aa836ab9",
    ("longtail-mini", "double-parked-two-way"): "65fe73d92e0524363ee8dddca655d972e967ed2e49bd292c7b239789acab4eb6",
    ("longtail-mini", "animal"): "bc827dddea525091f0385e8d76b95b1ed64aa2cf1ea2f1e19480d5ede795106f",
    ("longtail-mini", "slow-bicycle-two-way"): "059a5d163d89f5ae58a8885d3fd980c12aa455017ce677a4737794101c60f775",
    ("longtail-mini", "red-light-runner"): "09ddfe6aeebcc13b84a2a128b871e8d831054d120dfe6b446a02fc9c708aaddb",
    ("longtail-mini", "unprotected-left"): "d1656c6ce4f6dfe71a7e7af7be7a4ed278eb6f044edd352df61a3338b7b4c0ae",
    ("longtail-mini", "roundabout-entry"): "85158aa90810e8c69102a4e4567dc8a6e9bfd16079b1ce215dd575054e375b8c",
    ("longtail-mini", "dark-signals"): "27117d1971ff705c3087c1fef777e4bacf1cac85bff3e67ae77da57807b261d9",
    ("longtail-mini", "occluded-child"): "f4fe865e11e49e26645b4befacd093e7b9acddd2d790f66ced45d49d62212398",
    ("longtail-mini", "adult-crossing"): "a9f4bd17141b72831e894bc1d76f4612d372d913e272619494c9b7d1106013e9",
    ("longtail-mini", "turn-into-pedestrian"): "1ddd0b30377a318a470c9af5da6629b1541e35b6921fa30e2f98ec2b144ad61d",
    ("longtail-mini", "jaywalker"): "e86b638c5ca35a6600eda00b6065cc8ca3ef276ad260f79c4cede97e2e016c7e",
    ("longtail-mini", "low-friction-braking"): "078648b9521f18abd28b99690605aa5946085c6ea727421310c186e04d209921",
    ("longtail-mini", "fog-queue"): "143000e0e0cba6b76dc2edc2ce42a0f645769c1d536fa94333e9f2b0ecc6ccf1",
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
    cached_suite.cache_clear()
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
