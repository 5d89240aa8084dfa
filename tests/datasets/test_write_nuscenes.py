"""What ``writers.nuscenes`` writes, judged by the official devkit and read back."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings.first_steps import first_steps

from alpamayo_datasets import DrawnSensors, Recording, open_log, scene_ids, writer_named
from alpamayo_datasets.recording import SensorFrame, recorded_truth
from alpamayo_datasets.writers.nuscenes import VERSION
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig import Rig, ftheta
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import project, wrap_angle

STEPS = 11
SMALL_LIDAR = Lidar(
    "small", np.deg2rad(np.linspace(5.0, -25.0, 12)).astype(np.float32), 180, np.array([0, 0, 1.8], "f")
)


class Blank:
    """Sensors that show nothing."""

    rig = nuscenes_rig(16, 9)
    lidar = SMALL_LIDAR

    def frames(self, scene: Scene) -> Iterator[SensorFrame]:
        none = np.zeros(0, np.int32)
        for _ in range(scene.steps):
            rows = np.full((6, 9, 16), -1, np.int32)
            yield SensorFrame(np.zeros((6, 9, 16, 3), np.uint8), np.zeros((0, 4), np.float32), none, rows, none)


@pytest.fixture(scope="module")
def scene() -> Scene:
    made = first_steps(make_scenario("cut-in", 3).scene, STEPS)
    heading = np.linspace(0.0, 0.02, STEPS, dtype=np.float32)
    moving = [
        replace(
            track,
            position=track.position
            + np.linspace(0.0, 1.0, STEPS, dtype=np.float32)[:, None] * track.velocity[0, 0] * np.float32([1, 0, 0]),
            heading=heading,
        )
        for track in made.tracks
    ]
    return replace(made, tracks=tuple(moving), origin=np.array([664_000.25, 3_998_000.5, 0.0]))


@pytest.fixture(scope="module")
def root(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "nuscenes"
    sensors = DrawnSensors(nuscenes_rig(160, 90), SMALL_LIDAR)
    second = replace(scene, id="second")
    writer_named("nuscenes").write([Recording(scene, sensors), Recording(second, Blank())], folder)
    return folder


@pytest.fixture(scope="module")
def tables(root: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nuscenes import NuScenes

        return NuScenes(VERSION, str(root), verbose=False)


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_it_reads_back_as_the_same_scene(scene: Scene, root: Path) -> None:
    assert scene_ids(root) == ["scene-0001", "scene-0002"]
    for name in scene_ids(root):
        back = open_log(f"{root}#{name}")
        assert (back.steps, back.dt) == (scene.steps, scene.dt)
        assert back.provenance.licence == scene.provenance.licence
        assert back.environment == scene.environment
        assert {track.id for track in back.tracks} == {*(t.id for t in scene.tracks if t is not scene.ego), "ego"}
        for track in back.tracks:
            known = scene.ego if track.id == "ego" else next(each for each in scene.tracks if each.id == track.id)
            assert track.category == known.category
            np.testing.assert_array_equal(track.valid, known.valid)
            np.testing.assert_allclose(track.size, known.size, rtol=1e-6)
            ours, theirs = (t.position[t.valid].astype(float) + s.origin for t, s in ((track, back), (known, scene)))
            np.testing.assert_allclose(ours, theirs, atol=1e-5)  # float32 near 100 m
            assert np.abs(wrap_angle(track.heading - known.heading)[track.valid]).max() < 1e-6
            np.testing.assert_allclose(track.velocity[track.valid], known.velocity[track.valid], atol=1e-5)
        assert {prop.id for prop in back.props} == {prop.id for prop in scene.props}


def test_the_map_reads_back(scene: Scene, root: Path) -> None:
    back = open_log(f"{root}#scene-0001")
    shift = (scene.origin - back.origin)[:2]
    assert len(back.road_map.lanes) > 6  # those within 150 m of the ego's path
    for found in back.road_map.lanes:
        lane = scene.road_map.lane_by_id[found.id]
        assert set(found.successors) == set(lane.successors)
        assert found.speed_limit == lane.speed_limit
        line = found.centreline[:, :2].astype(float) - shift
        _, off = project(lane.centreline[:, :2].astype(float), line)
        assert np.abs(off).max() < 1e-3


def test_the_devkit_loads_all_tables(scene: Scene, root: Path, tables: Any) -> None:
    assert len(tables.scene) == 2
    assert len(tables.sample) == 2 * STEPS
    assert len(tables.sample_data) == 2 * STEPS * 7  # six cameras and the lidar
    first = tables.get("sample", tables.scene[0]["first_sample_token"])
    assert len(first["data"]) == 7
    count = 0
    token = first["token"]
    while token:
        sample = tables.get("sample", token)
        count, token = count + 1, sample["next"]
    assert count == STEPS
    for sample_data in tables.sample_data:
        assert (root / sample_data["filename"]).is_file()
    velocities = [tables.box_velocity(row["token"])[:2] for row in tables.sample_annotation]
    known = [row["velocity"] for row in tables.sample_annotation]
    assert np.isfinite(velocities).all()
    assert len(known) == len(velocities)


def test_points_and_boxes_agree_in_the_devkit(tables: Any) -> None:
    """The points of a car that the lidar hits lie in its box, as the devkit places both."""
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    hit = [row for row in tables.sample_annotation if row["num_lidar_pts"] > 3]
    assert hit
    for row in hit[:5]:
        lidar = tables.get("sample", row["sample_token"])["data"]["LIDAR_TOP"]
        path, boxes, _ = tables.get_sample_data(lidar, selected_anntokens=[row["token"]])
        cloud = LidarPointCloud.from_file(path)
        inside = points_in_box(boxes[0], cloud.points[:3], wlh_factor=1.1).sum()
        assert inside >= 0.8 * row["num_lidar_pts"]


def test_images_show_what_the_boxes_say(scene: Scene, tables: Any) -> None:
    """The devkit's projection of a car is where our camera shows it."""
    camera = nuscenes_rig(160, 90).cameras[0]
    truth = recorded_truth(scene, 0)
    token = tables.get("sample", tables.scene[0]["first_sample_token"])["data"][camera.name]
    _, boxes, matrix = tables.get_sample_data(token)
    assert boxes
    ahead = {tuple(np.round(b.wlh, 3)): b.center for b in boxes}
    for row, name in enumerate(truth.agents.ids):
        size = truth.agents.size[row][[1, 0, 2]]
        seen = ahead.get(tuple(np.round(size.astype(float), 3)))
        if seen is None:
            continue
        pixel = (matrix @ seen)[:2] / seen[2]
        offset = truth.agents.pose[row, :2] - truth.ego_pose[:2]
        c, s = np.cos(truth.ego_pose[2]), np.sin(truth.ego_pose[2])
        point = np.array([[c * offset[0] + s * offset[1], c * offset[1] - s * offset[0], 0.5 * size[2]]])
        ours, _ = camera.project(point)
        assert np.abs(ours[0] - 0.5 - pixel).max() < 0.1, name


