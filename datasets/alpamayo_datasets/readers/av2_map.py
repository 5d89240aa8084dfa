"""Vector maps of Argoverse 2: ``log_map_archive_*.json``.

Format: https://argoverse.github.io/user-guide/api/hd_maps.html
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial import cKDTree

from alpamayo_datasets.assemble import RawMap
from alpamayo_datasets.fields import get, get_list, get_record, points
from alpamayo_datasets.lanes import RawLane, lane_between
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import LaneKind, LineKind
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.io.files import read_regular

Array = np.ndarray

MAX_FILE_BYTES = 64 << 20
MAX_COORDINATE_M = 1e9
SAME_WAY_RAD = np.pi / 2
LANE_KINDS = {"VEHICLE": LaneKind.DRIVING, "BIKE": LaneKind.BICYCLE, "BUS": LaneKind.BUS}
LINE_KINDS = {
    "DASHED_WHITE": LineKind.BROKEN_WHITE,
    "DOUBLE_DASH_WHITE": LineKind.BROKEN_WHITE,
    "SOLID_WHITE": LineKind.SOLID_WHITE,
    "SOLID_BLUE": LineKind.SOLID_WHITE,
    "DOUBLE_SOLID_WHITE": LineKind.DOUBLE_WHITE,
    "DASH_SOLID_WHITE": LineKind.DOUBLE_WHITE,
    "SOLID_DASH_WHITE": LineKind.DOUBLE_WHITE,
    "DASHED_YELLOW": LineKind.BROKEN_YELLOW,
    "DOUBLE_DASH_YELLOW": LineKind.BROKEN_YELLOW,
    "SOLID_YELLOW": LineKind.SOLID_YELLOW,
    "DOUBLE_SOLID_YELLOW": LineKind.DOUBLE_YELLOW,
    "DASH_SOLID_YELLOW": LineKind.DOUBLE_YELLOW,
    "SOLID_DASH_YELLOW": LineKind.DOUBLE_YELLOW,
}


def read_map(folder: Path) -> RawMap:
    """Return the map of a scenario's folder or of a log's ``map`` folder.

    Raises:
        InputError: There is no map, or it is damaged.
    """
    found = sorted(folder.glob("log_map_archive_*.json"))
    if not found:
        raise InputError(f"{folder}: has no map, log_map_archive_*.json")
    path = found[0]
    record = load_json(path)
    raw, drawn = RawMap(), set()
    segments = get_record(record, "lane_segments", str(path))
    for name, item in segments.items():
        raw.lanes.extend(_lane(name, item, segments, f"{path}: lane segment {name}"))
        for line, kind in _lines(item, f"{path}: lane segment {name}"):
            ends = tuple(sorted((tuple(np.round(line[0], 1)), tuple(np.round(line[-1], 1)))))
            if ends not in drawn:  # neighbours share their boundary
                drawn.add(ends)
                raw.lines.append((line, kind))
    for name, item in get_record(record, "drivable_areas", str(path)).items():
        raw.areas.append(xyz(item, "area_boundary", f"{path}: drivable area {name}"))
    for name, item in get_record(record, "pedestrian_crossings", str(path)).items():
        here = f"{path}: pedestrian crossing {name}"
        raw.crosswalks.append(np.concatenate([xyz(item, "edge1", here), xyz(item, "edge2", here)[::-1]]))
    return raw


def load_json(path: Path) -> Any:
    """Return the record of a JSON file.

    Raises:
        InputError: The file cannot be read, is too large, or is not JSON.
    """
    try:
        return json.loads(read_regular(path, MAX_FILE_BYTES))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error


def ground_heights(raw_map: RawMap, xy: Float64[Array, "n 2"]) -> Float64[Array, " n"]:
    """Return the height of the nearest point of a lane's boundary, for recordings without heights."""
    lines = [line for lane in raw_map.lanes for line in lane.boundaries or ()]
    if not lines:
        return np.zeros(len(xy))
    vertices = np.concatenate(lines)
    _, nearest = cKDTree(vertices[:, :2]).query(np.clip(xy, -MAX_COORDINATE_M, MAX_COORDINATE_M))
    return np.asarray(vertices[nearest, 2])


def xyz(item: Any, key: str, where: str) -> Float64[Array, "n 3"]:
    """Return a list of records of x, y and z as points."""
    rows = get_list(item, key, where)
    try:
        values = [(float(row["x"]), float(row["y"]), float(row.get("z", 0.0))) for row in rows]
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        raise InputError(f"{where}: {key} must be records of the numbers x, y and z") from None
    return points(values, f"{where}: {key}") if values else np.zeros((0, 3))


def _lane(name: str, item: Any, segments: dict[str, Any], where: str) -> list[RawLane]:
    left, right = (xyz(item, f"{side}_lane_boundary", where) for side in ("left", "right"))
    if min(len(left), len(right)) < 2:
        return []
    line, left_side, right_side = lane_between(left, right)
    if len(line) < 2:
        return []
    return [
        RawLane(
            id=name,
            centreline=line,
            left=left_side,
            right=right_side,
            kind=meaning_of(item.get("lane_type"), LANE_KINDS, LaneKind.DRIVING, "lane_type", where),
            successors=tuple(str(after) for after in get_list(item, "successors", where)),
            left_neighbours=_neighbour(item, "left", segments),
            right_neighbours=_neighbour(item, "right", segments),
            in_intersection=item.get("is_intersection") is True,
            boundaries=(left, right),
        )
    ]


def _lines(item: Any, where: str) -> list[tuple[Array, LineKind]]:
    """Return the painted boundaries of a lane."""
    found = []
    for side in ("left", "right"):
        word = get(item, f"{side}_lane_mark_type", where)
        kind = meaning_of(word, LINE_KINDS, None, f"{side}_lane_mark_type", where, ("NONE", "UNKNOWN"))
        line = xyz(item, f"{side}_lane_boundary", where)
        if kind is not None and len(line) > 1:
            found.append((line, kind))
    return found


def _neighbour(item: dict[str, Any], side: str, segments: dict[str, Any]) -> tuple[str, ...]:
    """Return the lane at a side, if it goes the same way: the map names oncoming lanes too."""
    name = str(item.get(f"{side}_neighbor_id"))
    if name not in segments:
        return ()
    own, other = _direction(item), _direction(segments[name])
    return (name,) if abs(wrap_angle(np.asarray(own - other))) < SAME_WAY_RAD else ()


def _direction(item: Any) -> float:
    line = xyz(item, "left_lane_boundary", "lane segment")
    chord = line[-1] - line[0] if len(line) else np.zeros(3)
    return float(np.arctan2(chord[1], chord[0]))
