import hashlib
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from alpamayo_scenarios import FAMILIES, Family, family_names, get_family, get_suite, make_scenario
from alpamayo_scenarios.suites import freeze
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, SignalState
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, box_corners, box_separation, project
from alpamayo_sim.io.document import digest
from alpamayo_sim.io.scene_file import load_scenario, save_scenario

FIRST_SIX = {family.name for family in FAMILIES if family.number <= 6}
MADE_WEATHER = {"fog-queue", "low-friction-braking", "walking-along"}  # families whose weather is their subject
ON_FOOT = (Category.PEDESTRIAN, Category.CYCLIST, Category.ANIMAL)
SEEDS = range(30)
FEW_SEEDS = range(3)
CLUSTERS = {
    "WORK_ZONES_TEMP_TRAFFIC_CONTROL",
    "PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY",
    "SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR",
    "CYCLISTS_AND_MICROMOBILITY_COMPLEX",
    "COMPLEX_INTERSECTION_INTERACTION",
    "OTHER_LONGTAIL",
    "ANIMALS_BIRDS_ROADKILL",
    "EMERGENCY_INCIDENT_SCENE",
    "ROAD_DEBRIS_OR_SAFETY_TRACES",
}


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def scenarios(family: Family) -> list[Scenario]:
    seeds = SEEDS if family.name in FIRST_SIX else FEW_SEEDS
    return [make_scenario(family.name, seed) for seed in seeds]


def file_bytes(scenario: Scenario, folder: Path) -> bytes:
    save_scenario(scenario, folder / "s")
    return (folder / "s.json").read_bytes() + (folder / "s.npz").read_bytes()


def boxes(scenario: Scenario) -> tuple[np.ndarray, np.ndarray, list[str]]:
    scene = scenario.scene
    poses = [[*t.position[0, :2], t.heading[0]] for t in scene.tracks]
    poses += [[*p.position[:2], p.heading] for p in scene.props]
    things = (*scene.tracks, *scene.props)
    return np.array(poses, float), np.array([t.size[:2] for t in things], float), [t.id for t in things]


def test_a_family_is_described(family: Family) -> None:
    assert family.cluster in CLUSTERS
    assert family.summary.endswith(".")
    assert family.source
    for parameter in family.parameters:
        assert parameter.source
        assert parameter.low < parameter.high


def test_numbers_and_names_are_used_once() -> None:
    assert len({family.number for family in FAMILIES}) == len(FAMILIES) == len(set(family_names()))


def test_parameters_are_drawn_within_their_ranges_and_accepted(family: Family, scenarios: list[Scenario]) -> None:
    drawn = {parameter.name: [s.parameters[parameter.name] for s in scenarios] for parameter in family.parameters}
    for parameter in family.parameters:
        values = drawn[parameter.name]
        assert all(parameter.low <= value <= parameter.high for value in values)
        usual = round(parameter.typical_share * len(values))
        least = 1 if parameter.integer else min(5, len(values) - usual - 2, len(values) - 1)
        assert len(set(values)) > (least if len(values) == len(SEEDS) or not parameter.integer else 0)
    assert all(family.accepts(s.parameters) for s in scenarios)


def test_the_same_seed_gives_the_same_bytes(family: Family, scenarios: list[Scenario], tmp_path: Path) -> None:
    digests = {hashlib.sha256(file_bytes(s, tmp_path)).hexdigest() for s in scenarios[:6]}
    assert len(digests) == len(scenarios[:6])
    for scenario in scenarios[: 3 if family.name in FIRST_SIX else 1]:
        first = file_bytes(scenario, tmp_path)
        assert file_bytes(make_scenario(family.name, scenario.seed), tmp_path) == first
        assert file_bytes(family.build(scenario.parameters, scenario.seed), tmp_path) == first
        assert file_bytes(load_scenario(tmp_path / "s"), tmp_path) == first


