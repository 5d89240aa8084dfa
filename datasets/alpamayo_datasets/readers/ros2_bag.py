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

Objects and cameras are placed by the frames of the odometry and of the transforms (tf); a frame that is not connected
is taken as the one that the odometry tracks. All is brought to 10 Hz. Needs the extra ``ros2`` (``rosbags``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alpamayo_datasets.assemble import RawMap, assemble
from alpamayo_datasets.frames import Frames, Pose, Transform
from alpamayo_datasets.images import decoded
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_datasets.topic_cameras import Calibration, CameraTopic, raw_image, recorded_cameras
from alpamayo_datasets.topic_mapping import TopicMapping, read_mapping
from alpamayo_datasets.topic_tracks import EGO, TIME_STEP_S, EgoFrame, SeenBox, ego_track, other_tracks
from alpamayo_sim.datatypes.scene import Category, Provenance, Scene
from alpamayo_sim.errors import InputError, is_machine_fault
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

KEYS = ("odometry", "objects", "ego_size_m", "base_to_centre_m", "classes", "source", "licence")
LICENCE = "that of the bag's owner"
MAX_MESSAGES = 2_000_000
CUBE, ADD = 1, 0  # of visualization_msgs/Marker
ODOMETRY, TRANSFORMS = "nav_msgs/msg/Odometry", "tf2_msgs/msg/TFMessage"
IMAGE, RAW_IMAGE, CAMERA_INFO = (f"sensor_msgs/msg/{name}" for name in ("CompressedImage", "Image", "CameraInfo"))
AUTOWARE_CLASSES = (  # of autoware_perception_msgs/ObjectClassification
    *(Category.UNKNOWN, Category.VEHICLE, Category.TRUCK, Category.BUS, Category.TRUCK, Category.MOTORCYCLE),
    *(Category.CYCLIST, Category.PEDESTRIAN),
)

Found = tuple[Any, str, str | Category, tuple[float, ...]]  # header, name, class, and values as in ``SeenBox``


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
    mapping = read_mapping(path, KEYS)
    with refused_in_one_line(path):
        return _scene(path, mapping)


def cameras(path: Path) -> RecordedCameras:
    """Return the cameras of a bag: CompressedImage and Image, with a CameraInfo of their frame.

    Raises:
        InputError: ``rosbags`` is not installed, the bag is damaged, or has no such camera.
    """
    mapping = read_mapping(path, KEYS)
    with refused_in_one_line(path), opened(path) as bag:
        ego = ego_frame(bag, path, mapping)
        calibrations: dict[str, Calibration] = {}
        for topic in (each for each in bag.connections if each.msgtype == CAMERA_INFO):
            message = next(_messages(bag, topic), None)
            if message is not None:
                calibrations.setdefault(str(message.header.frame_id), _calibration(message))
        topics = [_camera_topic(bag, path, each) for each in bag.connections if each.msgtype in (IMAGE, RAW_IMAGE)]
        return recorded_cameras(str(path), topics, calibrations, ego, mapping.base_to_centre_m)


def _calibration(message: Any) -> Calibration:
    terms, matrix = (tuple(float(value) for value in values) for values in (message.d, message.k))
    return Calibration(int(message.width), int(message.height), str(message.distortion_model), terms, matrix)


def _camera_topic(bag: Any, path: Path, connection: Any) -> CameraTopic:
    stamps, times, frame = [], [], ""
    for _, stamp, data in bag.messages([connection]):
        header = bag.deserialize(data, connection.msgtype).header
        frame = frame or str(header.frame_id)
        stamps.append(int(stamp))
        times.append(_seconds(header))
    image = partial(_image, path, connection.topic, tuple(stamps))
    return CameraTopic(str(connection.topic), frame, np.array(times), image)


def _image(path: Path, topic: str, stamps: tuple[int, ...], k: int) -> UInt8[Array, "height width 3"]:
    """Return image k of a topic: the message that the bag has at that time (ns)."""
    where = f"{path}: image {k} of {topic[:80]!r}"
    with refused_in_one_line(path), opened(path) as bag:
        wanted = [each for each in bag.connections if each.topic == topic]
        found = next(bag.messages(wanted, start=stamps[k], stop=stamps[k] + 1), None)
        if found is None:
            raise InputError(f"{where}: is no longer there")
        connection, _, data = found
        message = bag.deserialize(data, connection.msgtype)
        if connection.msgtype == IMAGE:
            return decoded(bytes(message.data), where)
        sizes = int(message.width), int(message.height), int(message.step)
        return raw_image(bytes(message.data), str(message.encoding), *sizes, where)


@contextmanager
def refused_in_one_line(path: Path) -> Iterator[None]:
    """Turn whatever a damaged bag raises into ``InputError``: a bag brings the definitions of its own messages."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError("ROS 2 bags need rosbags; install it with: pip install 'alpamayo[ros2]'") from error
    except Exception as error:
        if is_machine_fault(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: the bag is damaged ({type(error).__name__}: {text})") from error


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a bag.

    Raises:
        InputError: It has too many messages.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as bag:
        if bag.message_count > MAX_MESSAGES:
            raise InputError(f"{path}: has {bag.message_count} messages, must be at most {MAX_MESSAGES}")
        yield bag


def _scene(path: Path, mapping: TopicMapping) -> Scene:
    where = str(path)
    with opened(path) as bag:
        ego = ego_frame(bag, path, mapping)
        objects = _topic(bag, path, mapping.objects, OBJECTS, "objects")
        boxes = [] if objects is None else list(_boxes(bag, objects, mapping, where))
    at = ego.steps(TIME_STEP_S, where)
    own = ego_track(ego, at, mapping.size_m(), mapping.base_to_centre_m, TIME_STEP_S)
    source, licence = mapping.source or "a ROS 2 bag", mapping.licence or LICENCE
    source, licence = (name_of(text, f"{path}: source or licence") for text in (source, licence))
    provenance = Provenance(source, licence, path.name)
    tracks = [own, *other_tracks(where, boxes, ego, at)]
    return assemble(where, path.name, provenance, tracks, EGO, RawMap(), [], TIME_STEP_S)


def ego_frame(bag: Any, path: Path, mapping: TopicMapping) -> EgoFrame:
    """Return the frame that the odometry tracks, in the frame of its header; the bag's transforms place the others.

    Raises:
        InputError: There is no odometry, or a pose is wrong.
    """
    odometry = _topic(bag, path, mapping.odometry, {ODOMETRY: None}, "odometry")
    if odometry is None:
        raise InputError(f"{path}: has no topic of {ODOMETRY}")
    poses = [_odometry(message) for message in _messages(bag, odometry)]
    if len(poses) < 2:
        raise InputError(f"{path}: {odometry.topic}: needs two poses at least")
    others = [each for topic in bag.connections if topic.msgtype == TRANSFORMS for each in _transforms(bag, topic)]
    ego, world = poses[0].child, poses[0].parent
    kept = [each for each in others if each.child != ego]  # the odometry tells where the ego is
    frames = Frames([*poses, *kept], f"{path}: {odometry.topic}")
    return EgoFrame(ego, world, frames, frames.times(ego))


def _odometry(message: Any) -> Transform:
    world, ego = str(message.header.frame_id), str(message.child_frame_id)
    ego = EGO if ego in ("", world) else ego
    return Transform(_seconds(message.header), world, ego, _pose_values(message.pose.pose))


def _transforms(bag: Any, connection: Any) -> Iterator[Transform]:
    for message in _messages(bag, connection):
        for each in message.transforms:
            place, turn = each.transform.translation, each.transform.rotation
            pose = tuple(float(v) for v in (place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z))
            yield Transform(_seconds(each.header), str(each.header.frame_id), str(each.child_frame_id), pose)


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


def _pose_values(pose: Any) -> Pose:
    place, turn = pose.position, pose.orientation
    return tuple(float(v) for v in (place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z))


def _boxes(bag: Any, connection: Any, mapping: TopicMapping, where: str) -> Iterator[SeenBox]:
    """Yield all boxes at the times of their messages."""
    take = OBJECTS[connection.msgtype]
    for message in _messages(bag, connection):
        for header, name, kind, values in take(message):
            category = kind if isinstance(kind, Category) else mapping.category(kind, where)
            yield SeenBox(_seconds(header), str(header.frame_id), name, category, values)


def _markers(message: Any) -> Iterator[Found]:
    for marker in message.markers:
        if marker.type == CUBE and marker.action == ADD:
            size = (float(marker.scale.x), float(marker.scale.y), float(marker.scale.z))
            name = str(marker.ns) or str(marker.id)
            yield marker.header, name, str(marker.text), (*_pose_values(marker.pose), *size)


def _detections(message: Any) -> Iterator[Found]:
    for found in message.detections:
        size = found.bbox.size
        best = max(found.results, key=lambda result: result.hypothesis.score, default=None)
        kind = "" if best is None else str(best.hypothesis.class_id)
        values = (*_pose_values(found.bbox.center), float(size.x), float(size.y), float(size.z))
        yield message.header, str(found.id), kind, values


def _tracked(message: Any) -> Iterator[Found]:
    for found in message.objects:
        size = found.shape.dimensions
        best = max(found.classification, key=lambda each: each.probability, default=None)
        pose = _pose_values(found.kinematics.pose_with_covariance.pose)
        values = (*pose, float(size.x), float(size.y), float(size.z))
        name = bytes(int(each) for each in found.object_id.uuid).hex()
        label = 0 if best is None else int(best.label)
        kind = AUTOWARE_CLASSES[label] if 0 <= label < len(AUTOWARE_CLASSES) else Category.UNKNOWN
        yield message.header, name, kind, values


OBJECTS: dict[str, Callable[[Any], Iterator[Found]]] = {
    "visualization_msgs/msg/MarkerArray": _markers,
    "vision_msgs/msg/Detection3DArray": _detections,
    "autoware_perception_msgs/msg/TrackedObjects": _tracked,
    "autoware_auto_perception_msgs/msg/TrackedObjects": _tracked,
}
