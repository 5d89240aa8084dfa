"""A small nuScenes data set with its map."""

import json
from pathlib import Path

import numpy as np

from recordings.motion import on_bend

NUSCENES_ORIGIN = np.array([400.0, 1100.0])
NUSCENES_CITY = "singapore-onenorth"


def write_nuscenes(folder: Path) -> Path:
    """Write a data set of two scenes: thirteen tables, the map expansion of a city, CAN bus of the first scene."""
    root = folder / "nuscenes"
    for part in ("v1.0-mini", "maps/expansion", "can_bus"):
        (root / part).mkdir(parents=True)
    (root / "maps" / "mask.png").write_bytes(b"")
    tables: dict[str, list[dict[str, object]]] = {
        "attribute": [{"token": "a", "name": "vehicle.moving", "description": ""}],
        "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
        "category": [
            {"token": "c-car", "name": "vehicle.car", "description": ""},
            {"token": "c-walk", "name": "human.pedestrian.adult", "description": ""},
            {"token": "c-cone", "name": "movable_object.trafficcone", "description": ""},
        ],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [
            {
                "token": "calibrated",
                "sensor_token": "lidar",
                "translation": [0.9, 0.0, 1.8],
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "camera_intrinsic": [],
            }
        ],
        "log": [
            {"token": "log", "logfile": "l", "vehicle": "v", "date_captured": "2018-01-01", "location": NUSCENES_CITY}
        ],
        "map": [{"token": "map", "log_tokens": ["log"], "category": "semantic_prior", "filename": "maps/mask.png"}],
        **{name: [] for name in ("scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")},
    }
    for name in ("scene-0061", "scene-0103"):
        _nuscenes_scene(tables, name)
    for table, rows in tables.items():
        (root / "v1.0-mini" / f"{table}.json").write_text(json.dumps(rows))
    (root / "maps" / "expansion" / f"{NUSCENES_CITY}.json").write_text(json.dumps(nuscenes_map()))
    vel = [{"utime": 1_500_000_000_000_000 + 20_000 * k, "vel": [5.0, 0.0, 0.0]} for k in range(101)]
    (root / "can_bus" / "scene-0061_pose.json").write_text(json.dumps(vel))
    return root


def _nuscenes_scene(tables: dict[str, list[dict[str, object]]], name: str) -> None:
    """Add a scene of five keyframes at 2 Hz with sweeps at 20 Hz between them."""
    start = 1_500_000_000_000_000

    def chained(kind: str, k: int, count: int) -> dict[str, object]:
        token = [f"{name}-{kind}-{i}" if 0 <= i < count else "" for i in (k - 1, k, k + 1)]
        return dict(zip(("prev", "token", "next"), token, strict=True))

    keyframes, sweeps = 5, 41
    tables["scene"].append(
        {
            "token": name,
            "name": name,
            "description": "",
            "log_token": "log",
            "nbr_samples": keyframes,
            "first_sample_token": f"{name}-sample-0",
            "last_sample_token": f"{name}-sample-{keyframes - 1}",
        }
    )
    for k in range(sweeps):
        seconds = 0.05 * k
        xy, yaw, _ = on_bend(5.0 * seconds)
        rear = xy - 1.35 * np.array([np.cos(yaw), np.sin(yaw)]) + NUSCENES_ORIGIN
        stamp = start + 50_000 * k
        pose = {"translation": [*rear, 0.0], "rotation": [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]}
        tables["ego_pose"].append({"token": f"{name}-pose-{k}", "timestamp": stamp, **pose})
        tables["sample_data"].append(
            {
                **chained("data", k, sweeps),
                "sample_token": f"{name}-sample-{min(k // 10, keyframes - 1)}",
                "ego_pose_token": f"{name}-pose-{k}",
                "calibrated_sensor_token": "calibrated",
                "timestamp": stamp,
                "fileformat": "pcd",
                "is_key_frame": k % 10 == 0,
                "height": 0,
                "width": 0,
                "filename": f"sweeps/LIDAR_TOP/{k}.pcd.bin",
            }
        )
    for k in range(keyframes):
        tables["sample"].append(
            {**chained("sample", k, keyframes), "timestamp": start + 500_000 * k, "scene_token": name}
        )
    for who, speed, seen, size in (
        ("car", 4.0, (0, 1, 2, 3, 4), [1.9, 4.6, 1.7]),
        ("walk", 1.0, (0, 1, 4), [0.7, 0.7, 1.8]),
        ("cone", 0.0, (1, 2), [0.4, 0.4, 1.0]),
    ):
        first, last = f"{name}-{who}-{seen[0]}", f"{name}-{who}-{seen[-1]}"
        tables["instance"].append(
            {
                "token": f"{name}-{who}",
                "category_token": f"c-{who}",
                "nbr_annotations": len(seen),
                "first_annotation_token": first,
                "last_annotation_token": last,
            }
        )
        for i, k in enumerate(seen):
            xy = np.array([15.0 + speed * 0.5 * k, 2.0])
            tables["sample_annotation"].append(
                {
                    "token": f"{name}-{who}-{k}",
                    "sample_token": f"{name}-sample-{k}",
                    "instance_token": f"{name}-{who}",
                    "visibility_token": "4",
                    "attribute_tokens": [],
                    "translation": [*(xy + NUSCENES_ORIGIN), 0.8],
                    "size": size,
                    "rotation": [1.0, 0.0, 0.0, 0.0],
                    "prev": f"{name}-{who}-{seen[i - 1]}" if i else "",
                    "next": f"{name}-{who}-{seen[i + 1]}" if i + 1 < len(seen) else "",
                    "num_lidar_pts": 9,
                    "num_radar_pts": 0,
                }
            )


