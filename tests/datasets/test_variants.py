"""Files of other years and converters than the recordings at hand, and recordings with faults of their own."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo_datasets import open_log
from alpamayo_sim.datatypes.continuity import gaps, irregularities
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Category, SignalState
from alpamayo_sim.errors import InputError

Write = Callable[[Any, str], Path]


def test_sidewalks_of_newer_converters_are_no_road_edges(scenarionet: dict[str, Any], write: Write) -> None:
    corners = np.array([[4980.0, 9004.0], [5090.0, 9004.0], [5090.0, 9006.0], [4980.0, 9006.0]])
    scenarionet["map_features"]["w"] = {"type": "ROAD_EDGE_SIDEWALK", "polygon": corners}
    assert len(open_log(write(scenarionet, "log.pkl")).road_map.road_edges) == 1


def test_lines_and_crosswalks_may_be_polylines_or_polygons(scenarionet: dict[str, Any], write: Write) -> None:
    features = scenarionet["map_features"]
    features["3"]["polygon"] = features["3"].pop("polyline")
    features["5"]["polyline"] = features["5"].pop("polygon")
    road_map = open_log(write(scenarionet, "log.pkl")).road_map
    assert len(road_map.road_edges) == len(road_map.crosswalks) == 1


def test_neighbours_are_records_or_names_and_limits_have_units(scenarionet: dict[str, Any], write: Write) -> None:
    features = scenarionet["map_features"]
    features["1"].update(left_neighbor=["2"], right_neighbor=[{"feature_id": 2}], speed_limit_mph=None)
    features["1"]["speed_limit_mps"], features["2"]["speed_limit_kmh"] = 11.0, 36.0
    lanes = open_log(write(scenarionet, "log.pkl")).road_map.lane_by_id
    assert lanes["1"].left_neighbours == lanes["1"].right_neighbours == ("2",)
    assert lanes["1"].speed_limit == 11.0
    assert lanes["2"].speed_limit == pytest.approx(10.0)


def test_the_limit_that_a_converter_invents_for_nuscenes_is_not_known(
    scenarionet: dict[str, Any], write: Write
) -> None:
    scenarionet["metadata"]["dataset"] = "nuscenes"
    for feature in scenarionet["map_features"].values():
        if str(feature["type"]).startswith("LANE"):
            feature.pop("speed_limit_mph", None)
            feature["speed_limit_kmh"] = 100
    lanes = open_log(write(scenarionet, "log.pkl")).road_map.lanes
    assert lanes
    assert all(lane.speed_limit is None for lane in lanes)


@pytest.mark.parametrize("point", [[5030.0, 9000.0], [5030.0, 9000.0, 12.0], [[5030.0, 9000.0, 12.0]] * 21])
def test_a_stop_point_has_two_or_three_numbers_once_or_for_each_step(
    scenarionet: dict[str, Any], write: Write, point: Any
) -> None:
    scenarionet["dynamic_map_states"]["2"]["stop_point"] = point
    scene = open_log(write(scenarionet, "log.pkl"))
    np.testing.assert_allclose(scene.signals[0].position[:2] + scene.origin[:2], [5030.0, 9000.0], atol=1e-3)
    assert SignalState.RED in scene.signals[0].states


@pytest.mark.parametrize("point", [[], [1.0], [1.0, np.nan], "here", [[1.0, 2.0, 3.0, 4.0]]])
def test_a_stop_point_that_is_none_is_named(scenarionet: dict[str, Any], write: Write, point: Any) -> None:
    scenarionet["dynamic_map_states"]["2"]["stop_point"] = point
    with pytest.raises(InputError, match="signal '2': stop_point"):
        open_log(write(scenarionet, "log.pkl"))


def test_cones_without_a_size_get_the_usual_one(scenarionet: dict[str, Any], write: Write) -> None:
    cone = {**scenarionet["tracks"]["8"], "type": "TRAFFIC_CONE"}
    state = {key: value for key, value in cone["state"].items() if key not in ("length", "width", "height")}
    scenarionet["tracks"]["cone"] = {**cone, "state": {**state, "position": np.tile([5010.0, 9002.5, 12.5], (21, 1))}}
    scene = open_log(write(scenarionet, "log.pkl"))
    (prop,) = scene.props
    assert prop.category == Category.CONE
    np.testing.assert_allclose(prop.size, [0.41, 0.41, 1.07], atol=1e-6)


def test_a_recording_of_one_step_is_refused_at_its_replay(womd: dict[str, Any], write: Write) -> None:
    for item in womd["objects"]:
        for key in ("position", "heading", "velocity", "valid"):
            item[key] = item[key][:1]
    womd["tl_states"] = {}
    scene = open_log(write(womd, "log.json"))
    with pytest.raises(InputError, match="has one step"):
        scenario_of_log(scene)


def test_the_key_that_is_missing_is_named(womd: dict[str, Any], write: Write) -> None:
    del womd["metadata"]
    with pytest.raises(InputError, match=r"has no 'metadata'$"):
        open_log(write(womd, "log.json"))


def test_files_without_ids_heights_and_z_are_read(womd: dict[str, Any], write: Write) -> None:
    for item in womd["objects"]:
        del item["id"], item["height"]
        item["position"] = [{"x": row["x"], "y": row["y"]} for row in item["position"]]
    scene = open_log(write(womd, "log.json"))
    assert scene.ego_id == "1"
    assert scene.ego.size[2] == pytest.approx(1.74)
    np.testing.assert_allclose(scene.ego.position[:, 2] + scene.origin[2], 0.0, atol=1e-6)


def test_lights_without_a_place_are_named(womd: dict[str, Any], write: Write) -> None:
    womd["tl_states"]["2"]["x"] = []
    with pytest.raises(InputError, match="signal '2': x, y and z"):
        open_log(write(womd, "log.json"))


def test_jumps_and_gaps_are_told(womd: dict[str, Any], write: Write, caplog: pytest.LogCaptureFixture) -> None:
    pedestrian, ego = womd["objects"]
    for row in ego["position"][12:]:
        row["y"] += 0.5
    for row in pedestrian["position"][5:]:
        row["x"] += 50.0
    ego["valid"] = [k not in (3, 4) for k in range(21)]
    path = write(womd, "log.json")
    with caplog.at_level(logging.WARNING):
        scene = open_log(path)
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {line}" for line in irregularities(scene)]
    assert irregularities(scene) == [
        "the ego '9' is not seen at steps 3, 4",
        "the ego '9' jumps at steps 12, 13: its speed changes by more than 30 m/s²",
        "1 of 2 tracks jump by more than 3 m: '4' at steps 5, 6",
    ]
    assert gaps(scene.ego).tolist() == [3, 4]


def test_a_smooth_recording_has_no_irregularities(womd: dict[str, Any], write: Write) -> None:
    assert irregularities(open_log(write(womd, "log.json"))) == []
