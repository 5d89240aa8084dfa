"""A small 123D log: the Arrow files that ``py123d`` 0.7 writes, with a map of its own."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from recordings.motion import on_bend

START_US = 1_600_000_000_000_000
SIZE_M, OFFSET = (4.6, 1.9, 1.6), (1.3, 0.0, 0.5)  # of the ego; its centre from the sensor that was tracked
LABELS = "py123d.parser.registry.NuPlanBoxDetectionLabel"


def pack(value: Any) -> bytes:
    """Return a value as MessagePack."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, (int, np.integer)):
        return struct.pack(">Bq", 0xD3, int(value))
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        return struct.pack(">BH", 0xDA, len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value, "<f8")
        shape = list(array.shape)
        return pack({b"__ndarray__": True, b"dtype": "<f8", b"shape": shape, b"data": array.tobytes()})
    if isinstance(value, (list, tuple)):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    pairs = b"".join(pack(key) + pack(item) for key, item in value.items())
    return struct.pack(">BH", 0xDE, len(value)) + pairs


def write_123d(folder: Path) -> Path:
    """Write a log of two seconds: ego on a bend, a car, a pedestrian seen for 1 s, a light, and a map."""
    log = folder / "log"
    log.mkdir()
    frames = [START_US + 100_000 * k for k in range(21)]
    about = {"dataset": "nuplan", "split": "nuplan_test", "log_name": "small", "location": "made", "version": "0.7.0"}
    about |= {"map_metadata": {"dataset": "nuplan", "location": "made"}}
    _write(log / "sync.arrow", {"sync.timestamp_us": frames}, about)
    _write_ego(log)
    _write_boxes(log, frames)
    lights = {"lane_id": [[2]] * 21, "status": [[2]] * 10 + [[0]] * 11}
    columns = {"timestamp_us": frames, **lights}
    types = {"lane_id": pa.list_(pa.int32()), "status": pa.list_(pa.uint8())}
    _write(log / "traffic_light_detections.arrow", _keyed("traffic_light_detections", columns), {}, types)
    _write_map(log / "map.arrow")
    return log


def _keyed(key: str, columns: dict[str, Any]) -> dict[str, Any]:
    return {f"{key}.{name}": values for name, values in columns.items()}


def _write(path: Path, columns: dict[str, Any], metadata: Any, types: dict[str, pa.DataType] | None = None) -> None:
    kinds = {name: (types or {}).get(name.rpartition(".")[2]) for name in columns}
    arrays = {name: pa.array(values, type=kinds[name]) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata({b"metadata": pack(metadata)})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _pose(x: float, y: float, z: float, yaw: float) -> list[float]:
    return [float(x), float(y), float(z), float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def _write_ego(log: Path) -> None:
    stamps, poses = [], []
    for k in range(101):
        xy, yaw, ahead = on_bend(5.0 * 0.02 * k)
        poses.append(_pose(*(xy - OFFSET[0] * ahead), 2.0 + 0.5 * SIZE_M[2] - OFFSET[2], yaw))
        stamps.append(START_US + 20_000 * k)
    about = {"vehicle_name": "made", **dict(zip(("length", "width", "height"), SIZE_M, strict=True)), "wheel_base": 2.8}
    about |= {"center_to_imu_se3": [*OFFSET, 1.0, 0.0, 0.0, 0.0], "rear_axle_to_imu_se3": _pose(0.0, 0.0, 0.0, 0.0)}
    columns = {"timestamp_us": stamps, "imu_se3": poses}
    types = {"imu_se3": pa.list_(pa.float64(), 7)}
    _write(log / "ego_state_se3.arrow", _keyed("ego_state_se3", columns), about, types)


def _write_boxes(log: Path, frames: list[int]) -> None:
    boxes: list[list[list[float]]] = []
    tokens: list[list[str]] = []
    labels: list[list[int]] = []
    for k in range(len(frames)):
        car = [*_pose(15.0 + 0.4 * k, 2.0, 2.0 + 0.85, 0.0), 4.6, 1.9, 1.7]
        walker = [*_pose(12.0, -3.0, 2.0 + 0.9, np.pi / 2), 0.7, 0.7, 1.8]
        count = 2 if k <= 10 else 1
        boxes.append([car, walker][:count])
        tokens.append(["car", "walker"][:count])
        labels.append([0, 2][:count])
    columns = {"timestamp_us": frames, "bounding_box_se3": boxes, "track_token": tokens, "label": labels}
    types = {"bounding_box_se3": pa.list_(pa.list_(pa.float64(), 10)), "label": pa.list_(pa.uint16())}
    about = {"box_detection_label_class": LABELS}
    _write(log / "box_detections_se3.arrow", _keyed("box_detections_se3", columns), about, types)


def _straight(x0: float, x1: float, y: float) -> np.ndarray:
    x = np.linspace(x0, x1, 31)
    return np.stack([x, np.full_like(x, y), np.full_like(x, 2.0)], axis=1)


def _rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0, 2.0], [x1, y0, 2.0], [x1, y1, 2.0], [x0, y1, 2.0], [x0, y0, 2.0]])


def _lane(x0: float, x1: float, after: list[int], group: int, limit: float | None) -> dict[str, Any]:
    return {
        "lane_type": 2,
        "lane_group_id": group,
        "left_boundary": _straight(x0, x1, 1.75),
        "right_boundary": _straight(x0, x1, -1.75),
        "centerline": _straight(x0, x1, 0.0),
        "left_lane_id": None,
        "right_lane_id": None,
        "predecessor_ids": [],
        "successor_ids": after,
        "speed_limit_mps": limit,
        "outline": _rectangle(x0, x1, -1.75, 1.75),
    }


def _write_map(path: Path) -> None:
    group = {"lane_ids": [2], "intersection_id": 1, "outline": _rectangle(30, 90, -1.75, 1.75)}
    objects = [
        (1, 0, _lane(-30.0, 30.0, [2], 1, 13.9)),
        (2, 0, _lane(30.0, 90.0, [], 2, None)),
        (3, 0, _lane(5000.0, 5060.0, [], 3, None)),
        (2, 1, group),
        (1, 3, {"outline": _rectangle(31, 34, -4, 8)}),
        (1, 6, {"outline": _rectangle(-30, 90, -4, 20)}),
        (1, 7, {"outline": _rectangle(28, 29, -1.75, 1.75), "stop_zone_type": 2, "lane_ids": [1]}),
        (1, 9, {"road_line_type": 6, "line": _straight(-30.0, 30.0, 1.75)}),
    ]
    rows = []
    for name, layer, features in objects:
        line = features.pop("line", None)
        shape = shapely.LineString(line) if line is not None else shapely.Polygon(features["outline"])
        rows.append((name, layer, pack(features), shapely.to_wkb(shape, output_dimension=3)))
    columns = dict(zip(("object_id", "map_layer", "features", "wkb"), map(list, zip(*rows, strict=True)), strict=True))
    types = {"object_id": pa.int64(), "map_layer": pa.int8(), "features": pa.binary(), "wkb": pa.binary()}
    _write(path, columns, {"dataset": "nuplan"}, types)
