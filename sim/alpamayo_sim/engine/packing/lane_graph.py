"""The lane graph of a road map, on which the simulated traffic drives; made once per map.

Lanes keep their order. A lane has its path, its neighbours, its successors, the zones where it meets other lanes
(``ConflictRow``) and the priority there, where it crosses a crosswalk, and where its stop line is.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from jaxtyping import Float32, Float64, Int32
from shapely.geometry.base import BaseGeometry

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap, Scene
from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.kernels.layout import LANE_CELL_M, Control, Priority
from alpamayo_sim.engine.packing.polylines import elevations, path_rows
from alpamayo_sim.geometry import project

Array = np.ndarray
LANE_GRAPH_BYTES = 64 << 20  # kept at most
FLAT = 0.02  # m; a lane's path loses points that are nearer to the line than this
CLEAR = 2.3  # m between two centrelines at which two cars pass each other
TOUCH = 0.5  # m of overlap that make a conflict
COMFORT = 2.5  # m/s²; lateral acceleration in bends
BEND = 6.0  # m over which a bend's curvature is measured
TURN = 0.5  # rad that make a lane a turn
CELL_REACH_M = 6.0  # m from a lane's centreline to the furthest cells that list it
UNLIMITED = 50.0  # m/s where no limit is known
TRAFFIC_KINDS = frozenset({LaneKind.DRIVING, LaneKind.BUS, LaneKind.BICYCLE})


@dataclass(frozen=True, eq=False)
class LaneGraph:
    """The blocks of a map's lanes and the grid that finds them."""

    blocks: Mapping[str, Array]
    paths: tuple[Float32[Array, "_ 4"], ...]
    size: tuple[int, int]
    corner: tuple[float, float]


@byte_cache(LANE_GRAPH_BYTES)
def pack_lanes(road_map: RoadMap) -> LaneGraph:
    """Return the lane graph of a map; empty for a map without lanes."""
    paths = tuple(_path(lane) for lane in road_map.lanes)
    builder = _Builder(road_map, paths)
    return builder.graph()


def controls_of(scene: Scene) -> Int32[Array, "lanes 2"]:
    """Return the control at the stop line of each lane: the index of its signal, or a ``Control``.

    A stop line without a signal belongs to a stop sign. If it names a lane and a lane that follows, it holds for
    the first of the two. The second column is 1 for lanes whose traffic comes from a stop sign.
    """
    lanes = scene.road_map.lanes
    index = {lane.id: k for k, lane in enumerate(lanes)}
    controls = np.full((len(lanes), 2), (Control.NONE, 0), np.int32)
    signalled = {name for signal in scene.signals for name in signal.lane_ids}
    for line in scene.road_map.stop_lines:
        named = [name for name in line.lane_ids if name in index]
        later = {after for name in named for after in scene.road_map.lane_by_id[name].successors if after in index}
        if not signalled & ({*named} | later):
            controls[[index[name] for name in named if name not in later], 0] = Control.STOP_SIGN
            controls[[index[name] for name in {*named} | later], 1] = 1
    for number, signal in enumerate(scene.signals):
        controls[[index[name] for name in signal.lane_ids if name in index], 0] = number
    return controls


def _path(lane: Lane) -> Float32[Array, "n 4"]:
    line = shapely.simplify(shapely.LineString(lane.centreline[:, :2].astype(np.float64)), FLAT)
    points = shapely.get_coordinates(line)
    return path_rows(np.column_stack([points, np.zeros(len(points))]).astype(np.float32), f"lane {lane.id!r}")


