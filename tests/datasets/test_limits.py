"""Nothing in a file is believed: sharing, outliers, units, counts, integers and names are bounded before use."""

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo.episode import load_episode, save_episode
from alpamayo_datasets import open_log
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS, check_counts, check_lines, name_of
from alpamayo_sim.io.scene_file import save_scene

STEPS = 11


def scenarionet() -> dict[str, Any]:
    """A scene of one car on one lane."""
    x = np.arange(STEPS, dtype=np.float64)
    state = {
        "position": np.stack([x, 0 * x, 0 * x], axis=1),
        "heading": 0 * x,
        "velocity": np.stack([10.0 + 0 * x, 0 * x], axis=1),
        "valid": 1 + 0 * x,
        "length": 4.5 + 0 * x,
        "width": 1.8 + 0 * x,
        "height": 1.5 + 0 * x,
    }
    line = np.stack([np.arange(-20.0, 60.0), np.zeros(80), np.zeros(80)], axis=1)
    return {
        "tracks": {"ego": {"type": "VEHICLE", "state": state, "metadata": {"type": "VEHICLE"}}},
        "map_features": {"lane": {"type": "LANE_SURFACE_STREET", "polyline": line}},
        "metadata": {"sdc_id": "ego", "ts": 0.1 * x, "scenario_id": "small", "dataset": "waymo"},
        "dynamic_map_states": {},
    }


def opened(record: Any, tmp_path: Path) -> Scene:
    path = tmp_path / "log.pkl"
    path.write_bytes(pickle.dumps(record, protocol=4))
    return open_log(path)


def refused(record: Any, tmp_path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        opened(record, tmp_path)
    message = str(caught.value)
    assert len(message) < 1000
    assert message.isprintable()
    for word in ("log.pkl", *words):
        assert word in message


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value, value]
    return value


NO_NAMES = {
    "nested": nested(14),
    "record": {"a": 1},
    "400 digits": 10**400,
    "5000 digits": 10**5000,
    "half a pair": "x\ud800y",
    "escape": "\x1b[2J",
    "long": "a" * 201,
    "fraction": 1.5,
    "flag": True,
    "lines": "a\nb",
    "turned": "\u202eb",
}


def test_the_whole_scene_is_read(tmp_path: Path) -> None:
    assert opened(scenarionet(), tmp_path).id == "small"


@pytest.mark.parametrize("key", ["scenario_id", "sdc_id", "dataset"])
@pytest.mark.parametrize("name", NO_NAMES.values(), ids=NO_NAMES)
def test_names_are_short_printable_text_or_integers(key: str, name: Any, tmp_path: Path) -> None:
    record = scenarionet()
    record["metadata"][key] = name
    refused(record, tmp_path, key)


@pytest.mark.parametrize("where", ["tracks", "map_features"])
@pytest.mark.parametrize("name", ["\x1b[2J", 10**400, "a" * 201, 2.5], ids=["escape", "digits", "long", "fraction"])
def test_names_of_tracks_and_lanes_too(where: str, name: Any, tmp_path: Path) -> None:
    record = scenarionet()
    record[where][name] = copy.deepcopy(next(iter(record[where].values())))
    refused(record, tmp_path, "name of a")


def test_markup_and_scripts_are_names(tmp_path: Path) -> None:
    record = scenarionet()
    record["metadata"]["scenario_id"] = "id[/b]<!--<script>"
    assert opened(record, tmp_path).id == "id[/b]<!--<script>"


def test_shared_parts_are_counted_each_time(tmp_path: Path) -> None:
    record = scenarionet()
    record["metadata"]["more"] = nested(60)
    refused(record, tmp_path, "parts that it shares")
    record["metadata"]["more"] = ["x" * 100_000] * 10_000
    refused(record, tmp_path, "parts that it shares")
    shared = record["map_features"]["lane"]
    shared["polyline"] = np.stack([np.arange(2000.0)] * 3, axis=1)
    record = scenarionet() | {"map_features": {f"lane-{k}": shared for k in range(5000)}}
    refused(record, tmp_path, "parts that it shares")


