"""A grid over the segments of a map, filled where it is asked: each cell knows the few that can be nearest in it."""

from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float64, Int32, Int64

from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
CELL = 1.0  # m
TILE = 8  # cells a side
MOST_CELLS = 4_000_000
BEYOND = 60.0  # m around all segments


class SegmentGrid:
    """Candidates of each cell for the nearest of n segments, and for the cheapest by distance and direction.

    ``turn_cost`` (m) is what a turn costs: the distance of a segment counts that much times (1 - cosine of the turn
    to it) more. A segment is left out of a cell where one of the same ``group``, or the nearest of all, is cheaper
    everywhere in it, whatever the heading. Segments of a group have to be on end.
    """

    def __init__(
        self,
        start: Float64[Array, "n 2"],
        end: Float64[Array, "n 2"],
        group: Int64[Array, " n"] | None = None,
        turn_cost: float = 0.0,
    ) -> None:
        self.start, self.step = np.ascontiguousarray(start), np.ascontiguousarray(end - start)
        self.length = np.hypot(self.step[:, 0], self.step[:, 1])
        self.way = self.step / np.maximum(self.length, 1e-12)[:, None]
        self._group = np.zeros(len(start), np.int32) if group is None else group.astype(np.int32)
        self._turn_cost = turn_cost
        low, high = np.minimum(start, end).min(axis=0) - BEYOND, np.maximum(start, end).max(axis=0) + BEYOND
        self._low = low
        self._cell = max(CELL, float(np.sqrt(np.prod(high - low) / MOST_CELLS)))
        self._shape = np.ceil((high - low) / self._cell).astype(np.int64)
        self._first = np.zeros(int(np.prod(self._shape)), np.int32)
        self._count = np.full(len(self._first), -1, np.int32)
        self._candidates, self._away = np.zeros(0, np.int32), np.zeros(0)
        self._used = 0
        self._tiles: dict[tuple[int, int], Array] = {}

    def fill(self, xy: Float64[Array, "n 2"]) -> Int32[Array, " cells"]:
        """Work out the cells of these points that are not known yet, inside of the grid, and say which they are."""
        cell = np.floor((xy - self._low) / self._cell).astype(np.int64)
        cell = cell[((cell >= 0) & (cell < self._shape)).all(axis=1)]
        number = np.unique(cell[:, 0] * self._shape[1] + cell[:, 1])
        number = number[self._count[number] < 0].astype(np.int32)
        if not len(number):
            return number
        lists = self._lists(number)
        counts, nowhere = np.empty(len(number), np.int32), np.full(len(number), -1, np.int32)
        self._candidates_of(number, lists, nowhere, counts)
        first = (self._used + np.cumsum(counts) - counts).astype(np.int32)
        self._used += int(counts.sum())
        self._grow()
        self._candidates_of(number, lists, first, counts)
        self._first[number], self._count[number] = first, counts
        return number

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self._count)

    @property
    def struct(self) -> object:
        """The grid as ``kernels.Grid``; it shares its memory with this."""
        return self._struct

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.linestrings(np.stack([self.start, self.start + self.step], axis=1)))

    @cached_property
    def _struct(self) -> object:
        from alpamayo.validator.kernels.grids import Grid

        grid = Grid()
        grid.low, grid.cell = wp.vec2d(*self._low), self._cell
        grid.columns, grid.rows = int(self._shape[0]), int(self._shape[1])
        grid.first, grid.count = shared(self._first, wp.int32), shared(self._count, wp.int32)
        grid.candidates, grid.away = shared(self._candidates, wp.int32), shared(self._away, wp.float64)
        grid.start, grid.step = shared(self.start, wp.vec2d), shared(self.step, wp.vec2d)
        grid.inverse = shared(1.0 / np.maximum(self.length**2, 1e-12), wp.float64)
        return grid

    def _candidates_of(self, number: Array, lists: tuple[Array, Array, Array], first: Array, counts: Array) -> None:
        """Count the candidates of cells, and write them from ``first`` on where that is not negative."""
        from alpamayo.validator.kernels.grids import cell_candidates

        inputs = [self.struct, self.way, self._group, number, *lists, self._turn_cost, first, counts]
        inputs += [self._candidates, self._away]
        wp.launch(cell_candidates, dim=len(number), inputs=inputs, device="cpu")

    def _lists(self, number: Array) -> tuple[Array, Array, Array]:
        """For each cell where its tile's list begins and how long it is, and the lists of all tiles on end."""
        cell = np.stack(np.divmod(number, self._shape[1]), axis=1)
        tile, back = np.unique(cell // TILE, axis=0, return_inverse=True)
        lists = self._tile_lists(tile)
        counts = np.array([len(part) for part in lists], np.int32)
        first = (np.cumsum(counts) - counts).astype(np.int32)
        return first[back.ravel()], counts[back.ravel()], np.concatenate(lists)

    def _tile_lists(self, tile: Int64[Array, "n 2"]) -> list[Array]:
        """Segments of each tile of ``TILE`` cells a side; those not known yet are asked of the tree."""
        keys = [(int(x), int(y)) for x, y in tile]
        new = [key for key in keys if key not in self._tiles]
        if new:
            side = self._cell * TILE
            points = shapely.points(self._low + side * (np.array(new) + 0.5))
            _, nearest = self._tree.query_nearest(points, return_distance=True, all_matches=False)
            reach = nearest + side * np.sqrt(2.0) + 2.0 * self._turn_cost + 1e-9
            row, segment = self._tree.query(points, predicate="dwithin", distance=reach)
            order = np.lexsort((segment, row))
            parts = np.split(segment[order].astype(np.int32), np.searchsorted(row[order], np.arange(1, len(new))))
            self._tiles.update(zip(new, parts, strict=True))
        return [self._tiles[key] for key in keys]

    def _grow(self) -> None:
        """Room for all candidates."""
        if self._used > len(self._candidates):
            more = max(self._used, 2 * len(self._candidates)) - len(self._candidates)
            self._candidates = np.concatenate([self._candidates, np.zeros(more, np.int32)])
            self._away = np.concatenate([self._away, np.zeros(more)])
            self.__dict__.pop("_struct", None)


def shared(array: Array, dtype: object) -> object:
    """An array of the kernels with the memory of an array."""
    return wp.array(array, dtype=dtype, device="cpu", copy=False)