class _Builder:
    """Collect the rows of all blocks; the rows of one lane are consecutive."""

    def __init__(self, road_map: RoadMap, paths: tuple[Float32[Array, "_ 4"], ...]) -> None:
        self.map, self.lanes, self.paths = road_map, road_map.lanes, paths
        self.elevations = [elevations(lane.centreline, path) for lane, path in zip(self.lanes, paths, strict=True)]
        self.index = {lane.id: k for k, lane in enumerate(self.lanes)}
        self.lines = [shapely.LineString(path[:, :2].astype(np.float64)) for path in paths]
        self.successors = [self._known(lane.successors) for lane in self.lanes]
        self.predecessors: list[list[int]] = [[] for _ in self.lanes]
        for k, following in enumerate(self.successors):
            for after in following:
                self.predecessors[after].append(k)

    def graph(self) -> LaneGraph:
        rows = layout.empty_rows(layout.LaneRow, len(self.lanes))
        rows["points"] = [len(path) for path in self.paths]
        rows["path_row"] = np.concatenate([[0], np.cumsum(rows["points"])])[:-1]
        rows["length"] = [path[-1, 3] for path in self.paths]
        rows["width"] = [float(np.median(lane.width)) for lane in self.lanes]
        rows["limit"] = [_limit(lane, path) for lane, path in zip(self.lanes, self.paths, strict=True)]
        rows["left"] = [self._beside(k, lane.left_neighbours) for k, lane in enumerate(self.lanes)]
        rows["right"] = [self._beside(k, lane.right_neighbours) for k, lane in enumerate(self.lanes)]
        rows["stop_s"] = self._stops()
        rows["ends"] = [self._drops(k, row) for k, row in enumerate(rows)]
        blocks = {"lane_paths": np.concatenate([np.zeros((0, 4), np.float32), *self.paths])}
        blocks["lane_elevations"] = np.concatenate([np.zeros(0, np.float32), *self.elevations])
        blocks["lane_links"] = self._listed(rows, "successor", self.successors, np.int32)
        blocks["lane_origins"] = self._listed(rows, "predecessor", self.predecessors, np.int32)
        conflicts = self._conflicts()
        rows["entry_s"] = [min((c["start"] for c in found if _crosses(c)), default=0.0) for found in conflicts]
        blocks["conflicts"] = self._listed(rows, "conflict", conflicts, layout.ConflictRow)
        blocks["crossings"] = self._listed(rows, "crossing", self._crossings(), layout.CrossingRow)
        blocks["crosswalks"] = _crosswalk_rows(self.map)
        cells, lists, size, corner = self._grid()
        blocks |= {"lanes": rows, "lane_cells": cells, "lane_lists": lists}
        return LaneGraph(blocks, self.paths, size, corner)

    def _known(self, names: tuple[str, ...]) -> list[int]:
        return [self.index[name] for name in names if name in self.index]

    def _listed(self, rows: Array, name: str, lists: list[list], dtype: object) -> Array:
        counts = np.array([len(each) for each in lists], int)
        rows[f"{name}s"] = counts
        rows[f"{name}_row"] = np.cumsum(counts) - counts
        flat = [item for each in lists for item in each]
        if dtype is np.int32:
            return np.array(flat, np.int32)
        out = layout.empty_rows(dtype, len(flat))
        for row, values in zip(out, flat, strict=True):
            for field, value in values.items():
                row[field] = value
        return out

    def _beside(self, k: int, names: tuple[str, ...]) -> int:
        """Return the neighbour for lane changes, of the same kind and direction; -1: none."""
        if self.lanes[k].in_intersection or self.lanes[k].kind not in TRAFFIC_KINDS:
            return -1
        path = self.paths[k]
        middle = path[len(path) // 2]
        best, nearest = -1, 1.6 * float(np.max(self.lanes[k].width))
        for other in self._known(names):
            (s,), (offset,) = project(self.paths[other], middle[None, :2].astype(np.float64))
            heading = np.interp(s, self.paths[other][:, 3], self.paths[other][:, 2])
            alike = self.lanes[other].kind == self.lanes[k].kind and np.cos(heading - middle[2]) > 0.7
            if alike and abs(offset) < nearest:
                best, nearest = other, abs(offset)
        return best

    def _drops(self, k: int, row: np.void) -> bool:
        """Return whether a lane ends while an adjacent lane goes on, so that vehicles must change lanes."""
        sides = (row["left"], row["right"])
        return not self.successors[k] and any(side >= 0 and self.successors[side] for side in sides)

    def _stops(self) -> Float64[Array, " lanes"]:
        """Return the arc length of each lane's stop line; 0 without one (a signal's lane begins at the line)."""
        found = np.zeros(len(self.lanes))
        for line in self.map.stop_lines:
            middle = line.line[:, :2].astype(np.float64).mean(axis=0)[None]
            for k in self._known(line.lane_ids):
                found[k] = project(self.paths[k], middle)[0][0]
        return found

    def _conflicts(self) -> list[list[dict[str, float]]]:
        found: list[list[dict[str, float]]] = [[] for _ in self.lanes]
        for one, other in self._meeting():
            here, there = self._zone(one, other), self._zone(other, one)
            if here is None or there is None:
                continue
            merges = bool({*self.successors[one]} & {*self.successors[other]})
            for a, b, mine, others in ((one, other, here, there), (other, one, there, here)):
                row = {"other": b, "start": mine[0], "end": mine[1], "other_start": others[0], "other_end": others[1]}
                found[a].append({**row, "priority": int(self._gives_way(a, b)), "merges": merges})
        return found

    def _meeting(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of nearby traffic lanes of which neither leads to the other or is its neighbour."""
        if not len(self.lines):
            return
        tree = shapely.STRtree(self.lines)
        pairs = tree.query(self.lines, predicate="dwithin", distance=CLEAR).T
        for one, other in pairs[pairs[:, 0] < pairs[:, 1]].tolist():
            linked = other in self.successors[one] or one in self.successors[other]
            beside = {self.lanes[other].id} & {*self.lanes[one].left_neighbours, *self.lanes[one].right_neighbours}
            used = self.lanes[one].kind in TRAFFIC_KINDS and self.lanes[other].kind in TRAFFIC_KINDS
            if used and not linked and not beside and self._same_level(one, other):
                yield one, other

    def _same_level(self, one: int, other: int) -> bool:
        """Return whether two lanes are on one level where they come nearest to each other."""
        s_one, s_other = (
            shapely.line_locate_point(self.lines[a], shapely.get_point(near, k))
            for near in [shapely.shortest_line(self.lines[one], self.lines[other])]
            for k, a in enumerate((one, other))
        )
        z_one = np.interp(s_one, self.paths[one][:, 3], self.elevations[one])
        z_other = np.interp(s_other, self.paths[other][:, 3], self.elevations[other])
        return bool(abs(z_one - z_other) < LEVEL_GAP_M)

    def _zone(self, k: int, other: int) -> tuple[float, float] | None:
        """Return the interval (m) of lane ``k`` that is within reach of the other lane."""
        near = shapely.intersection(self.lines[k], shapely.buffer(self.lines[other], CLEAR))
        if near.length < TOUCH:
            return None
        parts = [_span(self.lines[k], part) for part in shapely.get_parts(near)]
        if self._parting(k, other):
            return min(parts)
        return min(start for start, _ in parts), max(end for _, end in parts)

    def _parting(self, k: int, other: int) -> bool:
        return bool({*self.predecessors[k]} & {*self.predecessors[other]})

    def _gives_way(self, one: int, other: int) -> Priority:
        """Return the priority: turns yield to straight traffic, then right before left; merging lanes zip."""
        if self._parting(one, other):
            return Priority.PARTING
        merging = {*self.successors[one]} & {*self.successors[other]}
        enter_one, enter_other = self.paths[one][0, 2], self.paths[other][0, 2]
        across = math.remainder(float(enter_other) - float(enter_one), math.tau)
        if merging and abs(across) < TURN:
            return Priority.ZIPPER
        turns = self._turn(one), self._turn(other)
        opposite = abs(across) > 2.4
        if opposite and turns[0] != turns[1]:
            return Priority.YIELDS if turns[0] > turns[1] else Priority.GOES_FIRST
        if opposite or abs(across) < 0.75:
            return Priority.IN_TURN
        return Priority.YIELDS if across > 0.0 else Priority.GOES_FIRST

    def _turn(self, k: int) -> int:
        """0 straight on, 1 to the right, 2 to the left."""
        turned = self.paths[k][-1, 2] - self.paths[k][0, 2]
        return 2 if turned > TURN else 1 if turned < -TURN else 0

    def _crossings(self) -> list[list[dict[str, float]]]:
        found: list[list[dict[str, float]]] = [[] for _ in self.lanes]
        areas = [shapely.Polygon(ring[:, :2]) for ring in self.map.crosswalks]
        for number, area in enumerate(areas):
            for k, line in enumerate(self.lines):
                if self.lanes[k].kind not in TRAFFIC_KINDS or not shapely.intersects(line, area):
                    continue
                start, end = _span(line, shapely.intersection(line, area))
                ground = np.interp(0.5 * (start + end), self.paths[k][:, 3], self.elevations[k])
                if abs(ground - self.map.crosswalks[number][:, 2].mean()) > LEVEL_GAP_M:
                    continue
                found[k].append({"start": start, "end": end, "crosswalk": number})
        return found

    def _grid(self) -> tuple[Array, Array, tuple[int, int], tuple[float, float]]:
        """Return cells that list the segments of lanes within ``CELL_REACH_M`` of them, lane by lane."""
        used = [k for k, lane in enumerate(self.lanes) if lane.kind in TRAFFIC_KINDS]
        if not used:
            return layout.empty_rows(layout.CellRow), np.zeros((0, 2), np.int32), (0, 0), (0.0, 0.0)
        points = np.concatenate([self.paths[k][:, :2] for k in used]).astype(np.float64)
        corner = points.min(axis=0) - CELL_REACH_M
        nx, ny = (1 + int(n) for n in (points.max(axis=0) + CELL_REACH_M - corner) // LANE_CELL_M)
        entries = {(*_cell(xy, corner, nx), k, i) for k in used for i, xy in _near(self.paths[k])}
        table = np.array(sorted((cell, k, i) for cell, k, i in entries), np.int32)
        cells = layout.empty_rows(layout.CellRow, nx * ny)
        cells["count"] = np.bincount(table[:, 0], minlength=nx * ny)
        cells["first"] = np.cumsum(cells["count"]) - cells["count"]
        return cells, table[:, 1:].copy(), (nx, ny), (float(corner[0]), float(corner[1]))


def _crosses(conflict: dict[str, float]) -> bool:
    """Return whether the lanes of a conflict cross, and neither merge nor diverge."""
    return conflict["priority"] not in (Priority.ZIPPER, Priority.PARTING)


def _span(line: shapely.LineString, part: BaseGeometry) -> tuple[float, float]:
    """Return the interval (m) of a part of a line along it."""
    points: Array = np.asarray(shapely.points(shapely.get_coordinates(part)))
    s = shapely.line_locate_point(line, points)
    return float(s.min()), float(s.max())


def _cell(xy: Array, corner: Array, nx: int) -> tuple[int]:
    x, y = ((xy - corner) // LANE_CELL_M).astype(int)
    return (int(y * nx + x),)


def _near(path: Float32[Array, "n 4"]) -> Iterator[tuple[int, Array]]:
    """Yield points about each segment of a path, dense enough to meet each cell within ``CELL_REACH_M``."""
    ring = np.array([(x, y) for x in (-CELL_REACH_M, 0.0, CELL_REACH_M) for y in (-CELL_REACH_M, 0.0, CELL_REACH_M)])
    for i, (a, b) in enumerate(pairwise(path[:, :2].astype(np.float64))):
        count = 2 + int(np.linalg.norm(b - a) // (0.5 * LANE_CELL_M))
        for t in np.linspace(0.0, 1.0, count):
            yield from ((i, a + t * (b - a) + away) for away in ring)


def _limit(lane: Lane, path: Float32[Array, "n 4"]) -> float:
    """Return the speed (m/s) of traffic on a lane: its limit, or the comfortable speed of its tightest bend."""
    s, heading = path[:, 3].astype(np.float64), path[:, 2].astype(np.float64)
    posted = lane.speed_limit or UNLIMITED
    start = np.arange(0.0, max(s[-1] - BEND, 0.0) + 1.0)
    turned = np.abs(np.interp(start + BEND, s, heading) - np.interp(start, s, heading))
    tightest = float(turned.max()) / min(BEND, max(s[-1], 1.0))
    return min(posted, float(np.sqrt(COMFORT / max(tightest, 1e-6))))


def _crosswalk_rows(road_map: RoadMap) -> Array:
    """Return crosswalks as oriented rectangles: middle, axis along the longer side, half sizes."""
    rows = layout.empty_rows(layout.CrosswalkRow, len(road_map.crosswalks))
    for row, ring in zip(rows, road_map.crosswalks, strict=True):
        box = shapely.get_coordinates(shapely.Polygon(ring[:, :2]).minimum_rotated_rectangle)
        sides = np.diff(box[:3], axis=0)
        lengths = np.linalg.norm(sides, axis=1)
        longer = int(np.argmax(lengths))
        row["middle"] = box[:4].mean(axis=0)
        row["along"] = sides[longer] / max(lengths[longer], 1e-6)
        row["half_length"], row["half_width"] = 0.5 * lengths[longer], 0.5 * lengths[1 - longer]
    return rows
