"""MCAP with Foxglove's schemas, one file for each recording: opens in Foxglove, Lichtblick and Rerun.

Frames: ``map`` is the scene's frame, ``ego`` the ego's box centre on the ground, and each sensor has its own. Needs the
extra ``mcap`` (``foxglove-sdk``).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from alpamayo_datasets.foxglove_map import MapElement, map_elements
from alpamayo_datasets.recording import DrawnSensors, Recording, SensorFrame, Sensors, recorded_truth
from alpamayo_datasets.writers.encoding import jpeg_bytes, pinhole_matrix, yaw_quaternion
from alpamayo_datasets.writers.names import file_name
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.scene import STATIC, Category, LineKind, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import from_frame

Array = np.ndarray
Colour = tuple[float, float, float, float]

MAP, EGO, LIDAR = "map", "ego", "lidar"
START_NS = 1_500_000_000_000_000_000
LINE_M, PLAN_M = 0.12, 0.3  # thickness of lines and of the plan
PLAN_HEIGHT_M = 0.2
ROAD: Colour = (0.45, 0.47, 0.5, 1.0)
WHITE: Colour = (0.95, 0.95, 0.95, 1.0)
YELLOW: Colour = (0.95, 0.8, 0.2, 1.0)
GREEN: Colour = (0.1, 0.7, 0.4, 0.9)
EGO_COLOUR: Colour = (0.1, 0.4, 0.85, 0.9)
COLOURS: dict[Category, Colour] = {
    Category.PEDESTRIAN: (0.85, 0.2, 0.35, 0.9),
    Category.CYCLIST: (0.9, 0.5, 0.15, 0.9),
    Category.MOTORCYCLE: (0.1, 0.6, 0.65, 0.9),
}
OTHERWISE: Colour = (0.5, 0.55, 0.6, 0.9)
CENTRE: Colour = (0.6, 0.6, 0.6, 0.3)
STYLES = {"drivable_area": (ROAD, LINE_M), "road_edge": (ROAD, LINE_M), "stop_line": (WHITE, 3.0 * LINE_M)}
PAINT = {kind: YELLOW for kind in LineKind if "YELLOW" in kind.name}


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write each recording as ``ID.mcap``.

    Raises:
        InputError: ``foxglove-sdk`` is not installed, a camera is no pinhole, or two recordings have one name.
    """
    try:
        import foxglove
    except ImportError as error:
        raise InputError("MCAP needs foxglove-sdk; install it with: pip install 'alpamayo[mcap]'") from error
    taken: set[str] = set()
    for recording in recordings:
        path = folder / f"{file_name(recording.scene.id, taken)}.mcap"
        context = foxglove.Context()
        with foxglove.open_mcap(path, context=context) as file:
            about = recording.scene.provenance
            words = {"source": about.source, "licence": about.licence, "scene": recording.scene.id}
            words["time_step_s"] = repr(float(recording.scene.dt))
            words["origin"] = " ".join(repr(float(value)) for value in recording.scene.origin)
            file.write_metadata("alpamayo", words)
            _Channels(context, recording).write()


