import json
from pathlib import Path

import numpy as np
import pytest

from alpamayo_datasets import open_log
from alpamayo_datasets.unpickle import read_pickle
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.geometry import box_corners, project
from alpamayo_sim.map.index import MapIndex

pytestmark = pytest.mark.realdata
FILES = {
    "scenarionet/sd_nuscenes_v1.0-mini_scene-0061.pkl": 191,
    "scenarionet/sd_nuscenes_v1.0-mini_scene-0103.pkl": 196,
    "scenarionet/sd_nuscenes_v1.0-mini_scene-0553.pkl": 201,
    "scenarionet/sd_nuscenes_v1.0-mini_scene-0655.pkl": 201,
    "scenarionet/sd_nuscenes_v1.0-mini_scene-0757.pkl": 201,
    "scenarionet/sd_waymo_v1.2_eb4b91b10ca94ff2.pkl": 199,
    "womd_json/tfrecord-00000-of-01000_325.json": 91,
    "womd_json/tfrecord-00000-of-01000_402.json": 91,
}


AXLE_TO_CENTRE_M = 1.35  # of the Renault Zoe of nuScenes


@pytest.fixture(scope="module", params=FILES)
def path(request: pytest.FixtureRequest, realdata: Path) -> Path:
    found = realdata / request.param
    if not found.is_file():
        pytest.skip(f"no {found}")
    return found


@pytest.fixture(scope="module")
def scene(path: Path) -> Scene:
    return open_log(path)


def recorded_ego(path: Path) -> np.ndarray:
    """x, y of the middle of the ego, read without the reader under test; nuScenes records its rear axle."""
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        ego = record["objects"][record["metadata"]["sdc_track_index"]]
        return np.array([[p["x"], p["y"]] for p in ego["position"]])
    record = read_pickle(path)
    state = record["tracks"][record["metadata"]["sdc_id"]]["state"]
    ahead = np.stack([np.cos(state["heading"]), np.sin(state["heading"])], axis=-1).astype(float)
    return state["position"][:, :2].astype(float) + AXLE_TO_CENTRE_M * ("nuscenes" in path.name) * ahead


def test_the_ego_keeps_its_places(path: Path, scene: Scene) -> None:
    assert scene.steps == FILES[f"{path.parent.name}/{path.name}"]
    ego = scene.ego.position[:, :2].astype(np.float64) + scene.origin[:2]
    np.testing.assert_allclose(ego[scene.ego.valid], recorded_ego(path)[scene.ego.valid], atol=1e-3)
    assert scene.ego.size[0] > scene.ego.size[1]


def test_the_ego_drives_on_drivable_ground_and_near_its_lane(scene: Scene) -> None:
    index = MapIndex(scene.road_map)
    pose = np.concatenate([scene.ego.position[:, :2], scene.ego.heading[:, None]], axis=1)[scene.ego.valid]
    corners = box_corners(pose.astype(np.float64), scene.ego.size[:2].astype(np.float64))
    assert index.drivable_area.margin(corners.reshape(-1, 2)).min() > 0.3
    match = index.nearest_lane(pose[:, :2].astype(np.float64), pose[:, 2].astype(np.float64))
    assert np.abs(match.offset).max() < 2.0


def test_moving_vehicles_are_on_the_left_of_road_edges(scene: Scene) -> None:
    index = MapIndex(scene.road_map)
    cars = (Category.VEHICLE, Category.TRUCK, Category.BUS)
    moving = [
        t.position[t.valid, :2]
        for t in scene.tracks
        if t.category in cars and np.hypot(*t.velocity[t.valid].T).max() > 3
    ]
    places = np.concatenate(moving).astype(np.float64)
    assert index.drivable_area.contains(places).mean() > 0.9


def test_the_ground_is_under_the_wheels(scene: Scene) -> None:
    lanes = np.concatenate([lane.centreline for lane in scene.road_map.lanes])
    for xyz in scene.ego.position[scene.ego.valid][::20]:
        nearest = lanes[np.argmin(np.hypot(*(lanes[:, :2] - xyz[:2]).T))]
        assert abs(nearest[2] - xyz[2]) < 0.35


def test_the_route_follows_the_ego(scene: Scene) -> None:
    assert scene.route is not None
    _, offset = project(scene.route.path, scene.ego.position[scene.ego.valid, :2].astype(np.float64))
    assert np.abs(offset).max() < 0.2
    assert scene.route.lane_ids
    step = np.linalg.norm(np.diff(scene.route.path[:, :2], axis=0), axis=1)
    assert step.max() < 3.0
    turn = np.abs(np.diff(np.unwrap(np.arctan2(*np.diff(scene.route.path[:, :2], axis=0)[step > 0.3].T[::-1]))))
    assert turn.max() < 0.5


def test_lanes_are_connected(scene: Scene) -> None:
    lanes = scene.road_map.lane_by_id
    followed = [lane for lane in scene.road_map.lanes if lane.successors]
    assert len(followed) > 0.5 * len(lanes)
    for lane in followed:
        for name in lane.successors:
            if name in lanes:
                assert np.hypot(*(lanes[name].centreline[0, :2] - lane.centreline[-1, :2])) < 1.5


def test_waymo_signals_begin_at_their_lanes(realdata: Path) -> None:
    scene = open_log(realdata / "scenarionet/sd_waymo_v1.2_eb4b91b10ca94ff2.pkl")
    assert len(scene.signals) == 14
    for signal in scene.signals:
        if signal.lane_ids[0] == "204":  # cut off by the edge of the map
            continue
        lane = scene.road_map.lane_by_id[signal.lane_ids[0]]
        np.testing.assert_allclose(lane.centreline[0, :2], signal.position[:2], atol=0.01)
