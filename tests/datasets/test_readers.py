import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo_datasets import READERS, Reader, log, open_log
from alpamayo_datasets.lanes import sides_from_polygon
from alpamayo_datasets.readers import described_formats
from alpamayo_datasets.route import instructions
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Category, LaneKind, LineKind, SignalState
from alpamayo_sim.engine.packing.map_blocks import pack_map
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, project
from alpamayo_sim.io.scene_file import load_scene, save_scene
from alpamayo_sim.map import border

Write = Callable[[Any, str], Path]


def test_scenarionet_tracks_keep_their_places(scenarionet: dict[str, Any], write: Write) -> None:
    scene = open_log(write(scenarionet, "log.pkl"))
    assert scene.ego_id == "7"
    assert scene.steps == 21
    assert scene.dt == 0.1
    recorded = scenarionet["tracks"]["7"]["state"]["position"]
    np.testing.assert_allclose(scene.ego.position[:, :2] + scene.origin[:2], recorded[:, :2], atol=1e-4)
    np.testing.assert_allclose(scene.ego.position[:, 2] + scene.origin[2], 12.0, atol=1e-4)
    other = next(track for track in scene.tracks if track.id == "8")
    assert other.valid.sum() == 18
    assert not other.position[-3:].any()
    np.testing.assert_allclose(other.size, [4.5, 1.9, 1.8], atol=1e-6)


def test_scenarionet_map(scenarionet: dict[str, Any], write: Write) -> None:
    scene = open_log(write(scenarionet, "log.pkl"))
    lane = scene.road_map.lane_by_id["1"]
    assert lane.successors == ("2",)
    assert lane.left_neighbours == ()  # 99 is not in the file
    assert lane.speed_limit == pytest.approx(25.0 * 0.44704)
    np.testing.assert_allclose(lane.width, 3.5)
    np.testing.assert_allclose(lane.left_boundary[:, 1] - lane.centreline[:, 1], 1.75, atol=1e-5)
    np.testing.assert_allclose(lane.right_boundary[:, 1] - lane.centreline[:, 1], -1.75, atol=1e-5)
    assert scene.road_map.lane_by_id["2"].in_intersection
    assert scene.road_map.lane_by_id["2"].speed_limit is None
    assert [line.kind for line in scene.road_map.road_lines] == [LineKind.DOUBLE_YELLOW]
    assert len(scene.road_map.road_edges) == len(scene.road_map.crosswalks) == 1
    (stop,) = scene.road_map.stop_lines
    assert stop.lane_ids == ("1",)
    np.testing.assert_allclose(stop.line[:, 0] + scene.origin[0], 5030.0, atol=1e-3)


def test_scenarionet_signals(scenarionet: dict[str, Any], write: Write) -> None:
    (signal,) = open_log(write(scenarionet, "log.pkl")).signals
    assert signal.lane_ids == ("2",)
    assert signal.states.tolist() == [SignalState.RED] * 10 + [SignalState.GREEN] * 10 + [SignalState.UNKNOWN]


