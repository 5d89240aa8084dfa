"""nuScenes tables, map expansion and CAN bus, read by the official nuscenes-devkit.

Boxes are annotated at 2 Hz and interpolated to 10 Hz; the ego's poses are those of the lidar, about 20 Hz. The ego's
pose is that of its rear axle, so its box is moved ahead of it. The maps are flat: all z are 0. There are no lights.
Data sets that ``writers.nuscenes`` has written have the values of their scenes that nuScenes has no place for, too.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawTrack, assemble
from alpamayo_datasets.containers import choose_scene
from alpamayo_datasets.fields import MAX_STEPS, get, get_list, get_record, numbers
from alpamayo_datasets.images import read_image
from alpamayo_datasets.motion import covered, resampled, rotation_of, yaw_of
from alpamayo_datasets.readers.av2_map import load_json
from alpamayo_datasets.readers.nuscenes_map import read_map
from alpamayo_datasets.readers.scenarionet import DETAILED_CATEGORIES
from alpamayo_datasets.recorded_cameras import RecordedCamera, RecordedCameras
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.scene import Category, Environment, Provenance, Scene
from alpamayo_sim.errors import InputError, is_machine_fault
from alpamayo_sim.io.limits import LIMITS, name_of

Array = np.ndarray

LICENCE = "CC BY-NC-SA 4.0 (nuScenes)"
EXTENSION = "alpamayo"  # the key of a scene record with what nuScenes has no place for
EGO = "ego"
EGO_SIZE_M = (4.084, 1.73, 1.562)  # the recording Renault Zoe
AXLE_TO_CENTRE_M = 1.35  # rear axle to the middle of the Zoe
TIME_STEP_S = 0.1
MAX_KEYFRAME_GAP_S = 1.2  # boxes farther apart in time are not interpolated
MAX_TABLE_BYTES = 4 << 30
TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
CATEGORIES = {
    **DETAILED_CATEGORIES,
    **dict.fromkeys(("vehicle.car", "vehicle.emergency.ambulance", "vehicle.emergency.police"), Category.VEHICLE),
    **dict.fromkeys(
        (
            "human.pedestrian.adult",
            "human.pedestrian.child",
            "human.pedestrian.construction_worker",
            "human.pedestrian.personal_mobility",
            "human.pedestrian.police_officer",
            "human.pedestrian.stroller",
            "human.pedestrian.wheelchair",
        ),
        Category.PEDESTRIAN,
    ),
    "movable_object.barrier": Category.BARRIER,
    "movable_object.trafficcone": Category.CONE,
    "movable_object.pushable_pullable": Category.DEBRIS,
    "static.manmade": Category.BUILDING,
    "static.vegetation": Category.VEGETATION,
}
PREFIXES = {"vehicle": Category.VEHICLE, "human": Category.PEDESTRIAN, "movable_object": Category.DEBRIS}


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is the folder of the data set, or one of its versions."""
    return path.is_dir() and bool(_versions(path))


def scene_ids(path: Path) -> list[str]:
    """Return the names of the scenes.

    Raises:
        InputError: The scene table is damaged, or the folder holds several versions.
    """
    table = _version(path) / "scene.json"
    rows = load_json(table)
    if not isinstance(rows, list):
        raise InputError(f"{table}: must be a list of records")
    return [str(get(row, "name", f"{table}: record {k}")) for k, row in enumerate(rows)]


def read(path: Path, scene_id: str | None = None) -> Scene:
    """Return the Scene of that name, or the only one.

    Raises:
        InputError: A table or map is missing or damaged, or there is no such scene.
    """
    version = _version(path)
    name = choose_scene(scene_ids(path), scene_id, str(path))
    where = f"{version}: scene {name!r}"
    try:
        return _scene(_tables(version, _stamp(version)), version, name, where)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{where}: cannot read {error.filename}: {error.strerror or error}") from error
    except Exception as error:  # the devkit looks into unchecked tables: anything can be missing
        if is_machine_fault(error):
            raise
        raise InputError(f"{where}: the tables or maps are damaged ({type(error).__name__}: {_line(error)})") from error