def test_nothing_overlaps_at_the_start(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        pose, size, ids = boxes(scenario)
        gap = box_separation(pose[:, None], size[:, None], pose[None], size[None]) + 100.0 * np.eye(len(ids))
        for door in (k for k, name in enumerate(ids) if name.endswith("-door-door")):
            car = ids.index(ids[door].removesuffix("-door"))  # a closed door lies within its car
            gap[door, car] = gap[car, door] = 100.0
        i, j = np.unravel_index(np.argmin(gap), gap.shape)
        assert gap[i, j] > 0.0, f"{scenario.scene.id}: {ids[i]} and {ids[j]}"


def test_the_ego_starts_in_its_lane_and_drives_at_most_the_limit(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        scene = scenario.scene
        ego, route = scene.ego, scene.route
        assert route is not None
        lane = scene.road_map.lane_by_id[route.lane_ids[0]]
        s, d = project(lane.centreline, ego.position[:1, :2])
        assert abs(d[0]) < 0.01
        assert 0.0 < s[0] < arc_length(lane.centreline)[-1]
        speed = np.hypot(*ego.velocity[0])
        assert lane.speed_limit is not None
        assert speed <= lane.speed_limit + 1e-5
        if "ego_speed" in scenario.parameters:
            assert speed == pytest.approx(scenario.parameters["ego_speed"], abs=1e-4)
        np.testing.assert_allclose(route.path[0], ego.position[0], atol=1e-3)


def test_the_route_follows_its_lanes_beyond_the_goal(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        scene, route = scenario.scene, scenario.scene.route
        assert route is not None
        lanes = [scene.road_map.lane_by_id[name] for name in route.lane_ids]
        for lane, after in itertools.pairwise(lanes):
            assert after.id in lane.successors
        centre = np.concatenate([lane.centreline for lane in lanes])
        assert np.abs(project(centre, route.path[:, :2])[1]).max() < 0.02
        assert arc_length(route.path)[-1] > scenario.goal.distance + 50.0
        assert 14.0 <= scenario.goal.duration <= 20.0
        limit = lanes[0].speed_limit
        assert limit is not None
        assert scenario.goal.distance < limit * scenario.goal.duration


def test_road_users_stand_on_drivable_ground_and_houses_do_not(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        ground = shapely.union_all([shapely.Polygon(a[:, :2]) for a in scenario.scene.road_map.drivable_areas])
        pose, size, ids = boxes(scenario)
        outlines = shapely.polygons(box_corners(pose, size))
        for thing, name, outline in zip((*scenario.scene.tracks, *scenario.scene.props), ids, outlines, strict=True):
            beside = thing.category in (Category.BUILDING, Category.VEGETATION)
            if beside:
                assert not ground.intersects(outline), f"{scenario.scene.id}: {name}"
            elif thing.category in ON_FOOT and scenario.family not in FIRST_SIX:
                assert ground.distance(outline) < 12.0, f"{scenario.scene.id}: {name}"
            else:
                assert ground.buffer(0.3).covers(outline), f"{scenario.scene.id}: {name}"


def test_scripts_begin_where_their_actors_are(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        tracks = {track.id: track for track in scenario.scene.tracks}
        for script in scenario.scripts:
            track = tracks[script.track_id]
            np.testing.assert_allclose(script.path[0], track.position[0], atol=1e-3)
            assert np.hypot(*track.velocity[0]) == pytest.approx(script.speed, abs=1e-4)


def test_tracks_and_signals_last_as_long_as_the_episode(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        assert scenario.scene.steps == scenario.steps + 1
        assert all(len(signal.states) == scenario.scene.steps for signal in scenario.scene.signals)


def test_cameras_have_something_to_see(scenarios: list[Scenario]) -> None:
    counts = [sum(p.category in (Category.BUILDING, Category.VEGETATION) for p in s.scene.props) for s in scenarios]
    assert min(counts) >= 8
    if scenarios[0].family in MADE_WEATHER or len(scenarios) < len(SEEDS):
        return
    weathers = {(s.scene.environment.rain > 0, s.scene.environment.visibility, s.scene.environment.sun_elevation < 0.2)
                for s in scenarios}  # fmt: skip
    assert len(weathers) >= 3


def test_the_ego_has_green_where_there_are_signals() -> None:
    for seed in SEEDS:
        scenario = make_scenario("red-light-runner", seed)
        states = {signal.id: signal.states for signal in scenario.scene.signals}
        assert np.all(states["signal-west"] == SignalState.GREEN)
        assert np.all(states["signal-south"] == SignalState.RED)
        assert np.all(states["signal-north"] == SignalState.RED)


def test_given_parameters_stay_and_the_rest_is_drawn() -> None:
    family = get_family("cut-in")
    scenario = family.build({"ego_speed": 10.0, "lanes": 3}, 5)
    assert scenario.parameters["ego_speed"] == 10.0
    assert scenario.parameters["lanes"] == 3.0
    assert set(scenario.parameters) == {parameter.name for parameter in family.parameters}


def test_sample_takes_its_seed_from_the_generator(family: Family) -> None:
    one, two = (family.sample(np.random.default_rng(7)) for _ in range(2))
    assert digest(one) == digest(two)
    assert one.seed != family.sample(np.random.default_rng(8)).seed


@pytest.mark.parametrize("low_or_high", ["low", "high"])
def test_the_corners_of_the_ranges_can_be_built(family: Family, low_or_high: str) -> None:
    for parameter in family.parameters if family.name in FIRST_SIX else ():
        family.build({parameter.name: getattr(parameter, low_or_high)}, 1)
    family.build({parameter.name: getattr(parameter, low_or_high) for parameter in family.parameters}, 1)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ego_sped": 10.0}, ["ego_sped", "did you mean ego_speed"]),
        ({"xyz": 10.0}, ["xyz", "there are: braking"]),
        ({"ego_speed": 100.0}, ["ego_speed is 100.0 m/s", "[8, 22] m/s"]),
        ({"ego_speed": float("nan")}, ["ego_speed is nan"]),
        ({"lanes": 2.5}, ["lanes is 2.5", "whole number"]),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters: dict[str, float], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        get_family("cut-in").build(parameters, 0)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_similar_names_are_offered() -> None:
    with pytest.raises(InputError, match="did you mean cut-in"):
        get_family("cutin")
    with pytest.raises(InputError, match=r"there are: accident-scene, .*construction-bypass, "):
        make_scenario("zzz", 0)
    with pytest.raises(InputError, match="seed is -1"):
        make_scenario("debris", -1)


JUNK = ("x", "3", {}, None, [], math.nan, math.inf, 10**400, True, 1 << 63, b"x", object(), np.array([1, 2]))


@pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
def test_parameters_seeds_and_names_of_wrong_types_are_refused(value: object) -> None:
    cut_in: Any = get_family("cut-in")
    for wrong in (
        *(lambda name=p.name: cut_in.build({name: value}, 0) for p in cut_in.parameters),
        lambda: cut_in.draw(value),
        lambda: cut_in.twin({}, value),
        lambda: cut_in.sample(value),
        lambda: make_scenario("cut-in", value),  # type: ignore[arg-type]
        lambda: make_scenario(value, 0),  # type: ignore[arg-type]
        lambda: get_suite(value),  # type: ignore[arg-type]
        lambda: get_suite("long-tail-6").first(value),  # type: ignore[arg-type]
        lambda: freeze("a", 1, [("cut-in", value)], "absent"),  # type: ignore[list-item]
        lambda: freeze("a", 1, [(value, 1)], "absent"),  # type: ignore[list-item]
        lambda: freeze("a", 1, [value], "absent"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert "\n" not in str(caught.value)
