"""A small MCAP file of another program: Foxglove's schemas in JSON, frames and names of its own."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from recordings.motion import DT, STEPS, bend, curve

START_NS = 1_700_000_000_000_000_000
LORRY, WALKER = "a7", "b2"
TOPICS = {
    **{"/tf": "FrameTransform", "/found": "SceneUpdate", "/lines": "SceneUpdate"},
    **{"/cam/info": "CameraCalibration", "/cam/raw": "RawImage"},
}
WIDTH, HEIGHT = 16, 12  # of the images
LIDAR_M, LIDAR_YAW = (1.2, 0.0, 1.5), 0.5 * np.pi  # where the lidar sits, and how it is turned
SIZES = {LORRY: (9.0, 2.5, 3.0), WALKER: (0.7, 0.7, 1.8)}
PLACES = {LORRY: (50.0, 20.0), WALKER: (12.0, 3.0)}


def write_mcap(folder: Path, compression: str = "NONE", crcs: bool = False) -> Path:
    """Write a file: an ego on a bend, a lorry in the map's frame and a person in the lidar's; both stand."""
    from mcap.writer import CompressionType, Writer

    path = folder / "drive.mcap"
    with path.open("wb") as file:
        writer = Writer(
            file, compression=CompressionType[compression], enable_crcs=crcs, enable_data_crcs=False, chunk_size=2000
        )
        writer.start(profile="", library="a test")
        channels = {}
        for topic, schema in TOPICS.items():
            number = writer.register_schema(f"foxglove.{schema}", "jsonschema", b"{}")
            channels[topic] = writer.register_channel(topic, "json", number)
        for topic, step, message in messages():
            data = json.dumps(message).encode()
            writer.add_message(channels[topic], START_NS + round(1e9 * DT * step), data, START_NS)
        writer.finish()
    return path


def messages() -> list[tuple[str, int, dict[str, Any]]]:
    """Return the topics, steps and values of all messages."""
    out: list[tuple[str, int, dict[str, Any]]] = []
    line = [_xyz((x, y, 0.0)) for x, y in bend(-5.0, 40.0, 2.0, spacing=5.0)]
    out.append(
        ("/lines", 0, {"entities": [{"frame_id": "map", "id": "paint", "lines": [{"type": 0, "points": line}]}]})
    )
    out.append(("/tf", 0, transform(0, "base_link", "lidar_top", LIDAR_M, LIDAR_YAW)))
    ahead = {"x": -0.5, "y": 0.5, "z": -0.5, "w": 0.5}
    place = transform(0, "base_link", "eye", (1.7, 0.0, 1.3), 0.0)
    out.append(("/tf", 0, place | {"rotation": ahead}))
    matrix = [10.0, 0.0, 7.5, 0.0, 10.0, 5.5, 0.0, 0.0, 1.0]
    size = {"width": WIDTH, "height": HEIGHT}
    out.append(("/cam/info", 0, {"frame_id": "eye", **size, "distortion_model": "", "D": [], "K": matrix}))
    for k in range(3):
        pixels = base64.b64encode(bytes([*reversed(shade(k))] * (WIDTH * HEIGHT))).decode()
        image = {"timestamp": _stamp(k), "frame_id": "eye", **size, "encoding": "bgr8", "step": 3 * WIDTH}
        out.append(("/cam/raw", k, image | {"data": pixels}))
    xy, yaw, _ = curve()
    for k in range(STEPS):
        out.append(("/tf", k, transform(k, "map", "base_link", (*xy[k], 0.4), float(yaw[k]))))
        seen = in_lidar(PLACES[WALKER], xy[k], float(yaw[k]))
        boxes = [_box(k, "map", LORRY, "vehicle.truck", PLACES[LORRY], 0.3)]
        boxes.append(_box(k, "lidar_top", WALKER, "human.pedestrian.adult", seen, -float(yaw[k]) - LIDAR_YAW))
        out.append(("/found", k, {"deletions": [], "entities": boxes}))
    return out


def shade(frame: int) -> tuple[int, int, int]:
    """Return red, green and blue of all pixels of an image."""
    return 200, 100 + frame, 20


def in_lidar(place: tuple[float, float], xy: np.ndarray, yaw: float) -> tuple[float, float]:
    """Return x, y of a place in the frame of the lidar."""
    for origin, turn in ((xy, yaw), (np.array(LIDAR_M[:2]), LIDAR_YAW)):
        x, y = np.array(place) - origin
        place = float(np.cos(turn) * x + np.sin(turn) * y), float(np.cos(turn) * y - np.sin(turn) * x)
    return place


def _stamp(step: int) -> dict[str, int]:
    nanoseconds = START_NS + round(1e9 * DT * step)
    return {"sec": nanoseconds // 1_000_000_000, "nsec": nanoseconds % 1_000_000_000}


def _xyz(values: tuple[float, ...]) -> dict[str, float]:
    return dict(zip("xyz", (float(value) for value in values), strict=True))


def _turn(yaw: float) -> dict[str, float]:
    return {"x": 0.0, "y": 0.0, "z": float(np.sin(0.5 * yaw)), "w": float(np.cos(0.5 * yaw))}


def transform(step: int, parent: str, child: str, place: tuple[float, ...], yaw: float) -> dict[str, Any]:
    """Return the pose of a frame in its parent."""
    names = {"timestamp": _stamp(step), "parent_frame_id": parent, "child_frame_id": child}
    return {**names, "translation": _xyz(place), "rotation": _turn(yaw)}


def _box(step: int, frame: str, name: str, kind: str, xy: tuple[float, float], yaw: float) -> dict[str, Any]:
    height = SIZES[name][2]
    lift = 0.5 * height - (LIDAR_M[2] + 0.4 if frame == "lidar_top" else 0.0)
    cube = {"pose": {"position": _xyz((*xy, lift)), "orientation": _turn(yaw)}, "size": _xyz(SIZES[name])}
    words = [{"key": "category", "value": kind}]
    return {"timestamp": _stamp(step), "frame_id": frame, "id": name, "metadata": words, "cubes": [cube]}
