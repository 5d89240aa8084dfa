"""Distance to the border of the drivable area for very many points: a lazily filled grid over the map's index.

The signed distance is sampled at nodes half a metre apart, in tiles that are worked out when first asked for, and
interpolated. A signed distance changes by at most a metre a metre, so an interpolated value is off by less than
``ERROR``; where the nodes around leave its sign open, the index itself is asked.
"""

from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Bool, Float64

from alpamayo_sim.map_index import MapIndex

Array = np.ndarray
SPACING = 0.5  # m
TILE = 16  # cells a side
ERROR = 0.36  # m; half a cell's diagonal
NODE_ERROR = 1e-4  # m; the nodes are float32
NEARBY = 20.0  # m; tiles further from the border are rare, and would have many segments to look at
FAR = 50.0  # m; what is further outside of the grid is not told apart


class DrivableField:
    """``margin(xy)``: signed distance (m) to the border of the drivable area, positive inside."""

    def __init__(self, index: MapIndex) -> None:
        self.index = index
        self.known = index.has_drivable
        self._values = np.zeros((0, TILE + 1, TILE + 1), np.float32)
        self._used = 0
        if self.known:
            border = index.border
            assert border is not None
            points = np.concatenate([border.start, border.end])
            self._low = points.min(axis=0) - FAR
            cells = np.ceil((points.max(axis=0) + FAR - self._low) / SPACING).astype(int)
            self._tiles = np.full(cells // TILE + 1, -1, np.int32)

    def margin(self, xy: Float64[Array, "n 2"], *, exact: bool = True) -> Float64[Array, " n"]:
        """Distance (m) to the border, positive inside; interpolated, and of the right sign if ``exact``."""
        cell = (xy - self._low) / SPACING
        cell = np.clip(cell, 0.0, np.array(self._tiles.shape) * TILE - 1e-6)
        corner = cell.astype(np.int64)
        tile = corner // TILE
        slot = self._tiles[tile[:, 0], tile[:, 1]]
        if (slot < 0).any():
            self._fill(np.unique(tile[slot < 0], axis=0))
            slot = self._tiles[tile[:, 0], tile[:, 1]]
        margin, doubtful = self._interpolate(slot, corner - tile * TILE, cell - corner)
        if exact and len(near := np.flatnonzero(doubtful)):
            margin[near] = self.index.drivable_margin(xy[near])
        return margin

    def prepare(self, path: Float64[Array, "n 2"], reach: float) -> None:
        """Fill the tiles within ``reach`` (m) of a path now, so that no later question waits for them."""
        side = np.arange(-reach, reach + SPACING * TILE, SPACING * TILE)
        offsets = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
        self.margin((path[:, None] + offsets).reshape(-1, 2), exact=False)

    def _interpolate(self, slot: Array, at: Array, part: Array) -> tuple[Float64[Array, " n"], Bool[Array, " n"]]:
        """Bilinear values, and where the four nodes around leave the sign in doubt."""
        stride = TILE + 1
        flat = self._values.reshape(-1)
        first = slot.astype(np.int64) * (stride * stride) + at[:, 0] * stride + at[:, 1]
        a, b = flat[first], flat[first + 1]
        c, d = flat[first + stride], flat[first + stride + 1]
        u, v = part[:, 0], part[:, 1]
        low = a + (b - a) * v
        value = np.asarray(low + ((c + (d - c) * v) - low) * u, np.float64)
        doubtful = np.abs(value) < ERROR
        rows = np.flatnonzero(doubtful)
        u, v = u[rows], v[rows]
        nodes = np.stack([a[rows], b[rows], c[rows], d[rows]])
        away = SPACING * np.stack([np.hypot(u, v), np.hypot(u, 1 - v), np.hypot(1 - u, v), np.hypot(1 - u, 1 - v)])
        doubtful[rows] = ((nodes - away).max(axis=0) <= NODE_ERROR) & ((nodes + away).min(axis=0) >= -NODE_ERROR)
        return value, doubtful

    def _fill(self, tiles: Array) -> None:
        nodes = np.stack(np.meshgrid(np.arange(TILE + 1), np.arange(TILE + 1), indexing="ij"), axis=-1)
        xy = self._low + SPACING * (tiles[:, None, None] * TILE + nodes)
        values = self._nodes(xy.reshape(len(tiles), -1, 2)).reshape(-1, TILE + 1, TILE + 1)
        needed = self._used + len(tiles)
        if needed > len(self._values):
            grown = np.zeros((max(needed, 2 * len(self._values)), TILE + 1, TILE + 1), np.float32)
            grown[: self._used] = self._values[: self._used]
            self._values = grown
        self._values[self._used : needed] = values
        self._tiles[tiles[:, 0], tiles[:, 1]] = np.arange(self._used, needed)
        self._used = needed

    def _nodes(self, xy: Float64[Array, "tiles n 2"]) -> Float64[Array, "tiles n"]:
        """The index's margins of the nodes of whole tiles: the few segments near a tile serve all of its nodes."""
        area, border = self.index.drivable_polygon, self.index.border
        centre = 0.5 * (xy[:, 0] + xy[:, -1])
        away = np.abs(self.index.drivable_margin(centre))
        values = np.empty(xy.shape[:2])
        far = (away > NEARBY) | (area is None)
        values[far] = self.index.drivable_margin(xy[far].reshape(-1, 2)).reshape(-1, xy.shape[1])
        near = np.flatnonzero(~far)
        if not len(near) or border is None:
            return values
        reach = away[near] + SPACING * TILE * np.sqrt(2.0) + 1e-6
        tile, segment = self._tree.query(shapely.points(centre[near]), predicate="dwithin", distance=reach)
        order = np.lexsort((segment, tile))
        tile, segment = tile[order], segment[order]
        squared = _squared_distance(xy[near[tile]], border.start[segment], border.end[segment])
        least = np.minimum.reduceat(squared, np.searchsorted(tile, np.arange(len(near))), axis=0)
        inside = shapely.intersects_xy(area, xy[near].reshape(-1, 2)).reshape(least.shape)
        values[near] = np.where(inside, np.sqrt(least), -np.sqrt(least))
        return values

    @cached_property
    def _tree(self) -> shapely.STRtree:
        border = self.index.border
        assert border is not None
        return shapely.STRtree(shapely.linestrings(np.stack([border.start, border.end], axis=1)))


def _squared_distance(xy: Array, start: Array, end: Array) -> Float64[Array, "pairs n"]:
    """Squared distance of all points of each row to that row's segment."""
    step = end - start
    x, y = xy[..., 0] - start[:, :1], xy[..., 1] - start[:, 1:]
    dx, dy = step[:, :1], step[:, 1:]
    part = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
    return (x - part * dx) ** 2 + (y - part * dy) ** 2
