"""The lane nearest to each of very many poses: the same answers as the map's index, from a lazily filled grid.

Each cell of two metres knows the few lane segments that can be the answer anywhere in it.
"""

from functools import lru_cache

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_sim.map_index import HEADING_COST, LaneMatch, MapIndex
from alpamayo_sim.scene import Lane, RoadMap, Route

Array = np.ndarray
CELL = 2.0  # m
CHUNK = 1_000_000  # pairs of point and segment at once


@lru_cache(maxsize=8)
def lane_field(index: MapIndex) -> "LaneField":
    """The field of an index, kept for as long as it is among the last eight."""
    return LaneField(index)


@lru_cache(maxsize=8)
def route_field(route: Route) -> "LaneField":
    """The field of a route's path as if it were a lane; ``offset`` and ``s`` are those of the route."""
    lane = Lane(id="route", centreline=route.path, width=np.ones(len(route.path), np.float32))
    return LaneField(MapIndex(RoadMap(lanes=(lane,))))


class LaneField:
    """``match(xy, heading)``: as ``MapIndex.nearest_lane`` with headings, for a map that has lanes."""

    def __init__(self, index: MapIndex) -> None:
        arrays, count = index.arrays, len(index.road_map.lanes)
        rows = np.flatnonzero(arrays.segment_polyline < count)
        first = arrays.segment_start[rows]
        points = arrays.points[:, :2].astype(np.float64)
        self._start, self._step = points[first], points[first + 1] - points[first]
        self._lane = arrays.segment_polyline[rows]
        self._length = np.hypot(self._step[:, 0], self._step[:, 1])
        self._heading = np.arctan2(self._step[:, 1], self._step[:, 0])
        before = np.cumsum(self._length) - self._length
        first_of_lane = np.searchsorted(self._lane, np.arange(count))
        self._s = before - before[first_of_lane[self._lane]]
        self._tree = shapely.STRtree(shapely.linestrings(np.stack([self._start, points[first + 1]], axis=1)))
        self._cells: dict[tuple[int, int], Array] = {}

    def match(self, xy: Float64[Array, "n 2"], heading: Float64[Array, " n"]) -> LaneMatch:
        """The lane nearest to each pose; one against the heading costs up to 4 m more."""
        cell = np.floor(xy / CELL).astype(np.int64)
        low = cell.min(axis=0) if len(cell) else np.zeros(2, np.int64)
        width = int(np.ptp(cell[:, 1])) + 1 if len(cell) else 1
        _, first, back = np.unique(
            (cell[:, 0] - low[0]) * width + cell[:, 1] - low[1], return_index=True, return_inverse=True
        )
        lists = self._candidates(cell[first])
        counts = np.array([len(part) for part in lists], np.int64)
        offsets, flat = np.cumsum(counts) - counts, np.concatenate([*lists, np.zeros(0, np.int64)])
        best = np.empty(len(xy), np.int64)
        per_point = counts[back]
        bounds = np.searchsorted(np.cumsum(per_point), np.arange(0, int(per_point.sum()) + CHUNK, CHUNK), side="left")
        for begin, end in zip(bounds[:-1], np.append(bounds[1:-1], len(xy)), strict=True):
            if end > begin:
                rows = slice(int(begin), int(end))
                best[rows] = self._best(xy[rows], heading[rows], offsets[back[rows]], per_point[rows], flat)
        return self._result(xy, best)

    def _best(self, xy: Array, heading: Array, offset: Array, count: Array, flat: Array) -> Array:
        """The cheapest candidate segment of each point; of equals the first."""
        begin = np.cumsum(count) - count
        row = np.repeat(np.arange(len(xy)), count)
        segment = flat[np.arange(int(count.sum())) - np.repeat(begin - offset, count)]
        away, _ = self._foot(xy[row], segment)
        cost = np.hypot(away[:, 0], away[:, 1])
        cost += HEADING_COST * (1.0 - np.cos(heading[row] - self._heading[segment]))
        least = np.minimum.reduceat(cost, begin)
        place = np.where(cost == least[row], np.arange(len(cost)), len(cost))
        return segment[np.minimum.reduceat(place, begin)]

    def _result(self, xy: Array, segment: Array) -> LaneMatch:
        away, part = self._foot(xy, segment)
        step, off = self._step[segment], xy - self._start[segment]
        side = np.sign(step[:, 0] * off[:, 1] - step[:, 1] * off[:, 0])
        distance = np.hypot(away[:, 0], away[:, 1])
        return LaneMatch(
            index=self._lane[segment].astype(np.int64),
            s=self._s[segment] + part * self._length[segment],
            offset=side * distance,
            heading=self._heading[segment],
            distance=distance,
        )

    def _foot(self, xy: Array, segment: Array) -> tuple[Array, Array]:
        start, step = self._start[segment], self._step[segment]
        off = xy - start
        part = (off[:, 0] * step[:, 0] + off[:, 1] * step[:, 1]) / np.maximum(self._length[segment] ** 2, 1e-12)
        part = np.clip(part, 0.0, 1.0)
        return off - part[:, None] * step, part

    def _candidates(self, cells: Array) -> list[Array]:
        """Segments that can win somewhere in each cell, sorted."""
        keys = [tuple(cell) for cell in cells.tolist()]
        new = [key for key in keys if key not in self._cells]
        if new:
            centres = shapely.points((np.array(new) + 0.5) * CELL)
            (_, _), nearest = self._tree.query_nearest(centres, return_distance=True, all_matches=False)
            reach = nearest + CELL * np.sqrt(2.0) + 2.0 * HEADING_COST + 1e-9
            row, segment = self._tree.query(centres, predicate="dwithin", distance=reach)
            order = np.lexsort((segment, row))
            parts = np.split(segment[order], np.searchsorted(row[order], np.arange(1, len(new))))
            self._cells.update(zip(new, parts, strict=True))
        return [self._cells[key] for key in keys]
