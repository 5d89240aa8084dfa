"""The lane nearest to each of very many poses: the same answers as the map's index, from a grid of candidates."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.grid import SegmentGrid
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map_index import HEADING_COST, LaneMatch, MapIndex
from alpamayo_sim.scene import Lane, RoadMap, Route
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray


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
    """``match(xy, heading)``: as ``MapIndex.nearest_lane``, for a map that has lanes."""

    def __init__(self, index: MapIndex) -> None:
        arrays, lanes = index.arrays, index.road_map.lanes
        rows = np.flatnonzero(arrays.segment_polyline < len(lanes))
        first = arrays.segment_start[rows]
        points = arrays.points[:, :2].astype(np.float64)
        self._index = index
        self._lane = arrays.segment_polyline[rows].astype(np.int64)
        self._s = np.concatenate([arc_length(lane.centreline)[:-1] for lane in lanes])
        self._grid = SegmentGrid(points[first], points[first + 1], self._lane, HEADING_COST)
        step = self._grid.step
        self._heading = np.arctan2(step[:, 1], step[:, 0])

    def match(self, xy: Float64[Array, "n 2"], heading: Float64[Array, " n"] | None = None) -> LaneMatch:
        """The lane nearest to each pose; with a heading, one against it costs up to 4 m more."""
        xy = np.ascontiguousarray(xy, np.float64)
        towards = np.zeros_like(xy) if heading is None else np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        return self._match(xy, towards, 0.0 if heading is None else HEADING_COST)

    def match_boxes(self, boxes: Float64[Array, "n 4"]) -> LaneMatch:
        """The same for boxes: x, y, cosine and sine of the heading."""
        return self._match(np.ascontiguousarray(boxes[:, :2]), np.ascontiguousarray(boxes[:, 2:]), HEADING_COST)

    def _match(self, xy: Float64[Array, "n 2"], towards: Float64[Array, "n 2"], cost: float) -> LaneMatch:
        from alpamayo.validator.kernels.grids import OUTSIDE, UNKNOWN, nearest_segments

        count = len(xy)
        best, part = np.full(count, UNKNOWN, np.int32), np.zeros(count)
        offset, distance = np.zeros(count), np.zeros(count)
        while True:
            inputs = [self._grid.struct, self._grid.way, xy, towards, cost, best, part, offset, distance]
            wp.launch(nearest_segments, dim=count, inputs=inputs, device="cpu")
            unknown = best == UNKNOWN
            if not unknown.any():
                break
            self._grid.fill(xy[unknown])
        result = LaneMatch(
            index=self._lane[best],
            s=self._s[best] + part * self._grid.length[best],
            offset=offset,
            heading=self._heading[best],
            distance=distance,
        )
        outside = np.flatnonzero(best == OUTSIDE)
        if len(outside):
            heading = np.arctan2(towards[outside, 1], towards[outside, 0]) if cost else None
            self._far(result, outside, self._index.nearest_lane(xy[outside], heading))
        return result

    def _far(self, result: LaneMatch, rows: Array, there: LaneMatch) -> None:
        """Put what the index itself says of points outside of the grid into the result."""
        for name in result.__dataclass_fields__:
            getattr(result, name)[rows] = getattr(there, name)
