from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from recordings.arrow_123d import SIZE_M, pack, write_123d
from recordings.motion import STEPS, curve, placed, replay_errors

from alpamayo_datasets import find_log, open_log
from alpamayo_datasets.msgpack import unpack
from alpamayo_sim.datatypes.scene import Category, LineKind, Scene, SignalState
from alpamayo_sim.errors import InputError


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_123d(tmp_path)


@pytest.fixture
def scene(log: Path) -> Scene:
    return open_log(log)


def test_the_ego_is_the_centre_of_its_box(log: Path, scene: Scene) -> None:
    assert find_log(log).reader.name == "123d"
    assert (scene.id, scene.steps, scene.dt) == ("small", STEPS, 0.1)
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "ego")[:, :2], xy, atol=1e-3)
    np.testing.assert_allclose(placed(scene, "ego")[:, 2], 2.0, atol=1e-4)
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity[1:-1], velocity[1:-1], atol=0.01)
    np.testing.assert_allclose(scene.ego.size, SIZE_M, rtol=1e-6)


def test_boxes_become_tracks(scene: Scene) -> None:
    car, walker = (next(t for t in scene.tracks if t.id == name) for name in ("car", "walker"))
    np.testing.assert_allclose(placed(scene, "car")[:, 0], 15.0 + 0.4 * np.arange(STEPS), atol=1e-3)
    np.testing.assert_allclose(placed(scene, "car")[:, 1:], [[2.0, 2.0]] * STEPS, atol=1e-4)
    np.testing.assert_allclose(car.velocity, [[4.0, 0.0]] * STEPS, atol=1e-2)
    assert (car.category, walker.category) == (Category.VEHICLE, Category.PEDESTRIAN)
    assert np.flatnonzero(walker.valid).tolist() == list(range(11))


def test_the_map_and_its_lights(scene: Scene) -> None:
    lanes = scene.road_map.lane_by_id
    assert set(lanes) == {"1", "2"}  # the third lies 5 km away
    assert lanes["1"].successors == ("2",)
    assert (lanes["1"].speed_limit, lanes["2"].speed_limit) == (13.9, None)
    assert (lanes["1"].in_intersection, lanes["2"].in_intersection) == (False, True)
    np.testing.assert_allclose(lanes["1"].width, 3.5, atol=1e-4)
    assert [line.kind for line in scene.road_map.road_lines] == [LineKind.DOUBLE_YELLOW]
    assert [line.lane_ids for line in scene.road_map.stop_lines] == [("1",)]
    assert len(scene.road_map.crosswalks) == 1
    assert sum(shapely.Polygon(r[:, :2]).area for r in scene.road_map.drivable_areas) == pytest.approx(120 * 24, abs=1)
    (light,) = scene.signals
    assert light.lane_ids == ("2",)
    assert light.states.tolist() == [SignalState.RED] * 10 + [SignalState.GREEN] * 11


def test_it_replays(scene: Scene) -> None:
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


def test_the_map_of_a_city_is_found_above(log: Path) -> None:
    city = log.parent / "maps" / "nuplan" / "nuplan_made.arrow"
    city.parent.mkdir(parents=True)
    (log / "map.arrow").rename(city)
    assert set(open_log(log).road_map.lane_by_id) == {"1", "2"}
    city.unlink()
    with pytest.raises(InputError, match=r"has no map\.arrow"):
        open_log(log)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("sync", lambda t: t.slice(0, 0), "needs time stamps that grow"),
        ("sync", lambda t: t.replace_schema_metadata({}), "no metadata of 123D"),
        ("sync", lambda t: t.replace_schema_metadata({b"metadata": b"\xdf\xff\xff\xff\xff"}), "is no MessagePack"),
        ("ego_state_se3", lambda t: t.slice(0, 40), "does not cover the log"),
        ("ego_state_se3", lambda t: t.drop_columns(["ego_state_se3.imu_se3"]), "has no column 'ego_state_se3.imu_se3'"),
        (
            "box_detections_se3",
            lambda t: t.replace_schema_metadata({b"metadata": pack({"box_detection_label_class": "x.Mine"})}),
            "labels of the class 'Mine' are not known",
        ),
    ],
)
def test_what_is_wrong_is_named(log: Path, file: str, change: object, words: str) -> None:
    path = log / f"{file}.arrow"
    with pa.OSFile(str(path)) as source:
        table = change(pa.ipc.open_file(source).read_all())  # type: ignore[operator]
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError) as caught:
        open_log(log)
    assert words in str(caught.value)


def test_messages_are_unpacked_and_bounded() -> None:
    value = {"a": [1, -2, 2.5, None, True, "ü", b"raw"], "b": {"c": 70_000}}
    assert unpack(pack(value), "here") == value
    assert unpack(b"\x93\x01\xff\xa2hi", "here") == [1, -1, "hi"]
    np.testing.assert_array_equal(unpack(pack(np.eye(3)), "here"), np.eye(3))
    for bad in (b"", b"\x91" * 40, b"\xdd\xff\xff\xff\xff\x01", b"\xd4\x01\x02", pack(1) + b"\x00", b"\xa5hi"):
        with pytest.raises(InputError, match=r"^here: "):
            unpack(bad, "here")
