"""A grid over the segments of a map, filled where it is asked: each cell knows the few that can be nearest in it."""

from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float64, Int64

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
    everywhere in it, whatever the heading.
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
        self._group = np.zeros(len(start), np.int64) if group is None else group
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

    def fill(self, xy: Float64[Array, "n 2"]) -> bool:
        """Work out the cells of these points that are not known yet, inside of the grid; whether there were any."""
        cell = np.floor((xy - self._low) / self._cell).astype(np.int64)
        cell = cell[((cell >= 0) & (cell < self._shape)).all(axis=1)]
        number = np.unique(cell[:, 0] * self._shape[1] + cell[:, 1])
        number = number[self._count[number] < 0]
        if not len(number):
            return False
        row, segment, away = self._possible(number)
        self._store(segment, away)
        counts = np.bincount(row, minlength=len(number))
        self._first[number] = self._used + np.cumsum(counts) - counts
        self._count[number] = counts
        self._used += len(segment)
        return True

    @property
    def struct(self) -> object:
        """The grid as ``kernels.Grid``; it shares its memory with this."""
        return self._struct

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(shapely.linestrings(np.stack([self.start, self.start + self.step], axis=1)))

    @cached_property
    def _struct(self) -> object:
        from alpamayo.validator.kernels import Grid

        grid = Grid()
        grid.low, grid.cell = wp.vec2d(*self._low), self._cell
        grid.columns, grid.rows = int(self._shape[0]), int(self._shape[1])
        grid.first, grid.count = _shared(self._first, wp.int32), _shared(self._count, wp.int32)
        grid.candidates, grid.away = _shared(self._candidates, wp.int32), _shared(self._away, wp.float64)
        grid.start, grid.step = _shared(self.start, wp.vec2d), _shared(self.step, wp.vec2d)
        grid.inverse = _shared(1.0 / np.maximum(self.length**2, 1e-12), wp.float64)
        return grid

    def _possible(self, number: Array) -> tuple[Array, Array, Array]:
        """Rows of ``number``, segments and distances to the middle of all candidates, the nearest of a row first."""
        cell = np.stack(np.divmod(number, self._shape[1]), axis=1)
        centre = self._low + self._cell * (cell + 0.5)
        row, segment = self._around(cell)
        away = self._distance(centre[row], segment)
        nearest = np.minimum.reduceat(away, np.searchsorted(row, np.arange(len(number))))
        across = self._cell * np.sqrt(2.0) + 1e-9
        kept = np.flatnonzero(away <= nearest[row] + across + 2.0 * self._turn_cost)
        kept = kept[np.lexsort((away[kept], row[kept]))]
        row, segment, away = row[kept], segment[kept], away[kept]
        if self._turn_cost == 0.0:
            return row, segment, away
        cheap = np.ones(len(row), bool)
        for key in (row, row * (int(self._group.max()) + 1) + self._group[segment]):
            best = _first_of_each(key)
            turn = np.hypot(*(self.way[segment] - self.way[segment[best]]).T)
            cheap &= away - away[best] <= across + self._turn_cost * turn
        return row[cheap], segment[cheap], away[cheap]

    def _around(self, cell: Int64[Array, "n 2"]) -> tuple[Array, Array]:
        """Pairs (row of ``cell``, segment) of all segments that may matter in the tile of each cell."""
        tile, back = np.unique(cell // TILE, axis=0, return_inverse=True)
        lists = self._tile_lists(tile)
        counts = np.array([len(part) for part in lists])
        first = np.cumsum(counts) - counts
        of_row = counts[back.ravel()]
        row = np.repeat(np.arange(len(cell)), of_row)
        place = np.arange(len(row)) - np.repeat(np.cumsum(of_row) - of_row - first[back.ravel()], of_row)
        return row, np.concatenate(lists)[place]

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
            order = np.argsort(row, kind="stable")
            parts = np.split(segment[order], np.searchsorted(row[order], np.arange(1, len(new))))
            self._tiles.update(zip(new, parts, strict=True))
        return [self._tiles[key] for key in keys]

    def _distance(self, xy: Array, segment: Array) -> Float64[Array, " n"]:
        start, step = self.start[segment], self.step[segment]
        x, y, dx, dy = xy[:, 0] - start[:, 0], xy[:, 1] - start[:, 1], step[:, 0], step[:, 1]
        part = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
        return np.hypot(x - part * dx, y - part * dy)

    def _store(self, segment: Array, away: Array) -> None:
        needed = self._used + len(segment)
        if needed > len(self._candidates):
            more = max(needed, 2 * len(self._candidates)) - len(self._candidates)
            self._candidates = np.concatenate([self._candidates, np.zeros(more, np.int32)])
            self._away = np.concatenate([self._away, np.zeros(more)])
            self.__dict__.pop("_struct", None)
        self._candidates[self._used : needed], self._away[self._used : needed] = segment, away


def _first_of_each(key: Array) -> Int64[Array, " n"]:
    """For each row the place of the first row with its key."""
    _, first, back = np.unique(key, return_index=True, return_inverse=True)
    return np.asarray(first[back])


def _shared(array: Array, dtype: object) -> object:
    return wp.array(array, dtype=dtype, device="cpu", copy=False)
