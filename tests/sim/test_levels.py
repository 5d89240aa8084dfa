"""Levels: boxes, lanes, grounds and lines at different heights do not meet, in map, engine, drivers and sight."""

import dataclasses

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo_sim import testing
from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scenario import Goal, Scenario, scenario_of_log
from alpamayo_sim.datatypes.scene import Category, Lane, RoadMap, Route, Scene, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.engine.kernels.levels import heights_overlap as overlap_on_device
from alpamayo_sim.geometry import heights_overlap
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.lane_changes import LaneChangePredictor
from alpamayo_sim.prediction.lane_following import LaneFollowingPredictor
from alpamayo_sim.prediction.visibility import visible
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
STEPS = 100
BRIDGE_M = 6.0


@wp.kernel
def ask_device(values: wp.array2d[wp.float32], out: wp.array[wp.bool]) -> None:
    """Ask the device's function for each row: ground and height of one box, then of the other."""
    i = wp.tid()
    out[i] = overlap_on_device(values[i, 0], values[i, 1], values[i, 2], values[i, 3])


def test_device_and_host_agree_which_boxes_share_a_height() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.0, 4.0, (500, 4)).astype(np.float32)
    values[:100, 2] = values[:100, 0] + values[:100, 1]  # boxes that just touch
    values[100:120, 0] = np.nan
    out = wp.zeros(len(values), dtype=wp.bool, device="cpu")
    wp.launch(ask_device, dim=len(values), inputs=[wp.array(values, dtype=wp.float32), out], device="cpu")
    expected = heights_overlap(*values.T)
    assert out.numpy().tolist() == expected.tolist()
    assert 0 < expected.sum() < len(expected)


def lane(name: str, start: tuple[float, ...], end: tuple[float, ...], width: float = 3.5) -> Lane:
    line = np.linspace(start, end, 41).astype(np.float32)
    return Lane(name, line, np.full(len(line), width, np.float32), speed_limit=20.0)


ROAD = lane("road", (-60.0, 0.0, 0.0), (160.0, 0.0, 0.0))
BRIDGE = lane("bridge", (0.0, -60.0, BRIDGE_M), (0.0, 120.0, BRIDGE_M))
CROSSING = RoadMap(lanes=(ROAD, BRIDGE))


def car(name: str, x: float, y: float, heading: float, speed: float = 0.0, z: float = 0.0) -> Track:
    track = testing.moving(name, x, y, heading=heading, speed=speed, steps=STEPS)
    position = track.position.copy()
    position[:, 2] = z
    return dataclasses.replace(track, position=position)


def crossing_scene(ego: Track, *others: Track, path: Array | None = None) -> Scene:
    """Return a road along x below a bridge along y; the ego's route is along x unless it is given."""
    if path is None:
        path = np.linspace((-45.0, 0.0, 0.0), (150.0, 0.0, 0.0), 100)
    route = Route(path.astype(np.float32), ("road",))
    return testing.scene(*others, ego=ego, road_map=CROSSING, route=route)


def under(*others: Track) -> Scene:
    return crossing_scene(car("ego", -45.0, 0.0, 0.0, 10.0), *others)


def over(*others: Track) -> Scene:
    path = np.linspace((0.0, -50.0, BRIDGE_M), (0.0, 110.0, BRIDGE_M), 80)
    ego = car("ego", 0.0, -50.0, 0.5 * np.pi, 10.0, BRIDGE_M)
    return crossing_scene(ego, *others, path=path)


STANDS_ABOVE = car("above", 0.0, 0.0, 0.5 * np.pi, z=BRIDGE_M)
STANDS_BELOW = car("below", 0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["idm", "expert", "log"])
@pytest.mark.parametrize("made", [under(STANDS_ABOVE), over(STANDS_BELOW)], ids=["under", "over"])
def test_a_recording_drives_under_and_over_its_own_bridge(name: str, made: Scene) -> None:
    episode = drive(scenario_of_log(made), make_driver(name), guard=False)
    assert episode.progress[-1] - episode.progress[0] > 80.0
    assert episode.ego_speed.min() > 5.0


