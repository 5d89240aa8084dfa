"""Physical AI AV clips, unzipped: egomotion, obstacles, calibration and time stamps in parquet, cameras as mp4.

The layout is that of NVIDIA's data set, so that its readers and this project's open what is written. It has no map and
no lights. The cameras are the seven f-theta cameras of NVIDIA's cars; poses are those of the rear axle.
"""

import hashlib
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from alpamayo_datasets.motion import resampled
from alpamayo_datasets.readers.physical_ai_av import EGOMOTION, INTRINSICS, OBSTACLES, TERMS, USUAL_AXLE_TO_CENTRE_M
from alpamayo_datasets.recording import DrawnSensors, Recording, Sensors, others_of, state_of, steps_of
from alpamayo_sim.datatypes.lenses import FTheta
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.rig_presets import physical_ai_av_rig
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.video_file import VideoWriter

Array = np.ndarray

EGOMOTION_S = 0.01  # between two poses
CHUNK = "0000"
LABELS = {
    Category.VEHICLE: "automobile",
    Category.TRUCK: "heavy_truck",
    Category.BUS: "bus",
    Category.MOTORCYCLE: "rider",
    Category.CYCLIST: "rider",
    Category.PEDESTRIAN: "person",
    Category.ANIMAL: "animal",
}
OTHERWISE = "protruding_object"
NO_LABEL = (Category.BUILDING, Category.VEGETATION)  # the data set labels what moves, and what lies on the road
KINDS = ("camera_intrinsics", "sensor_extrinsics", "vehicle_dimensions")  # of calibration
Columns = dict[str, list[Any]]


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write each recording as a clip; the id of a clip is made from the id of its scene.

    Raises:
        InputError: Two recordings have one name, or a camera has no f-theta lens.
    """
    taken: dict[str, Columns] = {kind: {} for kind in KINDS}
    index: Columns = {}
    for recording in recordings:
        clip = clip_id(recording.scene.id)
        if clip in index.get("clip_id", []):
            raise InputError(f"two scenes would be written as {clip!r}; convert them one by one")
        about = recording.scene.provenance
        row = {"clip_id": clip, "chunk": 0, "split": "train", "clip_is_valid": True}
        _add(index, row | {"source": about.source, "licence": about.licence})
        sensors: Sensors = recording.sensors or DrawnSensors(rig=physical_ai_av_rig())
        _parquet(folder / "labels" / "egomotion" / f"{clip}{EGOMOTION}", egomotion(recording.scene))
        _parquet(folder / "labels" / "obstacle.offline" / f"{clip}{OBSTACLES}", obstacles(recording.scene))
        _calibrate(taken, clip, recording.scene, sensors)
        _write_cameras(folder / "camera", clip, recording.scene, sensors)
    for kind, columns in taken.items():
        _parquet(folder / "calibration" / kind / f"{kind}.chunk_{CHUNK}.parquet", columns)
    _parquet(folder / "clip_index.parquet", index)


def clip_id(scene_id: str) -> str:
    """Return the id of a scene's clip, in the form of the data set's."""
    return str(uuid.UUID(bytes=hashlib.sha256(scene_id.encode()).digest()[:16]))


def rear_axle(scene: Scene, at: Float64[Array, " n"]) -> Float64[Array, "n 4"]:
    """Return x, y, z (m) and yaw (rad) of the ego's rear axle on the ground at times (s); gaps are filled linearly."""
    ego, times = scene.ego, scene.dt * np.arange(scene.steps)
    columns = np.column_stack([ego.position, ego.heading]).astype(np.float64)
    values = resampled(times[ego.valid], columns[ego.valid], at, angle=3)
    values[:, :3] += scene.origin
    heading = values[:, 3]
    values[:, :2] -= USUAL_AXLE_TO_CENTRE_M * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return values


def egomotion(scene: Scene) -> dict[str, Any]:
    """Return the columns of the egomotion at 100 Hz, velocity and acceleration in the frame of the poses."""
    count = 1 + round((scene.steps - 1) * scene.dt / EGOMOTION_S)
    at = EGOMOTION_S * np.arange(count)
    pose = rear_axle(scene, at)
    velocity = np.gradient(pose[:, :3], at, axis=0) if count > 1 else np.zeros((1, 3))
    change = np.gradient(velocity, at, axis=0) if count > 1 else np.zeros((1, 3))
    turning = np.gradient(np.unwrap(pose[:, 3]), at) if count > 1 else np.zeros(1)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    zero = np.zeros(count)
    columns: dict[str, Any] = {"timestamp": np.round(1e6 * at).astype(np.int64)}
    columns |= dict(zip(("x", "y", "z"), pose[:, :3].T, strict=True))
    columns |= {"qx": zero, "qy": zero, "qz": np.sin(0.5 * pose[:, 3]), "qw": np.cos(0.5 * pose[:, 3])}
    for names, values in ((("vx", "vy", "vz"), velocity), (("ax", "ay", "az"), change)):
        columns |= dict(zip(names, values.T, strict=True))
    return columns | {"curvature": np.where(speed > 0.1, turning / np.maximum(speed, 0.1), 0.0)}


