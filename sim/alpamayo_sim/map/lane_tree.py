"""The nearest lane by a search tree over segments: no preparation, for questions that are asked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from jaxtyping import Float, Float64, Int

from alpamayo_sim.datatypes.scene import Lane
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.polylines import MapArrays, checked_headings, checked_points, foot_on_segment

Array = np.ndarray

FEW_POINTS = 8  # that search a small disc at once; finding the nearest segment first costs a search more
HEADING_COST_M = 2.0  # a lane in the opposite direction counts as twice this distance further away


@dataclass(frozen=True, eq=False)
class LaneMatch:
    """The lane nearest to each point. ``index`` is -1, and ``distance`` infinite, where no lane is in reach.

    The foot is the nearest point of the lane's centreline. ``s`` (m) is its arc length, ``heading`` (rad) the
    direction of the centreline there. ``offset`` (m, left positive) and ``distance`` (m) go from it to the point.
    """

    index: Int[Array, " n"]
    s: Float[Array, " n"]
    offset: Float[Array, " n"]
    heading: Float[Array, " n"]
    distance: Float[Array, " n"]


class LaneTree:
    """Nearest lanes from an STR-tree; ``segments`` are the line strings of ``arrays``, lanes first."""

    def __init__(self, lanes: Sequence[Lane], arrays: MapArrays, segments: Array) -> None:
        self._lanes, self._arrays, self._segments = lanes, arrays, segments

    def nearest(
        self, xy: Float[Array, "n 2"], heading: Float[Array, " n"] | None = None, max_distance: float = np.inf
    ) -> LaneMatch:
        """Return the cheapest lane of each point; see ``MapIndex.nearest_lane``."""
        xy = checked_points(xy)
        count = len(xy)
        none = LaneMatch(np.full(count, -1), np.zeros(count), np.zeros(count), np.zeros(count), np.full(count, np.inf))
        if not self._lanes or not count:
            return none
        rows, segments = self._candidates(xy, 0.0 if heading is None else 2.0 * HEADING_COST_M, max_distance)
        if not len(rows):
            return none
        foot = self._feet(xy[rows], segments)
        cost = foot.distance
        if heading is not None:
            cost = cost + HEADING_COST_M * (1.0 - np.cos(checked_headings(heading, count)[rows] - foot.heading))
        cost = np.where(foot.distance <= max_distance, cost, np.inf)
        order = np.lexsort((segments, cost, rows))
        first = np.minimum(np.searchsorted(rows[order], np.arange(count)), len(order) - 1)
        best = order[first]
        found = np.isfinite(cost[best]) & (rows[best] == np.arange(count))
        return LaneMatch(
            *(np.where(found, getattr(foot, name)[best], getattr(none, name)) for name in none.__dataclass_fields__)
        )

    def _candidates(self, xy: Float64[Array, "n 2"], extra_m: float, max_distance: float) -> tuple[Array, Array]:
        """Return pairs (point, segment): all segments at most ``extra_m`` further away than the nearest one.

        With ``extra_m``, and few points that look no further than ``max_distance`` (m), all segments within that.
        """
        points = shapely.points(xy)
        if extra_m > 0.0 and max_distance <= 2.0 * extra_m and len(xy) <= FEW_POINTS:
            near = self._tree.query(points, predicate="dwithin", distance=max_distance + 1e-9)
            return near[0], near[1]
        pairs, nearest = self._tree.query_nearest(points, return_distance=True, all_matches=True)
        if extra_m == 0.0:
            return pairs[0], pairs[1]
        radius = np.zeros(len(xy))
        radius[pairs[0]] = nearest + extra_m + 1e-9
        near = self._tree.query(points, predicate="dwithin", distance=radius)
        return near[0], near[1]

    def _feet(self, xy: Float64[Array, "n 2"], segments: Array) -> LaneMatch:
        """Match each point to one given segment of a lane."""
        arrays = self._arrays
        first = arrays.segment_start[segments]
        start = arrays.points[first, :2].astype(np.float64)
        step = arrays.points[first + 1, :2] - start
        t, gap = foot_on_segment(xy, start, step)
        side = np.sign(step[:, 0] * (xy - start)[:, 1] - step[:, 1] * (xy - start)[:, 0])
        distance = np.hypot(gap[:, 0], gap[:, 1])
        return LaneMatch(
            index=arrays.segment_polyline[segments],
            s=self._segment_s[segments] + t * np.hypot(step[:, 0], step[:, 1]),
            offset=side * distance,
            heading=np.arctan2(step[:, 1], step[:, 0]),
            distance=distance,
        )

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self._segments[: len(self._segment_s)])

    @cached_property
    def _segment_s(self) -> Float64[Array, " m"]:
        """Arc length (m) at the start of each segment of a lane."""
        return np.concatenate([np.zeros(0), *(arc_length(lane.centreline)[:-1] for lane in self._lanes)])
