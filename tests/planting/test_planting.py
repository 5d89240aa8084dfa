"""Planting: the event of a family on recorded roads and those of OpenDRIVE, and why it does not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings.openscenario import road, write_roads
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.planting import Planted, plant
from alpamayo.planting.road_sections import LaneAcross, match_lanes
from alpamayo.sources import open_log, scenario_file
from alpamayo_scenarios.families import get_family
from alpamayo_scenarios.roads import CrossSection, curved_road
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, Prop, Provenance, Route, Scene, Track
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.map.frenet import RouteFrame

STEPS = 150
CURVATURE_PER_M = 0.004


def recorded(speed: float = 9.0, *others: Track, section: CrossSection | None = None, lane: int = 0) -> Scene:
    """A recording of 15 s on a road with a bend: the ego keeps its lane and its speed (m/s)."""
    made = curved_road(500.0, section or CrossSection(1, 1), 14.0, CURVATURE_PER_M, 40.0)
    s = 60.0 + 0.1 * speed * np.arange(STEPS)
    poses = np.array([made.alignment.pose(float(x), made.section.lane(lane)) for x in s])
    ego = Track(
        id="ego",
        category=Category.VEHICLE,
        position=np.column_stack([poses[:, :2], np.zeros(STEPS)]).astype(np.float32),
        heading=poses[:, 2].astype(np.float32),
        velocity=(speed * np.stack([np.cos(poses[:, 2]), np.sin(poses[:, 2])], axis=-1)).astype(np.float32),
        size=np.array([4.8, 2.0, 1.6], np.float32),
        valid=np.ones(STEPS, bool),
    )
    return Scene("rec", made.road_map, (ego, *others), "ego", Provenance("test", "none"), route=made.route(lane, 60.0))


def local(found: Planted, name: str) -> np.ndarray:
    """Arc length from the ego's start and offset (m) of an actor at the start."""
    scene = found.scenario.scene
    assert scene.route is not None
    frame = RouteFrame.of_route(scene.route)
    places = {track.id: track.position[0] for track in scene.tracks} | {prop.id: prop.position for prop in scene.props}
    s, d = frame.project(np.array([places[name][:2], scene.ego.position[0, :2]], np.float64))
    return np.array([s[0] - s[1], d[0]])


def generated(found: Planted, family: str, name: str) -> np.ndarray:
    """The same on the straight road of the family."""
    scene = get_family(family).build(found.scenario.parameters, found.scenario.seed).scene
    ego = np.array([*scene.ego.position[0, :2], scene.ego.heading[0]], np.float64)
    places = {track.id: track.position[0] for track in scene.tracks} | {prop.id: prop.position for prop in scene.props}
    return to_frame(places[name][None, :2].astype(np.float64), ego)[0]


def test_an_actor_keeps_its_place_relative_to_the_ego_and_its_lane() -> None:
    scene = recorded(lane=0)
    found = plant(get_family("braking-lead"), scene, seed=1)
    u, v = generated(found, "braking-lead", "braking")
    s, d = local(found, "braking")
    assert s == pytest.approx(u, abs=0.3)  # the frame of the route has samples of 0.5 m
    assert d == pytest.approx(v, abs=0.1)
    assert found.scenario.scene.road_map is scene.road_map
    assert found.clearance_m < 0.0
    assert found.scenario.parameters["ego_speed"] == 9.0


def test_a_child_runs_from_the_roadside_that_the_recording_has() -> None:
    wide = CrossSection(1, 1, 4.0, 1.0, 2.4)  # lanes of 4 m; the family's have 3.4 m
    found = plant(get_family("occluded-child"), recorded(section=wide))
    assert {"child", "parked-before", "parked-after"} == set(found.names)
    shift = local(found, "child")[1] - generated(found, "occluded-child", "child")[1]
    assert shift == pytest.approx(-0.3, abs=0.1)  # half the difference of the widths
    scene = found.scenario.scene
    driven = drive(found.scenario, make_driver("constant-velocity"), seed=0, guard=False)
    child = driven.agent_ids.index("child")
    moved = np.linalg.norm(driven.agent_pose[-1, child, :2] - driven.agent_pose[0, child, :2])
    assert moved > 1.0
    assert driven.agent_valid[:, [driven.agent_ids.index(n) for n in ("parked-before", "parked-after")]].all()
    assert scene.steps == found.scenario.steps + 1


def test_the_same_inputs_give_the_same_scenario(tmp_path: Path) -> None:
    from alpamayo_sim.io.document import digest

    one, two = (plant(get_family("adult-crossing"), recorded(7.0), seed=4) for _ in range(2))
    assert digest(one.scenario) == digest(two.scenario)


def test_left_hand_traffic_has_the_event_mirrored() -> None:
    scene = recorded(section=CrossSection(1, 1, 3.4, 1.0, 2.4))

    def flipped(points: np.ndarray) -> np.ndarray:
        return (points * np.array([1.0, -1.0, 1.0])).astype(np.float32)

    road_map = scene.road_map
    lanes = tuple(replace(lane, centreline=flipped(lane.centreline)) for lane in road_map.lanes)
    mirrored = replace(road_map, lanes=lanes, drivable_areas=tuple(flipped(a)[::-1] for a in road_map.drivable_areas))
    ego = scene.ego
    ego = replace(
        ego, position=flipped(ego.position), heading=-ego.heading, velocity=ego.velocity * np.array([1, -1], np.float32)
    )
    assert scene.route is not None
    left = replace(scene, road_map=mirrored, tracks=(ego,), route=Route(flipped(scene.route.path)))
    right_hand, left_hand = plant(get_family("occluded-child"), scene), plant(get_family("occluded-child"), left)
    assert local(left_hand, "child") == pytest.approx(local(right_hand, "child") * np.array([1.0, -1.0]), abs=0.05)


