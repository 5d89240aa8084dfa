import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from pyarrow import feather
from recordings.argoverse import AV2_ORIGIN, write_av2_forecasting, write_av2_sensor
from recordings.motion import STEPS, curve, placed, replay_errors

from alpamayo_datasets import open_log
from alpamayo_datasets.motion import time_grid
from alpamayo_sim.datatypes.continuity import gaps
from alpamayo_sim.datatypes.scene import Category, LineKind, Scene
from alpamayo_sim.errors import InputError

FORECASTING = "av2/forecasting/0a1e6f0a-1817-4a98-b02e-db8c9327d151"
SENSOR = "av2/sensor/7fab2350"


@pytest.mark.parametrize("write", [write_av2_forecasting, write_av2_sensor])
def test_the_map(write: object, tmp_path: Path) -> None:
    road_map = open_log(write(tmp_path)).road_map  # type: ignore[operator]
    lanes = road_map.lane_by_id
    assert lanes["1"].successors == ("2",)
    assert lanes["1"].left_neighbours == ()  # 3 goes the other way
    assert lanes["2"].in_intersection
    np.testing.assert_allclose(lanes["1"].width, 3.5, atol=0.01)
    assert len(lanes["1"].left_boundary) == 11
    assert [line.kind for line in road_map.road_lines] == [LineKind.DOUBLE_YELLOW] * 2  # 1 and 3 share theirs
    assert len(road_map.crosswalks) == len(road_map.road_edges) == 1
    assert len(road_map.drivable_areas) == 1


def test_forecasting_keeps_the_rows(tmp_path: Path) -> None:
    scene = open_log(write_av2_forecasting(tmp_path))
    assert (scene.id, scene.ego_id, scene.steps, scene.dt) == ("11f", "AV", STEPS, 0.1)
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "AV")[:, :2] - AV2_ORIGIN[:2], xy, atol=1e-3)
    np.testing.assert_allclose(placed(scene, "AV")[:, 2], AV2_ORIGIN[2], atol=1e-3)  # of the lanes
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity, velocity, atol=1e-3)
    cyclist = scene.tracks[0]
    assert cyclist.category == Category.CYCLIST
    assert cyclist.valid.sum() == 18
    np.testing.assert_allclose(cyclist.size, [1.7, 0.6, 1.28], atol=1e-6)


def test_the_sensor_log_moves_boxes_to_the_city_and_the_ego_to_its_centre(tmp_path: Path) -> None:
    scene = open_log(write_av2_sensor(tmp_path))
    assert (scene.id, scene.ego_id, scene.steps, scene.dt) == ("22a", "ego", STEPS, 0.1)
    assert gaps(scene.ego).tolist() == [7]
    seen = scene.ego.valid
    xy, heading, velocity = curve()
    np.testing.assert_allclose((placed(scene, "ego")[:, :2] - AV2_ORIGIN[:2])[seen], xy[seen], atol=1e-3)
    np.testing.assert_allclose(placed(scene, "ego")[seen, 2], AV2_ORIGIN[2], atol=1e-3)
    np.testing.assert_allclose(scene.ego.heading[seen], heading[seen], atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity[seen][1:-1], velocity[seen][1:-1], atol=0.05)
    other, other_heading, _ = curve(20.0, 4.0)
    np.testing.assert_allclose((placed(scene, "31")[:, :2] - AV2_ORIGIN[:2])[seen], other[seen], atol=1e-3)
    np.testing.assert_allclose(placed(scene, "31")[seen, 2], AV2_ORIGIN[2], atol=1e-3)
    bus = scene.tracks[1]
    np.testing.assert_allclose(bus.heading[seen], other_heading[seen], atol=1e-3)
    assert bus.category == Category.BUS
    np.testing.assert_allclose(bus.size, [10.0, 2.5, 1.8], atol=1e-6)


def test_the_ground_raster_gives_the_egos_height(tmp_path: Path) -> None:
    path = write_av2_sensor(tmp_path)
    np.save(path / "map" / "22a_ground_height_surface____PIT.npy", np.full((400, 400), 59.5, np.float16))
    place = {"R": [1.0, 0.0, 0.0, 1.0], "t": (-AV2_ORIGIN[:2] + 50.0).tolist(), "s": 2.0}
    (path / "map" / "22a___img_Sim2_city.json").write_text(json.dumps(place))
    scene = open_log(path)
    np.testing.assert_allclose(placed(scene, "ego")[scene.ego.valid, 2], 59.5, atol=1e-3)


