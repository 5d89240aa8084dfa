"""The flat blocks of a road map for the kernels; made once per map."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.datatypes.scene import RoadMap, Scene
from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.packing.thinning import thinned
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.border import Border, border_of
from alpamayo_sim.map.index import MapIndex, index_of
from alpamayo_sim.map.polylines import MapLineKind
from alpamayo_sim.map.stop_lines import signal_lines

Array = np.ndarray
PACKED_MAP_BYTES = 128 << 20  # kept at most
BORDER_CELL = 4.0  # m
BORDER_LIST = 32  # segments of the border that a cell can list
CENTRE_CELL = 8.0
CENTRE_LIST = 64
PIECE_CELL = 8.0
MAX_CELLS = 1 << 18  # of one grid; a larger map has larger cells
FLATNESS = 0.1  # m; map lines lose points that are nearer to the line than this
BORDER_FLATNESS = 1e-3  # m
CENTRE_FLATNESS = 1e-2  # m


@dataclass(frozen=True)
class GridSpec:
    """Cells of ``size`` (m) from ``corner`` (m) on, each with a list of at most ``capacity`` numbers."""

    corner: tuple[float, float]
    size: float
    nx: int
    ny: int
    capacity: int

    @property
    def cells(self) -> int:
        """Return the number of cells."""
        return self.nx * self.ny


@dataclass(frozen=True, eq=False)
class PackedMap:
    """A map's blocks and grids by name."""

    index: MapIndex
    blocks: Mapping[str, Array]
    grids: Mapping[str, GridSpec]


@byte_cache(PACKED_MAP_BYTES)
def pack_map(road_map: RoadMap) -> PackedMap:
    """Return border, lanes and pieces of a map, each with an empty grid that the kernels fill when needed."""
    index = index_of(road_map)
    centre_lines = thinned([lane.centreline[:, :2].astype(np.float64) for lane in road_map.lanes], CENTRE_FLATNESS)
    border, centres, pieces = (
        border_rows(index),
        centre_rows(road_map, centre_lines),
        piece_rows(road_map, centre_lines),
    )
    ends = np.concatenate([border["start"], border["start"] + border["step"]])
    starts = np.concatenate([centres["start"], centres["start"] + centres["along"] * centres["length"][:, None]])
    return PackedMap(
        index,
        {"borders": border, "centres": centres, "pieces": pieces},
        {
            "border_grid": grid_over(ends, BORDER_CELL, BORDER_LIST, layout.MARGIN_RANGE),
            "centre_grid": grid_over(starts, CENTRE_CELL, CENTRE_LIST, layout.LANE_REACH),
            "piece_grid": grid_over(pieces[:, :2], PIECE_CELL, layout.NEARBY),
        },
    )