def obstacles(scene: Scene) -> dict[str, Any]:
    """Return the columns of the boxes, each in the frame of the rear axle at its time."""
    at = scene.dt * np.arange(scene.steps)
    axle = rear_axle(scene, at)
    rows: list[dict[str, Any]] = []
    for thing in others_of(scene):
        if thing.category in NO_LABEL:
            continue
        for step in steps_of(thing, scene.steps).tolist():
            position, heading, _ = state_of(thing, step)
            offset = position + scene.origin - axle[step, :3]
            c, s = np.cos(axle[step, 3]), np.sin(axle[step, 3])
            length, width, height = (float(value) for value in thing.size)
            turn = 0.5 * (heading - axle[step, 3])
            place = c * offset[0] + s * offset[1], c * offset[1] - s * offset[0], offset[2] + 0.5 * height
            label = LABELS.get(Category(thing.category), OTHERWISE)
            rows.append(
                {"timestamp_us": round(1e6 * at[step]), "track_id": thing.id, "label_class": label}
                | dict(zip(("center_x", "center_y", "center_z"), map(float, place), strict=True))
                | {"size_x": length, "size_y": width, "size_z": height, "orientation_x": 0.0, "orientation_y": 0.0}
                | {"orientation_z": float(np.sin(turn)), "orientation_w": float(np.cos(turn))}
            )
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}


def _calibrate(taken: dict[str, Columns], clip: str, scene: Scene, sensors: Sensors) -> None:
    """Add the calibration of a clip's cameras, lidar and car."""
    length, width, height = (float(value) for value in scene.ego.size)
    size = {"length": length, "width": width, "height": height, "rear_axle_to_bbox_center": USUAL_AXLE_TO_CENTRE_M}
    _add(taken["vehicle_dimensions"], {"clip_id": clip, **size, "wheelbase": 0.6 * length, "track_width": 0.85 * width})
    for camera in sensors.rig.cameras:
        _add(taken["camera_intrinsics"], {"clip_id": clip, "sensor_name": camera.name, **_lens(camera)})
        turn = Rotation.from_matrix(camera.rotation.astype(np.float64)).as_quat()
        _add(taken["sensor_extrinsics"], {"clip_id": clip, "sensor_name": camera.name, **_place(camera.position, turn)})
    straight = np.array([0.0, 0.0, 0.0, 1.0])
    lidar = {"clip_id": clip, "sensor_name": "lidar_top_360fov", **_place(sensors.lidar.position, straight)}
    _add(taken["sensor_extrinsics"], lidar)


def _add(columns: Columns, row: dict[str, Any]) -> None:
    for name, value in row.items():
        columns.setdefault(name, []).append(value)


def _place(position: Array, turn: Array) -> dict[str, float]:
    x, y, z = (float(value) for value in position)
    quaternion = dict(zip(("qx", "qy", "qz", "qw"), (float(value) for value in turn), strict=True))
    return {"x": x + USUAL_AXLE_TO_CENTRE_M, "y": y, "z": z, **quaternion}


def _lens(camera: Camera) -> dict[str, float]:
    """Return the intrinsics of an f-theta camera; there the centre of the top left pixel is (0, 0)."""
    lens = camera.lens
    if not isinstance(lens, FTheta) or max(len(lens.forward), len(lens.backward)) > TERMS:
        raise InputError(f"camera {camera.name!r} has no f-theta lens of at most {TERMS} terms, as this format needs")
    forward = (*lens.forward, *(0.0,) * (TERMS - len(lens.forward)))
    backward = lens.backward or _inverse(lens, camera)
    values = camera.width, camera.height, camera.centre[0] - 0.5, camera.centre[1] - 0.5, *forward, *backward
    return dict(zip(INTRINSICS, (float(value) for value in values), strict=True))


def _inverse(lens: FTheta, camera: Camera) -> tuple[float, ...]:
    """Return a polynomial for the angle at a distance (pixels), fitted to the lens over its image."""
    distance = np.linspace(0.0, 0.5 * float(np.hypot(camera.width, camera.height)), 64)
    powers = distance[:, None] ** np.arange(1, TERMS) / distance[-1] ** np.arange(1, TERMS)
    found = np.linalg.lstsq(powers, lens.angle(distance), rcond=None)[0] / distance[-1] ** np.arange(1, TERMS)
    return (0.0, *(float(value) for value in found))


def _write_cameras(folder: Path, clip: str, scene: Scene, sensors: Sensors) -> None:
    """Write the frames of all cameras, at the time of each step."""
    stamps = np.round(1e6 * scene.dt * np.arange(scene.steps)).astype(np.int64)
    with ExitStack() as open_files:
        videos = []
        for camera in sensors.rig.cameras:
            path = folder / camera.name / f"{clip}.{camera.name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            _parquet(path.with_name(f"{clip}.{camera.name}.timestamps.parquet"), {"timestamp": stamps})
            videos.append(open_files.enter_context(VideoWriter(path, rate=1.0 / scene.dt)))
        for frame in sensors.frames(scene):
            for video, image in zip(videos, frame.rgb, strict=True):
                video.write(image)


def _parquet(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    if columns:
        pyarrow.parquet.write_table(pa.table(columns), str(path))
