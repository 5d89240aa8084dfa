"""MCAP files: this project's own come back, others' are read by their frames, hostile ones end in one line."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import mcap as small
from recordings.first_steps import first_steps
from recordings.motion import STEPS, bend, curve, placed, replay_errors, same_tracks

from alpamayo_datasets import DrawnSensors, Recording, find_log, open_log, writer_named
from alpamayo_datasets.mcap_file import MAGIC, MessageReader, TopicMessage, records
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle

mcap_reader = pytest.importorskip("mcap.reader", reason="the extra mcap is not installed")

OWN_STEPS = 11
RINGS = np.deg2rad(np.linspace(5.0, -25.0, 4)).astype(np.float32)
SENSORS = DrawnSensors(nuscenes_rig(32, 18), Lidar("small", RINGS, 60, np.array([0.0, 0.0, 1.8], np.float32)))
ORIGIN = np.array([431_000.0, 5_410_000.0, 120.0])


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Return a scene whose road users drive on evenly, so that positions tell the velocities."""
    made = first_steps(make_scenario("occluded-child", 3).scene, OWN_STEPS)
    ahead = np.linspace(0.0, 0.1 * (OWN_STEPS - 1), OWN_STEPS, dtype=np.float32)[:, None]
    moved = [replace(t, position=t.position[:1] + ahead * np.pad(t.velocity, ((0, 0), (0, 1)))) for t in made.tracks]
    return replace(made, tracks=tuple(moved), origin=ORIGIN)


