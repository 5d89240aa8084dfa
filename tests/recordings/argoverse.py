"""Small recordings of Argoverse 2: motion forecasting and sensor data."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from pyarrow import feather

from recordings.motion import STEPS, TIMES, bend, curve

Array = np.ndarray

AV2_ORIGIN = np.array([5100.0, 2400.0, 60.0])


def av2_map() -> dict[str, object]:
    """Return a map: two lanes that follow each other, a lane the other way, an area and a crossing."""

    def line(xy: Array) -> list[dict[str, float]]:
        return [dict(zip("xyz", row, strict=True)) for row in np.column_stack([xy, np.zeros(len(xy))]) + AV2_ORIGIN]

    def lane(name: int, first: float, last: float, after: list[int], left: int | None) -> dict[str, object]:
        return {
            "id": name,
            "is_intersection": name == 2,
            "lane_type": "VEHICLE",
            "left_lane_boundary": [dict(p) for p in line(bend(first, last, 1.75, spacing=5.0))],
            "right_lane_boundary": line(bend(first, last, -1.75, spacing=5.0)),
            "left_lane_mark_type": "DOUBLE_SOLID_YELLOW",
            "right_lane_mark_type": "NONE",
            "successors": after,
            "predecessors": [],
            "left_neighbor_id": left,
            "right_neighbor_id": None,
        }

    def crossing(s: float) -> Array:
        return np.concatenate([bend(s, s, 5.0), bend(s, s, -2.0)])

    oncoming = lane(3, -20.0, 30.0, [], 1)
    oncoming["left_lane_boundary"] = line(bend(-20.0, 30.0, 1.75, spacing=5.0)[::-1])
    oncoming["right_lane_boundary"] = line(bend(-20.0, 30.0, 5.25, spacing=5.0)[::-1])
    area = np.concatenate([bend(-20.0, 90.0, -2.0), bend(-20.0, 90.0, 5.5)[::-1]])
    return {
        "lane_segments": {"1": lane(1, -20.0, 30.0, [2], 3), "2": lane(2, 30.0, 90.0, [], None), "3": oncoming},
        "drivable_areas": {"4": {"id": 4, "area_boundary": line(area)}},
        "pedestrian_crossings": {
            "5": {"id": 5, "edge1": line(crossing(40.0)), "edge2": line(crossing(44.0))},
        },
    }


def write_av2_forecasting(folder: Path) -> Path:
    """Write a motion-forecasting scenario."""
    path = folder / "11f"
    path.mkdir()
    (path / "log_map_archive_11f.json").write_text(json.dumps(av2_map()))
    rows: dict[str, list[object]] = {name: [] for name in ("track_id", "object_type", "timestep")}
    numbers = []
    for name, kind, start, speed, seen in [("AV", "vehicle", 0.0, 5.0, STEPS), ("31", "cyclist", 20.0, 4.0, 18)]:
        xy, heading, velocity = curve(start, speed)
        for k in range(seen):
            for key, value in zip(rows, (name, kind, k), strict=True):
                rows[key].append(value)
            numbers.append([*(xy[k] + AV2_ORIGIN[:2]), heading[k], *velocity[k]])
    names = ("position_x", "position_y", "heading", "velocity_x", "velocity_y")
    table = pa.table({**rows, **dict(zip(names, np.array(numbers).T, strict=True))})
    pyarrow.parquet.write_table(table, path / "scenario_11f.parquet")
    return path


def write_av2_sensor(folder: Path) -> Path:
    """Write a sensor log: boxes in the frame of the ego, whose origin is its rear axle; a sweep is missing."""
    path = folder / "22a"
    (path / "map").mkdir(parents=True)
    (path / "map" / "log_map_archive_22a____PIT_city_1.json").write_text(json.dumps(av2_map()))
    stamps = 315_000_000_000_000_000 + (TIMES * 1e9).astype(np.int64)
    seen = np.arange(STEPS) != 7
    xy, heading, _ = curve()
    rear = xy - 1.35 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    poses = _poses(stamps[seen], np.column_stack([rear, np.full(STEPS, 0.31)])[seen] + AV2_ORIGIN, heading[seen])
    feather.write_feather(pa.table(poses), path / "city_SE3_egovehicle.feather")
    other, other_heading, _ = curve(20.0, 4.0)
    c, s = np.cos(heading), np.sin(heading)
    ahead = other - rear
    local = np.column_stack(
        [c * ahead[:, 0] + s * ahead[:, 1], -s * ahead[:, 0] + c * ahead[:, 1], np.full(STEPS, 0.59)]
    )
    boxes = _poses(stamps[seen], local[seen], (other_heading - heading)[seen])
    boxes |= {"track_uuid": ["31"] * (STEPS - 1), "category": ["BUS"] * (STEPS - 1)}
    boxes |= {
        f"{side}_m": np.full(STEPS - 1, size) for side, size in (("length", 10.0), ("width", 2.5), ("height", 1.8))
    }
    feather.write_feather(pa.table(boxes), path / "annotations.feather")
    return path


def _poses(stamps: Array, place: Array, yaw: Array) -> dict[str, object]:
    zero = np.zeros(len(yaw))
    turn = zip(("qw", "qx", "qy", "qz"), (np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)), strict=True)
    return {"timestamp_ns": stamps, **dict(turn), **dict(zip(("tx_m", "ty_m", "tz_m"), place.T, strict=True))}
