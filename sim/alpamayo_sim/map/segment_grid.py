"""A grid over the segments of a map. Each cell lists the few segments that can be nearest somewhere in it."""

from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float64, Int32, Int64

from alpamayo_sim.map.kernels import Grid, cell_candidates
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
CELL_SIZE_M = 1.0
MAX_CELLS = 4_000_000
GRID_MARGIN_M = 60.0  # around all segments
TILE_CELLS = 6  # cells a side of the tiles that the lists of cells are made from
EXACT_CELL_QUERIES = 2000  # with more queries it is faster to know the exact candidates of each cell
CELLS_PER_LAUNCH = 1024
BATCH_SIZE = 8  # candidates that the native loops examine together
INITIAL_BATCHES = 1 << 16  # memory that is never written is never taken from the system
INITIAL_CANDIDATES = 32  # of a cell; few cells have more


class SegmentGrid:
    """Candidates of each cell for the nearest of n segments, and for the cheapest by distance and direction.

    The cost of a segment is its distance plus ``turn_cost`` (m) times (1 - cosine of the turn to it). A segment is
    left out of a cell where another one is cheaper in the whole cell at any heading: one of the same ``group``, or the
    nearest of all. The segments of a group must follow one another.

    Cells are filled at the first query. ``fill_cells`` finds the exact candidates of each cell. ``fill_tiles`` is
    quicker for few queries: all cells of a tile share one longer list. Both lead to the same nearest segment.
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
        self._direction = self.step / np.maximum(self.length, 1e-12)[:, None]
        self._group = np.zeros(len(start), np.int32) if group is None else group.astype(np.int32)
        self._turn_cost = turn_cost
        low = np.minimum(start, end).min(axis=0) - GRID_MARGIN_M
        high = np.maximum(start, end).max(axis=0) + GRID_MARGIN_M
        self._low = low
        self._cell = max(CELL_SIZE_M, float(np.sqrt(np.prod(high - low) / MAX_CELLS)))
        self._shape = np.ceil((high - low) / self._cell).astype(np.int64)
        self._first = np.zeros(int(np.prod(self._shape)), np.int32)
        self._count = np.full(len(self._first), -1, np.int32)
        self._nearest, self._from_tile = np.zeros(len(self._first)), np.zeros(len(self._first), bool)
        self._inverse = 1.0 / np.maximum(self.length**2, 1e-12)
        self._data = np.column_stack([self.start, self.step, self._inverse, self._direction, np.arange(len(start))])
        self._candidates = np.zeros((INITIAL_BATCHES, BATCH_SIZE), np.int32)
        self._batches = np.zeros((INITIAL_BATCHES, 8, BATCH_SIZE))
        self._used = 0
        self._tiles: dict[tuple[int, int], Array] = {}  # segments by (cells a side, number of the tile)
        self._tile_batch: dict[tuple[int, int], int] = {}  # first batch of the tiles that are written down
        self._struct = self._make_struct()

    @property
    def cells(self) -> int:
        """The number of cells."""
        return len(self._count)

    @property
    def struct(self) -> Grid:
        """The grid for the kernels; it shares its memory with this object until the grid grows."""
        return self._struct

    def fill_cells(self, xy: Float64[Array, "n 2"]) -> Int32[Array, " cells"]:
        """Find the exact candidates of the unknown cells of points; return these cells."""
        number = self._unknown_cells(xy)
        for first in range(0, len(number), CELLS_PER_LAUNCH):
            self._fill_exactly(number[first : first + CELLS_PER_LAUNCH])
        return number

    def fill_tiles(self, xy: Float64[Array, "n 2"], side: int) -> Int32[Array, " cells"]:
        """Give all unknown cells of the points' tiles of ``side`` cells the tile's list; return the unknown cells."""
        number = self._unknown_cells(xy)
        if len(number):
            column, row = np.divmod(number, self._shape[1])
            tile = np.unique(column // side * self._shape[1] + row // side)
            for key, segments in zip(tile.tolist(), self._tile_lists(tile, side), strict=True):
                self._fill_tile(key, side, segments)
        return number

    def forget_tiles(self) -> None:
        """Make the cells that ``fill_tiles`` has filled unknown, so that ``fill_cells`` fills them exactly."""
        if self._from_tile.any():
            self._count[self._from_tile] = -1
            self._from_tile[:] = False

    def _unknown_cells(self, xy: Float64[Array, "n 2"]) -> Int32[Array, " cells"]:
        """Return the cells of points that are on the grid and not filled yet."""
        cell = np.floor((xy - self._low) / self._cell).astype(np.int64)
        cell = cell[((cell >= 0) & (cell < self._shape)).all(axis=1)]
        number = np.unique(cell[:, 0] * self._shape[1] + cell[:, 1])
        return number[self._count[number] < 0].astype(np.int32)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.linestrings(np.stack([self.start, self.start + self.step], axis=1)))

    def _make_struct(self) -> Grid:
        grid = Grid()
        grid.low, grid.cell = wp.vec2d(*self._low), self._cell
        grid.columns, grid.rows = int(self._shape[0]), int(self._shape[1])
        grid.first, grid.count = warp_view(self._first, wp.int32), warp_view(self._count, wp.int32)
        grid.nearest = warp_view(self._nearest, wp.float64)
        grid.candidates = warp_view(self._candidates.reshape(-1), wp.int32)
        grid.batches = warp_view(self._batches.reshape(-1), wp.float64)
        grid.start, grid.step = warp_view(self.start, wp.vec2d), warp_view(self.step, wp.vec2d)
        grid.inverse = warp_view(self._inverse, wp.float64)
        grid.direction, grid.group = warp_view(self._direction, wp.vec2d), warp_view(self._group, wp.int32)
        return grid

    def _fill_exactly(self, number: Int32[Array, " n"]) -> None:
        """Find the candidates of some cells and write them down."""
        counts, candidates = self._exact_candidates(number)
        batches = candidates[np.arange(candidates.shape[1]) < counts[:, None]].reshape(-1, BATCH_SIZE)
        counts //= BATCH_SIZE
        self._first[number], self._count[number] = self._used + np.cumsum(counts) - counts, counts
        self._write(batches)

    def _fill_tile(self, tile: int, side: int, segments: Int32[Array, " n"]) -> None:
        """Give the unknown cells of a tile its whole list."""
        column, row = (side * i + np.arange(side) for i in divmod(tile, int(self._shape[1])))
        cells = (column[column < self._shape[0], None] * self._shape[1] + row[row < self._shape[1]]).ravel()
        cells = cells[self._count[cells] < 0]
        batches = np.pad(segments, (0, -len(segments) % BATCH_SIZE), mode="edge").reshape(-1, BATCH_SIZE)
        if (side, tile) not in self._tile_batch:  # a list stays in its place when the cells are forgotten
            self._tile_batch[side, tile] = self._used
            self._write(batches)
        self._first[cells], self._count[cells] = self._tile_batch[side, tile], len(batches)
        self._from_tile[cells] = True

    def _write(self, batches: Int32[Array, "n 8"]) -> None:
        """Append batches of candidates."""
        new = slice(self._used, self._used + len(batches))
        self._used = new.stop
        self._grow()
        self._candidates[new], self._batches[new] = batches, self._data[batches].transpose(0, 2, 1)

    def _exact_candidates(self, number: Int32[Array, " n"]) -> tuple[Int32[Array, " n"], Int32[Array, "n room"]]:
        """Return the number of candidates of some cells, in whole batches, and rows with at least that many."""
        lists, room = self._lists(number), INITIAL_CANDIDATES
        while True:
            counts, candidates = np.empty(len(number), np.int32), np.empty((len(number), room), np.int32)
            inputs = [self.struct, number, *lists, self._turn_cost, counts, candidates]
            wp.launch(cell_candidates, dim=len(number), inputs=inputs, device="cpu")
            if counts.max() <= room:
                return counts, candidates
            room = int(counts.max())

    def _lists(self, number: Array) -> tuple[Array, Array, Array]:
        """Return for each cell the start and length of its tile's list, and the lists of all tiles in a row."""
        column, row = np.divmod(number, self._shape[1])
        tile, back = np.unique(column // TILE_CELLS * self._shape[1] + row // TILE_CELLS, return_inverse=True)
        lists = self._tile_lists(tile, TILE_CELLS)
        counts = np.array([len(part) for part in lists], np.int32)
        first = (np.cumsum(counts) - counts).astype(np.int32)
        return first[back], counts[back], np.concatenate(lists)

    def _tile_lists(self, tile: Int32[Array, " n"], side: int) -> list[Array]:
        """Return the segments of each tile of ``side`` cells; the tree finds those of new tiles."""
        keys = [(side, int(number)) for number in tile]
        new = [key for key in keys if key not in self._tiles]
        if new:
            length = self._cell * side
            numbers = [number for _, number in new]
            middles = self._low + length * (np.stack(np.divmod(numbers, self._shape[1]), axis=1) + 0.5)
            _, nearest = self._tree.query_nearest(shapely.points(middles), return_distance=True, all_matches=False)
            radius = nearest + length * np.sqrt(2.0) + 2.0 * self._turn_cost + 1e-9
            low, high = middles - radius[:, None], middles + radius[:, None]
            row, segment = self._tree.query(shapely.box(*low.T, *high.T))
            order = np.lexsort((segment, row))
            parts = np.split(segment[order].astype(np.int32), np.searchsorted(row[order], np.arange(1, len(new))))
            self._tiles.update(zip(new, parts, strict=True))
        return [self._tiles[key] for key in keys]

    def _grow(self) -> None:
        """Make room for all batches in use, twice as much as before at least."""
        if self._used > len(self._batches):
            more = max(self._used, 2 * len(self._batches)) - len(self._batches)
            self._candidates = np.concatenate([self._candidates, np.zeros((more, BATCH_SIZE), np.int32)])
            self._batches = np.concatenate([self._batches, np.zeros((more, 8, BATCH_SIZE))])
            self._struct = self._make_struct()


def points_around(xy: Float64[Array, "n 2"], reach: float, spacing: float) -> Float64[Array, "m 2"]:
    """Return points at a spacing (m) within ``reach`` (m) of others along both axes."""
    side = np.arange(-reach, reach + spacing, spacing)
    return (xy[:, None] + np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)).reshape(-1, 2)


def warp_view(array: Array, dtype: object) -> wp.array:
    """Return a Warp array that shares the memory of a numpy array."""
    return wp.array(array, dtype=dtype, device="cpu", copy=False)
