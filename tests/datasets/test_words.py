"""Words of a format: each one that has no meaning is named; nuScenes' ego of ScenarioNet is about its middle."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from recordings.argoverse import write_av2_forecasting, write_av2_sensor
from recordings.commonroad import write_commonroad
from recordings.own_files import write_scenarionet, write_womd_json
from recordings.waymo import write_womd_example, write_womd_scenario

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo_datasets import open_log, scene_ids
from alpamayo_datasets.readers import nuscenes, womd_scenario
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Category, SignalState

STEPS = 11
WRITERS = (
    write_av2_forecasting,
    write_av2_sensor,
    write_commonroad,
    write_scenarionet,
    write_womd_example,
    write_womd_json,
    write_womd_scenario,
)


def scenarionet(path: Path, word: str, kind: str = "VEHICLE", dataset: str = "waymo", turn: float = 0.0) -> Path:
    """Write a ScenarioNet scene: an ego at 10 m/s that turns by ``turn`` (rad/s), and a light that shows ``word``."""
    heading = 0.1 * turn * np.arange(STEPS)
    position = np.column_stack([np.arange(STEPS) * 1.0, np.zeros(STEPS), np.full(STEPS, 0.75)])
    state = {
        "position": position,
        "heading": heading,
        "velocity": np.tile([10.0, 0.0], (STEPS, 1)),
        "valid": np.ones(STEPS),
        **{name: np.full((STEPS, 1), size) for name, size in (("length", 4.5), ("width", 1.9), ("height", 1.5))},
    }
    other = {**state, "position": position + np.array([20.0, 0.0, 0.0])}
    line = np.column_stack([np.linspace(-30.0, 90.0, 61), np.zeros((61, 2))])
    light = {
        "type": "TRAFFIC_LIGHT",
        "lane": "1",
        "stop_point": [30.0, 0.0, 0.0],
        "state": {"object_state": [word] * STEPS},
    }
    record = {
        "id": "s",
        "tracks": {
            "ego": {"type": "VEHICLE", "metadata": {}, "state": state},
            "other": {"type": kind, "metadata": {}, "state": other},
        },
        "map_features": {"1": {"type": "LANE_SURFACE_STREET", "polyline": line, "exit_lanes": []}},
        "dynamic_map_states": {"1": light},
        "metadata": {"dataset": dataset, "sdc_id": "ego", "ts": np.arange(STEPS) * 0.1, "scenario_id": "s"},
    }
    path.write_bytes(pickle.dumps(record))
    return path


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("LANE_STATE_ARROW_STOP", SignalState.RED),
        ("TRAFFIC_LIGHT_GREEN", SignalState.GREEN),
        ("LANE_STATE_FLASHING_CAUTION", SignalState.YELLOW),
        ("LANE_STATE_UNKNOWN", SignalState.UNKNOWN),
        ("STOPPED_WORKING", SignalState.UNKNOWN),
    ],
)
def test_a_word_of_a_light_without_a_meaning_is_named(
    word: str, expected: SignalState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        scene = open_log(scenarionet(tmp_path / "scene.pkl", word))
    assert set(scene.signals[0].states.tolist()) == {int(expected)}
    named = [line for line in caplog.messages if "unknown word" in line]
    assert len(named) == (word == "STOPPED_WORKING")
    assert all("signal '1'" in line and "'STOPPED_WORKING'" in line for line in named)


def test_a_type_without_a_meaning_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = open_log(scenarionet(tmp_path / "scene.pkl", "RED", kind="HOVERCRAFT"))
    assert scene.tracks[1].category == Category.UNKNOWN
    assert any("track 'other'" in line and "'HOVERCRAFT'" in line for line in caplog.messages)


def test_words_of_waymo_as_json_are_named_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nocturne has words where GPUDrive has numbers."""
    points = [{"x": float(x), "y": 0.0, "z": 0.0} for x in range(STEPS)]
    ego = {
        "position": points,
        "heading": [0.0] * STEPS,
        "velocity": [{"x": 10.0, "y": 0.0}] * STEPS,
        "valid": [True] * STEPS,
    }
    ego |= {"length": 4.5, "width": 1.9, "height": 1.5, "type": "vehicle", "id": 0}
    road = {"geometry": [{"x": float(x), "y": 0.0, "z": 0.0} for x in range(-20, 80, 2)], "type": "lane", "id": 5}
    light: dict[str, Any] = {axis: [30.0] for axis in "xyz"}
    light |= {"state": ["arrow_stop", 3, 99], "time_index": [0, 1, 2]}
    record = {"objects": [ego], "roads": [road], "tl_states": {"5": light}, "metadata": {"sdc_track_index": 0}}
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(record))
    shown = open_log(path).signals[0].states
    assert shown[:3].tolist() == [SignalState.RED, SignalState.GREEN, SignalState.UNKNOWN]
    assert sum("unknown word 99" in line for line in caplog.messages) == 1


