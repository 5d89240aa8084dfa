"""Distance to the border of the drivable area for very many points, exact, from a grid of candidates."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int32

from alpamayo_sim.map.index import JOINED, MapIndex
from alpamayo_sim.map.segment_grid import MANY, TILE, SegmentGrid, around, shared
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray


class DrivableArea:
    """Signed distance (m) to the border of the drivable area, positive inside, as ``MapIndex.drivable_margin``."""

    def __init__(self, index: MapIndex) -> None:
        self.index = index
        self.known = index.has_drivable

    def margin(self, xy: Float64[Array, "n 2"]) -> Float64[Array, " n"]:
        """Distance (m) of each point to the border, positive inside."""
        from alpamayo_sim.map.kernels import border_margins

        xy = np.ascontiguousarray(xy, np.float64)
        margin = np.full(len(xy), np.nan)
        self._launch(border_margins, [xy, margin], margin, lambda rows: xy[rows])
        outside = np.isnan(margin)
        if outside.any():
            margin[outside] = self.index.drivable_margin(xy[outside])
        return margin

    def box_margin(
        self, pose: Float64[Array, "... 4"], size: Float64[Array, "2"], furthest: float
    ) -> Float64[Array, "..."]:
        """Least distance (m) of the corners of boxes to the border, at most ``furthest``.

        Poses are x, y, cosine and sine of the heading.
        """
        from alpamayo_sim.map.kernels import box_margins

        flat, half = np.ascontiguousarray(pose.reshape(-1, 4)), 0.5 * size
        margin = np.full(len(flat), np.nan)

        def corners(rows: Array) -> Array:
            return _corners(flat[rows], half).reshape(-1, 2)

        self._launch(box_margins, [flat, wp.vec2d(*half), furthest, margin], margin, corners)
        outside = np.isnan(margin)
        if outside.any():
            there = self.index.drivable_margin(corners(outside)).reshape(-1, 4).min(axis=1)
            margin[outside] = np.minimum(there, furthest)
        return margin.reshape(pose.shape[:-1])

    def first_outside(
        self, pose: Float64[Array, "n t 4"], size: Float64[Array, "2"], floor: float
    ) -> Int32[Array, " n"]:
        """First step of each motion at which a corner's margin is under ``floor`` (m, not positive); -1 is never."""
        from alpamayo_sim.map.kernels import first_steps_outside

        pose, first = np.ascontiguousarray(pose), np.empty(len(pose), np.int32)
        inputs = [self._grid.struct, self._border, pose, wp.vec2d(*(0.5 * size)), floor, first]
        wp.launch(first_steps_outside, dim=len(pose), inputs=inputs, device="cpu")
        rows = np.flatnonzero(first < -1)
        if len(rows):
            outside = self.box_margin(pose[rows], size, 0.0) < floor
            first[rows] = np.where(outside.any(axis=1), np.argmax(outside, axis=1), -1)
        return first

    def prepare(self, path: Float64[Array, "n 2"], reach: float, wide: float) -> None:
        """Work out what is within ``reach`` (m) of a path now, and for few questions what is within ``wide`` (m)."""
        self._fill(around(path, reach, 1.0), MANY + 1)
        self._grid.fill_roughly(around(path, wide, TILE), TILE)

    def _fill(self, xy: Float64[Array, "n 2"], count: int) -> bool:
        """Work out those cells of points that are not known, for ``count`` questions; whether there were any."""
        from alpamayo_sim.map.kernels import cell_sides

        if count <= MANY:
            return len(self._grid.fill_roughly(xy, TILE)) > 0
        cells = self._grid.fill(xy)
        wp.launch(cell_sides, dim=len(cells), inputs=[self._grid.struct, self._border, cells], device="cpu")
        return len(cells) > 0

    def _launch(self, kernel: object, inputs: list[object], margin: Array, points: Callable[[Array], Array]) -> None:
        """Run a kernel; where it meets cells that are not known yet, fill them and run it again."""
        if len(margin) > MANY:
            self._grid.forget_rough()
        while True:
            wp.launch(kernel, dim=len(margin), inputs=[self._grid.struct, self._border, *inputs], device="cpu")
            unknown = np.isnan(margin)
            if not unknown.any() or not self._fill(points(unknown), len(margin)):
                return

    @cached_property
    def _grid(self) -> SegmentGrid:
        border = self.index.border
        assert border is not None
        return SegmentGrid(border.start, border.end)

    @cached_property
    def _border(self) -> object:
        """The border as ``kernels.grids.Border``."""
        from alpamayo_sim.map.kernels import Border

        border = Border()
        border.normal_start, border.normal_end = (shared(normals, wp.vec2d) for normals in self._normals())
        border.sides = shared(np.zeros(self._grid.cells, np.int8), wp.int8)
        return border

    def _normals(self) -> tuple[Array, Array]:
        """The border's, NaN in corners where polygons touch: there only the polygons know what is inside."""
        border = self.index.border
        assert border is not None
        start, end = border.normal_start.copy(), border.normal_end.copy()
        if self.index.drivable_polygon is not None:
            ends = np.round(np.concatenate([border.start, border.end]) / JOINED)
            _, vertex, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
            touching = (count != 2)[vertex.ravel()].reshape(2, -1)
            start[touching[0]], end[touching[1]] = np.nan, np.nan
        return start, end


def _corners(pose: Float64[Array, "n 4"], half: Float64[Array, "2"]) -> Float64[Array, "n 4 2"]:
    ahead, left = half[0] * pose[:, None, 2:], half[1] * np.stack([-pose[:, None, 3], pose[:, None, 2]], axis=-1)
    return pose[:, None, :2] + np.concatenate([ahead + left, ahead - left, -ahead - left, -ahead + left], axis=1)
