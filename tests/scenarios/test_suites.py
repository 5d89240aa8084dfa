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
    "longtail-60": "db155d713120aa8a64d3c328b9355a789d13b818f573fbdb1f357ebd972b51db",
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
    ("longtail-60", "cut-in"): "793ed054a4a5e949377312e7d0c7b1f1b50a7a387fd6283ecb1f0ce050ae051e",
    ("longtail-60", "occluded-child"): "d866deff3e8164c7d509bee7c1696171a10c2d16c8b456f7bc2c87cef0dac338",
    ("longtail-60", "debris"): "b8f99271368fe757e92d7787f1779605e797abb58ee40b91edc42251f5d865ce",
    ("longtail-60", "construction-bypass"): "2dc93ced14c017a1b4f646682827570608cf6e719d64c03d4423487b5d6b5702",
    ("longtail-60", "red-light-runner"): "6df84c0c23b47d1ea31ea62b2adc41c1aecb1f7bde56a1cbd901b5e36902752e",
    ("longtail-60", "wrong-way"): "20399c68b2949e9c14c13f42951361c2c6a519c7e2b9e562ca45b04b337061ed",
    ("longtail-60", "stopped-lead"): "72365c396f7d813b10e0fffeb28d807290346645b828aa9e101e0da05edda65c",
    ("longtail-60", "slower-lead"): "23dd31256cf0835565b6682b01ee902774c9f98cb247434aefb517b54b0fc1a6",
    ("longtail-60", "braking-lead"): "5380f9a96657093538f053b3061fb6f9dc520546b67ff910df94049c9d13a9ed",
    ("longtail-60", "offset-lead"): "e20205dfcd76a952ea1c30b662e7467790625a475250deaef75adbde98877a44",
    ("longtail-60", "stop-and-go"): "f55e0d71261c3b26a6e04ac59ae4cd6816c20434c935676485c2261e193385fd",
    ("longtail-60", "cut-out-stopped-car"): "75fed8865bdee4994796d139f94169a3e4c277089301078f50b961e43c2155a4",
    ("longtail-60", "cut-out-two-stopped"): "3f673caf4ecdfed618f04f96588a8122b8812a9c415625cf9c0cf1be4ed0e7aa",
    ("longtail-60", "queue-end"): "d50b95eb3557c0973cf2b8f9e9b2bb67115cdb32dc0f4b766b45c83a5ef39164",
    ("longtail-60", "partial-block"): "7a25070ce0ae2dce282270b6bf4b5d97da35fba12e0f8fe0fa3062b76bdf9496",
    ("longtail-60", "tailgater"): "f69d8a0782ae20f5c56dd47912764efa8bc931d5326f0cf64fc043172e73a158",
    ("longtail-60", "blocked-exit"): "d6909d17fde292a97ffb665ad62d021c3b66a56da6cb8ed2dc0aff2e06474177",
    ("longtail-60", "overtaking-cut-in"): "5598db2460649583122f23676a00be6ccf6117c8bacf7993cdc84b10fda280d1",
    ("longtail-60", "highway-cut-in"): "1265bb9e4b3e964ba5d2cb21d0c177f5ffa579d2cd46d91c4e1d35a64d79c24e",
    ("longtail-60", "shoulder-pull-in"): "a4a996d57bc47d2ba5ad4541fb1bdc1331225fbfe618abe35cdd852b2d95a013",
    ("longtail-60", "parking-pull-out"): "2b4ee47dffa531209454dbb96520b8f3741a08ba89d3bc35f446eef1546b7278",
    ("longtail-60", "swerving-lead"): "ec3fbd2719ba67e717d043a24ce591b9a5c1f187c053257d0797349654852054",
    ("longtail-60", "side-drift"): "2b172539fb42f621135e2893dab37bdb78158546d37a7898b44a46a9c2313531",
    ("longtail-60", "lane-drop"): "5dcf67b85d3505c8277a2a02ce87468fb6756f48fe810d87e191757d74b68601",
    ("longtail-60", "slow-merge"): "17f0d4c8282204122ca60810ccb3b14a86ff6e99687372d64f68fcf34f55c020",
    ("longtail-60", "ramp-entry"): "62246c259cbca04b99f21c6567ca6e6f325ce4449a73f919415d1f6a03f3376f",
    ("longtail-60", "highway-exit"): "cdbb3b45563796c3406ca4f09ae9f055bb14c05c27c46a1c194c06dde8be1566",
    ("longtail-60", "sequential-lane-change"): "0372570724c2fb9e20e9d2060f39157dc796136d35a5569e447b2ff9e0ef906d",
    ("longtail-60", "motorcycle-filtering"): "1dc3006771ea1bf24f7d9e1ae647496452780836ef16d87d40fadc9d062cd284",
    ("longtail-60", "encroaching-oncoming"): "37c64a343b7afd268fa350944d26964f7125348c86400c96e5a0675e0eee8e33",
    ("longtail-60", "accident-scene"): "73fc91d58f96e894d168472546bc7d21ae7cd89ecaf98cee796f467f62e22781",
    ("longtail-60", "accident-two-way"): "ca7d87f4b7eb85048f228757516dcc73a70d619ae12277e5e5a3afada620c556",
    ("longtail-60", "lane-closure"): "99212b202b051deac3a6eea263ac48c2bd3b4cd8152cad77a3cb7c8f6d263b61",
    ("longtail-60", "double-parked"): "f457cac0e0c2c9cedcca5879ac3d43c8a6285955866678a2f686401f60fc0537",
    ("longtail-60", "double-parked-two-way"): "105cf77b1941dfd82c562bed326b99981f9c94f883ed003dfc4e1f53f26058e3",
    ("longtail-60", "door-opening"): "4ed8930bb5e312f568a229478b4fbe786f142cf49657eb6f9318029e514011f5",
    ("longtail-60", "slow-bicycle"): "aa94cb869f61198470aa9f5f2887d4970b7be47b21460557acf0c0f028706c9f",
    ("longtail-60", "slow-bicycle-two-way"): "2e4014b66d0a8ce45aaca83c44a7639c5b49930fe87e73d6cc57267fc0aab433",
    ("longtail-60", "narrow-meeting"): "54139e14e1fbd0140e136b3160da2a5c4898b0c8b8ab64bd37133e6fcb76026d",
    ("longtail-60", "emergency-vehicle"): "881b2b4bc07512c83c990da8b4f3d8eb669f20873bdeb9d7a387c83948223457",
    ("longtail-60", "school-bus-stop"): "14ff4aac0935483061a3eacdc379907bedd3008f94980ab6c3a0424367ff69af",
    ("longtail-60", "animal"): "3fcbf031a929466602e6f77afd52431915dceecb416aa4ac0d817c3d35e01294",
    ("longtail-60", "left-turn-across-path"): "6cbb922aef4259f9130ffd67cf3f1c2fb0048128af68dc2d7f147f01dc5ff47c",
    ("longtail-60", "straight-crossing"): "52b8ffd98f1579af81c966455e31e19a12035640d5882ff321d25d92fdf7c77f",
    ("longtail-60", "unprotected-left"): "6cdfd6443b050d8767e0e61c8a57726d7a285e664a0bd1c8f4fff77605cd7faa",
    ("longtail-60", "right-turn-into-flow"): "37ed6cdafec9e596fb38c07c72c9cc3b1fb5b54f89a288080db400c98a0ad561",
    ("longtail-60", "stop-sign-violation"): "ae98ee702c6ee6d229a80afb73108e351766276bcf0b8613b297281405abfff5",
    ("longtail-60", "crossing-bicycles"): "8148708c338c565ca348e12c794b6ebfa4c67d34ed475287af3f4ef9be490c00",
    ("longtail-60", "turning-lead"): "0c97167fcf7d8d51f4f0816bf3bc4526e3b4411ae024c7dc70259bfaf4154f7a",
    ("longtail-60", "roundabout-entry"): "7df316c3de3fdb965f83fad3fba20bc49f9e41926ee912f7cdb914c4ac0403b8",
    ("longtail-60", "amber-dilemma"): "0e6f2e84fe8e3d3d921cdd1ed855401823606634f08c2bdaacfd59db5bb7e712",
    ("longtail-60", "dark-signals"): "ae615d0bc66103040e5c3c062c25d29e265637e273a291e20ecd8d9f99a667a7",
    ("longtail-60", "occluded-junction"): "67456661481d0688a4f78dfa138d774d1c7cb0ed6185b2b77dd8d6c0eaa5b59e",
    ("longtail-60", "adult-crossing"): "e604a1ece2ea1d7a5f9239a662ff9c5d3e45dee61e8a177f91b5dba9a2ad7b52",
    ("longtail-60", "walking-along"): "316a84395e4347216601b9deb86c52e9a169348c9ca1be13b4e39726218491f0",
    ("longtail-60", "turn-into-pedestrian"): "0b4e892e661cf2834d3192d6f747d62159c1311690ebbe2c499333f200e25c0f",
    ("longtail-60", "cyclist-crossing"): "a3b991bd20311f30ce0bf7b8b2928af6909e822ffb44d4513d44d8261ed8beb5",
    ("longtail-60", "jaywalker"): "63f82886ac1139334dbee68f1eb5e891d263db1f9353d99c6e208c835c020868",
    ("longtail-60", "low-friction-braking"): "b57431d4513812bece71b4d00db9f489934abe5d98821c820189d82dcd214d0c",
    ("longtail-60", "fog-queue"): "2c3b223fbdafa2f06a443479d86feb2ff8e7bb66cc9f7469dc034866f9200012",
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
    with pytest.raises(InputError, match=r"did you mean .*long-tail-6"):
        get_suite("longtail6")
    for count in (0, 601):
        with pytest.raises(InputError, match=f"has 600 scenarios, asked for {count}"):
            get_suite("long-tail-6").first(count)
