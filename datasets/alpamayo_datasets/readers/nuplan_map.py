"""GeoPackage maps of nuPlan, read with sqlite3 and shapely.

Layers and columns: https://github.com/motional/nuplan-devkit, nuplan/common/maps/nuplan_map. Geometries are longitudes
and latitudes; the table ``meta`` names the UTM zone that the logs are in. The maps are flat.
"""

import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap
from alpamayo_datasets.lanes import RawLane, sides_from_polygon, unknown_sides, without_repeats
from alpamayo_datasets.sqlite_files import open_database, rows
from alpamayo_datasets.utm import is_utm, project_utm
from alpamayo_sim.datatypes.scene import LineKind
from alpamayo_sim.errors import InputError

Array = np.ndarray

MARGIN_M = 150.0  # around the ego's path
ENVELOPE_BYTES = (0, 32, 48, 48, 64)  # of a GeoPackage geometry, by its flags
DRIVABLE = ("lane_groups_polygons", "intersections", "generic_drivable_areas", "carpark_areas")
LONGITUDE_LATITUDE = 4326  # the EPSG code of WGS 84


class _Map:
    """An open map: its layers' geometries in metres, around a path."""

    def __init__(self, connection: sqlite3.Connection, path: Path, box: shapely.Polygon) -> None:
        self._connection, self._path, self._box = connection, path, box
        found = rows(connection, "SELECT value FROM meta WHERE key = 'projectedCoordSystem'", str(path))
        text = str(found[0][0]) if found else ""
        code = text.rpartition(":")[2]
        self._epsg = int(code) if code.isdigit() and len(code) < 7 else 0
        if not is_utm(self._epsg):
            raise InputError(f"{path}: meta names the coordinates {text!r}, must be a UTM zone on WGS 84")
        self._degrees = dict(rows(connection, "SELECT table_name, srs_id FROM gpkg_geometry_columns", str(path)))
        self._columns = dict(rows(connection, "SELECT table_name, column_name FROM gpkg_geometry_columns", str(path)))

    def layer(self, name: str, columns: str) -> list[tuple[Any, ...]]:
        """Return fid, geometry in metres and columns of what is near; no rows where there is no such layer."""
        if name not in self._columns:
            return []
        column = str(self._columns[name]).replace('"', "")
        query = f'SELECT fid, "{column}"{"".join(f", {c}" for c in columns.split())} FROM {name}'
        found = []
        for fid, blob, *rest in rows(self._connection, query, f"{self._path}: {name}"):
            geometry = self._metres(blob, name, f"{self._path}: {name} {fid}")
            if geometry is not None and shapely.intersects(geometry, self._box):
                found.append((str(fid), geometry, *rest))
        return found

    def _metres(self, blob: Any, layer: str, where: str) -> Any:
        if blob is None:
            return None
        geometry = geometry_of(blob, where)
        if self._degrees.get(layer) == LONGITUDE_LATITUDE:
            geometry = shapely.transform(geometry, lambda xy: project_utm(xy, self._epsg))
        return geometry if np.isfinite(shapely.get_coordinates(geometry)).all() else None


def read_map(path: Path, around: Float64[Array, "n 2"], height: float) -> RawMap:
    """Return what a map has around a path; all of it at one height (m), as the maps have none.

    Raises:
        InputError: The map is missing or damaged.
    """
    low, high = around.min(axis=0) - MARGIN_M, around.max(axis=0) + MARGIN_M
    raw = RawMap()
    with open_database(path) as connection:
        city = _Map(connection, path, shapely.box(*low, *high))
        raw.lanes.extend(_lanes(city, height))
        for layer in DRIVABLE:
            for _, geometry in city.layer(layer, ""):
                raw.areas.extend(_rings(geometry, height))
        for _, geometry in city.layer("crosswalks", ""):
            raw.crosswalks.extend(_rings(geometry, height))
        for _, geometry in city.layer("boundaries", ""):
            raw.lines.extend((line, LineKind.UNKNOWN) for line in _lines(geometry, height))
    return raw


def geometry_of(blob: Any, where: str) -> Any:
    """Return the geometry of a GeoPackage value: a header, then well-known binary.

    Raises:
        InputError: The value is damaged.
    """
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP" or blob[3] >> 1 & 7 >= len(ENVELOPE_BYTES):
        raise InputError(f"{where}: is no GeoPackage geometry")
    try:
        return shapely.from_wkb(blob[8 + ENVELOPE_BYTES[blob[3] >> 1 & 7] :])
    except (shapely.errors.GEOSException, ValueError, struct.error) as error:
        raise InputError(f"{where}: damaged geometry ({' '.join(str(error).split())[:100]})") from error


def _lanes(city: _Map, height: float) -> list[RawLane]:
    """Return lanes and lane connectors; a connector leads from its ``exit_lane_fid`` to its ``entry_lane_fid``."""
    paths: dict[tuple[str, str], Any] = {}
    for _, geometry, lane, connector in city.layer("baseline_paths", "lane_fid lane_connector_fid"):
        key = ("lane", _name(lane)) if lane is not None else ("connector", _name(connector))
        paths[key] = geometry
    after: dict[str, list[str]] = {}
    connectors = city.layer("lane_connectors", "exit_lane_fid entry_lane_fid speed_limit_mps")
    for fid, _, before, _, _ in connectors:
        after.setdefault(_name(before), []).append(fid)
    made = []
    for fid, polygon, limit in city.layer("lanes_polygons", "speed_limit_mps"):
        made += _lane(fid, paths.get(("lane", fid)), polygon, limit, tuple(after.get(fid, ())), False, height)
    shapes = dict(city.layer("gen_lane_connectors_scaled_width_polygons", ""))
    for fid, _, _, entry, limit in connectors:
        path = paths.get(("connector", fid))
        made += _lane(fid, path, shapes.get(fid), limit, (_name(entry),), True, height)
    return list({lane.id: lane for lane in made}.values())


def _lane(
    name: str, path: Any, polygon: Any, limit: Any, after: tuple[str, ...], in_intersection: bool, height: float
) -> list[RawLane]:
    lines = _lines(path, height) if path is not None else []
    line = lines[0][without_repeats(lines[0])] if lines else np.zeros((0, 3))
    if len(line) < 2:
        return []
    rings = _rings(polygon, height) if polygon is not None else []
    sides = sides_from_polygon(line, rings[0]) if rings else unknown_sides(line)
    speed = float(limit) if isinstance(limit, (int, float)) and 0.0 < limit < 100.0 else None
    return [RawLane(name, line, *sides, speed_limit=speed, successors=after, in_intersection=in_intersection)]


def _name(fid: Any) -> str:
    """Return a fid as text: some layers hold them as floats or as text."""
    return str(int(fid)) if isinstance(fid, float) and np.isfinite(fid) else str(fid)


def _rings(geometry: Any, height: float) -> list[Array]:
    polygons = [part for part in shapely.get_parts(geometry) if isinstance(part, shapely.Polygon)]
    rings = (shapely.get_coordinates(part.exterior)[:-1] for part in polygons if not part.is_empty)
    return [_at(xy, height) for xy in rings if len(xy) > 2]


def _lines(geometry: Any, height: float) -> list[Array]:
    parts = [part for part in shapely.get_parts(geometry) if isinstance(part, shapely.LineString)]
    return [_at(shapely.get_coordinates(part), height) for part in parts if len(part.coords) > 1]


def _at(xy: Float64[Array, "n 2"], height: float) -> Float64[Array, "n 3"]:
    return np.column_stack([xy, np.full(len(xy), height)])
