import os
import struct
from pathlib import Path

import numpy as np
import pytest
from recordings.motion import STEPS, bend, curve, placed, replay_errors
from recordings.waymo import (
    WAYMO_ORIGIN,
    proto,
    varint,
    womd_example,
    womd_scenario,
    write_womd_example,
    write_womd_scenario,
)

from alpamayo_datasets import open_log, scene_ids, tfrecord
from alpamayo_datasets.protobuf_wire import columns, integers, parse
from alpamayo_datasets.tfrecord import crc32c, frame, records
from alpamayo_sim.datatypes.scene import Category, LineKind, Scene, SignalState
from alpamayo_sim.errors import InputError

SCENARIO = "womd_tfrecord/motion_data_one_scenario.tfrecord"
EXAMPLE = "womd_tfrecord/motion_data_one_example.tfrecord"


def test_crc32c_of_the_standard_and_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    data = os.urandom(70_001)
    lengths = (4096, 4097, 8192, 50_000, 70_001)
    fast = [crc32c(data[:n]) for n in lengths]
    monkeypatch.setattr(tfrecord, "LANE_BYTES", 1 << 20)
    assert fast == [crc32c(data[:n]) for n in lengths]


def test_columns_read_usual_and_unusual_messages() -> None:
    layout = ((1, "d"), (2, "f"), (3, "v"))
    usual = proto((1, 1.5), (2, np.float32(2.5)), (3, 1))
    turned = proto((3, 1), (2, np.float32(2.5)), (1, 1.5))
    table = columns([usual, turned, usual, proto((3, 0)), b""], layout, "here")
    np.testing.assert_array_equal(table[:3], [[1.5, 2.5, 1.0]] * 3)
    np.testing.assert_array_equal(table[3:], [[np.nan, np.nan, 0.0], [np.nan] * 3])


def test_integers_packed_or_not_and_negative() -> None:
    packed = proto((1, b"".join(varint(i) for i in (0, 1, -1, 300, 1 << 40))), (1, 5))
    assert integers(parse(packed, "here"), 1, "here").tolist() == [0, 1, -1, 300, 1 << 40, 5]
    with pytest.raises(InputError, match="cut short"):
        integers(parse(proto((1, b"\x81")), "here"), 1, "here")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return open_log(write_womd_scenario(tmp_path))


def test_a_scenario_keeps_positions_headings_velocities_and_sizes(scene: Scene) -> None:
    assert (scene.id, scene.ego_id, scene.steps, scene.dt) == ("scenario-0", "7", STEPS, 0.1)
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "7")[:, :2] - WAYMO_ORIGIN[:2], xy, atol=1e-3)
    np.testing.assert_allclose(placed(scene, "7")[:, 2], WAYMO_ORIGIN[2], atol=1e-3)
    np.testing.assert_allclose(scene.ego.heading, heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity, velocity, atol=1e-3)
    np.testing.assert_allclose(scene.ego.size, [4.5, 1.9, 1.8], atol=1e-6)
    assert [track.category for track in scene.tracks] == [Category.VEHICLE, Category.VEHICLE, Category.PEDESTRIAN]
    assert scene.tracks[0].valid.sum() == 18


def test_a_scenarios_map_and_signal(scene: Scene) -> None:
    lanes = scene.road_map.lane_by_id
    assert lanes["1"].successors == ("2",)
    assert lanes["2"].in_intersection
    assert not lanes["1"].in_intersection
    assert lanes["1"].speed_limit == pytest.approx(25 * 0.44704)
    np.testing.assert_allclose(lanes["1"].width, 3.5, atol=0.01)
    np.testing.assert_allclose(lanes["1"].centreline[0, 2] + scene.origin[2], WAYMO_ORIGIN[2], atol=1e-4)
    assert [line.kind for line in scene.road_map.road_lines] == [LineKind.SOLID_YELLOW]
    assert len(scene.road_map.road_edges) == len(scene.road_map.crosswalks) == 1
    assert [line.lane_ids for line in scene.road_map.stop_lines] == [("1",)]
    (signal,) = scene.signals
    assert signal.lane_ids == ("2",)
    assert signal.states.tolist() == [SignalState.RED] * 10 + [SignalState.GREEN] * 11
    np.testing.assert_allclose(signal.position + scene.origin - WAYMO_ORIGIN, [*bend(30.0, 30.0)[0], 0], atol=1e-3)


def test_an_example_is_the_same_scene(tmp_path: Path) -> None:
    scene = open_log(write_womd_example(tmp_path))
    assert (scene.id, scene.ego_id, scene.steps) == ("example-0", "8", 91)
    xy, heading, velocity = curve()
    np.testing.assert_allclose(placed(scene, "8")[:STEPS, :2] - WAYMO_ORIGIN[:2], xy, atol=2e-3)  # float32 in the file
    np.testing.assert_allclose(scene.ego.heading[:STEPS], heading, atol=1e-3)
    np.testing.assert_allclose(scene.ego.velocity[:STEPS], velocity, atol=1e-3)
    assert scene.ego.valid.sum() == STEPS
    assert scene.road_map.lane_by_id["1"].successors == ("2",)
    assert [line.lane_ids for line in scene.road_map.stop_lines] == [("1",)]
    (signal,) = scene.signals
    assert signal.lane_ids == ("2",)
    assert set(signal.states) == {SignalState.RED}


