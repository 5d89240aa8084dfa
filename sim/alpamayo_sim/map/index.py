"""``MapIndex``: all spatial questions about a road map, for many points at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import shapely
from jaxtyping import Bool, Float, Float32, Float64, Int
from scipy.spatial import cKDTree

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, interpolate
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.map.lane_tree import LaneMatch, LaneTree
from alpamayo_sim.map.polylines import MapArrays, checked_points, map_arrays

if TYPE_CHECKING:
    from alpamayo_sim.map.lane_lookup import LaneLookup

Array = np.ndarray
ROUTE_INDEX_BYTES = 64 << 20  # kept at most
INDEX_BYTES = 256 << 20  # kept at most

LANE_SPACING_M = 1e6  # between two lanes in one list of arc lengths; longer than any lane
LEVEL_REACH_M = 4.0  # in the plane; parts of a map that come this near and differ in height are levels


class MapIndex:
    """Spatial index of a :class:`RoadMap`. Each part is built at the first question that needs it, then reused.

    Positions are in m and headings in rad, in the frame of the map. All distances are computed in float64; the
    map's own float32 points stay unchanged in ``arrays``, for kernels that upload them.

    Two methods answer which lane is nearest. ``nearest_lane`` searches a tree: no preparation, for questions that
    are asked once, and with a maximum distance. ``match_lanes`` and ``match_boxes`` answer from a grid that remembers
    its cells, for the many poses of plans: more than 2,000 points fill it cell by cell, fewer points by wider tiles.
    Their distances are equal to 1e-9 m; of lanes with equal costs each may name another one.
    """

    def __init__(self, road_map: RoadMap) -> None:
        self.road_map = road_map
        self.has_levels = has_levels(road_map)
        self.drivable_area = DrivableArea(road_map, self.has_levels)

    @cached_property
    def arrays(self) -> MapArrays:
        """The map's polylines as flat arrays."""
        return map_arrays(self.road_map)

    @cached_property
    def lane_in_intersection(self) -> Bool[Array, " lanes"]:
        """Whether each lane lies in an intersection."""
        return np.array([lane.in_intersection for lane in self.road_map.lanes])

    @cached_property
    def lane_length(self) -> Float64[Array, " lanes"]:
        """Length (m) of each lane's centreline."""
        return np.array([arc_length(lane.centreline)[-1] for lane in self.road_map.lanes])

    def nearest_lane(
        self,
        xy: Float[Array, "n 2"],
        heading: Float[Array, " n"] | None = None,
        max_distance: float = np.inf,
        elevation: Float[Array, " n"] | None = None,
    ) -> LaneMatch:
        """Return the lane whose centreline is nearest to each point.

        With ``heading`` (rad) a lane costs its distance plus 2 m times (1 - cos of the angle to it): of two lanes
        the one in the same direction wins unless the other is 4 m nearer. Lanes further than ``max_distance``
        (m) do not count. Ties go to the lane that comes first in the map. With the ``elevation`` (m) of the ground
        under each point, only lanes on its level count on a map with levels.

        Raises:
            InputError: A point or heading is not finite.
        """
        if elevation is not None and self.has_levels:
            course = np.zeros(len(xy)) if heading is None else heading
            known = heading is not None
            return self._by_level(
                elevation, lambda level, k: level.nearest_lane(xy[k], course[k] if known else None, max_distance)
            )
        return self._lane_tree.nearest(xy, heading, max_distance)

    def match_lanes(
        self,
        xy: Float64[Array, "n 2"],
        heading: Float64[Array, " n"] | None = None,
        elevation: Float[Array, " n"] | None = None,
    ) -> LaneMatch:
        """Return the nearest lane of many points, with costs as in ``nearest_lane``; the map must have lanes."""
        if elevation is not None and self.has_levels:
            return self._by_level(
                elevation, lambda level, k: level.match_lanes(xy[k], None if heading is None else heading[k])
            )
        return self._lane_lookup.match(xy, heading)

    def match_boxes(self, boxes: Float64[Array, "n 4"], elevation: Float[Array, " n"] | None = None) -> LaneMatch:
        """Return the nearest lane of many boxes: x, y, cosine and sine of the heading (``geometry.oriented``)."""
        if elevation is not None and self.has_levels:
            return self._by_level(elevation, lambda level, k: level.match_boxes(boxes[k]))
        return self._lane_lookup.match_boxes(boxes)

    def _by_level(self, elevation: Float[Array, " n"], answer: Callable[["MapIndex", Array], LaneMatch]) -> LaneMatch:
        """Return the matches of points of several levels; index -1 where a level has no lane."""
        band = np.floor(np.asarray(elevation, np.float64)).astype(np.int64)
        count = len(band)
        out = LaneMatch(np.full(count, -1), np.zeros(count), np.zeros(count), np.zeros(count), np.full(count, np.inf))
        for number in np.unique(band).tolist():
            level, rows = self._level(number), np.flatnonzero(band == number)
            if level is None:
                continue
            pieces, match = level.pieces, answer(level.index, rows)
            found = match.index >= 0
            piece = match.index[found]
            for name in ("offset", "heading", "distance"):
                getattr(out, name)[rows] = getattr(match, name)
            out.index[rows[found]] = pieces[piece, 0].astype(np.int64)
            out.s[rows[found]] = match.s[found] + pieces[piece, 1]
        return out

    def _level(self, number: int) -> "_Level | None":
        """Return the lanes on the level of grounds from ``number`` to ``number`` + 1 (m); None without any."""
        if number not in self._levels:
            self._levels[number] = _level_of(self.road_map, number + 0.5)
        return self._levels[number]

    @cached_property
    def _levels(self) -> dict[int, "_Level | None"]:
        return {}

    def prepare_lanes(self, xy: Float64[Array, "n 2"], within_m: float) -> None:
        """Prepare ``match_lanes`` now within ``within_m`` of points along both axes; the map must have lanes."""
        self._lane_lookup.prepare(xy, within_m)

    def lane_width(self, match: LaneMatch) -> Float64[Array, " n"]:
        """Return the width (m) of the matched lane at each foot; infinite where there is no lane."""
        width = np.full(len(match.index), np.inf)
        rows = match.index >= 0
        if rows.any():
            knots, widths = self._lane_widths
            width[rows] = np.interp(LANE_SPACING_M * match.index[rows] + match.s[rows], knots, widths)
        return width

    def lane_overhang(
        self, match: LaneMatch, pose: Float64[Array, "n 3"], size: Float64[Array, "2"]
    ) -> Float64[Array, " n"]:
        """Return how far (m) boxes reach over the border of their matched lane; negative is the room left.

        ``pose`` is x, y, heading of the centres, ``size`` length and width (m).
        """
        turn = pose[:, 2] - match.heading
        reach = 0.5 * (size[0] * np.abs(np.sin(turn)) + size[1] * np.abs(np.cos(turn)))
        return np.abs(match.offset) + reach - 0.5 * self.lane_width(match)

    def segments_in_radius(
        self, xy: Float[Array, "n 2"], radius: float
    ) -> tuple[Int[Array, " pairs"], Int[Array, " pairs"]]:
        """Return pairs (point, segment of ``arrays``) that are at most ``radius`` (m) apart, sorted.

        Raises:
            InputError: A point is not finite, or the radius is negative or NaN.
        """
        if not radius >= 0.0:
            raise InputError(f"segments_in_radius: radius is {radius} m, must be at least 0")
        points = shapely.points(checked_points(xy))
        pairs = self._segment_tree.query(points, predicate="dwithin", distance=radius)
        order = np.lexsort((pairs[1], pairs[0]))
        return pairs[0][order], pairs[1][order]

    @cached_property
    def _segment_tree(self) -> shapely.STRtree:
        start = self.arrays.segment_start
        points = self.arrays.points[:, :2].astype(np.float64)
        return shapely.STRtree(shapely.linestrings(np.stack([points[start], points[start + 1]], axis=1)))

    @cached_property
    def _lane_tree(self) -> LaneTree:
        return LaneTree(self.road_map.lanes, self.arrays, self._segment_tree.geometries)

    @cached_property
    def _lane_lookup(self) -> "LaneLookup":
        from alpamayo_sim.map.lane_lookup import LaneLookup

        return LaneLookup(self.road_map.lanes, self.arrays, self._lane_tree)

    @cached_property
    def _lane_widths(self) -> tuple[Float64[Array, " p"], Float64[Array, " p"]]:
        """Widths (m) of all lanes in one list, at arc length plus ``LANE_SPACING_M`` times the lane's number."""
        lanes = self.road_map.lanes
        knots = [LANE_SPACING_M * i + arc_length(lane.centreline) for i, lane in enumerate(lanes)]
        return np.concatenate(knots), np.concatenate([lane.width for lane in lanes]).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Level:
    """The pieces of lanes on one level: each has the number of its lane and the arc length (m) where it begins."""

    index: MapIndex
    pieces: Float64[Array, "n 2"]


