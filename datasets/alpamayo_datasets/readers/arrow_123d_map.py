"""The map of a 123D log: objects as MessagePack records, in an Arrow file of the log or of a city."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_datasets.arrow_tables import read_lists
from alpamayo_datasets.assemble import RawMap
from alpamayo_datasets.fields import get, get_list, points
from alpamayo_datasets.lanes import RawLane, lane_between, without_repeats
from alpamayo_datasets.msgpack import unpack
from alpamayo_sim.datatypes.scene import LaneKind, LineKind
from alpamayo_sim.errors import InputError

Array = np.ndarray

MARGIN_M = 150.0  # around the ego's path
FOLDERS_ABOVE = 6  # in which a folder of maps is looked for
LANE, LANE_GROUP, INTERSECTION, CROSSWALK, CARPARK, GENERIC, STOP_ZONE, ROAD_LINE = 0, 1, 2, 3, 5, 6, 7, 9
AREAS = (LANE, LANE_GROUP, INTERSECTION, CARPARK, GENERIC)
STOP_SIGN = 2
LANE_KINDS = {3: LaneKind.BICYCLE, 4: LaneKind.BUS}
LINES = {
    2: LineKind.SOLID_YELLOW,
    3: LineKind.SOLID_WHITE,
    4: LineKind.BROKEN_WHITE,
    5: LineKind.BROKEN_YELLOW,
    6: LineKind.DOUBLE_YELLOW,
    7: LineKind.DOUBLE_WHITE,
    8: LineKind.DOUBLE_YELLOW,
    9: LineKind.DOUBLE_WHITE,
    10: LineKind.SOLID_YELLOW,
    11: LineKind.SOLID_WHITE,
    12: LineKind.SOLID_WHITE,
    13: LineKind.SOLID_YELLOW,
}
NO_PAINT = 0


def find_map(log: Path, about: Any) -> Path | None:
    """Return the file of a log's map: its own one, or that of its city in a folder ``maps`` above; None for no map.

    Raises:
        InputError: The log says that it has a map, which is not there.
    """
    if (log / "map.arrow").is_file():
        return log / "map.arrow"
    if about is None:
        return None
    where = f"{log}: map_metadata"
    dataset, location = str(get(about, "dataset", where)), str(get(about, "location", where))
    name = f"{dataset}_{location}.arrow"
    if "/" not in dataset + location:
        for folder in log.resolve().parents[:FOLDERS_ABOVE]:
            if (folder / "maps" / dataset / name).is_file():
                return folder / "maps" / dataset / name
    raise InputError(f"{log}: has no map.arrow, and there is no maps/{dataset}/{name} in a folder above it")


def read_map(file: Path | None, path: Float64[Array, "n 2"]) -> tuple[RawMap, dict[str, Array]]:
    """Return what a map has around a path, and the first point of each lane.

    Raises:
        InputError: The map is damaged.
    """
    raw = RawMap()
    if file is None:
        return raw, {}
    columns, _ = read_lists(file, ["object_id", "map_layer", "features", "wkb"])
    shapes = _shapes(columns["wkb"], file)
    box = shapely.box(*(path.min(axis=0) - MARGIN_M), *(path.max(axis=0) + MARGIN_M))
    near = shapely.intersects(shapes, box)
    rows = [
        (str(name), layer, unpack(features, f"{file}: object {name}"), shapes[k])
        for k, (name, layer, features) in enumerate(
            zip(columns["object_id"], columns["map_layer"], columns["features"], strict=True)
        )
        if near[k] and isinstance(features, bytes)
    ]
    groups = ((name, features) for name, layer, features, _ in rows if layer == LANE_GROUP)
    crossings = {name for name, features in groups if get(features, "intersection_id", str(file)) is not None}
    for name, layer, features, shape in rows:
        _add(raw, name, layer, features, shape, crossings, f"{file}: object {name}")
    return raw, {lane.id: lane.centreline[0] for lane in raw.lanes}


def _shapes(packed: list[Any], file: Path) -> Array:
    try:
        return np.asarray(shapely.from_wkb(np.array(packed, dtype=object)))
    except (shapely.errors.GEOSException, TypeError, ValueError) as error:
        raise InputError(f"{file}: wkb: {error}") from error


def _add(raw: RawMap, name: str, layer: int, features: Any, shape: Any, crossings: set[str], where: str) -> None:
    if layer == LANE:
        raw.lanes.extend(_lane(name, features, crossings, where))
    if layer in AREAS:
        raw.areas.append(_ring(features, where))
    elif layer == CROSSWALK:
        raw.crosswalks.append(_ring(features, where))
    elif layer == STOP_ZONE and get(features, "stop_zone_type", where) == STOP_SIGN:
        lanes = tuple(str(lane) for lane in get_list(features, "lane_ids", where))
        raw.signs.append((_ring(features, where).mean(axis=0), lanes))
    elif layer == ROAD_LINE and (kind := get(features, "road_line_type", where)) != NO_PAINT:
        line = shapely.get_coordinates(shape, include_z=True)
        line[:, 2] = np.nan_to_num(line[:, 2])
        raw.lines.append((line, LINES.get(kind, LineKind.UNKNOWN) if isinstance(kind, int) else LineKind.UNKNOWN))


def _lane(name: str, features: Any, crossings: set[str], where: str) -> list[RawLane]:
    names = ("left_boundary", "right_boundary")
    sides = [points(get(features, side, where), f"{where}: {side}") for side in names]
    left, right = (side[without_repeats(side)] for side in sides)
    if min(len(left), len(right)) < 2:
        return []
    line, to_left, to_right = lane_between(left, right)
    kept = without_repeats(line)
    if len(kept) < 2:
        return []
    limit = get(features, "speed_limit_mps", where)
    neighbours = (get(features, f"{side}_lane_id", where) for side in ("left", "right"))
    beside = tuple(() if each is None else (str(each),) for each in neighbours)
    return [
        RawLane(
            name,
            line[kept],
            to_left[kept],
            to_right[kept],
            LANE_KINDS.get(get(features, "lane_type", where), LaneKind.DRIVING),
            speed_limit=float(limit) if isinstance(limit, (int, float)) and limit > 0 else None,
            successors=tuple(str(each) for each in get_list(features, "successor_ids", where)),
            left_neighbours=beside[0],
            right_neighbours=beside[1],
            in_intersection=str(get(features, "lane_group_id", where)) in crossings,
            boundaries=(left, right),
        )
    ]


def _ring(features: Any, where: str) -> Float64[Array, "n 3"]:
    ring = points(get(features, "outline", where), f"{where}: outline")
    return ring[:-1] if len(ring) > 3 and np.allclose(ring[0], ring[-1]) else ring