def test_nuscenes_has_its_own_conventions(scenarionet: dict[str, Any], write: Write) -> None:
    scenarionet["metadata"]["dataset"] = "nuscenes"
    state = scenarionet["tracks"]["7"]["state"]
    state["length"], state["width"] = state["width"], state["length"]
    scenarionet["tracks"]["cone"] = {**scenarionet["tracks"]["8"], "type": "TRAFFIC_CONE"}
    cone = {key: value.copy() for key, value in scenarionet["tracks"]["8"]["state"].items()}
    cone["position"] = np.tile([5010.0, 9002.5, 0.5], (21, 1))
    cone["position"][-3:] = 0.0
    scenarionet["tracks"]["cone"]["state"] = cone
    corners = [[-20, -4], [90, -4], [90, 8], [-20, 8], [-20, -4]]
    hole = [[40, 4], [40, 6], [50, 6], [50, 4], [40, 4]]
    for name, ring in (("boundary_0", corners[::-1]), ("boundary_1", hole)):
        line = np.array(ring, float) + np.array([5000.0, 9000.0])
        scenarionet["map_features"][name] = {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": line}
    lane = {
        "type": "LANE_SURFACE_STREET",
        "polyline": [(5000.0 + x, 9004.0, 3.1) for x in range(80, -20, -5)],
        "polygon": [[4985, 9002], [5080, 9002], [5080, 9005], [4985, 9005]],
    }
    scenarionet["map_features"]["polygonal"] = lane
    scene = open_log(write(scenarionet, "log.pkl"))
    np.testing.assert_allclose(scene.ego.size, [4.5, 1.9, 1.8], atol=1e-6)
    assert not any(track.position[:, 2].any() for track in scene.tracks)
    (prop,) = scene.props
    assert prop.category == Category.CONE
    np.testing.assert_allclose(prop.position[:2] + scene.origin[:2], [5010.0, 9002.5], atol=1e-3)
    made = scene.road_map.lane_by_id["polygonal"]
    assert not made.centreline[:, 2].any()
    np.testing.assert_allclose(made.width, 3.0, atol=1e-4)
    np.testing.assert_allclose(made.left_boundary[:, 1] + scene.origin[1], 9002.0, atol=1e-3)
    area = sum(_signed_area(ring) for ring in scene.road_map.drivable_areas)
    assert abs(area) == pytest.approx(110 * 12 - 20, abs=0.1)
    outer, inner = scene.road_map.road_edges[-2:]
    assert _signed_area(outer) == pytest.approx(110 * 12, abs=0.1)
    assert _signed_area(inner) == pytest.approx(-20, abs=0.1)


def test_sides_are_of_the_part_of_the_polygon_that_contains_the_line() -> None:
    """A strip from 1 m right to 2 m left of the line, then a notch on it, then only ground beside it, then none."""
    line = np.array([[5.0, 0, 0], [15, 0, 0], [25, 0, 0], [35, 0, 0]])
    ring = [[0, -1], [20, -1], [20, 3], [30, 3], [30, 4], [10, 4], [10, 3.5], [16, 3.5], [16, 2], [0, 2]]
    left, right = sides_from_polygon(line, np.pad(np.array(ring), ((0, 0), (0, 1))))
    np.testing.assert_allclose(left, [2.0, 2.0, np.nan, np.nan])
    np.testing.assert_allclose(right, [1.0, 1.0, np.nan, np.nan])


def test_the_ground_is_united_once_by_the_reader(
    scenarionet: dict[str, Any], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, west in (("boundary_0", 4980.0), ("boundary_1", 5050.02)):
        line = np.add([[0, 0], [70, 0], [70, 12], [0, 12], [0, 0]], (west, 8996.0))
        scenarionet["map_features"][name] = {"type": "ROAD_LINE_SOLID_SINGLE_WHITE", "polyline": line}
    scene = open_log(write(scenarionet, "log.pkl"))
    assert len(scene.road_map.drivable_areas) == 2
    monkeypatch.setattr(border, "_union", None)
    borders = pack_map(scene.road_map).blocks["borders"]
    assert np.linalg.norm(borders["step"], axis=1).sum() == pytest.approx(2 * (140.02 + 12), abs=1e-2)


def _signed_area(ring: np.ndarray) -> float:
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def test_womd_json(womd: dict[str, Any], write: Write) -> None:
    scene = open_log(write(womd, "log.json"))
    assert scene.id == "abc"
    assert scene.ego_id == "9"
    assert {track.category for track in scene.tracks} == {Category.PEDESTRIAN, Category.VEHICLE}
    place = np.array([[p["x"], p["y"], p["z"] - 1.0] for p in womd["objects"][1]["position"]])
    np.testing.assert_allclose(scene.ego.position + scene.origin, place, atol=1e-4)
    lanes = scene.road_map.lane_by_id
    assert lanes["1"].successors == ("2",)
    assert lanes["2"].successors == ()
    assert lanes["3"].kind == LaneKind.BICYCLE
    assert [line.kind for line in scene.road_map.road_lines] == [LineKind.SOLID_YELLOW]
    (stop,) = scene.road_map.stop_lines
    assert stop.lane_ids == ("1",)
    (signal,) = scene.signals
    assert signal.states[:3].tolist() == [SignalState.RED, SignalState.GREEN, SignalState.UNKNOWN]


def test_the_route_follows_the_recording_and_goes_on(womd: dict[str, Any], write: Write) -> None:
    scene = open_log(write(womd, "log.json"))
    assert scene.route is not None
    assert scene.route.lane_ids == ("1", "2")
    np.testing.assert_allclose(scene.route.path[0], scene.ego.position[0], atol=1e-4)
    offset = project(scene.route.path, scene.ego.position[:, :2])[1]
    assert np.abs(offset).max() < 0.05
    assert arc_length(scene.route.path)[-1] > 65.0
    assert np.diff(arc_length(scene.route.path)).max() < 2.5
    assert scenario_of_log(scene).goal.distance == pytest.approx(12.0, abs=0.1)


def test_a_standing_ego_gets_the_lane_ahead(womd: dict[str, Any], write: Write) -> None:
    ego = womd["objects"][1]
    ego["position"] = [ego["position"][0]] * 21
    scene = open_log(write(womd, "log.json"))
    assert scene.route is not None
    assert arc_length(scene.route.path)[-1] == pytest.approx(70.0, abs=2.0)
    assert scenario_of_log(scene).goal.distance > 60.0


def test_an_ego_off_the_map_goes_straight_on(womd: dict[str, Any], write: Write) -> None:
    womd["roads"] = []
    womd["objects"][1]["position"] = [womd["objects"][1]["position"][0]] * 21
    scene = open_log(write(womd, "log.json"))
    assert scene.route is not None
    np.testing.assert_allclose(scene.route.path[-1, :2] - scene.route.path[0, :2], [0.0, 30.0], atol=0.01)


def test_the_content_decides_the_format_not_the_name(
    scenarionet: dict[str, Any], womd: dict[str, Any], write: Write
) -> None:
    pickled, text = write(scenarionet, "log.pkl"), write(womd, "log.json")
    as_json, as_pickle = pickled.with_name("odd.json"), text.with_name("odd.pkl")
    shutil.copy(pickled, as_json)
    shutil.copy(text, as_pickle)
    assert open_log(as_json).id == "small"
    assert open_log(as_pickle).id == "abc"


def test_a_new_format_is_one_file_and_one_line(
    womd: dict[str, Any], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["import json", "from alpamayo_datasets.readers import womd_json", "def matches(path, head):"]
    lines += ["    return head.startswith(b'WRAPPED')", "def read(path):", "    inner = path.with_suffix('.inner')"]
    lines += ["    inner.write_bytes(path.read_bytes()[7:])", "    return womd_json.read(inner)"]
    (tmp_path / "wrapped_format.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    wrapped = tmp_path / "log.wrapped"
    wrapped.write_bytes(b"WRAPPED" + write(womd, "log.json").read_bytes())
    with pytest.raises(InputError, match="no known format"):
        open_log(wrapped)
    monkeypatch.setattr(log, "READERS", (*READERS, Reader("wrapped", "a wrapped scene", "wrapped_format")))
    assert open_log(wrapped).id == "abc"


def test_the_formats_have_unique_names_and_are_described() -> None:
    assert len({reader.name for reader in READERS}) == len(READERS)
    assert all(reader.title in described_formats() for reader in READERS)


def test_scenes_of_this_project_open_too(womd: dict[str, Any], write: Write, tmp_path: Path) -> None:
    scene = open_log(write(womd, "log.json"))
    save_scene(scene, tmp_path / "mine")
    assert open_log(tmp_path / "mine.json").id == open_log(tmp_path / "mine").id == scene.id


def test_a_read_scene_survives_the_project_format(scenarionet: dict[str, Any], write: Write, tmp_path: Path) -> None:
    scene = open_log(write(scenarionet, "log.pkl"))
    save_scene(scene, tmp_path / "s")
    again = load_scene(tmp_path / "s")
    np.testing.assert_array_equal(again.ego.position, scene.ego.position)
    np.testing.assert_array_equal(again.origin, scene.origin)


def _break(record: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for key in parents:
        record = record[int(key)] if isinstance(record, list) else record[key]
    if value is KeyError:
        del record[last]
    else:
        record[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("tracks", KeyError, "not a ScenarioNet scenario"),
        ("tracks", {}, "has no tracks"),
        ("metadata/sdc_id", KeyError, "'sdc_id'"),
        ("metadata/sdc_id", "absent", "'absent'"),
        ("metadata/ts", np.zeros(21), "does not grow"),
        ("metadata", [], "must be a record"),
        ("tracks/7/state/valid", np.zeros(21), "never valid"),
        ("tracks/7/state/valid", np.ones(20), "[20], must be [21]"),
        ("tracks/7/state/position", np.zeros((21, 2)), "must be [n, 3]"),
        ("tracks/7/state/position", np.full((21, 3), np.nan), "not finite"),
        ("tracks/7/state/position", "text", "must be numbers"),
        ("tracks/7/state/heading", KeyError, "has no 'heading'"),
        ("tracks/7/state/length", np.zeros(21), "must be positive"),
        ("tracks/7/state", [1], "must be a record"),
        ("tracks/8/state/position", np.zeros((22, 3)), "must be [22]"),
        ("map_features/1/polyline", [[1, 2], [3]], "must be numbers"),
        ("map_features/1/polyline", np.zeros((4, 5)), "2 or 3 coordinates"),
        ("map_features/1/width", np.zeros((2, 2)), "width"),
        ("map_features/1/type", KeyError, "'1': has no 'type'"),
        ("map_features/6/lane", 3, "must be a list"),
        ("dynamic_map_states/2/state/object_state", ["x"], "has 1 states"),
        ("dynamic_map_states", [1], "must be a record"),
    ],
)
def test_a_broken_scenarionet_record_is_refused(
    scenarionet: dict[str, Any], write: Write, path: str, value: Any, words: str
) -> None:
    _break(scenarionet, path, value)
    with pytest.raises(InputError) as caught:
        open_log(write(scenarionet, "log.pkl"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("objects", KeyError, "not a Waymo-motion scene"),
        ("objects", [], "has no objects"),
        ("metadata/sdc_track_index", 2, "must be in [0, 2)"),
        ("metadata/sdc_track_index", "x", "must be in [0, 2)"),
        ("objects/0/id", 9, "same id"),
        ("objects/1/heading", [0.0], "must be [21]"),
        ("objects/1/position", [{"x": 1.0}] * 21, "x, y, z"),
        ("objects/1/position", [], "has 0 rows"),
        ("objects/1/valid", [False] * 21, "never valid"),
        ("objects/1/length", "long", "must be a number"),
        ("objects/1/length", -1.0, "must be positive"),
        ("objects/0/valid", [True] * 20, "must be 20"),
        ("roads/0/geometry", [{"x": "a", "y": 0}], "numbers x, y, z"),
        ("roads/0/type", KeyError, "road 0: has no 'type'"),
        ("tl_states", {"2": {"state": [1], "time_index": [99]}}, "time_index"),
    ],
)
def test_a_broken_womd_record_is_refused(womd: dict[str, Any], write: Write, path: str, value: Any, words: str) -> None:
    _break(womd, path, value)
    with pytest.raises(InputError) as caught:
        open_log(write(womd, "log.json"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tracks_of_different_lengths_are_refused(womd: dict[str, Any], write: Write) -> None:
    for key in ("position", "heading", "velocity", "valid"):
        womd["objects"][0][key] = womd["objects"][0][key][:-1]
    with pytest.raises(InputError, match="same number of steps"):
        open_log(write(womd, "log.json"))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["log.pkl", "log.json"])
def test_truncated_files(
    scenarionet: dict[str, Any], womd: dict[str, Any], write: Write, name: str, share: float
) -> None:
    path = write(womd if name.endswith("json") else scenarionet, name)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as caught:
        open_log(path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        open_log(tmp_path / "nothing.pkl")
    with pytest.raises(InputError, match="is a folder"):
        open_log(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG....")
    with pytest.raises(InputError, match="no known format"):
        open_log(tmp_path / "picture.png")
    (tmp_path / "other.json").write_text(json.dumps({"kind": "Episode"}))
    with pytest.raises(InputError, match="not a Waymo-motion scene"):
        open_log(tmp_path / "other.json")


def test_deep_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text('{"a":' + "[" * 200_000)
    with pytest.raises(InputError, match="not valid JSON"):
        open_log(tmp_path / "deep.json")


def test_large_files_are_refused_before_reading(tmp_path: Path) -> None:
    for name, head, size in (("a.pkl", b"\x80\x04", 257 << 20), ("a.json", b"{", 513 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.write(head)
            file.truncate(size)
        with pytest.raises(InputError, match="larger than"):
            open_log(tmp_path / name)


def test_a_navigator_announces_each_turn_once() -> None:
    straight, angle = np.arange(0.0, 100.0), np.linspace(0.0, np.pi / 2, 20)
    approach = np.stack([straight, np.zeros_like(straight)], axis=-1)
    arc = np.array([100.0, 0.0]) + 12.0 * np.stack([np.sin(angle), 1.0 - np.cos(angle)], axis=-1)
    leave = arc[-1] + np.stack([np.zeros_like(straight), straight], axis=-1)[1:]
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        said = instructions(np.concatenate([approach, arc, leave]) * np.array([1.0, sign]))
        assert [item.text for item in said] == ["Follow the road", f"Turn {side}", "Go straight on"]
        assert 40.0 < said[1].start < 70.0
        assert 110.0 < said[2].start < 150.0
    assert [item.text for item in instructions(approach)] == ["Follow the road"]