def test_keys_that_take_for_ever_to_hash_are_refused(tmp_path: Path) -> None:
    key: tuple[Any, ...] = ()
    for _ in range(14):
        key = (key, key)
    for value in ({key: 1}, {key}, frozenset([key])):
        refused(scenarionet() | {"more": value}, tmp_path, "as a key")


@pytest.mark.parametrize("distance", [1e8, 1e9, LIMITS.distance_m + 100.0, np.nan])
def test_a_point_far_away_is_refused_by_name(distance: float, tmp_path: Path) -> None:
    record = scenarionet()
    record["map_features"]["lane"]["polyline"][-1, 0] = distance
    refused(record, tmp_path, "lane")


@pytest.mark.parametrize(("field", "value"), [("length", 4500.0), ("heading", 1e9), ("velocity", 36_000.0)])
def test_values_in_another_unit_are_refused(field: str, value: float, tmp_path: Path) -> None:
    record = scenarionet()
    record["tracks"]["ego"]["state"][field][:] = value
    refused(record, tmp_path, "track 'ego'", "beyond")


def test_a_line_of_too_many_points_is_refused(tmp_path: Path) -> None:
    record = scenarionet()
    record["map_features"]["lane"]["polyline"] = np.stack([np.linspace(0.0, 100.0, 1_000_000)] * 3, axis=1)
    refused(record, tmp_path, "points")


def test_counts_are_bounded_together() -> None:
    with pytest.raises(InputError, match="tracks of"):
        check_counts("x", 5000, 5000)
    line = np.stack([np.array([0.0, 1000.0])] * 3, axis=1)
    with pytest.raises(InputError, match="too large at line-"):
        check_lines("x", ((f"line-{k}", line) for k in range(300_000)))


def test_integers_beyond_float_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    item = {
        "position": [{"x": 0, "y": 0, "z": 0}] * 2,
        "velocity": [{"x": 0, "y": 0}] * 2,
        "heading": [0, 0],
        "valid": [True, True],
        "length": 4,
        "width": 2,
        "type": "vehicle",
    }
    for digits in (400, 5000):
        text = json.dumps({"objects": [item], "roads": [], "metadata": {"sdc_track_index": 0}})
        for old in ('"width": 2', '"y": 0', '"sdc_track_index": 0'):
            path.write_text(text.replace(old, old.partition(":")[0] + ": 1" + "0" * digits, 1))
            with pytest.raises(InputError) as caught:
                open_log(path)
            assert len(str(caught.value)) < 500


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.pkl")
    with pytest.raises(InputError, match="a pipe or a device, must be a file"):
        open_log(tmp_path / "log.pkl")


def test_scenes_and_records_of_this_project_have_the_same_limits(tmp_path: Path) -> None:
    import dataclasses

    from alpamayo import drive, make_driver, make_scenario

    scenario = make_scenario("debris", seed=1)
    episode = drive(scenario, make_driver("constant-velocity"))
    far = scenario.scene.road_map.lanes[0].centreline.copy()
    far[-1, 0] = 1e8
    lane = dataclasses.replace(scenario.scene.road_map.lanes[0], centreline=far)
    road_map = dataclasses.replace(scenario.scene.road_map, lanes=(lane, *scenario.scene.road_map.lanes[1:]))
    hostile = dataclasses.replace(scenario.scene, road_map=road_map)
    save_scene(hostile, tmp_path / "scene")
    with pytest.raises(InputError, match="lane"):
        open_log(tmp_path / "scene")
    save_episode(dataclasses.replace(episode, scenario=dataclasses.replace(scenario, scene=hostile)), tmp_path)
    with pytest.raises(InputError, match="lane"):
        load_episode(tmp_path)
    save_episode(dataclasses.replace(episode, driver="\x1b[2J"), tmp_path)
    with pytest.raises(InputError, match="driver"):
        load_episode(tmp_path)
    goal = dataclasses.replace(scenario.goal, duration=1e12)
    save_episode(dataclasses.replace(episode, scenario=dataclasses.replace(scenario, goal=goal)), tmp_path)
    with pytest.raises(InputError, match="goal"):
        load_episode(tmp_path)
    save_episode(episode, tmp_path)
    assert load_episode(tmp_path).driver == "constant-velocity"


def test_names_may_be_numbers() -> None:
    assert name_of(7, "x") == "7"
    assert name_of(np.int64(-7), "x") == "-7"
