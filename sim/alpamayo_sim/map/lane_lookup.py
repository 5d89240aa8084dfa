"""The nearest lane by a grid that remembers its cells: for the many poses of plans, and for repeated questions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.kernels import OUTSIDE, UNKNOWN, Lanes, nearest_lanes
from alpamayo_sim.map.lane_tree import HEADING_COST_M, LaneMatch, LaneTree
from alpamayo_sim.map.polylines import MapArrays
from alpamayo_sim.map.segment_grid import EXACT_CELL_QUERIES, SegmentGrid, points_around, warp_view
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
LANE_TILE_CELLS = 8  # cells a side of a tile of lane segments


class LaneLookup:
    """Nearest lanes of a map that has lanes. ``tree`` answers for points off the grid."""

    def __init__(self, lanes: Sequence[Lane], arrays: MapArrays, tree: LaneTree) -> None:
        rows = np.flatnonzero(arrays.segment_polyline < len(lanes))
        first = arrays.segment_start[rows]
        points = arrays.points[:, :2].astype(np.float64)
        lane = arrays.segment_polyline[rows].astype(np.int64)
        self._tree = tree
        self._grid = SegmentGrid(points[first], points[first + 1], lane, HEADING_COST_M)
        step = self._grid.step
        self._lanes = Lanes()
        self._lanes.number = warp_view(lane, wp.int64)
        self._lanes.s = warp_view(np.concatenate([arc_length(each.centreline)[:-1] for each in lanes]), wp.float64)
        self._lanes.length = warp_view(self._grid.length, wp.float64)
        self._lanes.heading = warp_view(np.arctan2(step[:, 1], step[:, 0]), wp.float64)

    def match(self, xy: Float64[Array, "n 2"], heading: Float64[Array, " n"] | None = None) -> LaneMatch:
        """Return the lane of each point; with a heading (rad) a lane in the opposite direction costs 4 m more."""
        boxes = np.zeros((len(xy), 4))
        boxes[:, :2] = xy
        if heading is not None:
            boxes[:, 2], boxes[:, 3] = np.cos(heading), np.sin(heading)
        return self._match(boxes, 0.0 if heading is None else HEADING_COST_M)

    def match_boxes(self, boxes: Float64[Array, "n 4"]) -> LaneMatch:
        """Return the lane of each box: x, y, cosine and sine of the heading (``geometry.oriented``)."""
        return self._match(np.ascontiguousarray(boxes), HEADING_COST_M)

    def prepare(self, xy: Float64[Array, "n 2"], within_m: float) -> None:
        """Fill the tiles within ``within_m`` of points along both axes now."""
        self._grid.fill_tiles(points_around(xy, within_m, LANE_TILE_CELLS), LANE_TILE_CELLS)

    def _match(self, boxes: Float64[Array, "n 4"], heading_cost: float) -> LaneMatch:
        count = len(boxes)
        lane, match = np.empty(count, np.int64), np.empty((4, count))
        if count > EXACT_CELL_QUERIES:
            self._grid.forget_tiles()
        while True:
            inputs = [self._grid.struct, self._lanes, boxes, heading_cost, lane, match]
            wp.launch(nearest_lanes, dim=count, inputs=inputs, device="cpu")
            least = int(lane.min(initial=0))
            if least == 0 or not self._fill(boxes[lane == UNKNOWN, :2], count):
                break
        s, offset, heading, distance = match
        result = LaneMatch(index=lane, s=s, offset=offset, heading=heading, distance=distance)
        if least < 0:
            self._match_off_grid(result, np.flatnonzero(lane == OUTSIDE), boxes, heading_cost)
        return result

    def _match_off_grid(
        self, result: LaneMatch, rows: Array, boxes: Float64[Array, "n 4"], heading_cost: float
    ) -> None:
        """Write the tree's matches of some rows into the result."""
        off_grid = boxes[rows]
        heading = np.arctan2(off_grid[:, 3], off_grid[:, 2]) if heading_cost else None
        found = self._tree.nearest(off_grid[:, :2], heading)
        for name in result.__dataclass_fields__:
            getattr(result, name)[rows] = getattr(found, name)

    def _fill(self, xy: Float64[Array, "n 2"], queries: int) -> bool:
        """Fill the unknown cells of points, by the number of queries; return whether there were any."""
        if queries > EXACT_CELL_QUERIES:
            return len(self._grid.fill_cells(xy)) > 0
        return len(self._grid.fill_tiles(xy, LANE_TILE_CELLS)) > 0
