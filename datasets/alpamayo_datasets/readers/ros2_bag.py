"""ROS 2 bags (rosbag2 folders with SQLite or MCAP storage): odometry and objects; there is no map.

``mapping.toml`` in the bag's folder, or ``BAG.toml`` beside it, may say what is what; all keys may be left out:

    odometry = "/localization/kinematic_state"    # nav_msgs/Odometry; else the only topic of that type
    objects = "/perception/objects"               # else the only topic of a type in OBJECTS
    ego_size_m = [4.6, 1.9, 1.6]
    source = "our car"                            # of the recording, and its licence
    licence = "CC0"
    base_to_centre_m = 1.4                        # from the frame that the odometry tracks, ahead to the box's centre
    [classes]                                     # what the bag's own names mean, by the names of ``Category``
    suv = "vehicle"

Objects are in the frame of the odometry's header, or in the frame that it tracks. All is brought to 10 Hz. Needs the
extra ``ros2`` (``rosbags``).
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawTrack, assemble
from alpamayo_datasets.boxes import tracks_of_boxes
from alpamayo_datasets.fields import MAX_STEPS, numbers
from alpamayo_datasets.motion import resampled, velocities, yaw_of
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene
from alpamayo_sim.errors import InputError, is_machine_fault
from alpamayo_sim.io.files import read_regular
from alpamayo_sim.io.limits import LIMITS, name_of

Array = np.ndarray

LICENCE = "that of the bag's owner"
EGO = "ego"
TIME_STEP_S = 0.1
MAX_BOX_GAP_S = 0.55  # boxes of an object that are farther apart in time are not interpolated
MAX_MAPPING_BYTES = 1 << 20
MAX_MESSAGES = 2_000_000
CUBE, ADD = 1, 0  # of visualization_msgs/Marker
ODOMETRY = "nav_msgs/msg/Odometry"
CLASSES = {
    **{category.name.lower(): category for category in Category},
    **dict.fromkeys(("car", "automobile", "suv", "van"), Category.VEHICLE),
    **dict.fromkeys(("person", "human"), Category.PEDESTRIAN),
    **dict.fromkeys(("bicycle", "bike"), Category.CYCLIST),
    "motorbike": Category.MOTORCYCLE,
    "trailer": Category.TRUCK,
}
AUTOWARE_CLASSES = (  # of autoware_perception_msgs/ObjectClassification
    *(Category.UNKNOWN, Category.VEHICLE, Category.TRUCK, Category.BUS, Category.TRUCK, Category.MOTORCYCLE),
    *(Category.CYCLIST, Category.PEDESTRIAN),
)


@dataclass(frozen=True)
class _Mapping:
    """What ``mapping.toml`` says."""

    odometry: str | None = None
    objects: str | None = None
    ego_size_m: tuple[float, ...] = tuple(usual_size(Category.VEHICLE).tolist())
    base_to_centre_m: float = 0.0
    classes: Mapping[str, str] = field(default_factory=dict)
    source: str = "a ROS 2 bag"
    licence: str = LICENCE


@dataclass(frozen=True, eq=False)
class _Box:
    """An object in one message: its frame, name and class, and x, y, z, qw, qx, qy, qz, length, width, height."""

    frame: str
    name: str
    kind: Any
    values: tuple[float, ...]


def matches(path: Path, head: bytes) -> bool:
    """Return whether this is the folder of a bag."""
    try:
        with (path / "metadata.yaml").open("rb") as file:
            return b"rosbag2_bagfile_information" in file.read(256)
    except OSError:
        return False


def read(path: Path) -> Scene:
    """Return the Scene of a bag.

    Raises:
        InputError: ``rosbags`` is not installed, the bag or the mapping is damaged, or has no odometry.
    """
    mapping = _mapping(path)
    try:
        return _scene(path, mapping)
    except InputError:
        raise
    except ImportError as error:
        raise InputError("ROS 2 bags need rosbags; install it with: pip install 'alpamayo[ros2]'") from error
    except Exception as error:  # a bag brings the definitions of its own messages: anything can be in them
        if is_machine_fault(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: the bag is damaged ({type(error).__name__}: {text})") from error


def _scene(path: Path, mapping: _Mapping) -> Scene:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as bag:
        if bag.message_count > MAX_MESSAGES:
            raise InputError(f"{path}: has {bag.message_count} messages, must be at most {MAX_MESSAGES}")
        found = _topic(bag, path, mapping.odometry, {ODOMETRY: None}, "odometry")
        if found is None:
            raise InputError(f"{path}: has no topic of {ODOMETRY}")
        poses = np.array([_pose_row(message) for message in _messages(bag, found)], np.float64)
        frames = {(str(m.header.frame_id), str(m.child_frame_id)) for m in _messages(bag, found)}
        objects = _topic(bag, path, mapping.objects, OBJECTS, "objects")
        boxes = [] if objects is None else list(_boxes(bag, objects))
    times, table = _growing(poses, f"{path}: {found.topic}")
    count = int(np.floor((times[-1] - times[0]) / TIME_STEP_S + 0.05)) + 1
    if count > MAX_STEPS:
        raise InputError(f"{path}: lasts {times[-1] - times[0]:.0f} s, longer than any scene")
    at = times[0] + TIME_STEP_S * np.arange(count)
    world, _ = next(iter(frames)) if len(frames) == 1 else ("", "")
    tracks = _tracks(path, boxes, world, mapping, times, table, at)
    ego = _ego(resampled(times, table, at, angle=3), mapping)
    source, licence = (name_of(text, f"{path}: source or licence") for text in (mapping.source, mapping.licence))
    provenance = Provenance(source, licence, path.name)
    return assemble(str(path), path.name, provenance, [ego, *tracks], EGO, RawMap(), [], TIME_STEP_S)


def _mapping(path: Path) -> _Mapping:
    """Return what the mapping file says.

    Raises:
        InputError: It is no TOML, or has an unknown key or a value of a wrong type.
    """
    file = next((each for each in (path / "mapping.toml", path.with_suffix(".toml")) if each.is_file()), None)
    if file is None:
        return _Mapping()
    try:
        given = tomllib.loads(read_regular(file, MAX_MAPPING_BYTES).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: {error}") from error
    kinds: dict[str, Any] = {
        "odometry": str,
        "objects": str,
        "ego_size_m": list,
        "base_to_centre_m": (int, float),
        "classes": dict,
        "source": str,
        "licence": str,
    }
    wrong = [key for key, value in given.items() if key not in kinds or not isinstance(value, kinds[key])]
    if wrong:
        raise InputError(f"{file}: {wrong[0]} is unknown, or its value is of a wrong type; keys: {', '.join(kinds)}")
    size = numbers(given.get("ego_size_m", list(_Mapping().ego_size_m)), (3,), f"{file}: ego_size_m")
    if not np.all((size > 0.0) & (size < LIMITS.size_m)) or not abs(given.get("base_to_centre_m", 0.0)) < LIMITS.size_m:
        raise InputError(f"{file}: ego_size_m must be positive, and base_to_centre_m within {LIMITS.size_m:g} m")
    classes = given.get("classes", {})
    unknown = [value for value in classes.values() if value not in CLASSES]
    if unknown:
        raise InputError(f"{file}: class {unknown[0]!r} is not known; must be one of {', '.join(sorted(CLASSES))}")
    return _Mapping(**{**given, "ego_size_m": tuple(size.tolist()), "classes": classes})


def _topic(bag: Any, path: Path, name: str | None, kinds: Mapping[str, Any], what: str) -> Any:
    """Return the connection of a topic: the named one, or the only one of these types; None for none."""
    if name is not None:
        found = [each for each in bag.connections if each.topic == name]
        if not found or found[0].msgtype not in kinds:
            raise InputError(f"{path}: {what}: there is no topic {name!r} of {', '.join(kinds)}")
        return found[0]
    found = [each for each in bag.connections if each.msgtype in kinds]
    if len(found) > 1:
        topics = ", ".join(each.topic for each in found)
        raise InputError(f"{path}: has several topics for {what}: {topics}; name one in mapping.toml: {what} = ...")
    return found[0] if found else None


def _messages(bag: Any, connection: Any) -> Iterator[Any]:
    for each, _, data in bag.messages([connection]):
        yield bag.deserialize(data, each.msgtype)


def _seconds(header: Any) -> float:
    return float(header.stamp.sec) + 1e-9 * float(header.stamp.nanosec)


def _pose_values(pose: Any) -> tuple[float, ...]:
    place, turn = pose.position, pose.orientation
    return tuple(float(v) for v in (place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z))


def _pose_row(message: Any) -> tuple[float, ...]:
    return (_seconds(message.header), *_pose_values(message.pose.pose))


def _growing(poses: Float64[Array, "n 8"], where: str) -> tuple[Float64[Array, " n"], Float64[Array, "n 4"]]:
    """Return times (s) and x, y, z (m), yaw (rad), in the order of the time stamps."""
    if len(poses) < 2 or not np.isfinite(poses).all() or not np.all(np.abs(poses[:, 1:4]) < LIMITS.coordinate_m):
        raise InputError(f"{where}: needs two poses at least, and values within {LIMITS.coordinate_m:g} m")
    times, first = np.unique(poses[:, 0], return_index=True)
    if len(times) < 2:
        raise InputError(f"{where}: all messages have one time stamp")
    return times, np.column_stack([poses[first, 1:4], yaw_of(poses[first, 4:])])


def _ego(pose: Float64[Array, "n 4"], mapping: _Mapping) -> RawTrack:
    heading = pose[:, 3]
    ahead = np.stack([np.cos(heading), np.sin(heading), 0.0 * heading], axis=1)
    position, valid = pose[:, :3] + mapping.base_to_centre_m * ahead, np.ones(len(pose), bool)
    size = np.array(mapping.ego_size_m)
    return RawTrack(EGO, Category.VEHICLE, position, heading, velocities(position, valid, TIME_STEP_S), size, valid)


def _tracks(
    path: Path,
    boxes: list[tuple[float, _Box]],
    world: str,
    mapping: _Mapping,
    times: Float64[Array, " n"],
    poses: Float64[Array, "n 4"],
    at: Float64[Array, " m"],
) -> list[RawTrack]:
    if not boxes:
        return []
    stamps = np.array([stamp for stamp, _ in boxes])
    table = np.array([box.values for _, box in boxes], np.float64)
    ego = resampled(times, poses, stamps, angle=3)
    own = np.array([box.frame != world for _, box in boxes])
    c, s = np.cos(ego[:, 3]), np.sin(ego[:, 3])
    ahead, left = table[:, 0], table[:, 1]
    placed = np.column_stack([ego[:, 0] + c * ahead - s * left, ego[:, 1] + s * ahead + c * left])
    xy = np.where(own[:, None], placed, table[:, :2])
    ground = table[:, 2] - 0.5 * table[:, 9] + np.where(own, ego[:, 2], 0.0)
    heading = yaw_of(table[:, 3:7]) + np.where(own, ego[:, 3], 0.0)
    values = np.column_stack([xy, ground, heading, table[:, 7:]])
    ids = [name_of(box.name, f"{path}: id of an object") for _, box in boxes]
    known = {**CLASSES, **{name: CLASSES[value] for name, value in mapping.classes.items()}}
    kinds = [_category(box.kind, known, str(path)) for _, box in boxes]
    return tracks_of_boxes(str(path), ids, stamps, values, kinds, at, MAX_BOX_GAP_S)


def _category(kind: Any, known: Mapping[str, Category], where: str) -> Category:
    if isinstance(kind, int):
        return AUTOWARE_CLASSES[kind] if 0 <= kind < len(AUTOWARE_CLASSES) else Category.UNKNOWN
    return meaning_of(str(kind).lower(), known, Category.UNKNOWN, "class of an object", where, ("",))


def _boxes(bag: Any, connection: Any) -> Iterator[tuple[float, _Box]]:
    """Yield all boxes with the times (s) of their messages."""
    take = OBJECTS[connection.msgtype]
    for message in _messages(bag, connection):
        yield from take(message)


def _markers(message: Any) -> Iterator[tuple[float, _Box]]:
    for marker in message.markers:
        if marker.type == CUBE and marker.action == ADD:
            size = (float(marker.scale.x), float(marker.scale.y), float(marker.scale.z))
            name = str(marker.ns) or str(marker.id)
            yield (
                _seconds(marker.header),
                _Box(str(marker.header.frame_id), name, str(marker.text), (*_pose_values(marker.pose), *size)),
            )


def _detections(message: Any) -> Iterator[tuple[float, _Box]]:
    for found in message.detections:
        size = found.bbox.size
        best = max(found.results, key=lambda result: result.hypothesis.score, default=None)
        kind = "" if best is None else str(best.hypothesis.class_id)
        values = (*_pose_values(found.bbox.center), float(size.x), float(size.y), float(size.z))
        yield _seconds(message.header), _Box(str(message.header.frame_id), str(found.id), kind, values)


def _tracked(message: Any) -> Iterator[tuple[float, _Box]]:
    for found in message.objects:
        size = found.shape.dimensions
        best = max(found.classification, key=lambda each: each.probability, default=None)
        pose = _pose_values(found.kinematics.pose_with_covariance.pose)
        values = (*pose, float(size.x), float(size.y), float(size.z))
        name = bytes(int(each) for each in found.object_id.uuid).hex()
        kind = 0 if best is None else int(best.label)
        yield _seconds(message.header), _Box(str(message.header.frame_id), name, kind, values)


OBJECTS: dict[str, Callable[[Any], Iterator[tuple[float, _Box]]]] = {
    "visualization_msgs/msg/MarkerArray": _markers,
    "vision_msgs/msg/Detection3DArray": _detections,
    "autoware_perception_msgs/msg/TrackedObjects": _tracked,
    "autoware_auto_perception_msgs/msg/TrackedObjects": _tracked,
}
