"""nuScenes v1.0: thirteen tables, the map expansion, cameras as jpg, the lidar as pcd.bin, and the CAN bus.

The official devkit loads, draws and evaluates the folder. Each step of a recording is a keyframe. Records have a few
keys more than nuScenes', which the devkit ignores and the reader of this project uses: the id, velocity and size that a
Scene has and nuScenes has not, and where the scene lay before it was put into the city.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from alpamayo_datasets.motion import resampled
from alpamayo_datasets.readers.nuscenes import AXLE_TO_CENTRE_M, EXTENSION, TABLES
from alpamayo_datasets.recording import (
    DrawnSensors,
    Recording,
    SensorFrame,
    Sensors,
    others_of,
    state_of,
    steps_of,
)
from alpamayo_datasets.writers.encoding import jpeg_bytes, pinhole_matrix, yaw_quaternion
from alpamayo_datasets.writers.nuscenes_map import CITY, MASK_FILE, CityMap
from alpamayo_sim.datatypes.scene import Category, Prop, Scene, Track
from alpamayo_sim.errors import InputError

Array = np.ndarray

VERSION = "v1.0-trainval"
SPLIT = "train"  # the official split whose scene names are used, so that evaluations take the scenes
FIRST_STAMP_US = 1_500_000_000_000_000
SCENE_GAP_US = 3_600_000_000
LIDAR = "LIDAR_TOP"
LIDAR_ROTATION = (np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5))  # w, x, y, z: x right, y ahead, as nuScenes' lidar
MOVES_MPS = 0.2
VISIBLE, HIDDEN = "4", "1"
LEVELS = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
ATTRIBUTES = (
    *("vehicle.moving", "vehicle.stopped", "vehicle.parked", "cycle.with_rider", "cycle.without_rider"),
    *("pedestrian.moving", "pedestrian.standing", "pedestrian.sitting_lying_down"),
)
CATEGORIES = {
    Category.UNKNOWN: "noise",
    Category.VEHICLE: "vehicle.car",
    Category.TRUCK: "vehicle.truck",
    Category.BUS: "vehicle.bus.rigid",
    Category.MOTORCYCLE: "vehicle.motorcycle",
    Category.CYCLIST: "vehicle.bicycle",
    Category.PEDESTRIAN: "human.pedestrian.adult",
    Category.ANIMAL: "animal",
    Category.CONE: "movable_object.trafficcone",
    Category.BARRIER: "movable_object.barrier",
    Category.DEBRIS: "movable_object.debris",
    Category.BUILDING: "static.manmade",
    Category.VEGETATION: "static.vegetation",
}


class Tables:
    """The rows of all tables. A token is a digest of the table and of a name that is unique in it."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}

    def add(self, table: str, name: str, /, **values: Any) -> str:
        """Add a row and return its token."""
        self.rows[table].append({"token": token_of(table, name), **values})
        return str(self.rows[table][-1]["token"])

    def write(self, folder: Path) -> None:
        """Write the tables as JSON."""
        folder.mkdir(parents=True)
        for name, rows in self.rows.items():
            (folder / f"{name}.json").write_text(json.dumps(rows, allow_nan=False))


def token_of(table: str, name: str) -> str:
    """Return the token of a row, 32 hexadecimal digits."""
    return hashlib.sha256(f"{table}/{name}".encode()).hexdigest()[:32]


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write recordings as the scenes of one nuScenes data set.

    Raises:
        InputError: There are more recordings than nuScenes has names, a map is too large, or a camera is no pinhole.
    """
    (folder / "can_bus").mkdir()
    tables, city, names = _begin(), CityMap(), scene_names(folder)
    for number, recording in enumerate(recordings):
        if number >= len(names):
            raise InputError(f"nuScenes has names for {len(names)} scenes; convert fewer at a time")
        _Scene(tables, city, folder, names[number], number, recording).write()
    logs = [row["token"] for row in tables.rows["log"]]
    tables.add("map", CITY, log_tokens=logs, category="semantic_prior", filename=MASK_FILE)
    city.write(folder)
    tables.write(folder / VERSION)


def scene_names(root: Path) -> list[str]:
    """Return the official names of the split's scenes, but for those that never have messages on the CAN bus."""
    from nuscenes.can_bus.can_bus_api import NuScenesCanBus
    from nuscenes.utils.splits import create_splits_scenes

    without = NuScenesCanBus(dataroot=str(root)).can_blacklist
    return [name for name in create_splits_scenes()[SPLIT] if int(name[-4:]) not in without]