def cameras(path: Path, scene_id: str | None = None) -> RecordedCameras:
    """Return the cameras of a scene: all frames, keyframes and those between them.

    Raises:
        InputError: A table is missing or damaged, or the scene has no cameras.
    """
    version = _version(path)
    name = choose_scene(scene_ids(path), scene_id, str(path))
    where = f"{version}: scene {name!r}"
    try:
        tables = _tables(version, _stamp(version))
        record = next(row for row in tables.scene if row["name"] == name)
        sample = tables.get("sample", record["first_sample_token"])
        channels = [channel for channel in sample["data"] if channel.startswith("CAM_")]
        found = [_camera(tables, version.parent, sample, channel, where) for channel in sorted(channels)]
        return RecordedCameras(found)
    except InputError:
        raise
    except Exception as error:  # the devkit looks into unchecked tables: anything can be missing
        if is_machine_fault(error):
            raise
        raise InputError(f"{where}: the tables are damaged ({type(error).__name__}: {_line(error)})") from error


def _camera(tables: Any, root: Path, sample: Any, channel: str, where: str) -> RecordedCamera:
    records = list(_chain(tables, "sample_data", sample["data"][channel], where))
    stamps = np.array([float(record["timestamp"]) for record in records])
    times = (stamps - float(sample["timestamp"])) * 1e-6
    if not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise InputError(f"{where}: timestamps of {channel} must be finite and grow")
    files = [_inside(root, str(record["filename"]), where) for record in records]
    known = tables.get("calibrated_sensor", records[0]["calibrated_sensor_token"])
    matrix = numbers(known["camera_intrinsic"], (3, 3), f"{where}: camera_intrinsic of {channel}")
    turn = rotation_of(numbers([known["rotation"]], (1, 4), f"{where}: rotation of {channel}"))[0]
    place = numbers(known["translation"], (3,), f"{where}: translation of {channel}")
    camera = Camera(
        channel,
        int(records[0]["width"]),
        int(records[0]["height"]),
        (float(matrix[0, 0]), float(matrix[1, 1])),
        (float(matrix[0, 2]) + 0.5, float(matrix[1, 2]) + 0.5),
        (place - np.array([AXLE_TO_CENTRE_M, 0.0, 0.0])).astype(np.float32),
        turn.astype(np.float32),
    )
    return RecordedCamera(camera, times, lambda frame: read_image(files[frame]))


