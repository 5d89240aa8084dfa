"""``MapIndex``: all spatial questions about a road map, for many points at once."""

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from jaxtyping import Bool, Float, Float64, Int

from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.map.lane_tree import LaneMatch, LaneTree
from alpamayo_sim.map.polylines import MapArrays, checked_points, map_arrays

if TYPE_CHECKING:
    from alpamayo_sim.map.lane_lookup import LaneLookup

Array = np.ndarray

LANE_SPACING_M = 1e6  # between two lanes in one list of arc lengths; longer than any lane
MAX_SHARED_MAPS = 64
MAX_SHARED_ROUTES = 8


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
        self.drivable_area = DrivableArea(road_map)

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
    ) -> LaneMatch:
        """Return the lane whose centreline is nearest to each point.

        With ``heading`` (rad) a lane costs its distance plus 2 m times (1 - cos of the angle to it): of two lanes
        the one in the same direction wins unless the other is 4 m nearer. Lanes further than ``max_distance``
        (m) do not count. Ties go to the lane that comes first in the map.

        Raises:
            InputError: A point or heading is not finite.
        """
        return self._lane_tree.nearest(xy, heading, max_distance)

    def match_lanes(self, xy: Float64[Array, "n 2"], heading: Float64[Array, " n"] | None = None) -> LaneMatch:
        """Return the nearest lane of many points, with costs as in ``nearest_lane``; the map must have lanes."""
        return self._lane_lookup.match(xy, heading)

    def match_boxes(self, boxes: Float64[Array, "n 4"]) -> LaneMatch:
        """Return the nearest lane of many boxes: x, y, cosine and sine of the heading (``geometry.oriented``)."""
        return self._lane_lookup.match_boxes(boxes)

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


@lru_cache(maxsize=MAX_SHARED_MAPS)
def index_of(road_map: RoadMap) -> MapIndex:
    """Return the index of a map that all callers share; the last 64 maps are kept."""
    return MapIndex(road_map)


@lru_cache(maxsize=MAX_SHARED_ROUTES)
def route_index(route: Route) -> MapIndex:
    """Return the index of a map whose only lane is the route's path, shared by all callers.

    ``match_lanes`` of it projects many points on the route: ``s`` and ``offset`` are those of the route.
    """
    lane = Lane(id="route", centreline=route.path, width=np.ones(len(route.path), np.float32))
    return MapIndex(RoadMap(lanes=(lane,)))