def test_what_is_no_word_has_no_meaning() -> None:
    assert meaning_of([1], {1: "one"}, "none", "number", "here") == "none"
    assert meaning_of(None, {1: "one"}, "none", "number", "here") == "none"


def test_nuscenes_ego_is_about_its_middle(tmp_path: Path) -> None:
    turn = 0.3
    plain = open_log(scenarionet(tmp_path / "waymo.pkl", "RED", turn=turn))
    scene = open_log(scenarionet(tmp_path / "nuscenes.pkl", "RED", dataset="nuscenes", turn=turn))
    moved = scene.ego.position + scene.origin - plain.ego.position - plain.origin
    heading = 0.1 * turn * np.arange(STEPS)
    assert np.hypot(moved[:, 0], moved[:, 1]) == pytest.approx(np.full(STEPS, 1.35), abs=1e-4)
    assert moved[:, 1] == pytest.approx(1.35 * np.sin(heading), abs=1e-4)
    slip = scene.ego.velocity - plain.ego.velocity
    across = slip[:, 1] * np.cos(heading) - slip[:, 0] * np.sin(heading)
    assert across[1:] / turn == pytest.approx(np.full(STEPS - 1, 1.35), abs=1e-3)


def test_the_log_is_driven_to_its_end(tmp_path: Path) -> None:
    """The recording reaches its last place in the middle and stands there: all of it is driven."""
    path = scenarionet(tmp_path / "scene.pkl", "TRAFFIC_LIGHT_GREEN")
    record = pickle.loads(path.read_bytes())
    for track in record["tracks"].values():
        position = track["state"]["position"]
        position[6:] = position[5]
        track["state"]["velocity"][6:] = 0.0
    path.write_bytes(pickle.dumps(record))
    episode = drive(scenario_of_log(open_log(path)), make_driver("log"), guard=False)
    assert episode.steps == STEPS - 1
    assert episode.arrived


def test_types_of_commonroad_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_commonroad(tmp_path)
    path.write_text(path.read_text().replace("<type>car</type>", "<type>hovercraft</type>", 1))
    assert Category.UNKNOWN in [track.category for track in open_log(path).tracks]
    assert any("dynamicObstacle 60" in line and "'hovercraft'" in line for line in caplog.messages)


def test_types_of_argoverse_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_av2_forecasting(tmp_path)
    (file,) = folder.glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    words = ["hovercraft" if word == "cyclist" else word for word in table["object_type"].to_pylist()]
    at = table.column_names.index("object_type")
    pyarrow.parquet.write_table(table.set_column(at, "object_type", pyarrow.array(words)), file)
    assert open_log(folder).tracks[0].category == Category.UNKNOWN
    assert any("'hovercraft'" in line for line in caplog.messages)


@pytest.mark.parametrize(
    ("meaning", "word", "expected"),
    [
        (nuscenes.category_of, "vehicle.hovercraft", Category.VEHICLE),
        (nuscenes.category_of, "ghost", Category.UNKNOWN),
        (womd_scenario.category_of, 9, Category.UNKNOWN),
        (womd_scenario.state_of, 99, SignalState.UNKNOWN),
    ],
)
def test_words_and_numbers_of_other_formats_are_named(
    meaning: Callable[[Any, str], int], word: Any, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert meaning(word, f"place of {word}") == expected
    assert [line for line in caplog.messages if f"unknown word {word!r}" in line]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_the_words_of_each_format_are_known(
    write: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path)
    open_log(f"{path}#{scene_ids(path)[0]}")
    assert not [line for line in caplog.messages if "unknown word" in line]