def _inside(root: Path, name: str, where: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{where}: the file {name!r} lies outside of the data set")
    return path


def _versions(path: Path) -> list[Path]:
    """Return the folders of tables: this one, or those in it."""
    found = [path] if (path / "scene.json").is_file() else sorted(path.glob("v1.0-*"))
    return [folder for folder in found if (folder / "scene.json").is_file() and (folder / "sample.json").exists()]


def _version(path: Path) -> Path:
    found = _versions(path)
    if len(found) != 1:
        raise InputError(f"{path}: holds {len(found)} versions of nuScenes; name one: {', '.join(map(str, found))}")
    version = found[0].resolve()
    for table in TABLES:
        file = version / f"{table}.json"
        if not file.is_file():
            raise InputError(f"{version}: has no table {table}.json")
        if file.stat().st_size > MAX_TABLE_BYTES:
            raise InputError(f"{file}: larger than {MAX_TABLE_BYTES >> 30} GiB")
    return version


def _stamp(version: Path) -> tuple[tuple[int, int], ...]:
    """Return sizes and times of the tables, so that changed ones are read again."""
    stats = [(version / f"{table}.json").stat() for table in TABLES]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


@lru_cache(maxsize=1)
def _tables(version: Path, stamp: object) -> Any:
    """Return the devkit's tables; those of the whole data set take half a minute, so that they are kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nuscenes import NuScenes

        return NuScenes(version=version.name, dataroot=str(version.parent), verbose=False)


def _scene(tables: Any, version: Path, name: str, where: str) -> Scene:
    record = next(row for row in tables.scene if row["name"] == name)
    samples = list(_chain(tables, "sample", record["first_sample_token"], where))
    stamps = np.array([float(sample["timestamp"]) for sample in samples])
    start = stamps[0]
    times = _seconds(stamps, start, f"{where}: sample")
    count = int(np.floor(times[-1] / TIME_STEP_S + 0.05)) + 1
    if count > MAX_STEPS:
        raise InputError(f"{where}: lasts {times[-1]:.0f} s, longer than any scene")
    at = TIME_STEP_S * np.arange(count)
    extension = _extension(record, f"{where}: {EXTENSION}")
    ego = _ego(tables, version.parent, name, samples[0], start, at, where)
    ego = dataclasses.replace(ego, size=extension.ego_size)
    tracks = _tracks(tables, samples, times, at, where)
    location = str(tables.get("log", record["log_token"])["location"])
    raw_map = read_map(version.parent, location, ego.position[:, :2], where)
    provenance = Provenance(extension.source or f"nuScenes {version.name}", extension.licence, name)
    environment = extension.environment
    scene = assemble(where, name, provenance, [ego, *tracks], EGO, raw_map, [], TIME_STEP_S, environment)
    return dataclasses.replace(scene, origin=scene.origin - np.append(extension.place, 0.0))


@dataclasses.dataclass(frozen=True, eq=False)
class _Extension:
    """What ``writers.nuscenes`` adds to the record of a scene; ``place`` is what it has added to x and y (m)."""

    source: str = ""
    licence: str = LICENCE
    ego_size: Float64[Array, "3"] = dataclasses.field(default_factory=lambda: np.array(EGO_SIZE_M))
    place: Float64[Array, "2"] = dataclasses.field(default_factory=lambda: np.zeros(2))
    environment: Environment | None = None


def _extension(record: Mapping[str, Any], where: str) -> _Extension:
    if EXTENSION not in record:
        return _Extension()
    given = get_record(record, EXTENSION, "")
    size, place = (
        numbers(get(given, key, where), (n,), f"{where}.{key}") for key, n in (("ego_size", 3), ("place", 2))
    )
    if not (np.all((size > 0.0) & (size < LIMITS.size_m)) and np.all(np.abs(place) < LIMITS.coordinate_m)):
        raise InputError(f"{where}: ego_size must be positive, and place within {LIMITS.coordinate_m:g} m")
    weather = get_record(given, "environment", where)
    known = {field.name for field in dataclasses.fields(Environment)} & weather.keys()
    values = {key: weather[key] if weather[key] is None else float(weather[key]) for key in sorted(known)}
    source, licence = (name_of(get(given, key, where), f"{where}.{key}") for key in ("source", "licence"))
    return _Extension(source, licence, size, place, Environment(**values))


def _chain(tables: Any, table: str, token: str, where: str) -> Iterator[Any]:
    """Yield the records that follow each other by their ``next`` tokens."""
    seen = set()
    while token:
        if token in seen:
            raise InputError(f"{where}: the {table} records come back to {token!r}")
        seen.add(token)
        record = tables.get(table, token)
        yield record
        token = record["next"]


def _seconds(stamps: Float64[Array, " n"], start: float, where: str) -> Float64[Array, " n"]:
    times = (stamps - start) * 1e-6
    if not np.isfinite(times).all() or np.any(np.diff(times) <= 0):
        raise InputError(f"{where}: timestamps must be finite and grow")
    return np.asarray(times)


def _ego(
    tables: Any, root: Path, name: str, sample: Any, start: float, at: Float64[Array, " n"], where: str
) -> RawTrack:
    """Return the ego at the times ``at``, by its poses at all lidar sweeps and its speed on the CAN bus."""
    channel = "LIDAR_TOP" if "LIDAR_TOP" in sample["data"] else min(sample["data"])
    rows = []
    for record in _chain(tables, "sample_data", sample["data"][channel], where):
        pose = tables.get("ego_pose", record["ego_pose_token"])
        rows.append([float(pose["timestamp"]), *pose["translation"], *pose["rotation"]])
        if (rows[-1][0] - start) * 1e-6 > at[-1] + 1.0:
            break
    table = numbers(rows, (None, 8), f"{where}: ego_pose")
    if not np.isfinite(table).all():
        raise InputError(f"{where}: ego_pose has values that are not finite")
    times, first = np.unique((table[:, 0] - start) * 1e-6, return_index=True)
    values = np.column_stack([table[first, 1:3], yaw_of(table[first, 4:])])
    if len(times) < 2 or times[0] > 0.5 or times[-1] < at[-1] - 0.5:
        raise InputError(f"{where}: ego_pose does not cover the scene")
    pose = resampled(times, values, at, angle=2)
    centre = pose[:, :2] + AXLE_TO_CENTRE_M * np.stack([np.cos(pose[:, 2]), np.sin(pose[:, 2])], axis=1)
    velocity = np.gradient(centre, at, axis=0) if len(at) > 1 else np.zeros((1, 2))
    along = _can_bus_velocity(root, name, start, at, where)
    if along is not None:
        turning = np.gradient(np.unwrap(pose[:, 2]), at) if len(at) > 1 else np.zeros(1)
        c, s = np.cos(pose[:, 2]), np.sin(pose[:, 2])
        ahead, left = along[:, 0], along[:, 1] + AXLE_TO_CENTRE_M * turning
        velocity = np.stack([c * ahead - s * left, s * ahead + c * left], axis=1)
    position = np.pad(centre, ((0, 0), (0, 1)))
    valid = np.ones(len(at), bool)
    return RawTrack(EGO, Category.VEHICLE, position, pose[:, 2], velocity, np.array(EGO_SIZE_M), valid)


def _can_bus_velocity(root: Path, name: str, start: float, at: Array, where: str) -> Float64[Array, "n 2"] | None:
    """Return the rear axle's velocity (m/s, ego frame) on the CAN bus; None without messages of this scene."""
    if not (root / "can_bus" / f"{name}_pose.json").is_file():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nuscenes.can_bus.can_bus_api import NuScenesCanBus

        messages = NuScenesCanBus(dataroot=str(root)).get_messages(name, "pose", print_warnings=False)
    rows = [[float(message["utime"]), *map(float, get_list(message, "vel", where)[:2])] for message in messages]
    table = numbers(rows, (None, 3), f"{where}: can_bus pose")
    table = table[np.isfinite(table).all(axis=1)]
    times, first = np.unique((table[:, 0] - start) * 1e-6, return_index=True)
    if len(times) < 2 or times[0] > 0.5 or times[-1] < at[-1] - 0.5:
        return None
    return resampled(times, table[first, 1:], at)


def _tracks(tables: Any, samples: list[Any], times: Array, at: Array, where: str) -> list[RawTrack]:
    """Return the annotated instances, interpolated from keyframe to keyframe."""
    boxes: dict[str, dict[int, Any]] = {}
    for k, sample in enumerate(samples):
        for token in sample["anns"]:
            box = tables.get("sample_annotation", token)
            boxes.setdefault(str(box["instance_token"]), {})[k] = box
    return [
        _track(str(tables.get("instance", token).get("name", token)), seen, times, at, f"{where}: instance {token!r}")
        for token, seen in boxes.items()
    ]


def _track(name: str, seen: dict[int, Any], times: Array, at: Array, where: str) -> RawTrack:
    keys = np.array(sorted(seen))
    rows = [[*seen[k]["translation"], *seen[k]["rotation"], *seen[k]["size"]] for k in keys]
    table = numbers(rows, (None, 10), where)
    if not np.isfinite(table).all():
        raise InputError(f"{where}: has values that are not finite")
    width, length, height = np.median(table[:, 7:], axis=0)
    if not min(width, length, height) > 0:
        raise InputError(f"{where}: its size must be positive")
    own = times[keys]
    velocity = _velocities(seen, table[:, :2], own, where)
    values = resampled(own, np.column_stack([table[:, :2], yaw_of(table[:, 3:7]), velocity]), at, angle=2)
    return RawTrack(
        id=name,
        category=category_of(str(next(iter(seen.values()))["category_name"]), where),
        position=np.pad(values[:, :2], ((0, 0), (0, 1))),
        heading=values[:, 2],
        velocity=values[:, 3:5],
        size=np.array([length, width, height]),
        valid=covered(own, at, MAX_KEYFRAME_GAP_S, TIME_STEP_S / 2),
    )


def _velocities(seen: dict[int, Any], xy: Float64[Array, "k 2"], own: Float64[Array, " k"], where: str) -> Array:
    """Return the velocities that the boxes have, else those of their places."""
    boxes = [seen[k] for k in sorted(seen)]
    if all("velocity" in box for box in boxes):
        return numbers([box["velocity"] for box in boxes], (None, 2), f"{where}: velocity")
    return np.gradient(xy, own, axis=0) if len(own) > 1 else np.zeros((len(own), 2))


def category_of(name: str, where: str) -> Category:
    """Return the category of a nuScenes class, such as ``vehicle.bus.rigid``; one without a meaning is named."""
    alike = next((category for prefix, category in PREFIXES.items() if name.startswith(prefix)), Category.UNKNOWN)
    return meaning_of(name, CATEGORIES, alike, "category_name", where, ("static_object.bicycle_rack",))


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