def _level_of(road_map: RoadMap, elevation: float) -> _Level | None:
    """Return the pieces of lanes within ``LEVEL_GAP_M`` of an elevation (m)."""
    lanes, pieces = [], []
    for k, lane in enumerate(road_map.lanes):
        z, s = lane.centreline[:, 2], arc_length(lane.centreline)
        low, high = np.minimum(z[:-1], z[1:]), np.maximum(z[:-1], z[1:])
        on_level = (low < elevation + LEVEL_GAP_M) & (high > elevation - LEVEL_GAP_M)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], on_level, [False]]).astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            part = slice(first, last + 1)
            lanes.append(Lane(f"{k}-{first}", lane.centreline[part], lane.width[part], kind=lane.kind))
            pieces.append((k, s[first]))
    if not lanes:
        return None
    index = MapIndex(RoadMap(lanes=tuple(lanes)))
    index.has_levels = False
    return _Level(index, np.array(pieces, np.float64))


def has_levels(road_map: RoadMap) -> bool:
    """Return whether parts of a map lie above each other: further apart in height than ``LEVEL_GAP_M``."""
    kinds = ([lane.centreline for lane in road_map.lanes], road_map.road_edges, road_map.drivable_areas)
    return any(_lie_above_each_other(lines) for lines in kinds)