def test_time_stamps_become_steps() -> None:
    grid = time_grid(np.array([0.0, 0.0998, 0.2004, 0.4001]), 0.1)
    assert (grid.step.tolist(), grid.count, grid.dt) == ([0, 1, 2, 4], 5, 0.1)
    assert time_grid(np.array([0.0, 0.2, 0.4]), 0.1).dt == pytest.approx(0.2)


@pytest.mark.parametrize("write", [write_av2_forecasting, write_av2_sensor])
def test_replay_repeats_the_recording(write: object, tmp_path: Path) -> None:
    metres, radians = replay_errors(open_log(write(tmp_path)))  # type: ignore[operator]
    assert metres < 1e-3
    assert radians < 1e-3


def test_what_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    path = write_av2_forecasting(tmp_path)
    parquet = path / "scenario_11f.parquet"
    table = pyarrow.parquet.read_table(parquet)
    doubled = pa.concat_tables([table, table.slice(0, 1)])
    for broken, words in (
        (table.drop_columns(["heading"]), "has no column 'heading'"),
        (table.set_column(2, "timestep", pa.array([-1] * len(table))), r"must be in \[0"),
        (table.set_column(2, "timestep", pa.array(["x"] * len(table))), "must be integers"),
        (table.set_column(5, "heading", pa.array([np.nan] * len(table))), "must be finite"),
        (table.set_column(5, "heading", pa.array([None] * len(table), pa.float64())), "missing values"),
        (table.set_column(3, "position_x", pa.array([1e300] * len(table))), "position has values beyond"),
        (table.slice(0, 0), "in one row at least"),
        (doubled, "two rows for one timestep"),
        (table.filter(pa.compute.not_equal(table["track_id"], "AV")), "the ego 'AV' is not among"),
    ):
        pyarrow.parquet.write_table(broken, parquet)
        with pytest.raises(InputError, match=words):
            open_log(path)
    (path / "log_map_archive_11f.json").unlink()
    pyarrow.parquet.write_table(table, parquet)
    with pytest.raises(InputError, match="has no map"):
        open_log(path)


def test_a_pose_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write_av2_sensor(tmp_path)
    poses = feather.read_table(path / "city_SE3_egovehicle.feather")
    feather.write_feather(poses.slice(1), path / "city_SE3_egovehicle.feather")
    with pytest.raises(InputError, match="without a pose of the ego"):
        open_log(path)
    (path / "city_SE3_egovehicle.feather").unlink()
    with pytest.raises(InputError, match=r"cannot read .*city_SE3_egovehicle"):
        open_log(path)


@pytest.fixture(scope="module", params=[FORECASTING, SENSOR])
def real(request: pytest.FixtureRequest, realdata: Path) -> tuple[Path, Scene]:
    return realdata / request.param, open_log(realdata / request.param)


@pytest.mark.realdata
def test_real_recordings_replay_as_recorded(real: tuple[Path, Scene]) -> None:
    _, scene = real
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


@pytest.mark.realdata
def test_the_real_ego_drives_on_drivable_ground(real: tuple[Path, Scene]) -> None:
    from alpamayo_sim.map.index import MapIndex

    _, scene = real
    index = MapIndex(scene.road_map)
    xy = scene.ego.position[scene.ego.valid, :2].astype(np.float64)
    assert index.drivable_area.contains(xy).mean() > 0.98
    match = index.nearest_lane(xy, scene.ego.heading[scene.ego.valid].astype(np.float64))
    assert np.abs(match.offset).max() < 2.5
    known = scene.road_map.lane_by_id
    for lane in scene.road_map.lanes:
        for name in lane.successors:
            if name in known:
                assert np.hypot(*(known[name].centreline[0, :2] - lane.centreline[-1, :2])) < 1.0
    boundary = np.concatenate([lane.left_boundary for lane in scene.road_map.lanes])
    for place in scene.ego.position[scene.ego.valid][::10]:
        nearest = boundary[np.argmin(np.hypot(*(boundary[:, :2] - place[:2]).T))]
        assert abs(nearest[2] - place[2]) < 0.5


@pytest.mark.realdata
def test_the_real_forecasting_rows(realdata: Path) -> None:
    path = realdata / FORECASTING
    scene = open_log(path)
    rows = pyarrow.parquet.read_table(next(path.glob("*.parquet"))).to_pylist()
    tracks = {track.id: track for track in scene.tracks}
    assert sum(track.valid.sum() for track in scene.tracks) == len(rows)
    for row in rows[::7]:
        track, k = tracks[row["track_id"]], row["timestep"]
        assert track.valid[k]
        place = track.position[k, :2] + scene.origin[:2]
        assert np.hypot(place[0] - row["position_x"], place[1] - row["position_y"]) < 1e-3
        assert abs(track.heading[k] - row["heading"]) < 1e-3
