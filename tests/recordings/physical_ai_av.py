"""A small Physical AI AV data set: one clip of two seconds, unzipped."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alpamayo_sim.io.video_file import VideoWriter
from recordings.motion import on_bend

CLIP = "25cd4769-5dcf-4b53-a351-bf2c5deb6124"
START_US = 100_000
AXLE_M, SIZE_M = 1.4, (4.87, 2.12, 1.48)
CAR_ID, WALKER_ID = "17", "21"


def write_physical_ai_av(folder: Path) -> Path:
    """Write a clip: an ego on a bend at 5 m/s, a car that drives east at 4 m/s, a person that is seen for 1 s."""
    root = folder / "clips"
    _write(root / "labels" / "egomotion" / f"{CLIP}.egomotion.parquet", _egomotion())
    _write(root / "labels" / "obstacle.offline" / f"{CLIP}.obstacle.offline.parquet", _obstacles())
    size = dict(zip(("length", "width", "height"), SIZE_M, strict=True))
    row = {"clip_id": CLIP, **size, "rear_axle_to_bbox_center": AXLE_M, "wheelbase": 2.85, "track_width": 1.6}
    dimensions = {name: [value] for name, value in row.items()}
    _write(root / "calibration" / "vehicle_dimensions" / "vehicle_dimensions.chunk_0000.parquet", dimensions)
    return root


def _write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def rear_axle(t: float) -> tuple[np.ndarray, float]:
    """Return x, y and yaw of the rear axle at a time (s)."""
    xy, yaw, _ = on_bend(5.0 * t)
    return xy - AXLE_M * np.array([np.cos(yaw), np.sin(yaw)]), yaw


def _egomotion() -> dict[str, Any]:
    times = np.arange(0.0, 2.005, 0.01)
    poses = [rear_axle(t) for t in times]
    yaw = np.array([each for _, each in poses])
    zero = np.zeros(len(times))
    columns: dict[str, Any] = {"timestamp": START_US + np.round(1e6 * times).astype(np.int64)}
    columns |= {"x": np.array([p[0] for p, _ in poses]), "y": np.array([p[1] for p, _ in poses]), "z": zero + 3.0}
    columns |= {"qx": zero, "qy": zero, "qz": np.sin(yaw / 2), "qw": np.cos(yaw / 2)}
    return columns | dict.fromkeys(("vx", "vy", "vz", "ax", "ay", "az", "curvature"), zero)


def _obstacles() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for name, label, x0, speed, size, seen, delay in (
        (CAR_ID, "automobile", 15.0, 4.0, (4.6, 1.9, 1.7), 2.0, 0.03),
        (WALKER_ID, "Person", 12.0, 0.0, (0.7, 0.7, 1.8), 1.0, 0.06),
    ):
        for k in range(round(seen / 0.1)):
            t = 0.1 * k + delay
            rear, yaw = rear_axle(t)
            offset = np.array([x0 + speed * t, 2.0]) - rear
            c, s = np.cos(yaw), np.sin(yaw)
            place = (c * offset[0] + s * offset[1], c * offset[1] - s * offset[0], 0.5 * size[2])
            row = {"timestamp_us": START_US + round(1e6 * t), "track_id": name, "label_class": label}
            row |= dict(zip(("center_x", "center_y", "center_z"), map(float, place), strict=True))
            row |= {"orientation_x": 0.0, "orientation_y": 0.0}
            row |= {"orientation_z": float(np.sin(-yaw / 2)), "orientation_w": float(np.cos(-yaw / 2))}
            rows.append(row | dict(zip(("size_x", "size_y", "size_z"), size, strict=True)))
    return {name: [row[name] for row in rows] for name in rows[0]}


CAMERA = "camera_front_wide_120fov"
WIDTH, HEIGHT, FOCAL = 64, 48, 28.0


def write_camera(root: Path) -> None:
    """Add an f-theta front camera: two seconds at 10 Hz, dark at first and bright after one second."""
    folder = root / "camera" / CAMERA
    folder.mkdir(parents=True)
    with VideoWriter(folder / f"{CLIP}.{CAMERA}.mp4", rate=10) as video:
        for k in range(21):
            video.write(np.full((HEIGHT, WIDTH, 3), 40 if k < 10 else 200, np.uint8))
    stamps = START_US + 100_000 * np.arange(21)
    _write(folder / f"{CLIP}.{CAMERA}.timestamps.parquet", {"timestamp": stamps})
    known = {"clip_id": [CLIP], "sensor_name": [CAMERA]}
    lens: dict[str, float] = {"width": WIDTH, "height": HEIGHT, "cx": WIDTH / 2 - 0.5, "cy": HEIGHT / 2 - 0.5}
    lens |= {f"fw_poly_{k}": FOCAL if k == 1 else 0.0 for k in range(5)}
    lens |= {f"bw_poly_{k}": 1.0 / FOCAL if k == 1 else 0.0 for k in range(5)}
    place = {"x": 1.9, "y": 0.0, "z": 1.4, "qx": -0.5, "qy": 0.5, "qz": -0.5, "qw": 0.5}  # looks ahead
    for kind, values in (("camera_intrinsics", lens), ("sensor_extrinsics", place)):
        columns = known | {name: [value] for name, value in values.items()}
        _write(root / "calibration" / kind / f"{kind}.chunk_0000.parquet", columns)