def test_replay_repeats_the_recording(scene: Scene) -> None:
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


def test_many_scenes_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "many.tfrecord"
    path.write_bytes(b"".join(frame(data) for data in [womd_scenario(0), womd_example(1), womd_scenario(2)]))
    assert scene_ids(path) == ["scenario-0", "example-1", "scenario-2"]
    assert open_log(f"{path}#scenario-2").id == "scenario-2"
    assert open_log(f"{path}#example-1").id == "example-1"
    with pytest.raises(InputError, match=r"holds 3 scenes; choose one as .*#ID: scenario-0, example-1, scenario-2"):
        open_log(path)
    with pytest.raises(InputError, match="has no scene 'x'; it holds scenario-0"):
        open_log(f"{path}#x")


def _broken(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a Waymo Scenario"),
        (proto((1, 0.0), (2, b""), (8, b"")), "track 0 has 0 states, timestamps_seconds has 1"),
        (proto((1, 0.0), (1, 0.0), (2, b""), (8, b"")), "track 0 has 0 states"),
        (proto((1, 0.0), (2, proto((3, proto((11, 1))))), (8, b"")), "not finite"),
        (proto((1, 0.0), (2, proto((3, b""))), (6, 4), (8, b"")), "sdc_track_index is 4"),
        (proto((1, 0.0), (2, proto((3, b""))), (8, b"")), "never valid"),
        (_broken(womd_scenario(), struct.pack("<d", 0.2), struct.pack("<d", 0.05)), "do not grow at step 2"),
        (womd_scenario()[:-40], "cut short"),
        (proto((1, np.float32(0.0)), (2, b""), (8, b"")), "do"),
        (_broken(womd_example(), b"state/current/x", b"state/current/q"), "no feature 'state/current/x'"),
        (_broken(womd_example(), b"state/is_sdc", b"state/is_sdx" + b""), "not a Waymo Scenario"),
    ],
)
def test_a_broken_record_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "broken.tfrecord"
    path.write_bytes(frame(data))
    with pytest.raises(InputError) as caught:
        open_log(path)
    assert words in str(caught.value)
    assert "record 0" in str(caught.value)


def test_damaged_framing_is_named(tmp_path: Path) -> None:
    path = write_womd_scenario(tmp_path)
    data = path.read_bytes()
    for broken, words in (
        (data[:-1], "of which the file holds"),
        (data[:5000], "of which the file holds"),
        (data + data[:7], "record 1: the file is cut short in the record's header"),
        (data[:100] + b"x" + data[101:], "the checksum of its data does not fit"),
        (data + b"x" * 40, "record 1: the checksum of its length does not fit"),
    ):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=words):
            open_log(path)


def test_a_huge_length_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.tfrecord"
    header = struct.pack("<Q", 1 << 50)
    path.write_bytes(header + struct.pack("<I", tfrecord.masked_crc32c(header)))
    with pytest.raises(InputError, match="must be at most"):
        open_log(path)


@pytest.mark.realdata
@pytest.mark.parametrize("name", [SCENARIO, EXAMPLE])
def test_real_records_replay_as_recorded(realdata: Path, name: str) -> None:
    scene = open_log(realdata / name)
    assert scene.steps == 91
    metres, radians = replay_errors(scene)
    assert metres < 1e-3
    assert radians < 1e-3


@pytest.mark.realdata
def test_real_scenario_keeps_every_state(realdata: Path) -> None:
    """Every state of every track, read here field by field, without the fast path."""
    path = realdata / SCENARIO
    scene = open_log(path)
    scenario = parse(next(records(path)), "here")
    tracks = {track.id: track for track in scene.tracks}
    assert len(tracks) == len(scenario[2]) == 83
    for record in scenario[2]:
        track = parse(record, "here")  # type: ignore[arg-type]
        own = tracks[str(track[1][-1])]
        for k, data in enumerate(track[3]):
            state = parse(data, "here")  # type: ignore[arg-type]
            assert own.valid[k] == bool(state[11][-1])
            if own.valid[k]:
                x, y = (struct.unpack("<d", state[i][-1])[0] for i in (2, 3))  # type: ignore[arg-type]
                heading = struct.unpack("<f", state[8][-1])[0]  # type: ignore[arg-type]
                np.testing.assert_allclose(own.position[k, :2] + scene.origin[:2], [x, y], atol=1e-3)
                assert abs(own.heading[k] - heading) < 1e-3


@pytest.mark.realdata
def test_real_scenario_has_its_map(realdata: Path) -> None:
    scene = open_log(realdata / SCENARIO)
    lanes = scene.road_map.lanes
    assert len(lanes) > 150
    assert len(scene.signals) == 12
    for signal in scene.signals:
        assert signal.lane_ids[0] in scene.road_map.lane_by_id
    assert SignalState.RED in np.concatenate([signal.states for signal in scene.signals])
    known = {lane.id for lane in lanes}
    assert np.mean([name in known for lane in lanes for name in lane.successors]) > 0.9
    widths = np.concatenate([lane.width for lane in lanes if len(lane.left_boundary)])
    assert 3.0 < np.median(widths) < 4.5
