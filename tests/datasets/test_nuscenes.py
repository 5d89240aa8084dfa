import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from recordings.motion import STEPS, curve, placed, replay_errors
from recordings.nuscenes import NUSCENES_CITY, NUSCENES_ORIGIN, write_nuscenes

from alpamayo_datasets import open_log, scene_ids
from alpamayo_sim.datatypes.scene import Category, LineKind, Scene
from alpamayo_sim.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nuscenes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def scene(root: Path) -> Scene:
    return open_log(f"{root}#scene-0061")


def test_scenes_are_named_and_chosen(root: Path) -> None:
    assert scene_ids(root) == scene_ids(root / "v1.0-mini") == ["scene-0061", "scene-0103"]
    assert open_log(f"{root / 'v1.0-mini'}#scene-0103").id == "scene-0103"
    with pytest.raises(InputError, match=r"holds 2 scenes; choose one as .*#ID: scene-0061, scene-0103"):
        open_log(root)


def test_the_ego_is_the_centre_of_its_box_at_10_hz(scene: Scene) -> None:
    """The file has the rear axle, which is 1.35 m behind the centre that drives on the bend."""
    assert (scene.steps, scene.dt, scene.ego_id) == (STEPS, 0.1, "ego")
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "ego")[:, :2] - NUSCENES_ORIGIN, xy, atol=1e-3)
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.size, [4.084, 1.73, 1.562], atol=1e-6)
    along = np.sum(scene.ego.velocity * velocity, axis=1) / 5.0
    np.testing.assert_allclose(along, 5.0, atol=1e-3)  # of the CAN bus


def test_the_ego_without_can_bus_has_velocities_too(root: Path) -> None:
    scene = open_log(f"{root}#scene-0103")
    np.testing.assert_allclose(scene.ego.velocity, curve()[2], atol=0.05)


def test_boxes_are_interpolated_between_keyframes(scene: Scene) -> None:
    car, walk = (next(t for t in scene.tracks if t.id == f"scene-0061-{name}") for name in ("car", "walk"))
    t = 0.1 * np.arange(STEPS)
    np.testing.assert_allclose(placed(scene, car.id)[:, 0] - NUSCENES_ORIGIN[0], 15.0 + 4.0 * t, atol=1e-3)
    np.testing.assert_allclose(car.velocity, [[4.0, 0.0]] * STEPS, atol=1e-3)
    np.testing.assert_allclose(car.size, [4.6, 1.9, 1.7], atol=1e-6)
    assert walk.category == Category.PEDESTRIAN
    assert np.flatnonzero(walk.valid).tolist() == [0, 1, 2, 3, 4, 5, 20]  # not seen for 1.5 s
    (cone,) = scene.props
    assert cone.category == Category.CONE


def test_the_map(scene: Scene) -> None:
    road_map = scene.road_map
    assert road_map.lane_by_id["lane-1"].successors == ("lane-2",)
    assert road_map.lane_by_id["lane-2"].in_intersection
    np.testing.assert_allclose(road_map.lane_by_id["lane-1"].width, 3.5, atol=1e-3)
    assert [line.kind for line in road_map.road_lines] == [LineKind.SOLID_YELLOW]
    assert [line.lane_ids for line in road_map.stop_lines] == [("lane-1",)]
    assert len(road_map.crosswalks) == 1
    area = sum(shapely.Polygon(ring[:, :2]).area for ring in road_map.drivable_areas)
    assert area == pytest.approx(120 * 24 - 16, abs=1.0)


def test_replay_repeats_the_recording(scene: Scene) -> None:
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


def _edit(root: Path, table: str, change: Callable[[Any], Any]) -> None:
    path = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("sample_annotation", lambda rows: rows[0].pop("instance_token"), "damaged (KeyError: 'instance_token')"),
        ("sample_annotation", lambda rows: rows[0].update(translation=[1, float("nan"), 0]), "not finite"),
        ("sample_annotation", lambda rows: [row.update(size=[0, 0, 0]) for row in rows], "size must be positive"),
        ("sample", lambda rows: rows[4].update(next="scene-0061-sample-0"), "come back to 'scene-0061-sample-0'"),
        ("sample", lambda rows: rows[1].update(timestamp=0), "timestamps must be finite and grow"),
        ("sample_data", lambda rows: rows[8].update(next=""), "ego_pose does not cover the scene"),
        ("log", lambda rows: rows[0].update(location="../../etc/passwd"), "map expansion"),
        ("log", lambda rows: rows[0].update(location="berlin"), "map expansion"),
        ("scene", lambda rows: rows.clear(), "holds no scenes"),
    ],
)
def test_what_is_wrong_is_named(
    root: Path, tmp_path: Path, table: str, change: Callable[[Any], Any], words: str
) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    _edit(copy, table, change)
    with pytest.raises(InputError) as caught:
        open_log(f"{copy}#scene-0061")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tables_and_other_versions_are_named(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    (copy / "v1.0-mini" / "visibility.json").unlink()
    with pytest.raises(InputError, match=r"has no table visibility\.json"):
        open_log(copy)
    shutil.copytree(root / "v1.0-mini", copy / "v1.0-trainval")
    with pytest.raises(InputError, match="holds 2 versions of nuScenes; name one"):
        open_log(copy)


def test_a_lane_of_a_million_metres_is_refused(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    path = copy / "maps" / "expansion" / f"{NUSCENES_CITY}.json"
    record = json.loads(path.read_text())
    record["arcline_path_3"]["lane-1"][0]["segment_length"] = [0.0, 1e9, 0.0]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="longer than any lane"):
        open_log(f"{copy}#scene-0061")
