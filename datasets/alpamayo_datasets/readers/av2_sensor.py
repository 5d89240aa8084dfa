"""Argoverse 2 sensor logs: a folder with annotations.feather, city_SE3_egovehicle.feather and map/.

Boxes are in the frame of the ego, whose origin is the centre of the rear axle; they are brought to the city's frame.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from alpamayo_datasets.arrow_tables import read_columns
from alpamayo_datasets.assemble import RawTrack, assemble
from alpamayo_datasets.fields import MAX_STEPS, get, numbers
from alpamayo_datasets.motion import Grid, rotation_of, time_grid, velocities, yaw_of
from alpamayo_datasets.readers.av2_forecasting import EGO_SIZE_M, LICENCE, MAX_VALUES
from alpamayo_datasets.readers.av2_map import load_json, read_map
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene
from alpamayo_sim.errors import InputError

Array = np.ndarray

EGO = "ego"
TIME_STEP_S = 0.1
AXLE_TO_CENTRE_M = 1.35  # rear axle to the middle of the Ford Fusion
AXLE_HEIGHT_M = 0.31  # of the rear axle above the ground
POSE = {"timestamp_ns": "i", "qw": "f", "qx": "f", "qy": "f", "qz": "f", "tx_m": "f", "ty_m": "f", "tz_m": "f"}
BOX = {**POSE, "track_uuid": "s", "category": "s", "length_m": "f", "width_m": "f", "height_m": "f"}
CATEGORIES = {
    "REGULAR_VEHICLE": Category.VEHICLE,
    "LARGE_VEHICLE": Category.TRUCK,
    "BOX_TRUCK": Category.TRUCK,
    "TRUCK": Category.TRUCK,
    "TRUCK_CAB": Category.TRUCK,
    "VEHICULAR_TRAILER": Category.TRUCK,
    "MESSAGE_BOARD_TRAILER": Category.TRUCK,
    "BUS": Category.BUS,
    "SCHOOL_BUS": Category.BUS,
    "ARTICULATED_BUS": Category.BUS,
    "RAILED_VEHICLE": Category.BUS,
    "MOTORCYCLE": Category.MOTORCYCLE,
    "MOTORCYCLIST": Category.MOTORCYCLE,
    "BICYCLE": Category.CYCLIST,
    "BICYCLIST": Category.CYCLIST,
    "WHEELED_RIDER": Category.CYCLIST,
    "PEDESTRIAN": Category.PEDESTRIAN,
    "OFFICIAL_SIGNALER": Category.PEDESTRIAN,
    "STROLLER": Category.PEDESTRIAN,
    "WHEELCHAIR": Category.PEDESTRIAN,
    "DOG": Category.ANIMAL,
    "ANIMAL": Category.ANIMAL,
    "CONSTRUCTION_CONE": Category.CONE,
    "CONSTRUCTION_BARREL": Category.CONE,
    "BOLLARD": Category.BARRIER,
    "SIGN": Category.BARRIER,
    "STOP_SIGN": Category.BARRIER,
    "MOBILE_PEDESTRIAN_CROSSING_SIGN": Category.BARRIER,
    "TRAFFIC_LIGHT_TRAILER": Category.BARRIER,
}
UNKNOWN_CATEGORIES = ("WHEELED_DEVICE", "UNKNOWN", "NONE")


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is the folder of a log."""
    return path.is_dir() and (path / "annotations.feather").is_file()


def read(path: Path) -> Scene:
    """Return the Scene of a log: a step for each annotated lidar sweep.

    Raises:
        InputError: A file is missing or damaged, or a column is missing or wrong.
    """
    boxes = _finite(path / "annotations.feather", BOX)
    poses = _finite(path / "city_SE3_egovehicle.feather", POSE)
    stamps, sweep = np.unique(boxes["timestamp_ns"], return_inverse=True)
    pose_stamps, first = np.unique(poses["timestamp_ns"], return_index=True)
    where = str(path)
    if not len(stamps) or not np.isin(stamps, pose_stamps).all():
        raise InputError(f"{where}: annotations.feather has no rows, or a time stamp without a pose of the ego")
    grid = time_grid((stamps - stamps[0]) * 1e-9, TIME_STEP_S)
    names, rows = np.unique(boxes["track_uuid"].astype(str), return_inverse=True)
    if grid.count > MAX_STEPS or grid.count * len(names) > MAX_VALUES:
        raise InputError(f"{where}: has {len(names)} tracks over {grid.count} steps, more than any log")
    pose = first[np.searchsorted(pose_stamps, stamps)]
    quaternion = np.stack([poses[name][pose] for name in ("qw", "qx", "qy", "qz")], axis=1)
    rotation = rotation_of(quaternion)
    place = np.stack([poses[name][pose] for name in ("tx_m", "ty_m", "tz_m")], axis=1)
    ego = _ego(rotation, place, quaternion, grid, path)
    city = _in_city(boxes, rotation[sweep], place[sweep])
    tracks = [
        _track(str(name), own := np.flatnonzero(rows == k), city[own], boxes, grid.step[sweep[own]], grid, where)
        for k, name in enumerate(names)
    ]
    provenance = Provenance("Argoverse 2 Sensor", LICENCE, path.name)
    return assemble(where, path.name, provenance, [ego, *tracks], EGO, read_map(path / "map"), [], grid.dt)


