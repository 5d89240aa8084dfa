"""ROS 2 bags (rosbag2 with MCAP storage), one folder for each recording; they need no ROS to be written or read.

Topics: ``/odometry``, ``/tf``, ``/objects`` (a MarkerArray of cubes), ``/camera/NAME/image/compressed`` and
``camera_info``, ``/lidar/points``, ``/plan`` and ``/reasoning``. ``base_link`` is the centre of the ego's box on the
ground. ``mapping.toml`` in the folder tells the reader so. Needs the extra ``ros2`` (``rosbags``).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from alpamayo_datasets.recording import DrawnSensors, Recording, SensorFrame, Sensors, recorded_truth
from alpamayo_datasets.writers.encoding import jpeg_bytes, pinhole_matrix, yaw_quaternion
from alpamayo_datasets.writers.names import file_name
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError

Array = np.ndarray

MAP, BASE, LIDAR = "map", "base_link", "lidar"
START_NS = 1_500_000_000_000_000_000
VERSION = 9
LIFETIME_NS = 150_000_000  # of a box on the screen
FLOAT32 = 7  # of sensor_msgs/PointField
ODOMETRY, OBJECTS = "/odometry", "/objects"
TYPES = {
    ODOMETRY: "nav_msgs/msg/Odometry",
    "/tf": "tf2_msgs/msg/TFMessage",
    OBJECTS: "visualization_msgs/msg/MarkerArray",
    "/lidar/points": "sensor_msgs/msg/PointCloud2",
    "/plan": "nav_msgs/msg/Path",
    "/reasoning": "std_msgs/msg/String",
}


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write each recording as the bag ``ID``.

    Raises:
        InputError: ``rosbags`` is not installed, a camera is no pinhole, or two recordings have one name.
    """
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError("ROS 2 bags need rosbags; install it with: pip install 'alpamayo[ros2]'") from error
    taken: set[str] = set()
    for recording in recordings:
        path = folder / file_name(recording.scene.id, taken)
        with Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP) as bag:
            about = recording.scene.provenance
            for name, value in (("source", about.source), ("licence", about.licence), ("scene", recording.scene.id)):
                bag.set_custom_data(name, value)
            _Bag(bag, get_typestore(Stores.ROS2_HUMBLE), recording).write()
        size = ", ".join(f"{float(value):.6g}" for value in recording.scene.ego.size)
        topics = f'odometry = "{ODOMETRY}"', f'objects = "{OBJECTS}"'
        told = (f"{name} = {json.dumps(text)}" for name, text in (("source", about.source), ("licence", about.licence)))
        lines = (*topics, f"ego_size_m = [{size}]", "base_to_centre_m = 0.0", *told)
        (path / "mapping.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


class _Bag:
    """The topics of one recording, and their messages."""

    def __init__(self, bag: Any, store: Any, recording: Recording) -> None:
        self.bag, self.store, self.recording, self.scene = bag, store, recording, recording.scene
        self.sensors: Sensors = recording.sensors or DrawnSensors()
        kinds = dict(TYPES)
        for camera in self.sensors.rig.cameras:
            kinds[f"/camera/{camera.name}/image/compressed"] = "sensor_msgs/msg/CompressedImage"
            kinds[f"/camera/{camera.name}/camera_info"] = "sensor_msgs/msg/CameraInfo"
        self.topics = {topic: bag.add_connection(topic, kind, typestore=store) for topic, kind in kinds.items()}
        self.numbers = {name: k for k, name in enumerate(recorded_truth(self.scene, 0).agents.ids)}

    def write(self) -> None:
        for step, frame in enumerate(self.sensors.frames(self.scene)):
            truth = recorded_truth(self.scene, step)
            stamp = START_NS + round(1e9 * self.scene.dt * step)
            self._send(ODOMETRY, self._odometry(truth, stamp), stamp)
            self._send("/tf", self._transforms(truth, stamp), stamp)
            self._send(OBJECTS, self._objects(truth, stamp), stamp)
            self._send_sensors(frame, stamp)
            self._send_driver(step, stamp)

    def _send(self, topic: str, message: Any, stamp: int) -> None:
        connection = self.topics[topic]
        self.bag.write(connection, stamp, self.store.serialize_cdr(message, connection.msgtype))

    def _new(self, kind: str, **values: Any) -> Any:
        return self.store.types[kind](**values)

    def _header(self, frame: str, stamp: int) -> Any:
        time = self._new("builtin_interfaces/msg/Time", sec=stamp // 1_000_000_000, nanosec=stamp % 1_000_000_000)
        return self._new("std_msgs/msg/Header", stamp=time, frame_id=frame)

    def _point(self, place: Float[Array, "3"], kind: str = "Point") -> Any:
        x, y, z = (float(value) for value in place)
        return self._new(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)

    def _turn(self, quaternion: Float[Array, "4"]) -> Any:
        x, y, z, w = (float(value) for value in quaternion)
        return self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _pose(self, place: Array, heading: float) -> Any:
        return self._new(
            "geometry_msgs/msg/Pose", position=self._point(place), orientation=self._turn(yaw_quaternion(heading))
        )

    def _odometry(self, truth: GroundTruth, stamp: int) -> Any:
        step = truth.step
        c, s = np.cos(truth.ego_pose[2]), np.sin(truth.ego_pose[2])
        vx, vy = self.scene.ego.velocity[step]
        linear, zero = np.array([c * vx + s * vy, c * vy - s * vx, 0.0]), np.zeros(3)
        twist = self._new(
            "geometry_msgs/msg/Twist", linear=self._point(linear, "Vector3"), angular=self._point(zero, "Vector3")
        )
        none = np.zeros(36)
        place = np.append(truth.ego_pose[:2], truth.ego_elevation or 0.0)
        pose = self._pose(place, float(truth.ego_pose[2]))
        return self._new(
            "nav_msgs/msg/Odometry",
            header=self._header(MAP, stamp),
            child_frame_id=BASE,
            pose=self._new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=none),
            twist=self._new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=none),
        )

    def _transforms(self, truth: GroundTruth, stamp: int) -> Any:
        place = np.append(truth.ego_pose[:2], truth.ego_elevation or 0.0)
        moved = [(MAP, BASE, place, yaw_quaternion(float(truth.ego_pose[2])))]
        moved.append((BASE, LIDAR, self.sensors.lidar.position, yaw_quaternion(0.0)))
        for camera in self.sensors.rig.cameras:
            turn = Rotation.from_matrix(camera.rotation.astype(np.float64)).as_quat()
            moved.append((BASE, camera.name, camera.position, turn))
        made = [
            self._new(
                "geometry_msgs/msg/TransformStamped",
                header=self._header(parent, stamp),
                child_frame_id=child,
                transform=self._new(
                    "geometry_msgs/msg/Transform", translation=self._point(at, "Vector3"), rotation=self._turn(turn)
                ),
            )
            for parent, child, at, turn in moved
        ]
        return self._new("tf2_msgs/msg/TFMessage", transforms=made)

    def _objects(self, truth: GroundTruth, stamp: int) -> Any:
        agents = truth.agents
        markers = [self._marker(truth, int(k), stamp) for k in np.flatnonzero(agents.valid)]
        return self._new("visualization_msgs/msg/MarkerArray", markers=markers)

    def _marker(self, truth: GroundTruth, k: int, stamp: int) -> Any:
        agents, marker = truth.agents, self.store.types["visualization_msgs/msg/Marker"]
        ground = 0.0 if agents.elevation is None else float(np.nan_to_num(agents.elevation[k]))
        place = np.append(agents.pose[k, :2], ground + 0.5 * float(agents.size[k, 2]))
        nothing = np.zeros(0, np.uint8)
        no_mesh = self._new("visualization_msgs/msg/MeshFile", filename="", data=nothing)
        header = self._header("", 0)
        no_picture = self._new("sensor_msgs/msg/CompressedImage", header=header, format="", data=nothing)
        lifetime = self._new("builtin_interfaces/msg/Duration", sec=0, nanosec=LIFETIME_NS)
        return marker(
            header=self._header(MAP, stamp),
            ns=agents.ids[k],
            id=self.numbers[agents.ids[k]],
            type=marker.CUBE,
            action=marker.ADD,
            pose=self._pose(place, float(agents.pose[k, 2])),
            scale=self._point(agents.size[k], "Vector3"),
            color=self._new("std_msgs/msg/ColorRGBA", r=0.5, g=0.55, b=0.6, a=0.9),
            lifetime=lifetime,
            frame_locked=False,
            points=[],
            colors=[],
            texture_resource="",
            texture=no_picture,
            uv_coordinates=[],
            text=Category(agents.category[k]).name.lower(),
            mesh_resource="",
            mesh_file=no_mesh,
            mesh_use_embedded_materials=False,
        )

    def _send_sensors(self, frame: SensorFrame, stamp: int) -> None:
        points = (frame.points - np.append(self.sensors.lidar.position, 0.0)).astype("<f4")
        names = ("x", "y", "z", "intensity")
        fields = [
            self._new("sensor_msgs/msg/PointField", name=name, offset=4 * k, datatype=FLOAT32, count=1)
            for k, name in enumerate(names)
        ]
        cloud = self._new(
            "sensor_msgs/msg/PointCloud2",
            header=self._header(LIDAR, stamp),
            height=1,
            width=len(points),
            fields=fields,
            is_bigendian=False,
            point_step=4 * len(names),
            row_step=4 * len(names) * len(points),
            data=np.frombuffer(points.tobytes(), np.uint8),
            is_dense=True,
        )
        self._send("/lidar/points", cloud, stamp)
        for camera, image in zip(self.sensors.rig.cameras, frame.rgb, strict=True):
            data = np.frombuffer(jpeg_bytes(image), np.uint8)
            header = self._header(camera.name, stamp)
            picture = self._new("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=data)
            self._send(f"/camera/{camera.name}/image/compressed", picture, stamp)
            self._send(f"/camera/{camera.name}/camera_info", self._camera_info(camera, stamp), stamp)

    def _camera_info(self, camera: Camera, stamp: int) -> Any:
        k = pinhole_matrix(camera, "CameraInfo").reshape(-1)
        roi = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(camera.name, stamp),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k,
            r=np.eye(3).reshape(-1),
            p=np.insert(k, (3, 6, 9), 0.0),
            binning_x=0,
            binning_y=0,
            roi=self._new("sensor_msgs/msg/RegionOfInterest", **roi),
        )

    def _send_driver(self, step: int, stamp: int) -> None:
        words, plans = self.recording.words, self.recording.plans
        if step < len(words) and words[step]:
            self._send("/reasoning", self._new("std_msgs/msg/String", data=words[step]), stamp)
        if plans is not None and step < len(plans):
            header = self._header(BASE, stamp)
            poses = [
                self._new(
                    "geometry_msgs/msg/PoseStamped",
                    header=header,
                    pose=self._pose(np.array([x, y, 0.0]), float(heading)),
                )
                for x, y, heading, _ in plans[step]
            ]
            self._send("/plan", self._new("nav_msgs/msg/Path", header=header, poses=poses), stamp)
