import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STEPS = 21


@pytest.fixture
def scenarionet() -> dict[str, Any]:
    """A small ScenarioNet record: an ego that drives east at 5 m/s, a car ahead, two lanes that join."""
    t = 0.1 * np.arange(STEPS)
    return {
        "id": "small",
        "version": "test",
        "length": STEPS,
        "metadata": {"dataset": "waymo", "scenario_id": "small", "sdc_id": "7", "ts": t, "coordinate": "waymo"},
        "tracks": {"7": _track(t, 0.0, 5.0), "8": _track(t, 20.0, 4.0)},
        "dynamic_map_states": {
            "2": {
                "type": "TRAFFIC_LIGHT",
                "state": {"object_state": ["LANE_STATE_STOP"] * 10 + ["LANE_STATE_GO"] * 10 + [None]},
                "lane": 2,
                "stop_point": np.array([5030.0, 9000.0, 12.0], np.float32),
            }
        },
        "map_features": {
            "1": _lane(-20.0, 30.0, exits=[2], limit=25.0),
            "2": _lane(30.0, 90.0, exits=[], interpolating=True),
            "3": {"type": "ROAD_EDGE_BOUNDARY", "polyline": _line(-20.0, 90.0, -4.0)},
            "4": {"type": "ROAD_LINE_SOLID_DOUBLE_YELLOW", "polyline": _line(-20.0, 90.0, 1.8)},
            "5": {"type": "CROSSWALK", "polygon": np.array([[5031, 8996, 12], [5034, 8996, 12], [5034, 9004, 12]])},
            "6": {"type": "STOP_SIGN", "position": np.array([5029.0, 8994.0, 13.0]), "lane": [1]},
        },
    }


def _track(t: np.ndarray, start: float, speed: float) -> dict[str, Any]:
    n = len(t)
    position = np.stack([5000.0 + start + speed * t, np.full(n, 9000.0), np.full(n, 12.9)], axis=1)
    valid = np.ones(n, bool)
    if start:
        valid[-3:] = False
        position[-3:] = np.nan
    state = {
        "position": position,
        "heading": np.zeros(n),
        "velocity": np.tile([speed, 0.0], (n, 1)),
        "length": np.full((n, 1), 4.5),
        "width": np.full((n, 1), 1.9),
        "height": np.full((n, 1), 1.8),
        "valid": valid,
    }
    return {"type": "VEHICLE", "state": state, "metadata": {"type": "VEHICLE"}}


def _line(start: float, end: float, y: float) -> np.ndarray:
    x = np.arange(start, end + 0.1, 2.0)
    return np.stack([5000.0 + x, np.full_like(x, 9000.0 + y), np.full_like(x, 12.0)], axis=1).astype(np.float32)


def _lane(start: float, end: float, exits: list[int], limit: float = 0.0, interpolating: bool = False) -> Any:
    line = _line(start, end, 0.0)
    return {
        "type": "LANE_SURFACE_STREET",
        "polyline": line,
        "width": np.full((len(line), 2), 1.75, np.float32),
        "exit_lanes": exits,
        "entry_lanes": [],
        "left_neighbor": [{"feature_id": "99"}],
        "right_neighbor": [],
        "speed_limit_mph": limit,
        "interpolating": interpolating,
    }


@pytest.fixture
def womd() -> dict[str, Any]:
    """A small Waymo-motion record: an ego that drives north at 6 m/s, a pedestrian, one road."""
    t = [0.1 * k for k in range(STEPS)]

    def mover(number: int, kind: str, x: float, speed: float) -> dict[str, Any]:
        return {
            "position": [{"x": -700.0 + x, "y": 300.0 + speed * s, "z": 31.0} for s in t],
            "width": 1.0 if kind == "pedestrian" else 2.0,
            "length": 1.0 if kind == "pedestrian" else 4.8,
            "height": 2.0,
            "heading": [1.5707963] * STEPS,
            "velocity": [{"x": 0.0, "y": speed}] * STEPS,
            "valid": [True] * STEPS,
            "type": kind,
            "id": number,
        }

    def road(number: int, kind: str, element: int, x: float, y0: float, y1: float) -> dict[str, Any]:
        ys = np.arange(y0, y1 + 0.1, 1.0 if y1 > y0 else -1.0) if y0 != y1 else [y0]
        geometry = [{"x": -700.0 + x, "y": 300.0 + float(y), "z": 30.0} for y in ys]
        return {"geometry": geometry, "type": kind, "map_element_id": element, "id": number}

    return {
        "name": "small.json",
        "scenario_id": "abc",
        "objects": [mover(4, "pedestrian", 6.0, 1.0), mover(9, "vehicle", 0.0, 6.0)],
        "roads": [
            road(1, "lane", 2, 0.0, -20.0, 20.0),
            road(2, "lane", 2, 0.0, 20.0, 70.0),
            road(3, "lane", 3, 2.5, -20.0, 70.0),
            road(4, "road_edge", 15, 4.0, -20.0, 70.0),
            road(5, "road_line", 11, -1.8, -20.0, 70.0),
            road(6, "stop_sign", 17, 5.0, 21.0, 21.0),
        ],
        "tl_states": {"2": {"state": [4, 6], "time_index": [0, 1], "x": [-700.0], "y": [320.0], "z": [30.0]}},
        "metadata": {"sdc_track_index": 1},
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any, str], Path]:
    """Writes a record as .pkl or .json and gives the path."""

    def write_record(record: Any, name: str) -> Path:
        path = tmp_path / name
        if name.endswith(".json"):
            path.write_text(json.dumps(record))
        else:
            path.write_bytes(pickle.dumps(record, protocol=4))
        return path

    return write_record
