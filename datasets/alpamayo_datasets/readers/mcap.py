"""MCAP files with Foxglove's schemas, in Protocol Buffers or JSON: those of this project, and others'.

The ego is a frame of the transforms (FrameTransform, FrameTransforms), other road users are the cubes of a SceneUpdate
topic. This project's files tell categories, map elements, source and origin, too; for others ``NAME.toml`` beside the
file may say what is what:

    ego_frame = "base_link"                       # else the first of EGO_FRAMES that the file has
    objects = "/markers/annotations"              # else the only topic with cubes
    map = "/semantic_map"                         # a topic whose lines are painted lines of the map
    ego_size_m, base_to_centre_m, source, licence and [classes] as for ROS 2 bags

All is brought to 10 Hz, or to the time step of this project's files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alpamayo_datasets.assemble import RawMap, assemble
from alpamayo_datasets.foxglove_map import DrawnLine, raw_map_of
from alpamayo_datasets.foxglove_messages import ENCODINGS, PREFIX, decode
from alpamayo_datasets.frames import Frames, Transform
from alpamayo_datasets.images import decoded
from alpamayo_datasets.mcap_file import MAGIC, MessageReader, Metadata, Topic, TopicMessage, records
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_datasets.topic_cameras import Calibration, CameraTopic, raw_image, recorded_cameras
from alpamayo_datasets.topic_mapping import TopicMapping, read_mapping
from alpamayo_datasets.topic_tracks import EGO, TIME_STEP_S, EgoFrame, SeenBox, ego_track, other_tracks
from alpamayo_sim.datatypes.scene import Provenance, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS, name_of

Array = np.ndarray

KEYS = ("ego_frame", "objects", "map", "ego_size_m", "base_to_centre_m", "classes", "source", "licence")
LICENCE = "that of the file's owner"
ABOUT = "alpamayo"  # the metadata record of this project's files
SCENE_ORIGIN = "origin of the scene"  # the frame that stands for the scene's float64 origin
EGO_FRAMES = ("ego", "base_link", "base_footprint", "ego_vehicle", "vehicle")
CATEGORY_KEYS = ("category", "class", "type", "label", "classification")
UPDATE, TRANSFORM, TRANSFORMS = (PREFIX + name for name in ("SceneUpdate", "FrameTransform", "FrameTransforms"))
IMAGE, RAW_IMAGE, CALIBRATION = (PREFIX + name for name in ("CompressedImage", "RawImage", "CameraCalibration"))
CAMERA_SCHEMAS = (TRANSFORM, TRANSFORMS, IMAGE, RAW_IMAGE, CALIBRATION)
MAX_MESSAGES, MAX_BOXES = 2_000_000, 1_000_000
TIME_STEPS_S = (0.01, 1.0)  # that a file may name


@dataclass(eq=False)
class _Found:
    """What a file holds: transforms, boxes by their topics, lines, and the words about it."""

    transforms: list[Transform] = field(default_factory=list)
    boxes: dict[str, list[SeenBox]] = field(default_factory=dict)
    lines: list[DrawnLine] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)


def matches(path: Path, head: bytes) -> bool:
    """Return whether a file is MCAP."""
    return head.startswith(MAGIC)


def read(path: Path) -> Scene:
    """Return the Scene of a file.

    Raises:
        InputError: The file or its mapping is damaged, or has no poses of the ego.
    """
    mapping, where = read_mapping(path, KEYS), str(path)
    found = _found(path, mapping)
    ego = ego_frame(found.transforms, mapping, found.about, where)
    dt = _time_step(found.about, where)
    at = ego.steps(dt, f"{where}: frame {ego.name!r}")
    own, others = _split(_objects(found.boxes, mapping, where), {EGO, ego.name})
    size = mapping.ego_size_m or (own[0].values[7:] if own else mapping.size_m())
    tracks = [ego_track(ego, at, size, mapping.base_to_centre_m, dt), *other_tracks(where, others, ego, at)]
    raw_map = raw_map_of(found.lines, ego, where) if found.lines else RawMap()
    name = name_of(found.about.get("scene", path.stem), f"{where}: name of the scene")
    provenance = Provenance(
        name_of(mapping.source or found.about.get("source", "an MCAP file"), f"{where}: source"),
        name_of(mapping.licence or found.about.get("licence", LICENCE), f"{where}: licence"),
        path.stem,
    )
    return assemble(where, name, provenance, tracks, EGO, raw_map, [], dt)


def cameras(path: Path) -> RecordedCameras:
    """Return the cameras of a file: CompressedImage and RawImage, with a CameraCalibration of their frame.

    Raises:
        InputError: The file is damaged, or has no such camera.
    """
    mapping, where = read_mapping(path, KEYS), str(path)
    found = _FoundCameras()
    for count, record in enumerate(records(path, _is_camera)):
        if count >= MAX_MESSAGES:
            raise InputError(f"{path}: has more than {MAX_MESSAGES} messages")
        if isinstance(record, Metadata):
            found.about |= record.words if record.name == ABOUT else {}
        else:
            found.take(record, f"{path}: topic {record.topic.name[:80]!r}")
    reader = MessageReader(path)
    topics = [
        CameraTopic(name, frame, np.array([time for time, _ in rows]), _image_of(reader, [each for _, each in rows]))
        for (name, frame), rows in found.images.items()
    ]
    ego = ego_frame(found.transforms, mapping, found.about, where)
    return recorded_cameras(where, topics, found.calibrations, ego, mapping.base_to_centre_m)


def _is_camera(topic: Topic) -> bool:
    return topic.schema in CAMERA_SCHEMAS and topic.encoding in ENCODINGS


@dataclass(eq=False)
class _FoundCameras:
    """What a file holds for cameras: the messages of images, without their data, by topic and frame."""

    transforms: list[Transform] = field(default_factory=list)
    images: dict[tuple[str, str], list[tuple[float, TopicMessage]]] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)

    def take(self, message: TopicMessage, where: str) -> None:
        if message.topic.schema in (TRANSFORM, TRANSFORMS):
            self.transforms += transforms_of(message, where)
            return
        value = decode(message.topic.schema, message.data, message.topic.encoding, where)
        if message.topic.schema == CALIBRATION:
            self.calibrations.setdefault(value["frame_id"], _calibration(value))
            return
        rows = self.images.setdefault((message.topic.name, value["frame_id"]), [])
        rows.append((value["timestamp"] or 1e-9 * message.log_time_ns, replace(message, data=b"")))


def _calibration(value: dict[str, Any]) -> Calibration:
    model, terms = value["distortion_model"], tuple(value["D"])
    return Calibration(value["width"], value["height"], model, terms, tuple(value["K"]))


def _image_of(reader: MessageReader, messages: list[TopicMessage]) -> Callable[[int], UInt8[Array, "height width 3"]]:
    """Return what decodes image k of a topic."""

    def image(k: int) -> UInt8[Array, "height width 3"]:
        topic, where = messages[k].topic, f"{reader.path}: image {k} of {messages[k].topic.name[:80]!r}"
        value = decode(topic.schema, reader.data(messages[k].place), topic.encoding, where)
        if topic.schema == IMAGE:
            return decoded(value["data"], where)
        sizes = value["width"], value["height"], value["step"]
        return raw_image(value["data"], value["encoding"], *sizes, where)

    return image


def ego_frame(transforms: list[Transform], mapping: TopicMapping, about: dict[str, str], where: str) -> EgoFrame:
    """Return the ego's frame in the outermost frame of a file.

    Raises:
        InputError: There is no such frame, or a transform is wrong.
    """
    frames = Frames(transforms, where)
    names = EGO_FRAMES if mapping.ego_frame is None else (mapping.ego_frame,)
    name = next((each for each in names if each in frames), None)
    if name is None:
        file = Path(where).with_suffix(".toml").name
        raise InputError(
            f"{where}: no transform of Foxglove's schemas moves {' or '.join(names)}; name the ego's frame in {file}: "
            "ego_frame = ... (a ROS 2 bag is opened by its folder)"
        )
    if "origin" in about:
        place = _origin(about["origin"], where)
        origin = Transform(0.0, SCENE_ORIGIN, frames.root(name), (*place, 1.0, 0.0, 0.0, 0.0))
        frames = Frames([*transforms, origin], where)
    return EgoFrame(name, frames.root(name), frames, frames.times(name))


def transforms_of(message: TopicMessage, where: str) -> list[Transform]:
    """Return the transforms of a message of foxglove.FrameTransform or foxglove.FrameTransforms."""
    value = decode(message.topic.schema, message.data, message.topic.encoding, where)
    parts = value["transforms"] if message.topic.schema == TRANSFORMS else [value]
    return [_transform(part) for part in parts]


def _transform(part: dict[str, Any]) -> Transform:
    pose = (*part["translation"], *part["rotation"])
    return Transform(part["timestamp"], part["parent_frame_id"], part["child_frame_id"], pose)


def is_wanted(topic: Topic) -> bool:
    """Return whether a topic has transforms, boxes or lines."""
    return topic.schema in (UPDATE, TRANSFORM, TRANSFORMS) and topic.encoding in ENCODINGS


def _found(path: Path, mapping: TopicMapping) -> _Found:
    found = _Found()
    boxes = points = 0
    for count, record in enumerate(records(path, is_wanted)):
        if count >= MAX_MESSAGES or boxes > MAX_BOXES or points > LIMITS.points:
            raise InputError(
                f"{path}: has more than {MAX_MESSAGES} messages, {MAX_BOXES} boxes or {LIMITS.points} points of lines"
            )
        if isinstance(record, Metadata):
            found.about |= record.words if record.name == ABOUT else {}
            continue
        where = f"{path}: topic {record.topic.name[:80]!r}"
        if record.topic.schema != UPDATE:
            found.transforms += transforms_of(record, where)
            continue
        for entity in decode(UPDATE, record.data, record.topic.encoding, where)["entities"]:
            seen = list(_boxes(entity, 1e-9 * record.log_time_ns, mapping, str(path)))
            found.boxes.setdefault(record.topic.name, []).extend(seen) if seen else None
            lines = list(_lines(entity, record.topic.name == mapping.map))
            found.lines += lines
            boxes, points = boxes + len(seen), points + sum(len(line.points) for line in lines)
    return found


def _boxes(entity: dict[str, Any], log_time: float, mapping: TopicMapping, where: str) -> Iterator[SeenBox]:
    words = {pair["key"].lower(): pair["value"] for pair in entity["metadata"]}
    kind = next((words[key] for key in CATEGORY_KEYS if key in words), "")
    for k, cube in enumerate(entity["cubes"]):
        name = entity["id"] if k == 0 else f"{entity['id']}/{k}"
        values = (*cube["pose"]["position"], *cube["pose"]["orientation"], *cube["size"])
        time = entity["timestamp"] or log_time
        yield SeenBox(time, entity["frame_id"], name, mapping.category(kind, where), values)


def _lines(entity: dict[str, Any], is_map: bool) -> Iterator[DrawnLine]:
    words = {pair["key"]: pair["value"] for pair in entity["metadata"]}
    if not entity["lines"] or not (is_map or "element" in words):
        return
    for k, line in enumerate(entity["lines"]):
        pose = (*line["pose"]["position"], *line["pose"]["orientation"])
        yield DrawnLine(entity["id"], k, entity["frame_id"], pose, line["points"], words)


def _objects(boxes: dict[str, list[SeenBox]], mapping: TopicMapping, where: str) -> list[SeenBox]:
    """Return the boxes of the named topic, else of the only one that has any."""
    if mapping.objects is not None:
        if mapping.objects not in boxes:
            raise InputError(f"{where}: objects: there is no topic {mapping.objects!r} of {UPDATE} with cubes")
        return boxes[mapping.objects]
    if len(boxes) > 1:
        file = Path(where).with_suffix(".toml").name
        raise InputError(
            f"{where}: has several topics with cubes: {', '.join(boxes)}; name one in {file}: objects = ..."
        )
    return next(iter(boxes.values()), [])


def _split(boxes: list[SeenBox], names: set[str]) -> tuple[list[SeenBox], list[SeenBox]]:
    """Return the ego's own boxes, and all others."""
    return [box for box in boxes if box.name in names], [box for box in boxes if box.name not in names]


def _time_step(about: dict[str, str], where: str) -> float:
    return _numbers(about.get("time_step_s", str(TIME_STEP_S)), 1, TIME_STEPS_S, f"{where}: time_step_s")[0]


def _origin(text: str, where: str) -> tuple[float, ...]:
    return _numbers(text, 3, (-LIMITS.coordinate_m, LIMITS.coordinate_m), f"{where}: origin")


def _numbers(text: str, count: int, within: tuple[float, float], where: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        values = ()
    if len(values) != count or not all(within[0] <= value <= within[1] for value in values):
        raise InputError(f"{where}: must be {count} numbers from {within[0]:g} to {within[1]:g}")
    return values