class _Channels:
    """The topics of one recording, and their messages."""

    def __init__(self, context: Any, recording: Recording) -> None:
        from foxglove import channels

        self.recording, self.scene = recording, recording.scene
        self.sensors: Sensors = recording.sensors or DrawnSensors()
        made = {"context": context}
        self.transforms = channels.FrameTransformsChannel("/tf", **made)
        self.map = channels.SceneUpdateChannel("/map", **made)
        self.agents = channels.SceneUpdateChannel("/agents", **made)
        self.plan = channels.SceneUpdateChannel("/plan", **made)
        self.lidar = channels.PointCloudChannel("/lidar/points", **made)
        self.reasoning = channels.LogChannel("/reasoning", **made)
        names = [camera.name for camera in self.sensors.rig.cameras]
        self.images = [channels.CompressedImageChannel(f"/camera/{name}/image", **made) for name in names]
        self.calibrations = [channels.CameraCalibrationChannel(f"/camera/{name}/calibration", **made) for name in names]

    def write(self) -> None:
        self.map.log(map_update(self.scene), log_time=START_NS)
        for step, frame in enumerate(self.sensors.frames(self.scene)):
            truth = recorded_truth(self.scene, step)
            stamp = START_NS + round(1e9 * self.scene.dt * step)
            self.transforms.log(self._transforms(truth, stamp), log_time=stamp)
            self.agents.log(agents_update(truth, stamp), log_time=stamp)
            self._log_sensors(frame, stamp)
            self._log_driver(step, truth, stamp)

    def _transforms(self, truth: GroundTruth, stamp: int) -> Any:
        from foxglove.messages import FrameTransforms

        moved = [
            (MAP, EGO, placed(truth.ego_pose, truth.ego_elevation or 0.0), yaw_quaternion(float(truth.ego_pose[2])))
        ]
        moved.append((EGO, LIDAR, self.sensors.lidar.position, yaw_quaternion(0.0)))
        for camera in self.sensors.rig.cameras:
            turn = Rotation.from_matrix(camera.rotation.astype(np.float64)).as_quat()
            moved.append((EGO, camera.name, camera.position, turn))
        return FrameTransforms(transforms=[_transform(*each, stamp) for each in moved])

    def _log_sensors(self, frame: SensorFrame, stamp: int) -> None:
        self.lidar.log(point_cloud(frame, self.sensors, stamp), log_time=stamp)
        for k, camera in enumerate(self.sensors.rig.cameras):
            self.images[k].log(_image(camera, frame.rgb[k], stamp), log_time=stamp)
            self.calibrations[k].log(calibration(camera, stamp), log_time=stamp)

    def _log_driver(self, step: int, truth: GroundTruth, stamp: int) -> None:
        from foxglove.messages import Log, LogLevel, SceneUpdate

        words, plans = self.recording.words, self.recording.plans
        if step < len(words) and words[step]:
            message = Log(timestamp=_time(stamp), level=LogLevel.Info, message=words[step], name="driver")
            self.reasoning.log(message, log_time=stamp)
        if plans is not None and step < len(plans):
            xy = from_frame(plans[step, :, :2].astype(np.float64), truth.ego_pose.astype(np.float64))
            height = np.full((len(xy), 1), (truth.ego_elevation or 0.0) + PLAN_HEIGHT_M)
            line = _line(np.column_stack([xy, height]), GREEN, PLAN_M)
            update = SceneUpdate(entities=[_entity("plan", [line], stamp, {})])
            self.plan.log(update, log_time=stamp)


def map_update(scene: Scene) -> Any:
    """Return the map as one entity for each lane, area, crosswalk, edge, painted line and stop line."""
    from foxglove.messages import SceneUpdate

    return SceneUpdate(entities=[_element_entity(element) for element in map_elements(scene.road_map)])


def _element_entity(element: MapElement) -> Any:
    kind = element.words["element"]
    colour, thickness = STYLES.get(kind, (WHITE, LINE_M))
    if kind == "road_line":
        colour = PAINT.get(LineKind[element.words["kind"].upper()], WHITE)
    colours = [CENTRE, WHITE, WHITE] if kind == "lane" else [colour]
    lines = [_line(line, each, thickness) for line, each in zip(element.lines, colours, strict=False)]
    return _entity(element.id, lines, START_NS, element.words)


def agents_update(truth: GroundTruth, stamp: int) -> Any:
    """Return the boxes of the ego and of all road users and props that are there, and remove those that are not."""
    from foxglove.messages import SceneEntityDeletion, SceneEntityDeletionType, SceneUpdate

    agents, ids = truth.agents, list(truth.agents.ids)
    own = Category(truth.scene.ego.category)
    ground = truth.ego_elevation or 0.0
    entities = [_box(EGO, own, truth.ego_pose, truth.ego_size, ground, EGO_COLOUR, stamp)]
    for k in np.flatnonzero(agents.valid):
        height = 0.0 if agents.elevation is None else float(np.nan_to_num(agents.elevation[k]))
        category = Category(agents.category[k])
        colour = COLOURS.get(category, OTHERWISE)
        entities.append(_box(ids[k], category, agents.pose[k], agents.size[k], height, colour, stamp))
    gone = [
        SceneEntityDeletion(timestamp=_time(stamp), type=SceneEntityDeletionType.MatchingId, id=ids[k])
        for k in np.flatnonzero(~agents.valid)
        if Category(agents.category[k]) not in STATIC
    ]
    return SceneUpdate(entities=entities, deletions=gone)


