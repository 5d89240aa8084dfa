"""nuPlan logs: a SQLite file for each log, whose scenes last some 20 s; the GeoPackage maps beside it.

Tables and columns: https://github.com/motional/nuplan-devkit, nuplan/database/nuplan_db. The 20 Hz of the lidar are
read as 10 Hz, without interpolation. The pose of the ego is that of its rear axle, so its box is moved ahead of it.
The map is found at ``maps/LOCATION/VERSION/map.gpkg`` in a folder above the log, or in ``NUPLAN_MAPS_ROOT``.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawSignal, RawTrack, assemble
from alpamayo_datasets.containers import choose_scene
from alpamayo_datasets.fields import MAX_STEPS, numbers
from alpamayo_datasets.motion import Grid, time_grid, yaw_of
from alpamayo_datasets.readers.nuplan_map import read_map
from alpamayo_datasets.sqlite_files import HEAD, open_database, rows
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError

Array = np.ndarray

LICENCE = "CC BY-NC-SA 4.0 (nuPlan)"
EGO = "ego"
EGO_SIZE_M = (5.176, 2.297, 1.777)  # the recording Chrysler Pacifica
AXLE_TO_CENTRE_M = 1.461  # rear axle to the middle of the Pacifica
TIME_STEP_S = 0.1
LIDAR_PERIOD_S = 0.05
MAX_VALUES = 20_000_000  # tracks times steps
CATEGORIES = {
    "vehicle": Category.VEHICLE,
    "bicycle": Category.CYCLIST,
    "pedestrian": Category.PEDESTRIAN,
    "traffic_cone": Category.CONE,
    "barrier": Category.BARRIER,
    "czone_sign": Category.BARRIER,
    "generic_object": Category.DEBRIS,
}
UNKNOWN_STATES = ("unknown", "none")
SIGNAL_STATES = {"green": SignalState.GREEN, "yellow": SignalState.YELLOW, "red": SignalState.RED}
POSES = """SELECT lidar_pc.token, lidar_pc.timestamp, x, y, z, qw, qx, qy, qz, vx, vy FROM lidar_pc
JOIN ego_pose ON ego_pose.token = lidar_pc.ego_pose_token WHERE scene_token = ? ORDER BY lidar_pc.timestamp"""
BOXES = """SELECT lidar_pc_token, track_token, category.name, x, y, z, yaw, vx, vy, lidar_box.length, lidar_box.width,
lidar_box.height FROM lidar_box JOIN track ON track.token = track_token JOIN category ON category.token = category_token
JOIN lidar_pc ON lidar_pc.token = lidar_pc_token WHERE scene_token = ?"""
LIGHTS = """SELECT lidar_pc_token, lane_connector_id, status FROM traffic_light_status
JOIN lidar_pc ON lidar_pc.token = lidar_pc_token WHERE scene_token = ?"""


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file is a SQLite file with the ending of nuPlan's logs."""
    return head.startswith(HEAD) and path.suffix == ".db"


def scene_ids(path: Path) -> list[str]:
    """Return the names of the scenes; their tokens in hexadecimal where two have the same name.

    Raises:
        InputError: The file is damaged.
    """
    with open_database(path) as log:
        return list(_scenes(log, path))


def read(path: Path, scene_id: str | None = None) -> Scene:
    """Return the Scene of that name, or the only one.

    Raises:
        InputError: The file or its map is missing or damaged, or there is no such scene.
    """
    with open_database(path) as log:
        scenes = _scenes(log, path)
        name = choose_scene(list(scenes), scene_id, str(path))
        where, token = f"{path}: scene {name!r}", scenes[name]
        poses = rows(log, POSES, where, [token])
        boxes = rows(log, BOXES, where, [token])
        lights = rows(log, LIGHTS, where, [token])
        location = rows(log, "SELECT location FROM log LIMIT 1", where)
    if not poses or not location:
        raise InputError(f"{where}: has no poses, or the log has no location")
    step, grid = _steps(poses, where)
    kept = [pose for pose in poses if pose[0] in step]
    ego = _ego(kept, grid, where)
    tracks = _tracks(boxes, step, grid, where)
    raw_map = read_map(_map_file(path, str(location[0][0])), ego.position[ego.valid, :2], ego.position[0, 2])
    signals = _signals(lights, step, grid, raw_map, where)
    provenance = Provenance(f"nuPlan {path.stem}", LICENCE, name)
    return assemble(where, f"{path.stem}-{name}", provenance, [ego, *tracks], EGO, raw_map, signals, grid.dt)


def _scenes(log: sqlite3.Connection, path: Path) -> dict[str, Any]:
    """Return the tokens of the scenes by their names."""
    found = [(token, str(name)) for token, name in rows(log, "SELECT token, name FROM scene", str(path))]
    if len({name for _, name in found}) < len(found):
        found = [(token, token.hex() if isinstance(token, bytes) else str(token)) for token, _ in found]
    return {name: token for token, name in found}