def _begin() -> Tables:
    tables = Tables()
    for name in ATTRIBUTES:
        tables.add("attribute", name, name=name, description="")
    for category in CATEGORIES.values():
        tables.add("category", category, name=category, description="")
    for token, level in LEVELS.items():
        tables.rows["visibility"].append({"token": token, "level": level, "description": ""})
    return tables


class _Scene:
    """One scene on its way into the tables and files."""

    def __init__(self, tables: Tables, city: CityMap, root: Path, name: str, number: int, recording: Recording) -> None:
        self.tables, self.root, self.name, self.recording = tables, root, name, recording
        self.scene = recording.scene
        self.sensors: Sensors = recording.sensors or DrawnSensors()
        self.shift = city.place(self.scene)
        city.add(self.scene, name, self.shift)
        self.first = FIRST_STAMP_US + number * SCENE_GAP_US
        self.ego = ego_states(self.scene)

    def write(self) -> None:
        steps = self.scene.steps
        self._about()
        channels = self._sensors()
        for step, frame in enumerate(self.sensors.frames(self.scene)):
            self._sample(step)
            self._pose(step)
            for channel, record in self._files(step, frame).items():
                self.tables.add(
                    "sample_data",
                    self._key(channel, step),
                    **self._chain("sample_data", channel, step, steps),
                    sample_token=token_of("sample", self._key("sample", step)),
                    ego_pose_token=token_of("ego_pose", self._key("pose", step)),
                    calibrated_sensor_token=channels[channel],
                    timestamp=self._stamp(step),
                    is_key_frame=True,
                    **record,
                )
            self._boxes(step, frame)
        self._instances()
        write_can_bus(self.root / "can_bus", self.name, [self._stamp(k) for k in range(steps)], self)

    def _key(self, what: str, step: int) -> str:
        return f"{self.name}/{what}/{step}"

    def _stamp(self, step: int) -> int:
        return self.first + round(1e6 * self.scene.dt * step)

    def _chain(self, table: str, what: str, step: int, count: int) -> dict[str, str]:
        """Return the tokens of the records before and after a step; empty at the ends."""
        keys = {"prev": step - 1, "next": step + 1}
        return {name: token_of(table, self._key(what, k)) if 0 <= k < count else "" for name, k in keys.items()}

    def _about(self) -> None:
        scene, steps = self.scene, self.scene.steps
        log = self.tables.add(
            "log", self.name, logfile=self.name, vehicle="alpamayo", date_captured="2017-07-14", location=CITY
        )
        self.tables.add(
            "scene",
            self.name,
            name=self.name,
            description=scene.id,
            log_token=log,
            nbr_samples=steps,
            first_sample_token=token_of("sample", self._key("sample", 0)),
            last_sample_token=token_of("sample", self._key("sample", steps - 1)),
            **{
                EXTENSION: {
                    "source": scene.provenance.source,
                    "licence": scene.provenance.licence,
                    "ego_size": [float(value) for value in scene.ego.size],
                    "place": [float(value) for value in self.shift - scene.origin[:2]],
                    "environment": asdict(scene.environment),
                }
            },
        )

    def _sensors(self) -> dict[str, str]:
        """Add the calibrated sensors; return their tokens by channel."""
        axle = np.array([AXLE_TO_CENTRE_M, 0.0, 0.0])
        lidar = self.sensors.lidar.position.astype(np.float64) + axle
        found = {LIDAR: self._sensor(LIDAR, "lidar", lidar, list(LIDAR_ROTATION), [])}
        for camera in self.sensors.rig.cameras:
            x, y, z, w = Rotation.from_matrix(camera.rotation.astype(np.float64)).as_quat()
            place = camera.position.astype(np.float64) + axle
            rotation = [float(value) for value in (w, x, y, z)]
            found[camera.name] = self._sensor(
                camera.name, "camera", place, rotation, pinhole_matrix(camera, "nuScenes").tolist()
            )
        return found

    def _sensor(self, channel: str, modality: str, place: Array, rotation: list[float], matrix: list[Any]) -> str:
        sensor = token_of("sensor", channel)
        if all(row["token"] != sensor for row in self.tables.rows["sensor"]):
            self.tables.add("sensor", channel, channel=channel, modality=modality)
        return self.tables.add(
            "calibrated_sensor",
            f"{self.name}/{channel}",
            sensor_token=sensor,
            translation=[float(value) for value in place],
            rotation=[float(value) for value in rotation],
            camera_intrinsic=matrix,
        )

    def _sample(self, step: int) -> None:
        self.tables.add(
            "sample",
            self._key("sample", step),
            timestamp=self._stamp(step),
            scene_token=token_of("scene", self.name),
            **self._chain("sample", "sample", step, self.scene.steps),
        )

    def _pose(self, step: int) -> None:
        x, y, heading, z = (float(value) for value in self.ego[step, :4])
        rear = [x - AXLE_TO_CENTRE_M * np.cos(heading), y - AXLE_TO_CENTRE_M * np.sin(heading)]
        place = [float(value) for value in (*(rear + self.shift), z)]
        self.tables.add(
            "ego_pose",
            self._key("pose", step),
            timestamp=self._stamp(step),
            translation=place,
            rotation=_turned(heading),
        )

    def _files(self, step: int, frame: SensorFrame) -> dict[str, dict[str, Any]]:
        """Write the images and the point cloud of a step; return what the tables say of them, by channel."""
        stamp = self._stamp(step)
        found: dict[str, dict[str, Any]] = {}
        name = f"samples/{LIDAR}/{self.name}__{LIDAR}__{stamp}.pcd.bin"
        self._save(name, pcd_bytes(frame, self.sensors))
        found[LIDAR] = {"filename": name, "fileformat": "pcd", "width": 0, "height": 0}
        for camera, image in zip(self.sensors.rig.cameras, frame.rgb, strict=True):
            name = f"samples/{camera.name}/{self.name}__{camera.name}__{stamp}.jpg"
            self._save(name, jpeg_bytes(image))
            size = {"width": camera.width, "height": camera.height}
            found[camera.name] = {"filename": name, "fileformat": "jpg", **size}
        return found

    def _save(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _boxes(self, step: int, frame: SensorFrame) -> None:
        others = others_of(self.scene)
        hits, pixels = (_counted(rows, len(others)) for rows in (frame.point_rows, frame.pixel_rows))
        for row, thing in enumerate(others):
            steps = steps_of(thing, self.scene.steps)
            at = int(np.searchsorted(steps, step))
            if at == len(steps) or steps[at] != step:
                continue
            links = {"prev": steps[at - 1] if at else None, "next": steps[at + 1] if at + 1 < len(steps) else None}
            self.tables.add(
                "sample_annotation",
                self._key(thing.id, step),
                sample_token=token_of("sample", self._key("sample", step)),
                instance_token=token_of("instance", f"{self.name}/{thing.id}"),
                visibility_token=VISIBLE if pixels[row] or hits[row] else HIDDEN,
                num_lidar_pts=int(hits[row]),
                num_radar_pts=0,
                **{
                    name: "" if k is None else token_of("sample_annotation", self._key(thing.id, int(k)))
                    for name, k in links.items()
                },
                **self._box(thing, step),
            )

    def _box(self, thing: Track | Prop, step: int) -> dict[str, Any]:
        position, heading, velocity = state_of(thing, step)
        length, width, height = (float(value) for value in thing.size)
        x, y = position[:2] + self.shift
        attribute = attribute_of(Category(thing.category), float(np.hypot(*velocity)))
        return {
            "attribute_tokens": [token_of("attribute", attribute)] if attribute else [],
            "translation": [float(x), float(y), float(position[2]) + 0.5 * height],
            "size": [width, length, height],
            "rotation": _turned(heading),
            "velocity": [float(value) for value in velocity],
        }

    def _instances(self) -> None:
        for thing in others_of(self.scene):
            steps = steps_of(thing, self.scene.steps)
            if len(steps):
                self.tables.add(
                    "instance",
                    f"{self.name}/{thing.id}",
                    category_token=token_of("category", CATEGORIES[Category(thing.category)]),
                    nbr_annotations=len(steps),
                    first_annotation_token=token_of("sample_annotation", self._key(thing.id, int(steps[0]))),
                    last_annotation_token=token_of("sample_annotation", self._key(thing.id, int(steps[-1]))),
                    name=thing.id,
                )


def _counted(rows: Array, count: int) -> Array:
    """Return how often each row occurs; other numbers, such as those of signals, do not count."""
    return np.bincount(rows[(rows >= 0) & (rows < count)], minlength=count)


def attribute_of(category: Category, speed: float) -> str:
    """Return the attribute of a road user; empty for a category that has none."""
    name = CATEGORIES[category]
    if category in (Category.MOTORCYCLE, Category.CYCLIST):
        return "cycle.with_rider"
    if name.startswith("vehicle."):
        return "vehicle.moving" if speed > MOVES_MPS else "vehicle.stopped"
    if category == Category.PEDESTRIAN:
        return "pedestrian.moving" if speed > MOVES_MPS else "pedestrian.standing"
    return ""


def ego_states(scene: Scene) -> Float64[Array, "n 6"]:
    """Return x, y, heading, z, and velocity x, y of the ego at all steps; gaps are filled linearly."""
    ego, at = scene.ego, scene.dt * np.arange(scene.steps)
    columns = np.column_stack([ego.position[:, :2], ego.heading, ego.position[:, 2], ego.velocity]).astype(np.float64)
    return resampled(at[ego.valid], columns[ego.valid], at, angle=2)


def _turned(heading: float) -> list[float]:
    """Return the quaternion w, x, y, z of a heading (rad)."""
    return [float(value) for value in np.roll(yaw_quaternion(heading), 1)]


def pcd_bytes(frame: SensorFrame, sensors: Sensors) -> bytes:
    """Return a point cloud as float32 x (right), y (ahead), z (m, from the lidar), intensity (0 to 255) and ring."""
    x, y, z = (frame.points[:, :3] - sensors.lidar.position).T
    columns = np.stack([-y, x, z, 255.0 * frame.points[:, 3], frame.rings.astype(np.float32)], axis=1)
    return columns.astype("<f4").tobytes()


def write_can_bus(folder: Path, name: str, stamps: list[int], scene: "_Scene") -> None:
    """Write the messages of pose and inertial unit, and the route, of one scene."""
    messages = list(_messages(stamps, scene))
    (folder / f"{name}_pose.json").write_text(json.dumps(messages, allow_nan=False))
    unit = [
        {
            "utime": message["utime"],
            "linear_accel": message["accel"],
            "q": message["orientation"],
            "rotation_rate": message["rotation_rate"],
        }
        for message in messages
    ]
    (folder / f"{name}_ms_imu.json").write_text(json.dumps(unit, allow_nan=False))
    route = scene.scene.route
    path = scene.ego[:, :2] if route is None else route.path[:, :2].astype(np.float64)
    (folder / f"{name}_route.json").write_text(json.dumps((path + scene.shift).tolist(), allow_nan=False))


def _messages(stamps: list[int], scene: "_Scene") -> Iterator[dict[str, Any]]:
    """Yield the pose messages: velocity and acceleration of the rear axle, in the ego frame."""
    at = 1e-6 * np.array(stamps, np.float64)
    x, y, heading, z, vx, vy = scene.ego.T
    turning = np.gradient(np.unwrap(heading), at) if len(at) > 1 else np.zeros(1)
    c, s = np.cos(heading), np.sin(heading)
    velocity = np.stack([c * vx + s * vy, c * vy - s * vx - AXLE_TO_CENTRE_M * turning], axis=1)
    change = np.gradient(velocity[:, 0], at) if len(at) > 1 else np.zeros(1)
    for k, stamp in enumerate(stamps):
        rear = np.array([x[k], y[k]]) - AXLE_TO_CENTRE_M * np.array([c[k], s[k]]) + scene.shift
        yield {
            "utime": stamp,
            "pos": [float(rear[0]), float(rear[1]), float(z[k])],
            "orientation": _turned(float(heading[k])),
            "vel": [float(velocity[k, 0]), float(velocity[k, 1]), 0.0],
            "accel": [float(change[k]), float(velocity[k, 0] * turning[k]), 0.0],
            "rotation_rate": [0.0, 0.0, float(turning[k])],
        }
