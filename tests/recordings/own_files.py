"""Files of this project, and readers of them: records, scenes, summaries, manifests, weights, states, own rules."""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.episode import load_episode, save_episode
from alpamayo.evaluation import manifest
from alpamayo.json_values import read_sealed, sealed, write_json
from alpamayo.training.end_to_end.loop import TrainingSettings, _begin, _inputs, _save
from alpamayo.validator.formulas import given_formulas
from alpamayo_datasets import open_log
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.io.scene_file import save_scene
from alpamayo_vla_model.end_to_end import checkpoint
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig


@dataclass(frozen=True)
class Kind:
    """A kind of file: how a whole one is written into a folder, and how it is read."""

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def write_scenarionet(folder: Path) -> Path:
    """Write a pickle of one car on one lane."""
    x = np.arange(11, dtype=np.float64)
    zero, one = 0 * x, 1 + 0 * x
    state = {"position": np.stack([x, zero, zero], axis=1), "velocity": np.stack([10 * one, zero], axis=1)}
    state |= {"heading": zero, "valid": one, "length": 4.5 * one, "width": 1.8 * one, "height": 1.5 * one}
    line = np.stack([np.arange(-20.0, 60.0), np.zeros(80), np.zeros(80)], axis=1)
    record = {
        "tracks": {"ego": {"type": "VEHICLE", "state": state, "metadata": {"type": "VEHICLE"}}},
        "map_features": {
            "lane": {"type": "LANE_SURFACE_STREET", "polyline": line},
            "edge": {"type": "ROAD_EDGE_BOUNDARY", "polyline": line + np.array([0.0, 3.0, 0.0])},
            "sign": {"type": "STOP_SIGN", "position": np.array([50.0, 3.0, 0.0]), "lane": ["lane"]},
        },
        "metadata": {"sdc_id": "ego", "ts": 0.1 * x, "scenario_id": "small", "dataset": "waymo"},
        "dynamic_map_states": {
            "7": {
                "lane": "lane",
                "stop_point": np.array([55.0, 0.0, 0.0]),
                "state": {"object_state": ["LANE_STATE_STOP"] * 11},
            }
        },
    }
    path = folder / "small.pkl"
    path.write_bytes(pickle.dumps(record, protocol=4))
    return path


def write_womd_json(folder: Path) -> Path:
    """Write a JSON of one car on one lane."""
    rows = [{"x": float(k), "y": 0.0, "z": 0.0} for k in range(11)]
    item = {"id": 3, "type": "vehicle", "position": rows, "velocity": [{"x": 10.0, "y": 0.0}] * 11}
    item |= {"heading": [0.0] * 11, "valid": [True] * 11, "length": 4.5, "width": 1.8, "height": 1.5}
    lane = {"type": "lane", "id": 5, "geometry": [{"x": float(k), "y": 0.0, "z": 0.0} for k in range(-20, 60)]}
    light = {"state": [1] * 11, "x": [55.0] * 11, "y": [0.0] * 11, "z": [0.0] * 11, "time_index": list(range(11))}
    record = {
        "name": "small",
        "scenario_id": "small",
        "objects": [item],
        "roads": [lane],
        "tl_states": {"5": light},
        "metadata": {"sdc_track_index": 0},
    }
    (folder / "small.json").write_text(json.dumps(record))
    return folder / "small.json"


def write_scene(folder: Path) -> Path:
    """Write a scene of this project."""
    save_scene(make_scenario("debris", 1).scene, folder / "own" / "scene")
    return folder / "own"


def write_episode(folder: Path) -> Path:
    """Write the record of a drive."""
    save_episode(drive(make_scenario("debris", 1), make_driver("constant-velocity")), folder / "run")
    return folder / "run"


def write_checkpoint(folder: Path) -> Path:
    """Write weights of a small driver."""
    checkpoint.save(AlpamayoConfig.preset("test").create(0), folder / "weights.safetensors", {"minutes": 1})
    return folder / "weights.safetensors"


SETTINGS = TrainingSettings(steps=2)


def write_state(folder: Path) -> Path:
    """Write the state of a training."""
    (folder / "training").mkdir()
    state = _begin(folder / "training", AlpamayoConfig.preset("test").create(0), SETTINGS, None)
    _save(folder / "training", state, _inputs(SETTINGS, None))
    return folder / "training"


def read_state(folder: Path) -> None:
    """Resume a training."""
    torch.set_num_threads(1)
    _begin(folder, AlpamayoConfig.preset("test").create(0), SETTINGS, None)


def write_summary(folder: Path) -> Path:
    """Write the summary of a run."""
    write_json(sealed({"inputs": {"driver": "idm"}, "pdm_score": 0.5}), folder / "summary.json")
    return folder / "summary.json"


def write_manifest(folder: Path) -> Path:
    """Write the list of a suite run."""
    (folder / "suite").mkdir()
    about = {"suite": "long-tail-6", "drivers": ["idm"], "stop_when": None}
    manifest.write(manifest.Manifest(about, ("idm/cut-in-10000",), {"idm/debris-10000": "why"}), folder / "suite")
    return folder / "suite"


def write_rules(folder: Path) -> Path:
    """Write rules of a user."""
    (folder / "rules.toml").write_text('room = "always(clearance > 0.5 or speed < 0.1)"\n')
    return folder / "rules.toml"


OWN_FILES = {
    "scenarionet": Kind(write_scenarionet, open_log),
    "womd-json": Kind(write_womd_json, open_log),
    "scene": Kind(write_scene, lambda folder: open_log(folder / "scene")),
    "episode": Kind(write_episode, load_episode),
    "episode-as-log": Kind(write_episode, open_log),
    "checkpoint": Kind(write_checkpoint, lambda path: (checkpoint.load(path), checkpoint.training_note(path))),
    "training-state": Kind(write_state, read_state),
    "summary": Kind(write_summary, read_sealed),
    "suite": Kind(write_manifest, manifest.read),
    "rules": Kind(write_rules, lambda path: given_formulas([], [path])),
}