def _steps(poses: list[tuple[Any, ...]], where: str) -> tuple[dict[Any, int], Grid]:
    """Return the step of each sweep that is kept, by its token: each second one of a lidar at 20 Hz."""
    stamps = numbers([pose[1] for pose in poses], (None,), f"{where}: lidar_pc timestamp") * 1e-6
    if not np.isfinite(stamps).all() or np.any(np.diff(stamps) <= 0):
        raise InputError(f"{where}: timestamps of lidar_pc must be finite and grow")
    period = float(np.median(np.diff(stamps))) if len(stamps) > 1 else TIME_STEP_S
    every = 2 if abs(period - LIDAR_PERIOD_S) < 0.1 * LIDAR_PERIOD_S else 1
    sweeps = np.round((stamps - stamps[0]) / period).astype(np.int64) if every == 2 else np.arange(len(stamps))
    kept = np.flatnonzero(sweeps % every == 0)
    grid = time_grid(stamps[kept] - stamps[0], TIME_STEP_S)
    if grid.count > MAX_STEPS:
        raise InputError(f"{where}: has {grid.count} steps, more than any scene")
    return {poses[k][0]: int(step) for k, step in zip(kept, grid.step, strict=True)}, grid


def _table(found: list[tuple[Any, ...]], where: str) -> Float64[Array, "n k"]:
    values = numbers(found, (None, None), where)
    if not np.isfinite(values).all():
        raise InputError(f"{where}: has values that are missing or not finite")
    return values


def _ego(poses: list[tuple[Any, ...]], grid: Grid, where: str) -> RawTrack:
    """Return the ego: the centre of its box, and the velocity there."""
    table = _table([pose[2:] for pose in poses], f"{where}: ego_pose")
    heading = yaw_of(table[:, 3:7])
    c, s = np.cos(heading), np.sin(heading)
    turning = np.gradient(np.unwrap(heading), grid.step * grid.dt) if len(heading) > 1 else np.zeros(1)
    ahead, side = table[:, 7], table[:, 8] + AXLE_TO_CENTRE_M * turning
    values, valid = np.zeros((grid.count, 6)), np.zeros(grid.count, bool)
    centre = table[:, :3] + AXLE_TO_CENTRE_M * np.stack([c, s, np.zeros_like(c)], axis=1)
    values[grid.step] = np.column_stack([centre, heading, c * ahead - s * side, s * ahead + c * side])
    valid[grid.step] = True
    return RawTrack(EGO, Category.VEHICLE, values[:, :3], values[:, 3], values[:, 4:], np.array(EGO_SIZE_M), valid)


def _tracks(boxes: list[tuple[Any, ...]], step: dict[Any, int], grid: Grid, where: str) -> list[RawTrack]:
    by_track: dict[Any, list[tuple[Any, ...]]] = {}
    for box in boxes:
        if box[0] in step:
            by_track.setdefault(box[1], []).append(box)
    if len(by_track) * grid.count > MAX_VALUES:
        raise InputError(f"{where}: has {len(by_track)} tracks of {grid.count} steps, more than any scene")
    return [_track(token, found, step, grid, where) for token, found in by_track.items()]


def _track(token: Any, boxes: list[tuple[Any, ...]], step: dict[Any, int], grid: Grid, where: str) -> RawTrack:
    name = token.hex() if isinstance(token, bytes) else str(token)
    table = _table([box[3:] for box in boxes], f"{where}: lidar_box of track {name}")
    size = np.median(table[:, 6:9], axis=0)
    if not np.all(size > 0):
        raise InputError(f"{where}: lidar_box of track {name}: length, width and height must be positive")
    values, valid = np.zeros((grid.count, 6)), np.zeros(grid.count, bool)
    at = [step[box[0]] for box in boxes]
    values[at], valid[at] = table[:, :6], True
    category = meaning_of(str(boxes[0][2]), CATEGORIES, Category.UNKNOWN, "category", where)
    position = values[:, :3] - np.array([0.0, 0.0, 0.5 * size[2]])
    return RawTrack(name, category, position, values[:, 3], values[:, 4:6], size, valid)


def _signals(
    lights: list[tuple[Any, ...]], step: dict[Any, int], grid: Grid, raw_map: RawMap, where: str
) -> list[RawSignal]:
    """Return the light of each lane connector that has one, at the start of the connector."""
    starts = {lane.id: lane.centreline[0] for lane in raw_map.lanes}
    states: dict[str, Array] = {}
    for sweep, connector, status in lights:
        if sweep in step and str(connector) in starts:
            shown = states.setdefault(str(connector), np.full(grid.count, SignalState.UNKNOWN, np.int8))
            shown[step[sweep]] = meaning_of(
                str(status).lower(),
                SIGNAL_STATES,
                SignalState.UNKNOWN,
                "status of a traffic light",
                where,
                UNKNOWN_STATES,
            )
    return [RawSignal(name, starts[name], shown, (name,)) for name, shown in states.items()]


def _map_file(path: Path, location: str) -> Path:
    """Return the newest map of a location that lies in a ``maps`` folder above the log or in NUPLAN_MAPS_ROOT."""
    location = location.removesuffix(".gpkg")
    roots = [Path(os.environ["NUPLAN_MAPS_ROOT"])] if "NUPLAN_MAPS_ROOT" in os.environ else []
    roots += [folder / "maps" for folder in path.resolve().parents]
    if location and set(location) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_"):
        for root in roots:
            if found := sorted((root / location).glob("*/map.gpkg")):
                return found[-1]
    wanted = f"maps/{location}/VERSION/map.gpkg in a folder above, or in NUPLAN_MAPS_ROOT"
    raise InputError(f"{path}: has no map of {location!r}: {wanted}")