@pytest.mark.parametrize("channel", ["CAM_FRONT", "LIDAR_TOP"])
def test_the_devkit_draws(tables: Any, tmp_path: Path, quiet: None, channel: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    sample = tables.get("sample", tables.scene[0]["first_sample_token"])
    picture = tmp_path / "picture.png"
    tables.render_sample_data(sample["data"][channel], out_path=str(picture), verbose=False)
    assert picture.stat().st_size > 10_000


def test_the_devkit_answers_for_the_map_and_the_can_bus(root: Path, tables: Any, quiet: None) -> None:
    from nuscenes.can_bus.can_bus_api import NuScenesCanBus
    from nuscenes.map_expansion.map_api import NuScenesMap

    sample = tables.get("sample", tables.scene[0]["first_sample_token"])
    city = NuScenesMap(str(root), "boston-seaport")
    pose = tables.get("ego_pose", tables.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"])
    x, y, _ = pose["translation"]
    assert city.layers_on_point(x, y)["drivable_area"]
    assert city.get_closest_lane(x, y, radius=4.0)
    mask = tables.map[0]["mask"]
    assert mask.is_on_mask(x, y)
    assert not mask.is_on_mask(1.0, 1.0)
    messages = NuScenesCanBus(str(root)).get_messages("scene-0001", "pose")
    np.testing.assert_allclose(messages[0]["pos"][:2], [x, y], atol=1e-9)


def test_the_devkit_evaluates_perfect_boxes(root: Path, tables: Any, tmp_path: Path, quiet: None) -> None:
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval
    from nuscenes.eval.detection.utils import category_to_detection_name

    results: dict[str, list[dict[str, Any]]] = {sample["token"]: [] for sample in tables.sample}
    for row in tables.sample_annotation:
        name = category_to_detection_name(row["category_name"])
        if name and row["num_lidar_pts"]:  # the judge leaves out boxes without points
            attributes = [tables.get("attribute", token)["name"] for token in row["attribute_tokens"]]
            keys = ("sample_token", "translation", "size", "rotation", "velocity")
            results[row["sample_token"]].append(
                {key: row[key] for key in keys}
                | {"detection_name": name, "detection_score": 1.0, "attribute_name": "".join(attributes)}
            )
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {"use_camera": True}, "results": results}))
    judge = DetectionEval(
        tables, config_factory("detection_cvpr_2019"), str(path), "train", str(tmp_path), verbose=False
    )
    metrics, _ = judge.evaluate()
    assert metrics.mean_dist_aps["car"] == pytest.approx(1.0, abs=1e-6)


def test_a_fisheye_and_too_large_a_map_are_refused(scene: Scene, tmp_path: Path) -> None:
    eye = Rig((ftheta("CAM_FRONT", (0.0, 0.0, 1.5), 0.0, 2.0, 32, 16),))
    with pytest.raises(InputError, match="pinhole cameras alone"):
        writer_named("nuscenes").write([Recording(scene, DrawnSensors(eye, SMALL_LIDAR))], tmp_path / "a")
    far = replace(scene.tracks[-1], position=scene.tracks[-1].position + np.float32([9000.0, 9000.0, 0.0]))
    wide = replace(scene, tracks=(*scene.tracks[:-1], far))
    with pytest.raises(InputError, match=r"too large for\s+nuScenes' mask"):
        writer_named("nuscenes").write([Recording(wide)], tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_gaps_of_tracks_and_of_the_ego_are_kept(scene: Scene, tmp_path: Path) -> None:
    other = next(track for track in scene.tracks if track is not scene.ego)
    valid = np.arange(STEPS) % 11 < 4
    gone = replace(other, valid=valid, position=np.where(valid[:, None], other.position, np.float32(0.0)))
    broken = replace(scene, tracks=tuple(gone if track is other else track for track in scene.tracks))
    writer_named("nuscenes").write([Recording(broken, Blank())], tmp_path / "out")
    back = open_log(tmp_path / "out")
    found = next(track for track in back.tracks if track.id == other.id)
    np.testing.assert_array_equal(found.valid, valid)
