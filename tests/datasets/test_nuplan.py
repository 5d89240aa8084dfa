import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from recordings.motion import STEPS, bend, curve, placed, replay_errors
from recordings.nuplan import NUPLAN_ORIGIN, write_nuplan

from alpamayo_datasets import open_log, scene_ids
from alpamayo_datasets.utm import project_utm
from alpamayo_sim.datatypes.scene import Category, Scene, SignalState
from alpamayo_sim.errors import InputError


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nuplan(tmp_path_factory.mktemp("data")) / "small.db"


@pytest.fixture(scope="module")
def scene(log: Path) -> Scene:
    return open_log(f"{log}#scene-001")


def test_utm_of_known_places() -> None:
    """Reference: pyproj 3.7.2 (PROJ 9.5.1)."""
    for place, epsg, expected in (
        ((-115.17, 36.12), 32611, (664691.9331399775, 3998809.0291747046)),
        ((-79.94, 40.41), 32617, (589938.6370717271, 4473804.17463458)),
        ((103.79, 1.30), 32648, (365381.6547774541, 143721.560480083)),
        ((-71.05, 42.35), 32619, (331154.0108377113, 4690672.815281517)),
        ((-58.4, -34.6), 32721, (371624.54419030336, 6170423.240398882)),
    ):
        np.testing.assert_allclose(project_utm(np.array([place]), epsg)[0], expected, atol=1e-4)
    np.testing.assert_allclose(project_utm(np.array([[3.0, 0.0], [9.0, 0.0]]), 32631)[0], [500_000.0, 0.0], atol=1e-6)


def test_scenes_are_named_and_chosen(log: Path) -> None:
    assert scene_ids(log) == ["scene-000", "scene-001"]
    with pytest.raises(InputError, match="holds 2 scenes"):
        open_log(log)


def test_the_ego_at_10_hz(scene: Scene) -> None:
    assert (scene.steps, scene.dt) == (STEPS, 0.1)
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "ego")[:, :2] - NUPLAN_ORIGIN[:2], xy, atol=1e-3)
    np.testing.assert_allclose(placed(scene, "ego")[:, 2], NUPLAN_ORIGIN[2], atol=1e-3)
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(np.sum(scene.ego.velocity * velocity, axis=1) / 5.0, 5.0, atol=1e-3)


def test_boxes_and_cones(scene: Scene) -> None:
    xy, heading, velocity = curve(20.0, 4.0)
    bicycle = next(track for track in scene.tracks if track.id == "01aa")
    np.testing.assert_allclose(placed(scene, "01aa")[:, :2] - NUPLAN_ORIGIN[:2], xy, atol=1e-3)
    np.testing.assert_allclose(bicycle.heading, heading, atol=1e-3)
    np.testing.assert_allclose(bicycle.velocity, velocity, atol=1e-3)
    np.testing.assert_allclose(bicycle.size, [1.8, 0.7, 1.6], atol=1e-6)
    assert bicycle.category == Category.CYCLIST
    (cone,) = scene.props
    np.testing.assert_allclose(cone.position[:2] + scene.origin[:2] - NUPLAN_ORIGIN[:2], [12.0, -3.0], atol=1e-3)


def test_map_and_lights(scene: Scene) -> None:
    lanes = scene.road_map.lane_by_id
    assert lanes["10"].successors == ("20",)
    assert lanes["20"].successors == ("11",)
    assert lanes["20"].in_intersection
    assert lanes["10"].speed_limit == 11.5
    assert lanes["11"].speed_limit is None
    np.testing.assert_allclose(lanes["10"].width, 3.5, atol=0.02)
    np.testing.assert_allclose(
        lanes["10"].centreline[0, :2] + scene.origin[:2] - NUPLAN_ORIGIN[:2], bend(-20, -20)[0], atol=1e-3
    )
    assert len(scene.road_map.drivable_areas) == len(scene.road_map.crosswalks) == 1
    (signal,) = scene.signals
    assert signal.lane_ids == ("20",)
    assert signal.states.tolist() == [SignalState.RED] * 11 + [SignalState.GREEN] * 10


def test_replay_repeats_the_recording(scene: Scene) -> None:
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE lidar_box", "no such table: lidar_box"),
        ("ALTER TABLE ego_pose RENAME COLUMN qw TO q0", "no such column: qw"),
        ("UPDATE ego_pose SET x = NULL", "missing or not finite"),
        ("UPDATE ego_pose SET x = 'here'", "must be numbers"),
        ("UPDATE ego_pose SET x = 9e999", "not finite"),
        ("UPDATE lidar_pc SET timestamp = 1", "timestamps of lidar_pc must be finite and grow"),
        ("UPDATE lidar_box SET length = 0", "must be positive"),
        ("UPDATE log SET location = '../../x'", "has no map"),
        ("UPDATE log SET location = 'atlantis'", "has no map of 'atlantis'"),
        ("DELETE FROM scene", "holds no scenes"),
    ],
)
def test_what_is_wrong_is_named(log: Path, tmp_path: Path, statement: str, words: str) -> None:
    copy = Path(shutil.copytree(log.parent, tmp_path / "copy")) / log.name
    connection = sqlite3.connect(copy)
    connection.execute(statement)
    connection.commit()
    connection.close()
    with pytest.raises(InputError) as caught:
        open_log(f"{copy}#scene-001")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_map_in_other_coordinates_is_named(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(log.parent, tmp_path / "copy")) / log.name
    connection = sqlite3.connect(next(copy.parent.rglob("map.gpkg")))
    connection.execute("UPDATE meta SET value = 'epsg:3857'")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="must be a UTM zone"):
        open_log(f"{copy}#scene-001")


def test_a_damaged_schema_is_named(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(log.parent, tmp_path / "copy")) / log.name
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = CAST(X'435245415445CE20' AS TEXT) WHERE name = 'scene'")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="damaged, or not of the expected schema"):
        open_log(f"{copy}#scene-001")
