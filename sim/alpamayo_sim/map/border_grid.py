"""Margins of many boxes to the border of the drivable area, from a grid of candidate segments."""

import numpy as np
from jaxtyping import Float64, Int32

from alpamayo_sim.geometry import oriented_corners
from alpamayo_sim.map.border import Border
from alpamayo_sim.map.kernels import Border as BorderStruct
from alpamayo_sim.map.kernels import box_margins, cell_sides, first_steps_outside
from alpamayo_sim.map.segment_grid import EXACT_CELL_QUERIES, TILE_CELLS, SegmentGrid, points_around, warp_view
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray


class BorderGrid:
    """A ``SegmentGrid`` of border segments with the side of the border that each cell is on."""

    def __init__(self, border: Border, normal_start: Float64[Array, "m 2"], normal_end: Float64[Array, "m 2"]) -> None:
        self._grid = SegmentGrid(border.start, border.end)
        self._border = BorderStruct()
        self._border.normal_start = warp_view(np.ascontiguousarray(normal_start), wp.vec2d)
        self._border.normal_end = warp_view(np.ascontiguousarray(normal_end), wp.vec2d)
        self._border.sides = warp_view(np.zeros(self._grid.cells, np.int8), wp.int8)

    def box_margin(
        self, boxes: Float64[Array, "n 4"], size: Float64[Array, "2"], max_margin: float
    ) -> Float64[Array, " n"]:
        """Return the least margin (m) of each box; NaN off the grid, or where no normal says what is inside."""
        margin = np.full(len(boxes), np.nan)
        if len(margin) > EXACT_CELL_QUERIES:
            self._grid.forget_tiles()
        inputs = [boxes, wp.vec2d(*(0.5 * size)), max_margin, margin]
        while True:
            wp.launch(box_margins, dim=len(margin), inputs=[self._grid.struct, self._border, *inputs], device="cpu")
            unknown = np.isnan(margin)
            if not unknown.any() or not self._fill(oriented_corners(boxes[unknown], size).reshape(-1, 2), len(margin)):
                return margin

    def first_step_outside(
        self, boxes: Float64[Array, "n t 4"], size: Float64[Array, "2"], off_road_tolerance: float
    ) -> Int32[Array, " n"]:
        """Return the first step outside of each motion; -1 is never, -2 where a cell is not known yet."""
        first = np.empty(len(boxes), np.int32)
        inputs = [self._grid.struct, self._border, boxes, wp.vec2d(*(0.5 * size)), off_road_tolerance, first]
        wp.launch(first_steps_outside, dim=len(boxes), inputs=inputs, device="cpu")
        return first

    def prepare(self, path: Float64[Array, "n 2"], exact_m: float, coarse_m: float) -> None:
        """Fill the cells within ``exact_m`` of a path, and the tiles within ``coarse_m``."""
        self._fill(points_around(path, exact_m, 1.0), EXACT_CELL_QUERIES + 1)
        self._grid.fill_tiles(points_around(path, coarse_m, TILE_CELLS), TILE_CELLS)

    def _fill(self, xy: Float64[Array, "n 2"], queries: int) -> bool:
        """Fill the unknown cells of points, by the number of queries; return whether there were any."""
        if queries <= EXACT_CELL_QUERIES:
            return len(self._grid.fill_tiles(xy, TILE_CELLS)) > 0
        cells = self._grid.fill_cells(xy)
        wp.launch(cell_sides, dim=len(cells), inputs=[self._grid.struct, self._border, cells], device="cpu")
        return len(cells) > 0
