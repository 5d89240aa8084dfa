"""The map expansion of nuScenes around a recording, by the official devkit's ``NuScenesMap``."""

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap
from alpamayo_datasets.ground import without_holes
from alpamayo_datasets.lanes import RawLane, sides_from_polygon, unknown_sides, without_repeats
from alpamayo_sim.datatypes.scene import LineKind
from alpamayo_sim.errors import InputError

Array = np.ndarray

MARGIN_M = 150.0  # around the ego's path
LANE_SPACING_M = 1.0
MAX_LANE_M = 10_000.0
MAX_FILE_BYTES = 512 << 20
LAYERS = ("lane", "lane_connector", "drivable_area", "ped_crossing", "stop_line", "road_divider", "lane_divider")
DIVIDERS = {"road_divider": LineKind.SOLID_YELLOW, "lane_divider": LineKind.BROKEN_WHITE}


def read_map(root: Path, location: str, path: Float64[Array, "n 2"], where: str) -> RawMap:
    """Return what a city's map has around a path.

    Raises:
        InputError: The map expansion is missing or too large.
    """
    file = root / "maps" / "expansion" / f"{location}.json"
    if "/" in location or not file.is_file():
        raise InputError(f"{where}: has no {file}; it comes with nuScenes' map expansion (v1.3)")
    stat = file.stat()
    if stat.st_size > MAX_FILE_BYTES:
        raise InputError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
    city = _city(root, location, (stat.st_size, stat.st_mtime_ns))
    low, high = path.min(axis=0) - MARGIN_M, path.max(axis=0) + MARGIN_M
    found = city.get_records_in_patch((*low, *high), list(LAYERS), mode="intersect")
    raw = RawMap()
    for layer in ("lane", "lane_connector"):
        for token in found[layer]:
            raw.lanes.extend(_lane(city, layer, token, where))
    box = shapely.box(*low, *high)
    for token in found["drivable_area"]:
        for name in city.get("drivable_area", token)["polygon_tokens"]:
            raw.areas.extend(_pieces(city.extract_polygon(name), box))
    for token in found["ped_crossing"]:
        raw.crosswalks.append(_ring(_polygon(city, "ped_crossing", token)))
    for token in found["stop_line"]:
        if city.get("stop_line", token)["stop_line_type"] == "STOP_SIGN":
            centre = shapely.get_coordinates(_polygon(city, "stop_line", token).centroid)[0]
            raw.signs.append((np.array([*centre, 0.0]), ()))
    for layer, kind in DIVIDERS.items():
        for token in found[layer]:
            line = city.extract_line(city.get(layer, token)["line_token"])
            raw.lines.append((_flat(shapely.get_coordinates(line)), kind))
    return raw


@lru_cache(maxsize=4)
def _city(root: Path, location: str, stamp: object) -> Any:
    """Return the devkit's map of a city; it takes seconds to load, so that it is kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nuscenes.map_expansion.map_api import NuScenesMap

        return NuScenesMap(dataroot=str(root), map_name=location)


def _lane(city: Any, layer: str, token: str, where: str) -> list[RawLane]:
    arcs = city.arcline_path_3.get(token, [])
    length = sum(sum(abs(float(part)) for part in arc["segment_length"]) for arc in arcs)
    if not length < MAX_LANE_M:
        raise InputError(f"{where}: {layer} {token!r} is {length:.0f} m long, longer than any lane")
    line = _flat(np.array([pose[:2] for pose in city.discretize_lanes([token], LANE_SPACING_M)[token]]).reshape(-1, 2))
    line = line[without_repeats(line)]
    if len(line) < 2:
        return []
    sides = unknown_sides(line)
    if layer == "lane":
        sides = sides_from_polygon(line, _ring(_polygon(city, layer, token)))
    after = city.connectivity.get(token, {}).get("outgoing", [])
    limit = city.get(layer, token).get("speed_limit")  # of data sets that this project has written
    return [
        RawLane(
            token,
            line,
            *sides,
            speed_limit=None if limit is None else float(limit),
            successors=tuple(str(name) for name in after),
            in_intersection=layer != "lane",
        )
    ]


def _polygon(city: Any, layer: str, token: str) -> shapely.Polygon:
    polygon: shapely.Polygon = city.extract_polygon(city.get(layer, token)["polygon_token"])
    return polygon


def _pieces(polygon: shapely.Polygon, box: shapely.Polygon) -> list[Array]:
    """Return the part of a polygon inside a box as rings without holes."""
    parts = shapely.get_parts(shapely.intersection(shapely.make_valid(polygon), box))
    polygons = [part for part in parts if isinstance(part, shapely.Polygon) and not part.is_empty]
    return [_ring(piece) for part in polygons for piece in without_holes(part)]


def _ring(polygon: shapely.Polygon) -> Float64[Array, "n 3"]:
    return _flat(shapely.get_coordinates(polygon.exterior)[:-1])


def _flat(xy: Float64[Array, "n 2"]) -> Float64[Array, "n 3"]:
    return np.pad(xy.astype(np.float64), ((0, 0), (0, 1)))