@pytest.fixture(scope="module")
def own(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("foxglove", reason="the extra mcap is not installed")
    folder = tmp_path_factory.mktemp("mcap") / "out"
    plans = np.zeros((OWN_STEPS - 1, 64, 4), np.float32)
    writer_named("mcap").write([Recording(scene, SENSORS, ("Keep the lane.",), plans)], folder)
    (path,) = folder.iterdir()
    return path


def test_an_own_file_comes_back_as_the_same_road_users(scene: Scene, own: Path) -> None:
    back = open_log(own)
    assert find_log(own).reader.name == "mcap"
    assert (back.id, back.steps, back.dt) == (scene.id, OWN_STEPS, scene.dt)
    assert (back.provenance.source, back.provenance.licence) == (scene.provenance.source, scene.provenance.licence)
    np.testing.assert_allclose(back.ego.size, scene.ego.size, rtol=1e-5)
    for track, known in same_tracks(back, scene, atol=1e-3):
        np.testing.assert_allclose(track.velocity[track.valid], known.velocity[known.valid], atol=5e-3)
    props = {prop.id: prop for prop in back.props}
    assert {name: prop.category for name, prop in props.items()} == {p.id: p.category for p in scene.props}
    assert replay_errors(back)[0] < 1e-3


def test_an_own_file_brings_its_map(scene: Scene, own: Path) -> None:
    back, known = open_log(own).road_map, scene.road_map
    shift = scene.origin - open_log(own).origin
    assert [lane.id for lane in back.lanes] == [lane.id for lane in known.lanes]
    for lane, other in zip(back.lanes, known.lanes, strict=True):
        assert (lane.kind, lane.successors) == (other.kind, other.successors)
        assert lane.left_neighbours == tuple(n for n in other.left_neighbours if n in known.lane_by_id)
        assert lane.speed_limit == pytest.approx(other.speed_limit)
        np.testing.assert_allclose(lane.centreline - shift, other.centreline, atol=1e-3)
        np.testing.assert_allclose(lane.width, other.width, atol=1e-3)
    assert [line.kind for line in back.road_lines] == [line.kind for line in known.road_lines]
    assert len(back.crosswalks) == len(known.crosswalks)
    assert len(back.stop_lines) == len(known.stop_lines)
    assert area(back.drivable_areas) == pytest.approx(area(known.drivable_areas), rel=1e-3)


def test_an_own_file_has_its_cameras(scene: Scene, own: Path) -> None:
    cameras = find_log(own).cameras()
    drawn = [frame.rgb for frame in SENSORS.frames(scene)]
    for step in (0, 7):
        images, ages = cameras.images(SENSORS.rig, 0.1 * step)
        np.testing.assert_allclose(ages, 0.0, atol=1e-6)
        assert np.abs(images[:, :, 8:24].astype(float) - drawn[step][:, :, 8:24]).mean() < 6.0  # what jpg loses
    with pytest.raises(InputError, match="has no scene 'none'"):
        find_log(f"{own}#none").cameras()


def area(rings: tuple[np.ndarray, ...]) -> float:
    import shapely

    return float(shapely.union_all([shapely.Polygon(ring[:, :2]) for ring in rings]).area)


@pytest.mark.parametrize("compression", ["NONE", "ZSTD", "LZ4"])
def test_records_are_those_of_mcaps_own_reader(tmp_path: Path, compression: str) -> None:
    path = small.write_mcap(tmp_path, compression, crcs=True)
    ours = [each for each in records(path, lambda topic: topic.name != "/lines") if isinstance(each, TopicMessage)]
    with path.open("rb") as file:
        judge = mcap_reader.make_reader(file, validate_crcs=True)
        known = [
            (channel.topic, schema.name, message.log_time, message.data)
            for schema, channel, message in judge.iter_messages(
                ["/tf", "/found", "/cam/info", "/cam/raw"], log_time_order=False
            )
        ]
    assert [(m.topic.name, m.topic.schema, m.log_time_ns, m.data) for m in ours] == known
    reader = MessageReader(path)
    assert [reader.data(each.place) for each in ours[::-1]] == [each.data for each in ours[::-1]]


def test_a_file_of_another_program_is_placed_by_its_frames(tmp_path: Path) -> None:
    path = small.write_mcap(tmp_path, "ZSTD")
    (tmp_path / "drive.toml").write_text(
        'map = "/lines"\nego_size_m = [4.0, 1.8, 1.5]\nbase_to_centre_m = 1.2\nlicence = "CC0"\n'
    )
    back = open_log(path)
    assert (back.steps, back.dt, back.provenance.licence) == (STEPS, 0.1, "CC0")
    kinds = {track.id: track.category for track in back.tracks}
    assert kinds == {"ego": Category.VEHICLE, small.LORRY: Category.TRUCK, small.WALKER: Category.PEDESTRIAN}
    xy, yaw, _ = curve()
    ahead = 1.2 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    np.testing.assert_allclose(placed(back, "ego")[:, :2], xy + ahead, atol=1e-3)
    for name, place in small.PLACES.items():
        np.testing.assert_allclose(placed(back, name), [(*place, 0.0)] * STEPS, atol=1e-3)
        heading = 0.3 if name == small.LORRY else 0.0
        track = next(track for track in back.tracks if track.id == name)
        assert np.abs(wrap_angle(track.heading - heading)).max() < 1e-3
    (painted,) = back.road_map.road_lines
    np.testing.assert_allclose(painted.line[:, :2] + back.origin[:2], bend(-5.0, 40.0, 2.0, spacing=5.0), atol=1e-3)
    assert replay_errors(back)[0] < 1e-3


def test_images_of_another_program_are_shown(tmp_path: Path) -> None:
    path = small.write_mcap(tmp_path, "LZ4")
    cameras = find_log(path).cameras()
    (one,) = cameras.cameras
    np.testing.assert_allclose(one.camera.position, [1.7, 0.0, 1.3], atol=1e-6)
    np.testing.assert_allclose(one.camera.rotation[:, 2], [1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(one.times, [0.0, 0.1, 0.2], atol=1e-6)
    for k in range(3):
        assert (one.image(k) == small.shade(k)).all()


def test_what_is_unclear_or_wrong_is_named(tmp_path: Path) -> None:
    path = small.write_mcap(tmp_path)
    for text, words in (
        ('objects = "/none"', "there is no topic '/none'"),
        ('ego_frame = "car"', "no transform of Foxglove's schemas moves car; name the ego's frame in drive.toml"),
        ('ego_frame = "lidar_top"', "needs poses of the ego at two times"),
        ('odometry = "/tf"', "odometry is unknown"),
    ):
        (tmp_path / "drive.toml").write_text(text)
        with pytest.raises(InputError) as caught:
            open_log(path)
        assert words in str(caught.value)


def record(opcode: int, data: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(data)) + data


def chunk(size: int, compression: bytes, packed: bytes) -> bytes:
    head = struct.pack("<QQQI", 0, 0, size, 0) + struct.pack("<I", len(compression)) + compression
    return record(6, head + struct.pack("<Q", len(packed)) + packed)


def test_hostile_files_end_in_one_line(tmp_path: Path) -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(300 << 20))
    end = record(15, bytes(4))
    path = tmp_path / "bad.mcap"
    for data, words in (
        (b"", "is cut short"),
        (chunk(100, b"", b"123") + end, "does not hold the 100 bytes that it names"),
        (chunk(1 << 40, b"zstd", bomb) + end, "must be at most 256 MiB"),
        (chunk(1000, b"zstd", bomb) + end, "does not hold the 1000 bytes"),
        (chunk(1000, b"zstd", b"nothing") + end, "is no zstd data"),
        (chunk(4, b"brotli", b"1234") + end, "its compression is 'brotli'"),
        (record(5, bytes(30)) + end, "a message of channel 0, which the file does not name"),
        (record(4, bytes(9)), "is cut short"),
        (struct.pack("<BQ", 6, 1 << 60) + bytes(20), "is longer than the file"),
        (end, "no transform of Foxglove's schemas moves ego or base_link"),
    ):
        path.write_bytes(MAGIC + data)
        with pytest.raises(InputError) as caught:
            open_log(path)
        assert words in str(caught.value)


def test_frames_that_move_in_each_other_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = (0.0, 0.0, 0.0)
    loop = [small.transform(0, "a", "ego", still, 0.0), small.transform(0, "ego", "a", still, 0.0)]
    monkeypatch.setattr(small, "messages", lambda: [("/tf", 0, each) for each in loop])
    with pytest.raises(InputError, match="is its own parent"):
        open_log(small.write_mcap(tmp_path))