@pytest.mark.parametrize(("z", "meets"), [(0.0, True), (1.2, True), (BRIDGE_M, False), (-BRIDGE_M, False)])
def test_the_engine_finds_contacts_on_one_level(z: float, meets: bool) -> None:
    batch = WorldBatch([Scenario(under(car("other", -30.0, 0.0, 0.0, z=z)), Goal(90.0, 9.0))])
    times, contacts = [], 0
    for _ in range(25):
        batch.step(np.zeros((1, 2)))
        times.append(float(batch.egos.time_to_collision[0, 0]))
        contacts += int(batch.egos.collided[0, 0])
    assert (contacts > 0) is meets
    assert (min(times) < 1.0) is meets
    assert len(batch[0].first_contacts()) == int(meets)


def test_the_engine_keeps_the_ego_on_the_lane_and_ground_of_its_level() -> None:
    """In the crossing's middle the ego is on its own lane, and beside it off the road, above and below."""
    for made, own in ((under(), 0), (over(), 1)):
        batch = WorldBatch([Scenario(made, Goal(90.0, 9.0))])
        lanes, margins = [], []
        for _ in range(60):
            batch.step(np.zeros((1, 2)))
            lanes.append(int(batch.egos.lane[0, 0]))
            margins.append(float(batch.egos.drivable_margin[0, 0]))
        assert set(lanes) == {own}
        assert max(margins) < 1.0  # the other road's ground does not widen this one
    path = np.linspace((0.0, -20.0, 0.0), (60.0, -20.0, 0.0), 9)
    beside = crossing_scene(car("ego", 0.0, -20.0, 0.0, 5.0), path=path)
    batch = WorldBatch([Scenario(beside, Goal(50.0, 9.0))])
    assert batch.egos.lane[0, 0] == -1
    assert batch.egos.off_road[0, 0]


def test_map_questions_with_an_elevation_are_answered_on_its_level() -> None:
    index = MapIndex(CROSSING)
    xy, heading = np.array([[0.4, 0.3]] * 3), np.full(3, 0.4)
    elevation = np.array([0.2, BRIDGE_M - 0.3, 40.0])
    for match in (
        index.nearest_lane(xy, heading, elevation=elevation),
        index.match_lanes(xy, heading, elevation),
        index.match_boxes(np.array([[0.4, 0.3, np.cos(0.4), np.sin(0.4)]] * 3), elevation),
    ):
        assert match.index.tolist() == [0, 1, -1]
        assert match.s[:2] == pytest.approx([60.4, 60.3], abs=1e-6)
        assert np.abs(match.offset[:2]) == pytest.approx([0.3, 0.4], abs=1e-6)
    area, point = index.drivable_area, np.array([[0.0, 10.0]] * 2)
    assert area.contains(point, np.array([0.0, BRIDGE_M])).tolist() == [False, True]
    assert area.margin(point, np.array([0.0, BRIDGE_M])) == pytest.approx([-8.25, 1.75], abs=1e-6)
    box = np.array([[0.0, 0.0, 1.0, 0.0]] * 2)
    margins = area.box_margin(box, np.array([4.0, 1.5]), 5.0, np.array([0.0, BRIDGE_M]))
    assert margins == pytest.approx([1.0, -0.25], abs=1e-6)
    motion = np.repeat(box[:1, None], 3, axis=1)
    steps = area.first_step_outside(motion, np.array([4.0, 1.5]), 0.1, np.array([[0.0, 0.0, BRIDGE_M]]))
    assert steps.tolist() == [2]


def test_a_hill_is_one_level_and_a_flat_map_too() -> None:
    up, beside = (lane(name, (0.0, y, 0.0), (200.0, y, 20.0)) for name, y in (("up", 0.0), ("beside", 3.5)))
    hill = RoadMap(lanes=(up, beside))
    assert not MapIndex(hill).has_levels
    assert not MapIndex(testing.two_way_road()).has_levels
    assert MapIndex(CROSSING).has_levels


