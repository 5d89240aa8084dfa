"""The lane nearest to each of very many poses: the same answers as the map's index, from a grid of candidates."""

from functools import cached_property, lru_cache

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.index import HEADING_COST, LaneMatch, MapIndex
from alpamayo_sim.map.segment_grid import MANY, SegmentGrid, around, shared
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
TILE = 8  # cells a side, for few questions
LANE_APART = 1e6  # m; more than any lane is long


@lru_cache(maxsize=8)
def lane_lookup(index: MapIndex) -> "LaneLookup":
    """The field of an index, kept for as long as it is among the last eight."""
    return LaneLookup(index)


@lru_cache(maxsize=8)
def route_lookup(route: Route) -> "LaneLookup":
    """The field of a route's path as if it were a lane; ``offset`` and ``s`` are those of the route."""
    lane = Lane(id="route", centreline=route.path, width=np.ones(len(route.path), np.float32))
    return LaneLookup(MapIndex(RoadMap(lanes=(lane,))))


class LaneLookup:
    """``match(xy, heading)``: as ``MapIndex.nearest_lane``, for a map that has lanes.

    ``points`` are those of all lanes (and of what else the map has of lines) on end.
    """

    def __init__(self, index: MapIndex) -> None:
        arrays, lanes = index.arrays, index.road_map.lanes
        rows = np.flatnonzero(arrays.segment_polyline < len(lanes))
        first = arrays.segment_start[rows]
        points = arrays.points[:, :2].astype(np.float64)
        self._index = index
        self.points = points
        self.in_intersection = np.array([each.in_intersection for each in lanes])
        self.length = float(arc_length(lanes[0].centreline)[-1])  # m; of the first lane, as of a route
        lane = arrays.segment_polyline[rows].astype(np.int64)
        self._grid = SegmentGrid(points[first], points[first + 1], lane, HEADING_COST)
        step = self._grid.step
        self._lanes = {
            "number": lane,
            "s": np.concatenate([arc_length(each.centreline)[:-1] for each in lanes]),
            "length": self._grid.length,
            "heading": np.arctan2(step[:, 1], step[:, 0]),
        }

    def match(self, xy: Float64[Array, "n 2"], heading: Float64[Array, " n"] | None = None) -> LaneMatch:
        """The lane nearest to each pose; with a heading, one against it costs up to 4 m more."""
        boxes = np.zeros((len(xy), 4))
        boxes[:, :2] = xy
        if heading is not None:
            boxes[:, 2], boxes[:, 3] = np.cos(heading), np.sin(heading)
        return self._match(boxes, 0.0 if heading is None else HEADING_COST)

    def prepare(self, xy: Float64[Array, "n 2"], reach: float) -> None:
        """Look up now, for few questions, what is within ``reach`` (m) of points along both axes."""
        self._grid.fill_roughly(around(xy, reach, TILE), TILE)

    def match_boxes(self, boxes: Float64[Array, "n 4"]) -> LaneMatch:
        """The same for boxes: x, y, cosine and sine of the heading."""
        return self._match(np.ascontiguousarray(boxes), HEADING_COST)

    def _match(self, boxes: Float64[Array, "n 4"], cost: float) -> LaneMatch:
        from alpamayo_sim.map.kernels import OUTSIDE, UNKNOWN, nearest_lanes

        count = len(boxes)
        lane, match = np.empty(count, np.int64), np.empty((4, count))
        if count > MANY:
            self._grid.forget_rough()
        while True:
            inputs = [self._grid.struct, self._struct, boxes, cost, lane, match]
            wp.launch(nearest_lanes, dim=count, inputs=inputs, device="cpu")
            least = int(lane.min(initial=0))
            if least == 0 or not self._fill(boxes[lane == UNKNOWN, :2], count):
                break
        s, offset, turned, distance = match
        result = LaneMatch(index=lane, s=s, offset=offset, heading=turned, distance=distance)
        if least < 0:
            outside = np.flatnonzero(lane == OUTSIDE)
            there = boxes[outside]
            heading = np.arctan2(there[:, 3], there[:, 2]) if cost else None
            self._far(result, outside, self._index.nearest_lane(there[:, :2], heading))
        return result

    def _fill(self, xy: Float64[Array, "n 2"], count: int) -> bool:
        """Work out those cells of points that are not known, for ``count`` questions; whether there were any."""
        return len(self._grid.fill(xy) if count > MANY else self._grid.fill_roughly(xy, TILE)) > 0

    @cached_property
    def _struct(self) -> object:
        """The lanes as ``kernels.grids.Lanes``."""
        from alpamayo_sim.map.kernels import Lanes

        lanes = Lanes()
        for name, values in self._lanes.items():
            setattr(lanes, name, shared(values, wp.dtype_from_numpy(values.dtype)))
        return lanes

    def _far(self, result: LaneMatch, rows: Array, there: LaneMatch) -> None:
        """Put what the index itself says of points outside of the grid into the result."""
        for name in result.__dataclass_fields__:
            getattr(result, name)[rows] = getattr(there, name)


def lane_overhang(
    index: MapIndex, match: LaneMatch, pose: Float64[Array, "n 3"], size: Float64[Array, "2"]
) -> Float64[Array, " n"]:
    """How far (m) the box reaches over the border of the lane that it is matched to; negative is room left."""
    turn = pose[:, 2] - match.heading
    reach = 0.5 * (size[0] * np.abs(np.sin(turn)) + size[1] * np.abs(np.cos(turn)))
    return np.abs(match.offset) + reach - 0.5 * lane_width(index, match)


def lane_width(index: MapIndex, match: LaneMatch) -> Float64[Array, " n"]:
    """Width (m) of the matched lane beside each point; infinite where there is no lane."""
    width = np.full(len(match.index), np.inf)
    rows = match.index >= 0
    if rows.any():
        knots, widths = _widths(index)
        width[rows] = np.interp(LANE_APART * match.index[rows] + match.s[rows], knots, widths)
    return width


@lru_cache(maxsize=8)
def _widths(index: MapIndex) -> tuple[Float64[Array, " p"], Float64[Array, " p"]]:
    """Widths of all lanes in one line: arc length plus ``LANE_APART`` times the lane's number."""
    lanes = index.road_map.lanes
    knots = [LANE_APART * i + arc_length(lane.centreline) for i, lane in enumerate(lanes)]
    return np.concatenate(knots), np.concatenate([lane.width for lane in lanes]).astype(np.float64)