def grid_over(points: Float32[Array, "n 2"], size: float, capacity: int, beyond: float = 0.0) -> GridSpec:
    """Return a grid that covers all points and a margin ``beyond`` (m)."""
    if not len(points):
        return GridSpec((0.0, 0.0), size, 0, 0, capacity)
    low, high = points.min(axis=0) - beyond, points.max(axis=0) + beyond
    size = max(size, float(np.sqrt(np.prod(high - low) / MAX_CELLS)))
    nx, ny = (1 + int(n) for n in (high - low) // size)
    return GridSpec((float(low[0]), float(low[1])), size, nx, ny, capacity)


def border_rows(index: MapIndex) -> Array:
    """Return the border of the drivable area without points that lie within a millimetre of a straight line."""
    lines = [line for line in index.drivable_area.border_lines if len(line) > 1]
    border = border_of(thinned(lines, BORDER_FLATNESS)) if lines else None
    if index.has_levels:
        border = index.drivable_area.level_border
    return _border_rows(border) if border is not None else layout.empty_rows(layout.BorderRow)


def _border_rows(border: Border) -> Array:
    rows = layout.empty_rows(layout.BorderRow, len(border.start))
    rows["start"], rows["step"] = border.start, border.end - border.start
    rows["per_length"] = 1.0 / np.sum(rows["step"] ** 2, axis=1)
    rows["normal_start"], rows["normal_end"] = border.normal_start, border.normal_end
    rows["elevation"] = border.elevation
    return rows


def centre_rows(road_map: RoadMap, lines: list[Float64[Array, "_ 2"]]) -> Array:
    """Return the segments of all centrelines, given without points within a centimetre of a straight line."""
    lanes = road_map.lanes
    if not lanes:
        return layout.empty_rows(layout.CentreRow)
    start, step, owner = _segments(lines)
    length = np.linalg.norm(step, axis=1)
    rows = layout.empty_rows(layout.CentreRow, len(start))
    rows["start"], rows["along"] = start, step / np.maximum(length, 1e-9)[:, None]
    rows["length"], rows["lane"] = length, owner
    rows["half_width"] = 0.5 * _means([lane.width for lane in lanes])[owner]
    rows["elevation"] = _elevations(road_map, lines)
    rows["limit"] = np.array([lane.speed_limit or 0.0 for lane in lanes], np.float32)[owner]
    return rows[length > 1e-6]


def _elevations(road_map: RoadMap, lines: list[Float64[Array, "_ 2"]]) -> Float64[Array, "n 2"]:
    """Return the z (m) at both ends of each segment of thinned centrelines."""
    parts = []
    for lane, line in zip(road_map.lanes, lines, strict=True):
        z = np.interp(*_shares(line, lane.centreline), lane.centreline[:, 2])
        parts.append(np.stack([z[:-1], z[1:]], axis=1))
    return np.concatenate(parts)


def _shares(line: Float64[Array, "m 2"], whole: Float32[Array, "n 3"]) -> tuple[Array, Array]:
    """Return the arc lengths of the points of a thinned line on the whole line, and those of the whole line."""
    own, knots = arc_length(line), arc_length(whole)
    return own / max(float(own[-1]), 1e-9) * knots[-1], knots


def _means(rows: list[Float32[Array, " _"]]) -> Float64[Array, " n"]:
    counts = np.array([len(row) for row in rows])
    return np.add.reduceat(np.concatenate(rows), np.cumsum(counts) - counts, dtype=np.float64) / counts


def piece_rows(road_map: RoadMap, centre_lines: list[Float64[Array, "_ 2"]]) -> Float32[Array, "n 8"]:
    """Return the map's lines without points that lie within ``FLATNESS`` of a straight line, cut to pieces.

    A row is the middle (m), cosine and sine, length / ``PIECE``, whether it is an edge, a painted line, and 0.
    """
    others = [*road_map.road_edges, *(line.line for line in road_map.road_lines)]
    lines = [*centre_lines, *(line[:, :2].astype(np.float64) for line in others)]
    if not lines:
        return np.zeros((0, 8), np.float32)
    counts = (len(road_map.lanes), len(road_map.road_edges), len(road_map.road_lines))
    kinds = np.repeat(np.array(list(MapLineKind), np.int8), counts)
    start, step, owner = _segments(thinned(lines, FLATNESS))
    kind = kinds[owner]
    parts = np.maximum(np.ceil(np.linalg.norm(step, axis=1) / layout.PIECE - 1e-6), 1.0).astype(int)
    which = np.repeat(np.arange(len(parts)), parts)  # the segment of each piece, and its number in that
    number = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    step, kind = (step / parts[:, None])[which], kind[which]
    middle, length = start[which] + (number + 0.5)[:, None] * step, np.linalg.norm(step, axis=1)
    flags = np.stack([kind == MapLineKind.EDGE, kind == MapLineKind.LINE, np.zeros(len(kind))], axis=1)
    rows = np.column_stack([middle, step / np.maximum(length, 1e-9)[:, None], length / layout.PIECE, flags])
    return rows[length > 1e-6].astype(np.float32)


def _segments(
    lines: list[Float64[Array, "_ 2"]],
) -> tuple[Float64[Array, "n 2"], Float64[Array, "n 2"], Int[Array, " n"]]:
    """Return all segments of some lines: start, step to the end, and the number of the line."""
    points, owner = np.concatenate(lines), np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    within = owner[1:] == owner[:-1]
    return points[:-1][within], np.diff(points, axis=0)[within], owner[:-1][within]


def gate_rows(scene: Scene) -> Array:
    """Return the stop lines of signals with the direction across them; for lanes without one, the lane's start."""
    found = [(line, number) for number, lines in enumerate(signal_lines(scene)) for line in lines]
    rows = layout.empty_rows(layout.GateRow, len(found))
    for row, (line, number) in zip(rows, found, strict=True):
        step = line.ends[1] - line.ends[0]
        row["length"] = np.linalg.norm(step)
        row["start"], row["along"] = line.ends[0], step / max(float(row["length"]), 1e-6)
        row["direction"], row["signal"], row["elevation"] = line.direction, number, line.elevation
    return rows