def test_a_car_without_a_lane_says_which_one_is_missing() -> None:
    with pytest.raises(InputError, match=r"cut-in does not fit into 'rec': at its left .* there is an oncoming one"):
        plant(get_family("cut-in"), recorded(14.0), parameters={"side": 1.0})
    found = plant(get_family("cut-in"), recorded(14.0, section=CrossSection(3), lane=1))
    assert "cut-in" in found.names


def test_reasons_name_the_speed_the_room_and_the_roads_of_its_own() -> None:
    with pytest.raises(InputError, match=r"the ego drives at 2 m/s, the family needs 5.6 to 13.8 m/s"):
        plant(get_family("occluded-child"), recorded(2.0))
    with pytest.raises(InputError, match="it needs traffic lights of its own"):
        plant(get_family("amber-dilemma"), recorded(11.0))
    with pytest.raises(InputError, match="its route turns"):
        plant(get_family("right-turn-into-flow"), recorded(7.0))
    with pytest.raises(InputError, match=r"the start is 99 s, must be in \[0, 14.8\] s"):
        plant(get_family("braking-lead"), recorded(), start_s=99.0)


def test_a_recorded_road_user_in_the_place_leaves_no_room() -> None:
    free = plant(get_family("braking-lead"), recorded(), seed=1, start_s=0.0)
    lead = next(track for track in free.scenario.scene.tracks if track.id == "braking")
    there = replace(
        lead,
        id="parked",
        position=np.tile(lead.position[:1], (STEPS, 1)),
        heading=np.full(STEPS, lead.heading[0]),
        velocity=np.zeros((STEPS, 2), np.float32),
        valid=np.ones(STEPS, bool),
    )
    with pytest.raises(InputError, match=r"recorded 'parked' is where 'braking' would be at 0\.0 s"):
        plant(get_family("braking-lead"), recorded(9.0, there), 1, parameters=free.scenario.parameters, start_s=0.0)
    cone = Prop("cone", Category.CONE, lead.position[0], 0.0, np.array([0.4, 0.4, 0.8], np.float32))
    scene = replace(recorded(), props=(cone,))
    with pytest.raises(InputError, match="recorded 'cone' is where 'braking' would be"):
        plant(get_family("braking-lead"), scene, 1, parameters=free.scenario.parameters, start_s=0.0)


def test_a_later_start_is_a_part_of_the_recording() -> None:
    found = plant(get_family("braking-lead"), recorded(), seed=1, start_s=2.0)
    scene = recorded()
    assert found.start_s == 2.0
    np.testing.assert_array_equal(found.scenario.scene.ego.position[0], scene.ego.position[20])
    assert not found.scenario.scene.ego.valid[STEPS - 20 :].any()
    assert found.scenario.goal.distance > 2.0 * 9.0 + found.event_s * 9.0


def test_lanes_match_side_by_side() -> None:
    def lane(offset: float, forward: bool = True) -> LaneAcross:
        return LaneAcross(offset, 3.0, forward)

    family = [lane(-3.5), lane(0.0), lane(3.5, forward=False)]
    found = match_lanes(family, [lane(-6.0), lane(-3.0), lane(0.2), lane(3.4)])
    assert not isinstance(found, str)
    assert (found.extra_right, found.extra_left) == (1, 1)
    assert [missing.offset for missing, _ in found.missing] == [3.5]
    np.testing.assert_allclose(found.across(np.array([-3.5, 0.0, -5.0, -7.0])), [-3.0, 0.2, -4.5, -6.5])
    assert match_lanes(family, [lane(-5.0), lane(5.0)]) == "the ego is not on a lane"


def test_the_command_writes_a_scenario_that_drive_takes(tmp_path: Path) -> None:
    roads = write_roads(tmp_path / "roads.xodr", road(length=800.0, sections=None))
    assert open_log(roads).ego.valid.sum() > 150
    out = tmp_path / "planted"
    run = CliRunner().invoke(app, ["scenarios", "plant", "braking-lead", str(roads), "--out", str(out), "--json"])
    assert run.exit_code == 0, run.output
    stored = scenario_file(f"{out}.json")
    assert isinstance(stored, Scenario)
    assert "braking" in [track.id for track in stored.scene.tracks]
    assert scenario_file(out) is not None
    assert scenario_file(roads) is None
    with pytest.raises(InputError, match="--set and --episodes do not go with it"):
        CliRunner().invoke(app, ["drive", f"{out}.json", "--set", "gap=8"], catch_exceptions=False)
    driven = ["drive", f"{out}.json", "--driver", "idm", "--out", str(tmp_path / "run"), "--json"]
    assert CliRunner().invoke(app, driven).exit_code == 0
    assert (tmp_path / "run" / "episode.json").is_file()


def test_a_road_network_without_a_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no way of 60 m for a car"):
        open_log(write_roads(tmp_path / "short.xodr", road(length=40.0, sections=None)))


def test_a_scene_without_route_is_refused() -> None:
    scene = replace(testing.scenario().scene, route=None)
    with pytest.raises(InputError, match="the scene has no route"):
        plant(get_family("braking-lead"), scene)
