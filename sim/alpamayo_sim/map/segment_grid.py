"""A grid over the segments of a map, filled where it is asked: each cell knows the few that can be nearest in it."""

from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float64, Int32, Int64

from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
CELL = 1.0  # m
TILE = 6  # cells a side
MANY = 2000  # questions; for so many it pays to know each cell well
TOGETHER = 1024  # cells that are worked out at once
BATCH = 8  # candidates that are looked at at once
BATCHES = 1 << 16  # that there is room for at first; memory that is never written to is never taken
ROOM = 32  # candidates; few cells have more
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
        self._nearest, self._rough = np.zeros(len(self._first)), np.zeros(len(self._first), bool)
        self._inverse = 1.0 / np.maximum(self.length**2, 1e-12)
        self._data = np.column_stack([self.start, self.step, self._inverse, self.way, np.arange(len(start))])
        self._candidates, self._batches = np.zeros((BATCHES, BATCH), np.int32), np.zeros((BATCHES, 8, BATCH))
        self._used = 0
        self._tiles: dict[tuple[int, int], Array] = {}
        self._written: dict[tuple[int, int], int] = {}

    def fill(self, xy: Float64[Array, "n 2"]) -> Int32[Array, " cells"]:
        """Work out the cells of these points that are not known yet, inside of the grid, and say which they are."""
        number = self._unknown(xy)
        for first in range(0, len(number), TOGETHER):
            self._work_out(number[first : first + TOGETHER])
        return number

    def fill_roughly(self, xy: Float64[Array, "n 2"], side: int) -> Int32[Array, " cells"]:
        """The same at once and for a while: all cells of tiles of ``side`` cells get more candidates than they need."""
        number = self._unknown(xy)
        if len(number):
            column, row = np.divmod(number, self._shape[1])
            tile = np.unique(column // side * self._shape[1] + row // side)
            for key, segments in zip(tile.tolist(), self._tile_lists(tile, side), strict=True):
                self._write_roughly(key, side, segments)
        return number

    def forget_rough(self) -> None:
        """Work out well what has been filled roughly, when it is asked for next."""
        if self._rough.any():
            self._count[self._rough] = -1
            self._rough[:] = False

    def _unknown(self, xy: Float64[Array, "n 2"]) -> Int32[Array, " cells"]:
        """Cells of points, inside of the grid, that are not known yet."""
        cell = np.floor((xy - self._low) / self._cell).astype(np.int64)
        cell = cell[((cell >= 0) & (cell < self._shape)).all(axis=1)]
        number = np.unique(cell[:, 0] * self._shape[1] + cell[:, 1])
        return number[self._count[number] < 0].astype(np.int32)

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
        from alpamayo_sim.map.kernels import Grid

        grid = Grid()
        grid.low, grid.cell = wp.vec2d(*self._low), self._cell
        grid.columns, grid.rows = int(self._shape[0]), int(self._shape[1])
        grid.first, grid.count = shared(self._first, wp.int32), shared(self._count, wp.int32)
        grid.nearest = shared(self._nearest, wp.float64)
        grid.candidates = shared(self._candidates.reshape(-1), wp.int32)
        grid.batches = shared(self._batches.reshape(-1), wp.float64)
        grid.start, grid.step = shared(self.start, wp.vec2d), shared(self.step, wp.vec2d)
        grid.inverse = shared(self._inverse, wp.float64)
        grid.way, grid.group = shared(self.way, wp.vec2d), shared(self._group, wp.int32)
        return grid

    def _work_out(self, number: Int32[Array, " n"]) -> None:
        """Find the candidates of some cells and write them down."""
        counts, candidates = self._candidates_of(number)
        batches = candidates[np.arange(candidates.shape[1]) < counts[:, None]].reshape(-1, BATCH)
        counts //= BATCH
        self._first[number], self._count[number] = self._used + np.cumsum(counts) - counts, counts
        self._write(batches)

    def _write_roughly(self, tile: int, side: int, segments: Int32[Array, " n"]) -> None:
        """Give those cells of a tile that are not known yet its whole list."""
        column, row = (side * i + np.arange(side) for i in divmod(tile, int(self._shape[1])))
        cells = (column[column < self._shape[0], None] * self._shape[1] + row[row < self._shape[1]]).ravel()
        cells = cells[self._count[cells] < 0]
        batches = np.pad(segments, (0, -len(segments) % BATCH), mode="edge").reshape(-1, BATCH)
        if (side, tile) not in self._written:  # the list stays where it is when the cells are forgotten
            self._written[side, tile] = self._used
            self._write(batches)
        self._first[cells], self._count[cells], self._rough[cells] = self._written[side, tile], len(batches), True

    def _write(self, batches: Int32[Array, "n 8"]) -> None:
        """Put batches of candidates behind those that there are."""
        new = slice(self._used, self._used + len(batches))
        self._used = new.stop
        self._grow()
        self._candidates[new], self._batches[new] = batches, self._data[batches].transpose(0, 2, 1)

    def _candidates_of(self, number: Int32[Array, " n"]) -> tuple[Int32[Array, " n"], Int32[Array, "n room"]]:
        """How many candidates some cells have, in whole batches, and rows of them, as long as that or longer."""
        from alpamayo_sim.map.kernels import cell_candidates

        lists, room = self._lists(number), ROOM
        while True:
            counts, candidates = np.empty(len(number), np.int32), np.empty((len(number), room), np.int32)
            inputs = [self.struct, number, *lists, self._turn_cost, counts, candidates]
            wp.launch(cell_candidates, dim=len(number), inputs=inputs, device="cpu")
            if counts.max() <= room:
                return counts, candidates
            room = int(counts.max())

    def _lists(self, number: Array) -> tuple[Array, Array, Array]:
        """For each cell where its tile's list begins and how long it is, and the lists of all tiles on end."""
        column, row = np.divmod(number, self._shape[1])
        tile, back = np.unique(column // TILE * self._shape[1] + row // TILE, return_inverse=True)
        lists = self._tile_lists(tile, TILE)
        counts = np.array([len(part) for part in lists], np.int32)
        first = (np.cumsum(counts) - counts).astype(np.int32)
        return first[back], counts[back], np.concatenate(lists)

    def _tile_lists(self, tile: Int64[Array, " n"], cells: int) -> list[Array]:
        """Segments of each tile of so many cells a side; those not known yet are asked of the tree."""
        keys = [(cells, int(number)) for number in tile]
        new = [key for key in keys if key not in self._tiles]
        if new:
            side = self._cell * cells
            numbers = [number for _, number in new]
            middles = self._low + side * (np.stack(np.divmod(numbers, self._shape[1]), axis=1) + 0.5)
            _, nearest = self._tree.query_nearest(shapely.points(middles), return_distance=True, all_matches=False)
            reach = nearest + side * np.sqrt(2.0) + 2.0 * self._turn_cost + 1e-9
            low, high = middles - reach[:, None], middles + reach[:, None]
            row, segment = self._tree.query(shapely.box(*low.T, *high.T))
            order = np.lexsort((segment, row))
            parts = np.split(segment[order].astype(np.int32), np.searchsorted(row[order], np.arange(1, len(new))))
            self._tiles.update(zip(new, parts, strict=True))
        return [self._tiles[key] for key in keys]

    def _grow(self) -> None:
        """Room for all batches."""
        if self._used > len(self._batches):
            more = max(self._used, 2 * len(self._batches)) - len(self._batches)
            self._candidates = np.concatenate([self._candidates, np.zeros((more, BATCH), np.int32)])
            self._batches = np.concatenate([self._batches, np.zeros((more, 8, BATCH))])
            self.__dict__.pop("_struct", None)


def around(xy: Float64[Array, "n 2"], reach: float, spacing: float) -> Float64[Array, "m 2"]:
    """Points at a spacing (m) within ``reach`` of others along both axes."""
    side = np.arange(-reach, reach + spacing, spacing)
    return (xy[:, None] + np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)).reshape(-1, 2)


def shared(array: Array, dtype: object) -> object:
    """An array of the kernels with the memory of an array."""
    return wp.array(array, dtype=dtype, device="cpu", copy=False)
