"""Argoverse 2 motion forecasting: a folder with ``scenario_ID.parquet`` and ``log_map_archive_ID.json``.

The parquet file has no sizes and no heights: sizes are the usual ones of each kind, heights those of the nearest lane.
"""

from pathlib import Path

import numpy as np

from alpamayo_datasets.arrow_tables import read_columns
from alpamayo_datasets.assemble import RawTrack, assemble
from alpamayo_datasets.fields import MAX_STEPS
from alpamayo_datasets.readers.av2_map import ground_heights, read_map
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene
from alpamayo_sim.errors import InputError

Array = np.ndarray

LICENCE = "CC BY-NC-SA 4.0 (Argoverse 2)"
EGO = "AV"
TIME_STEP_S = 0.1
EGO_SIZE_M = (4.877, 2.0, 1.473)  # the recording Ford Fusion with its sensors
MAX_VALUES = 20_000_000  # tracks times steps
COLUMNS = {
    "track_id": "s",
    "object_type": "s",
    "timestep": "i",
    "position_x": "f",
    "position_y": "f",
    "heading": "f",
    "velocity_x": "f",
    "velocity_y": "f",
}
CATEGORIES = {
    "vehicle": Category.VEHICLE,
    "bus": Category.BUS,
    "motorcyclist": Category.MOTORCYCLE,
    "cyclist": Category.CYCLIST,
    "pedestrian": Category.PEDESTRIAN,
    "construction": Category.CONE,
}
UNKNOWN_CATEGORIES = ("static", "background", "riderless_bicycle", "unknown")


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is such a folder, or the parquet file in it."""
    if path.is_dir():
        return any(path.glob("scenario_*.parquet"))
    return head[:4] == b"PAR1" and path.name.startswith("scenario_")


def read(path: Path) -> Scene:
    """Return the Scene of a scenario.

    Raises:
        InputError: A file is missing or damaged, or a column is missing or wrong.
    """
    file = sorted(path.glob("scenario_*.parquet"))[0] if path.is_dir() else path
    columns, raw_map = read_columns(file, COLUMNS), read_map(file.parent)
    where, step = str(file), columns["timestep"]
    if not len(step) or step.min() < 0 or step.max() >= MAX_STEPS:
        raise InputError(f"{where}: column 'timestep' must be in [0, {MAX_STEPS}), in one row at least")
    names, rows = np.unique(columns["track_id"].astype(str), return_inverse=True)
    if len(names) * (int(step.max()) + 1) > MAX_VALUES:
        raise InputError(f"{where}: has {len(names)} tracks of {int(step.max()) + 1} steps, more than any scenario")
    numbers = np.stack([columns[name] for name in list(COLUMNS)[3:]], axis=1)
    if not np.isfinite(numbers).all():
        raise InputError(f"{where}: positions, headings and velocities must be finite")
    z = ground_heights(raw_map, numbers[:, :2])
    tracks = []
    for k, name in enumerate(names):
        own = np.flatnonzero(rows == k)
        kind = str(columns["object_type"][own[0]])
        tracks.append(_track(str(name), kind, step[own], numbers[own], z[own], int(step.max()) + 1, where))
    scene_id = file.stem.removeprefix("scenario_")
    provenance = Provenance("Argoverse 2 Motion Forecasting", LICENCE, scene_id)
    return assemble(where, scene_id, provenance, tracks, EGO, raw_map, [], TIME_STEP_S)


def _track(name: str, kind: str, step: Array, numbers: Array, z: Array, steps: int, where: str) -> RawTrack:
    if len(np.unique(step)) < len(step):
        raise InputError(f"{where}: track {name!r} has two rows for one timestep")
    values, valid = np.zeros((steps, 6)), np.zeros(steps, bool)
    values[step], valid[step] = np.column_stack([numbers, z]), True
    category = meaning_of(
        kind, CATEGORIES, Category.UNKNOWN, "object_type", f"{where}: track {name!r}", UNKNOWN_CATEGORIES
    )
    size = np.array(EGO_SIZE_M) if name == EGO else usual_size(category)
    return RawTrack(name, category, values[:, [0, 1, 5]], values[:, 2], values[:, 3:5], size, valid)