def _finite(path: Path, columns: dict[str, str]) -> dict[str, Array]:
    found = read_columns(path, columns)
    for name, kind in columns.items():
        if kind == "f" and not np.isfinite(found[name]).all():
            raise InputError(f"{path}: column {name!r} has values that are not finite")
    return found


def _ego(rotation: Array, place: Array, quaternion: Array, grid: Grid, path: Path) -> RawTrack:
    """Return the ego: the centre of its box, which is ahead of the rear axle, and the ground under it."""
    values, valid = np.zeros((grid.count, 4)), np.zeros(grid.count, bool)
    centre = place + rotation @ np.array([AXLE_TO_CENTRE_M, 0.0, -AXLE_HEIGHT_M])
    centre[:, 2] = _ground(path / "map", centre)
    values[grid.step] = np.column_stack([centre, yaw_of(quaternion)])
    valid[grid.step] = True
    velocity = velocities(values[:, :2], valid, grid.dt)
    return RawTrack(EGO, Category.VEHICLE, values[:, :3], values[:, 3], velocity, np.array(EGO_SIZE_M), valid)


def _ground(folder: Path, centre: Float64[Array, "n 3"]) -> Float64[Array, " n"]:
    """Return the height of the ground under points, from the log's raster where it has one there."""
    z = centre[:, 2].copy()
    rasters, frames = sorted(folder.glob("*_ground_height_surface*.npy")), sorted(folder.glob("*img_Sim2_city.json"))
    if not rasters or not frames:
        return z
    try:
        raster = np.load(rasters[0], mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{rasters[0]}: damaged ({' '.join(str(error).split())[:200]})") from error
    frame, here = load_json(frames[0]), str(frames[0])
    shift = numbers(get(frame, "t", here), (2,), f"{here}: t")
    turn = numbers(get(frame, "R", here), (4,), f"{here}: R").reshape(2, 2)
    scale = float(numbers([get(frame, "s", here)], (1,), f"{here}: s")[0])
    pixel = scale * (centre[:, :2] @ turn.T + shift)
    if raster.ndim != 2 or raster.dtype.kind != "f" or not np.isfinite(pixel).all():
        raise InputError(f"{rasters[0]}: must be a picture of heights, with its place in {here}")
    column, row = np.clip(np.round(pixel), -1, 1 << 30).astype(np.int64).T
    inside = (column >= 0) & (row >= 0) & (row < raster.shape[0]) & (column < raster.shape[1])
    z[inside] = np.where(np.isfinite(found := raster[row[inside], column[inside]]), found, z[inside])
    return z


def _in_city(boxes: dict[str, Array], rotation: Array, place: Array) -> Float64[Array, "n 4"]:
    """Return x, y, z of the boxes' centres and their yaw in the city's frame."""
    centre = np.stack([boxes[name] for name in ("tx_m", "ty_m", "tz_m")], axis=1)
    quaternion = np.stack([boxes[name] for name in ("qw", "qx", "qy", "qz")], axis=1)
    forward = np.einsum("nij,nj->ni", rotation, rotation_of(quaternion)[:, :, 0])
    yaw = np.arctan2(forward[:, 1], forward[:, 0])
    return np.column_stack([np.einsum("nij,nj->ni", rotation, centre) + place, yaw])


def _track(
    name: str, own: Int64[Array, " m"], city: Array, boxes: dict[str, Array], step: Array, grid: Grid, where: str
) -> RawTrack:
    if len(np.unique(step)) < len(step):
        raise InputError(f"{where}: annotations.feather: track {name!r} has two boxes at one time stamp")
    sizes = np.stack([boxes[key][own] for key in ("length_m", "width_m", "height_m")], axis=1)
    size = np.median(sizes, axis=0)
    if not np.all(size > 0):
        raise InputError(f"{where}: annotations.feather: track {name!r} has a size that is not positive")
    values, valid = np.zeros((grid.count, 4)), np.zeros(grid.count, bool)
    values[step], valid[step] = city, True
    values[:, 2] -= 0.5 * size[2]
    word, here = str(boxes["category"][own[0]]), f"{where}: annotations.feather: track {name!r}"
    category = meaning_of(word, CATEGORIES, Category.UNKNOWN, "category", here, UNKNOWN_CATEGORIES)
    velocity = velocities(values[:, :2], valid, grid.dt)
    return RawTrack(name, category, values[:, :3], values[:, 3], velocity, size, valid)
