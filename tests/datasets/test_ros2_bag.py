"""ROS 2 bags, written and read back without ROS."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings.first_steps import first_steps
from recordings.motion import replay_errors, same_tracks

from alpamayo_datasets import DrawnSensors, Recording, find_log, open_log, writer_named
from alpamayo_datasets.readers.ros2_bag import matches
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError

pytest.importorskip("rosbags", reason="the extra ros2 is not installed")

STEPS = 11
RINGS = np.deg2rad(np.linspace(5.0, -25.0, 4)).astype(np.float32)
SENSORS = DrawnSensors(nuscenes_rig(32, 18), Lidar("small", RINGS, 60, np.array([0.0, 0.0, 1.8], np.float32)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    made = first_steps(make_scenario("cut-in", 3).scene, STEPS)
    ahead = np.linspace(0.0, 0.1 * (STEPS - 1), STEPS, dtype=np.float32)[:, None]
    tracks = made.tracks
    moved = [replace(t, position=t.position + ahead * np.pad(t.velocity, ((0, 0), (0, 1)))) for t in tracks]
    return replace(made, tracks=tuple(moved))


@pytest.fixture(scope="module")
def bag(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "out"
    plans = np.zeros((STEPS - 1, 64, 4), np.float32)
    writer_named("ros2-bag").write([Recording(scene, SENSORS, ("Keep the lane.",), plans)], folder)
    (path,) = folder.iterdir()
    return path


def test_the_topics_are_those_of_ros(bag: Path) -> None:
    from rosbags.highlevel import AnyReader

    with AnyReader([bag]) as reader:
        counts = {name: (topic.msgtype, topic.msgcount) for name, topic in reader.topics.items()}
        (cloud,) = (c for c in reader.connections if c.topic == "/lidar/points")
        first = next(reader.messages([cloud]))
        points = reader.deserialize(first[2], cloud.msgtype)
    assert counts["/odometry"] == ("nav_msgs/msg/Odometry", STEPS)
    assert counts["/objects"] == ("visualization_msgs/msg/MarkerArray", STEPS)
    assert counts["/tf"] == ("tf2_msgs/msg/TFMessage", STEPS)
    assert counts["/plan"] == ("nav_msgs/msg/Path", STEPS - 1)
    assert counts["/reasoning"] == ("std_msgs/msg/String", 1)
    assert counts["/camera/CAM_FRONT/image/compressed"] == ("sensor_msgs/msg/CompressedImage", STEPS)
    assert counts["/camera/CAM_FRONT/camera_info"] == ("sensor_msgs/msg/CameraInfo", STEPS)
    assert len(points.data) == points.width * points.point_step


def test_it_reads_back_as_the_same_road_users(scene: Scene, bag: Path) -> None:
    back = open_log(bag)
    assert find_log(bag).reader.name == "ros2-bag"
    assert (back.steps, back.dt) == (STEPS, 0.1)
    assert (back.provenance.source, back.provenance.licence) == (scene.provenance.source, scene.provenance.licence)
    np.testing.assert_allclose(back.ego.size, scene.ego.size, rtol=1e-5)
    assert {prop.id for prop in back.props} == {prop.id for prop in scene.props}
    for track, _ in same_tracks(back, scene, atol=1e-4):
        assert track.valid.any()
    assert replay_errors(back)[0] < 1e-3


def test_it_has_its_cameras(scene: Scene, bag: Path) -> None:
    cameras = find_log(bag).cameras()
    drawn = [frame.rgb for frame in SENSORS.frames(scene)]
    for step in (0, 7):
        images, ages = cameras.images(SENSORS.rig, 0.1 * step)
        np.testing.assert_allclose(ages, 0.0, atol=1e-6)
        assert np.abs(images[:, :, 8:24].astype(float) - drawn[step][:, :, 8:24]).mean() < 6.0  # what jpg loses


def test_objects_in_the_frame_of_the_car_are_placed_by_the_odometry(scene: Scene, tmp_path: Path) -> None:
    """A bag of another system: its own names, a rear axle, SQLite storage, and a mapping beside it."""
    path = tmp_path / "drive"
    _write_foreign(path)
    (tmp_path / "drive.toml").write_text(
        'objects = "/found"\nego_size_m = [4.0, 1.8, 1.5]\nbase_to_centre_m = 1.2\n[classes]\nlorry = "truck"\n'
    )
    back = open_log(path)
    (lorry,) = (track for track in back.tracks if track.id == "7")
    assert lorry.category == Category.TRUCK
    at = back.origin[:2] + lorry.position[:, :2]
    np.testing.assert_allclose(at, [[50.0, 20.0]] * back.steps, atol=1e-3)
    np.testing.assert_allclose(np.abs(lorry.heading), np.pi / 2, atol=1e-3)
    ego = back.origin[:2] + back.ego.position[:, :2]
    np.testing.assert_allclose(ego[:, 1], 1.2 + 5.0 * 0.1 * np.arange(back.steps), atol=1e-3)
    np.testing.assert_allclose(back.ego.size, [4.0, 1.8, 1.5], rtol=1e-6)


def _write_foreign(path: Path) -> None:
    """Write a bag whose car drives north at 5 m/s, with a lorry that stands at (50, 20) and looks north."""
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = store.types

    def new(kind: str, **values: Any) -> Any:
        return types[kind](**values)

    def pose(x: float, y: float, z: float, heading: float) -> Any:
        place = new("geometry_msgs/msg/Point", x=x, y=y, z=z)
        half = 0.5 * heading
        turn = new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=float(np.sin(half)), w=float(np.cos(half)))
        return new("geometry_msgs/msg/Pose", position=place, orientation=turn)

    def header(frame: str, k: int) -> Any:
        time = new("builtin_interfaces/msg/Time", sec=100 + k // 10, nanosec=(k % 10) * 100_000_000)
        return new("std_msgs/msg/Header", stamp=time, frame_id=frame)

    zero = new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    none = np.zeros(0, np.uint8)
    with Writer(path, version=9) as bag:
        odometry = bag.add_connection("/pose", "nav_msgs/msg/Odometry", typestore=store)
        found = bag.add_connection("/found", "visualization_msgs/msg/MarkerArray", typestore=store)
        other = bag.add_connection("/debug", "visualization_msgs/msg/MarkerArray", typestore=store)
        for k in range(11):
            twist = new("geometry_msgs/msg/Twist", linear=zero, angular=zero)
            where = new(
                "geometry_msgs/msg/PoseWithCovariance", pose=pose(0.0, 0.5 * k, 0.0, np.pi / 2), covariance=np.zeros(36)
            )
            message = new(
                "nav_msgs/msg/Odometry",
                header=header("odom", k),
                child_frame_id="base_link",
                pose=where,
                twist=new("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
            )
            bag.write(odometry, k, store.serialize_cdr(message, odometry.msgtype))
            marker = new(
                "visualization_msgs/msg/Marker",
                header=header("base_link", k),
                ns="",
                id=7,
                type=1,
                action=0,
                pose=pose(20.0 - 0.5 * k, -50.0, 1.5, 0.0),
                scale=new("geometry_msgs/msg/Vector3", x=9.0, y=2.5, z=3.0),
                color=new("std_msgs/msg/ColorRGBA", r=0.0, g=0.0, b=0.0, a=1.0),
                lifetime=new("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
                frame_locked=False,
                points=[],
                colors=[],
                texture_resource="",
                texture=new("sensor_msgs/msg/CompressedImage", header=header("", 0), format="", data=none),
                uv_coordinates=[],
                text="Lorry",
                mesh_resource="",
                mesh_file=new("visualization_msgs/msg/MeshFile", filename="", data=none),
                mesh_use_embedded_materials=False,
            )
            markers = new("visualization_msgs/msg/MarkerArray", markers=[marker])
            for connection in (found, other):
                bag.write(connection, k, store.serialize_cdr(markers, connection.msgtype))


DEFINITIONS = {
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
        "vision_msgs/BoundingBox3D bbox\nstring id\n"
    ),
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "autoware_perception_msgs/msg/TrackedObjects": (
        "std_msgs/Header header\nautoware_perception_msgs/TrackedObject[] objects\n"
    ),
    "autoware_perception_msgs/msg/TrackedObject": (
        "unique_identifier_msgs/UUID object_id\nfloat32 existence_probability\n"
        "autoware_perception_msgs/ObjectClassification[] classification\n"
        "autoware_perception_msgs/TrackedObjectKinematics kinematics\nautoware_perception_msgs/Shape shape\n"
    ),
    "autoware_perception_msgs/msg/ObjectClassification": "uint8 label\nfloat32 probability\n",
    "autoware_perception_msgs/msg/TrackedObjectKinematics": (
        "geometry_msgs/PoseWithCovariance pose_with_covariance\n"
        "geometry_msgs/TwistWithCovariance twist_with_covariance\n"
        "geometry_msgs/AccelWithCovariance acceleration_with_covariance\nuint8 orientation_availability\n"
        "bool is_stationary\n"
    ),
    "autoware_perception_msgs/msg/Shape": (
        "uint8 type\ngeometry_msgs/Polygon footprint\ngeometry_msgs/Vector3 dimensions\n"
    ),
}


class Messages:
    """Messages of ROS and of Autoware by their types."""

    def __init__(self) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self.store = get_typestore(Stores.ROS2_HUMBLE)
        for name, text in DEFINITIONS.items():
            self.store.register(get_types_from_msg(text, name))

    def __call__(self, kind: str, **values: Any) -> Any:
        package, _, name = kind.partition("/")
        return self.store.types[f"{package}/msg/{name}"](**values)

    def header(self, frame: str, k: int) -> Any:
        time = self("builtin_interfaces/Time", sec=100 + k // 10, nanosec=(k % 10) * 100_000_000)
        return self("std_msgs/Header", stamp=time, frame_id=frame)

    def vector(self, x: float, y: float, z: float, kind: str = "Vector3") -> Any:
        return self(f"geometry_msgs/{kind}", x=x, y=y, z=z)

    def pose(self, x: float, y: float, z: float) -> Any:
        level = self("geometry_msgs/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        return self("geometry_msgs/Pose", position=self.vector(x, y, z, "Point"), orientation=level)

    def placed(self, x: float, y: float, z: float) -> Any:
        return self("geometry_msgs/PoseWithCovariance", pose=self.pose(x, y, z), covariance=np.zeros(36))

    def twist(self) -> Any:
        still = self("geometry_msgs/Twist", linear=self.vector(0.0, 0.0, 0.0), angular=self.vector(0.0, 0.0, 0.0))
        return self("geometry_msgs/TwistWithCovariance", twist=still, covariance=np.zeros(36))

    def detections(self, k: int) -> Any:
        """Return a cyclist, by the hypothesis of the higher score, in the frame of the lidar."""
        found = [("car", 0.2), ("bicycle", 0.7)]
        results = [
            self(
                "vision_msgs/ObjectHypothesisWithPose",
                hypothesis=self("vision_msgs/ObjectHypothesis", class_id=name, score=score),
                pose=self.placed(0.0, 0.0, 0.0),
            )
            for name, score in found
        ]
        box = self(
            "vision_msgs/BoundingBox3D", center=self.pose(9.0 - 0.5 * k, 2.0, -0.7), size=self.vector(1.8, 0.6, 1.6)
        )
        one = self("vision_msgs/Detection3D", header=self.header("lidar", k), results=results, bbox=box, id="12")
        return self("vision_msgs/Detection3DArray", header=self.header("lidar", k), detections=[one])

    def tracked(self, k: int) -> Any:
        """Return the same cyclist in the frame of the odometry."""
        labels = [(1, 0.2), (6, 0.7)]
        twist = self("geometry_msgs/Accel", linear=self.vector(0.0, 0.0, 0.0), angular=self.vector(0.0, 0.0, 0.0))
        one = self(
            "autoware_perception_msgs/TrackedObject",
            object_id=self("unique_identifier_msgs/UUID", uuid=np.full(16, 12, np.uint8)),
            existence_probability=1.0,
            classification=[
                self("autoware_perception_msgs/ObjectClassification", label=label, probability=share)
                for label, share in labels
            ],
            kinematics=self(
                "autoware_perception_msgs/TrackedObjectKinematics",
                pose_with_covariance=self.placed(10.0, 2.0, 0.8),
                twist_with_covariance=self.twist(),
                acceleration_with_covariance=self(
                    "geometry_msgs/AccelWithCovariance", accel=twist, covariance=np.zeros(36)
                ),
                orientation_availability=0,
                is_stationary=True,
            ),
            shape=self(
                "autoware_perception_msgs/Shape",
                type=0,
                footprint=self("geometry_msgs/Polygon", points=[]),
                dimensions=self.vector(1.8, 0.6, 1.6),
            ),
        )
        return self("autoware_perception_msgs/TrackedObjects", header=self.header("odom", k), objects=[one])


@pytest.mark.parametrize("kind", ["vision_msgs/msg/Detection3DArray", "autoware_perception_msgs/msg/TrackedObjects"])
def test_detections_and_tracked_objects_are_read(tmp_path: Path, kind: str) -> None:
    """The car drives east at 5 m/s; its lidar is 1 m ahead and 1.5 m up; a cyclist stands at (10, 2)."""
    from rosbags.rosbag2 import Writer

    new, path = Messages(), tmp_path / "drive"
    with Writer(path, version=9) as bag:
        topics = ("/pose", "nav_msgs/msg/Odometry"), ("/tf_static", "tf2_msgs/msg/TFMessage"), ("/found", kind)
        odometry, static, found = (bag.add_connection(*each, typestore=new.store) for each in topics)
        turn = new("geometry_msgs/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0)
        mounted = new("geometry_msgs/Transform", translation=new.vector(1.0, 0.0, 1.5), rotation=turn)
        link = new(
            "geometry_msgs/TransformStamped",
            header=new.header("base_link", 0),
            child_frame_id="lidar",
            transform=mounted,
        )
        bag.write(static, 0, new.store.serialize_cdr(new("tf2_msgs/TFMessage", transforms=[link]), static.msgtype))
        for k in range(11):
            pose = {"child_frame_id": "base_link", "pose": new.placed(0.5 * k, 0.0, 0.0), "twist": new.twist()}
            message = new("nav_msgs/Odometry", header=new.header("odom", k), **pose)
            bag.write(odometry, k, new.store.serialize_cdr(message, odometry.msgtype))
            seen = new.detections(k) if "vision" in kind else new.tracked(k)
            bag.write(found, k, new.store.serialize_cdr(seen, kind))
    back = open_log(path)
    (rider,) = (track for track in back.tracks if track.id != "ego")
    assert rider.id == ("12" if "vision" in kind else "0c" * 16)
    assert rider.category == Category.CYCLIST
    np.testing.assert_allclose(rider.position + back.origin, [(10.0, 2.0, 0.0)] * 11, atol=1e-3)
    np.testing.assert_allclose(rider.size, [1.8, 0.6, 1.6], rtol=1e-6)
    with pytest.raises(InputError, match="has no camera with images"):
        find_log(path).cameras()


def test_what_is_unclear_or_wrong_is_named(tmp_path: Path) -> None:
    path, mapping = tmp_path / "drive", tmp_path / "drive.toml"
    _write_foreign(path)
    assert matches(path, b"")
    with pytest.raises(InputError, match="several topics for objects: /found, /debug; name one"):
        open_log(path)
    for text, words in (
        ('objects = "/none"', "there is no topic '/none'"),
        ('odometry = "/found"', "there is no topic '/found' of nav_msgs/msg/Odometry"),
        ("speed = 3", "speed is unknown"),
        ("ego_size_m = [1.0, -2.0, 1.0]", "must be positive"),
        ('[classes]\nlorry = "lorry"', "class 'lorry' is not known"),
        ("objects = [", "drive.toml: "),
    ):
        mapping.write_text(text)
        with pytest.raises(InputError) as caught:
            open_log(path)
        assert words in str(caught.value)
    mapping.write_text('objects = "/found"')
    for file in path.glob("*.db3"):
        file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(InputError, match="the bag is damaged"):
        open_log(path)