def nuscenes_map() -> dict[str, object]:
    """Return a map expansion: a straight lane, a connector, ground with a hole, a crossing, a stop sign, dividers."""
    layers: dict[str, object] = {
        name: []
        for name in (
            *("polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane", "ped_crossing"),
            *(
                "walkway",
                "stop_line",
                "carpark_area",
                "road_divider",
                "lane_divider",
                "traffic_light",
                "lane_connector",
            ),
        )
    }
    nodes: list[dict[str, object]] = layers["node"]  # type: ignore[assignment]
    ox, oy = NUSCENES_ORIGIN

    def add(xy: list[tuple[float, float]]) -> list[str]:
        tokens = [f"n{len(nodes) + k}" for k in range(len(xy))]
        nodes.extend({"token": t, "x": ox + x, "y": oy + y} for t, (x, y) in zip(tokens, xy, strict=True))
        return tokens

    def polygon(name: str, xy: list[tuple[float, float]], hole: list[tuple[float, float]] | None = None) -> str:
        holes = [{"node_tokens": add(hole)}] if hole else []
        layers["polygon"].append({"token": name, "exterior_node_tokens": add(xy), "holes": holes})  # type: ignore[attr-defined]
        return name

    def rectangle(x0: float, x1: float, y0: float, y1: float) -> list[tuple[float, float]]:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    def arc(x0: float, x1: float) -> list[dict[str, object]]:
        ends = {"start_pose": [ox + x0, oy, 0.0], "end_pose": [ox + x1, oy, 0.0]}
        third = (x1 - x0) / 3.0
        return [{**ends, "shape": "LSL", "radius": 999.0, "segment_length": [0.0, 3 * third, 0.0]}]

    layers |= {
        "version": "1.3",
        "canvas_edge": [1600.0, 2000.0],
        "drivable_area": [
            {"token": "d", "polygon_tokens": [polygon("p-d", rectangle(-30, 90, -4, 20), rectangle(40, 44, 10, 14))]}
        ],
        "lane": [
            {
                "token": "lane-1",
                "polygon_token": polygon("p-1", rectangle(-30, 30, -1.75, 1.75)),
                "lane_type": "CAR",
                "from_edge_line_token": "",
                "to_edge_line_token": "",
                "left_lane_divider_segments": [],
                "right_lane_divider_segments": [],
            }
        ],
        "lane_connector": [{"token": "lane-2", "polygon_token": polygon("p-2", rectangle(30, 90, -1.75, 1.75))}],
        "ped_crossing": [
            {"token": "x", "polygon_token": polygon("p-x", rectangle(31, 34, -4, 8)), "road_segment_token": ""}
        ],
        "stop_line": [
            {
                "token": "s",
                "polygon_token": polygon("p-s", rectangle(29, 30, -2, 2)),
                "stop_line_type": "STOP_SIGN",
                "ped_crossing_tokens": [],
                "traffic_light_tokens": [],
                "road_block_token": "",
            }
        ],
        "line": [{"token": "l", "node_tokens": add([(-30, 1.75), (30, 1.75)])}],
        "road_divider": [{"token": "r", "line_token": "l", "road_segment_token": None}],
        "arcline_path_3": {"lane-1": arc(-30.0, 30.0), "lane-2": arc(30.0, 90.0)},
        "connectivity": {
            "lane-1": {"incoming": [], "outgoing": ["lane-2"]},
            "lane-2": {"incoming": ["lane-1"], "outgoing": []},
        },
    }
    return layers