def _lie_above_each_other(lines: Sequence[Float32[Array, "_ 3"]]) -> bool:
    """Return whether lines of one kind come near in the plane and differ in height; kinds may have no heights."""
    heights = [line[:, 2] for line in lines if len(line)]
    if not heights or max(z.max() for z in heights) - min(z.min() for z in heights) <= LEVEL_GAP_M:
        return False
    dense = np.concatenate([_dense(line) for line in lines if len(line) > 1])
    pairs = cKDTree(dense[:, :2]).query_pairs(LEVEL_REACH_M, output_type="ndarray")
    return bool(np.any(np.abs(dense[pairs[:, 0], 2] - dense[pairs[:, 1], 2]) > LEVEL_GAP_M))


def _dense(line: Float32[Array, "n 3"]) -> Float64[Array, "m 3"]:
    """Return points of a line every ``LEVEL_REACH_M`` at most."""
    length = float(arc_length(line)[-1])
    return interpolate(line.astype(np.float64), np.linspace(0.0, length, 2 + int(length / LEVEL_REACH_M)))


@byte_cache(INDEX_BYTES)
def index_of(road_map: RoadMap) -> MapIndex:
    """Return the index of a map that all callers share; the last 64 maps are kept."""
    return MapIndex(road_map)


@byte_cache(ROUTE_INDEX_BYTES)
def route_index(route: Route) -> MapIndex:
    """Return the index of a map whose only lane is the route's path, shared by all callers.

    ``match_lanes`` of it projects many points on the route: ``s`` and ``offset`` are those of the route.
    """
    lane = Lane(id="route", centreline=route.path, width=np.ones(len(route.path), np.float32))
    return MapIndex(RoadMap(lanes=(lane,)))