def point_cloud(frame: SensorFrame, sensors: Sensors, stamp: int) -> Any:
    """Return the points in the lidar's frame: float32 x, y, z (m) and intensity in [0, 1]."""
    from foxglove.messages import PackedElementField, PackedElementFieldNumericType, PointCloud

    points = frame.points - np.append(sensors.lidar.position, 0.0)
    kind = PackedElementFieldNumericType.Float32
    names = ("x", "y", "z", "intensity")
    fields = [PackedElementField(name=name, offset=4 * k, type=kind) for k, name in enumerate(names)]
    data = points.astype("<f4").tobytes()
    return PointCloud(
        timestamp=_time(stamp),
        frame_id=LIDAR,
        pose=_pose(np.zeros(3), yaw_quaternion(0.0)),
        point_stride=16,
        fields=fields,
        data=data,
    )


def calibration(camera: Camera, stamp: int) -> Any:
    """Return the calibration of a pinhole; in ROS the centre of the top left pixel is (0, 0).

    Raises:
        InputError: The camera is no pinhole.
    """
    from foxglove.messages import CameraCalibration

    k = pinhole_matrix(camera, "Foxglove's calibration").reshape(-1).tolist()
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    straight = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    size = {"width": camera.width, "height": camera.height}
    return CameraCalibration(timestamp=_time(stamp), frame_id=camera.name, **size, K=k, R=straight, P=p)


def placed(pose: Float[Array, "3"], height: float) -> Float[Array, "3"]:
    """Return x, y of a pose with a height (m)."""
    return np.array([pose[0], pose[1], height], np.float64)


def _transform(parent: str, child: str, place: Array, turn: Array, stamp: int) -> Any:
    from foxglove.messages import FrameTransform, Quaternion, Vector3

    x, y, z, w = (float(value) for value in turn)
    a, b, c = (float(value) for value in place)
    return FrameTransform(
        timestamp=_time(stamp),
        parent_frame_id=parent,
        child_frame_id=child,
        translation=Vector3(x=a, y=b, z=c),
        rotation=Quaternion(x=x, y=y, z=z, w=w),
    )


def _image(camera: Camera, rgb: Array, stamp: int) -> Any:
    from foxglove.messages import CompressedImage

    return CompressedImage(timestamp=_time(stamp), frame_id=camera.name, data=jpeg_bytes(rgb), format="jpeg")


def _box(name: str, category: Category, pose: Array, size: Array, ground: float, colour: Colour, stamp: int) -> Any:
    from foxglove.messages import CubePrimitive, SceneEntity, Vector3

    length, width, height = (float(value) for value in size)
    centre = placed(pose, ground + 0.5 * height)
    turned = _pose(centre, yaw_quaternion(float(pose[2])))
    cube = CubePrimitive(pose=turned, size=Vector3(x=length, y=width, z=height), color=_colour(colour))
    words = _pairs({"category": category.name.lower()})
    return SceneEntity(timestamp=_time(stamp), frame_id=MAP, id=name, cubes=[cube], metadata=words)


def _line(points: Array, colour: Colour, thickness: float = LINE_M) -> Any:
    from foxglove.messages import LinePrimitive, Point3

    made = [Point3(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
    pose = _pose(np.zeros(3), yaw_quaternion(0.0))
    return LinePrimitive(pose=pose, thickness=thickness, points=made, color=_colour(colour))


def _entity(name: str, lines: list[Any], stamp: int, words: dict[str, str]) -> Any:
    from foxglove.messages import SceneEntity

    return SceneEntity(timestamp=_time(stamp), frame_id=MAP, id=name, lines=lines, metadata=_pairs(words))


def _pairs(words: dict[str, str]) -> list[Any]:
    from foxglove.messages import KeyValuePair

    return [KeyValuePair(key=key, value=value) for key, value in words.items()]


def _pose(place: Array, turn: Array) -> Any:
    from foxglove.messages import Pose, Quaternion, Vector3

    (a, b, c), (x, y, z, w) = ([float(value) for value in values] for values in (place, turn))
    return Pose(position=Vector3(x=a, y=b, z=c), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _colour(colour: Colour) -> Any:
    from foxglove.messages import Color

    r, g, b, a = colour
    return Color(r=r, g=g, b=b, a=a)


def _time(stamp: int) -> Any:
    from foxglove.messages import Timestamp

    return Timestamp(sec=stamp // 1_000_000_000, nsec=stamp % 1_000_000_000)