@pytest.mark.parametrize("kind", ["areas", "edges"])
def test_ground_of_polygons_and_of_road_edges_has_levels(kind: str) -> None:
    def ring(x0: float, x1: float, y0: float, y1: float, z: float) -> Array:
        return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], np.float32)

    rings = ring(-60, 60, -4, 4, 0.0), ring(60, 160, -4, 4, 0.0), ring(-4, 4, -60, 60, BRIDGE_M)
    if kind == "areas":
        road = RoadMap(drivable_areas=rings)
    else:
        closed = (np.concatenate([each, each[:1]]) for each in (ring(-60, 160, -4, 4, 0.0), rings[2]))
        road = RoadMap(road_edges=tuple(closed))
    area = MapIndex(road).drivable_area
    xy = np.array([[0.0, 10.0], [0.0, 10.0], [60.0, 3.0], [20.0, 0.0]])
    inside = area.contains(xy, np.array([0.0, BRIDGE_M, 0.0, BRIDGE_M]))
    assert inside.tolist() == [False, True, True, False]


def test_an_agent_on_a_bridge_is_no_leader_of_traffic_below() -> None:
    """Neither scripts, nor reactive recordings, nor vehicles on lanes brake for it."""
    from alpamayo_sim.datatypes.scenario import Script, TrafficVehicle

    path = np.linspace((-40.0, 0.0, 0.0), (150.0, 0.0, 0.0), 60).astype(np.float32)
    made = under(STANDS_ABOVE, car("follower", -40.0, 0.0, 0.0, 10.0))
    made = dataclasses.replace(made, tracks=(car("ego", -59.0, 0.0, 0.0, 0.0), *made.tracks[1:]))
    script = Script("follower", path, 10.0, yields=True)
    vehicle = TrafficVehicle("follower", wanted_speed=10.0)
    for scenario in (
        Scenario(made, Goal(200.0, 9.0), scripts=(script,)),
        Scenario(made, Goal(200.0, 9.0), traffic_vehicles=(vehicle,)),
    ):
        batch = WorldBatch([scenario])
        for _ in range(80):
            batch.step(np.array([[-9.0, 0.0]]))
        row = batch[0].agents().ids.index("follower")
        assert batch[0].agents().pose[row, 0] > 20.0


def test_a_box_on_a_bridge_hides_nothing_below() -> None:
    wall = dataclasses.replace(STANDS_ABOVE, size=np.array([8.0, 8.0, 3.0], np.float32))
    seen = car("far", 30.0, 0.0, 0.0)
    for z, expected in ((BRIDGE_M, True), (0.0, False)):
        position = wall.position.copy()
        position[:, 2] = z
        truth = testing.ground_truth_at(under(dataclasses.replace(wall, position=position), seen))
        assert visible(truth, np.array([1]))[0] == expected


@pytest.mark.parametrize(("elevation", "bends"), [(0.0, True), (BRIDGE_M, False)])
def test_predictions_follow_the_lane_of_the_level(elevation: float, bends: bool) -> None:
    """A bend to the left lies below a straight bridge; the agent's place and heading are those of the bend."""
    radius, angle = 80.0, np.linspace(0.0, 1.6, 161)
    bend = np.column_stack([radius * np.sin(angle), radius * (1.0 - np.cos(angle)), 0.0 * angle]).astype(np.float32)
    below = Lane("below", bend, np.full(len(bend), 3.5, np.float32))
    index = MapIndex(RoadMap(lanes=(below, lane("above", (-20.0, 0.0, BRIDGE_M), (160.0, 0.0, BRIDGE_M)))))
    assert index.has_levels
    start = 0.1
    pose = np.array([[radius * np.sin(start), radius * (1.0 - np.cos(start)), start]], np.float32)
    agents = Agents(
        ids=("a",),
        category=np.array([Category.VEHICLE], np.int8),
        pose=pose,
        velocity=np.float32(10.0) * np.array([[np.cos(start), np.sin(start)]], np.float32),
        size=np.array([[4.6, 1.9, 1.6]], np.float32),
        valid=np.ones(1, bool),
        elevation=np.array([elevation], np.float32),
    )
    guards = LaneFollowingPredictor(index).predict(agents).pose[0, -1]
    experts = LaneChangePredictor(index).predict(agents, np.zeros(1, np.int64), np.zeros(1)).pose[0, -1]
    for x, y, _ in (guards, experts):
        assert (abs(np.hypot(x, y - radius) - radius) < 0.5) == bends
