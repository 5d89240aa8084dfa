"""Where on the map is this: nearest lane, drivable area and map segments, for many points at once.

Everything is computed in float64 over a shapely STR-tree of segments; the map's own float32 points stay as they
are in :class:`MapArrays`, for kernels that upload them.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import shapely
from jaxtyping import Bool, Float, Float32, Float64, Int, Int8, Int32
from shapely.geometry.base import BaseGeometry

from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length

Array = np.ndarray

HEADING_COST = 2.0  # m; a lane against the heading counts as twice this further away
POLYGON = 3  # shapely's number of that type
GAP_CLOSED = 0.05  # m; gaps between drivable polygons up to twice this wide are closed
DECIMALS = 8  # of metres; a buffer's rounding errors are smaller
JOINED = 0.01  # m; border segments whose ends are this close meet in one vertex
DRIVABLE_KINDS = frozenset(LaneKind) - {LaneKind.OTHER}


class MapLineKind(enum.IntEnum):
    """What a polyline of :class:`MapArrays` is."""

    LANE = 0
    EDGE = 1
    LINE = 2


@dataclass(frozen=True, eq=False)
class MapArrays:
    """All polylines of a map in flat arrays: lane centrelines, then road edges, then painted lines.

    Polyline ``k`` has the points ``offsets[k]:offsets[k + 1]`` and is ``source[k]`` of ``RoadMap.lanes``,
    ``.road_edges`` or ``.road_lines``, as ``kind[k]`` says (``MapLineKind``). Segment ``i`` goes from point
    ``segment_start[i]`` to the next one and is a part of polyline ``segment_polyline[i]``.
    """

    points: Float32[Array, "p 3"]
    offsets: Int32[Array, " lines_and_one"]
    kind: Int8[Array, " lines"]
    source: Int32[Array, " lines"]
    segment_start: Int32[Array, " m"]
    segment_polyline: Int32[Array, " m"]


@dataclass(frozen=True, eq=False)
class Border:
    """The border of the drivable area as segments that have the road at their left.

    ``normal_start`` and ``normal_end`` are the sums of the unit left normals of the two segments that meet in that
    vertex; a point is inside where its offset from the nearest border point has a positive product with the normal
    there (Bærentzen and Aanæs, "Signed distance computation using the angle weighted pseudonormal", 2005).
    """

    start: Float64[Array, "m 2"]
    end: Float64[Array, "m 2"]
    normal_start: Float64[Array, "m 2"]
    normal_end: Float64[Array, "m 2"]


@dataclass(frozen=True, eq=False)
class LaneMatch:
    """The lane nearest to each point. ``index`` is -1, and ``distance`` infinite, where no lane is in reach.

    ``s`` (m) is the arc length of the foot on the centreline, ``offset`` (m, left positive) and ``distance`` (m)
    are from there to the point, ``heading`` (rad) is the centreline's at the foot.
    """

    index: Int[Array, " n"]
    s: Float[Array, " n"]
    offset: Float[Array, " n"]
    heading: Float[Array, " n"]
    distance: Float[Array, " n"]


class MapIndex:
    """Spatial index of a :class:`RoadMap`; built once, then only read.

    The drivable area is the union of ``drivable_areas`` where there are any; else what lies at the left of
    ``road_edges``; else the union of the lanes' strips; a map with none of the three has no drivable area. Gaps
    of less than 0.1 m between the polygons of a union are closed.
    """

    def __init__(self, road_map: RoadMap) -> None:
        self.road_map = road_map

    def unite(self) -> None:
        """Find the drivable area now rather than at the first question about it, which is the costly part."""
        _ = self.border

    @cached_property
    def arrays(self) -> MapArrays:
        """The map's polylines as flat arrays."""
        road_map = self.road_map
        lines = [lane.centreline for lane in road_map.lanes]
        lines += [*road_map.road_edges, *(line.line for line in road_map.road_lines)]
        counts = (len(road_map.lanes), len(road_map.road_edges), len(road_map.road_lines))
        offsets = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int32)
        points = np.concatenate([np.zeros((0, 3), np.float32), *lines]).astype(np.float32)
        is_start = np.ones(len(points), bool)
        is_start[offsets[1:] - 1] = False
        polyline = np.repeat(np.arange(len(lines)), np.diff(offsets))
        return MapArrays(
            points=points,
            offsets=offsets,
            kind=np.repeat(np.array(list(MapLineKind), np.int8), counts),
            source=np.concatenate([np.arange(count) for count in counts]).astype(np.int32),
            segment_start=np.flatnonzero(is_start).astype(np.int32),
            segment_polyline=polyline[is_start].astype(np.int32),
        )

    def nearest_lane(
        self,
        xy: Float[Array, "n 2"],
        heading: Float[Array, " n"] | None = None,
        max_distance: float = np.inf,
    ) -> LaneMatch:
        """The lane whose centreline is nearest to each point.

        With ``heading`` (rad) a lane costs its distance plus 2 m times (1 - cos of the angle to it): of two lanes
        the one that goes the same way wins unless the other is 4 m nearer. Lanes further than ``max_distance``
        (m) do not count. Ties go to the lane that comes first in the map.

        Raises:
            InputError: a point or heading is not finite.
        """
        xy = _points(xy)
        count = len(xy)
        none = LaneMatch(np.full(count, -1), np.zeros(count), np.zeros(count), np.zeros(count), np.full(count, np.inf))
        if not self.road_map.lanes or not count:
            return none
        rows, segments = self._lane_candidates(xy, 0.0 if heading is None else 2.0 * HEADING_COST)
        foot = self._lane_feet(xy[rows], segments)
        cost = foot.distance
        if heading is not None:
            cost = cost + HEADING_COST * (1.0 - np.cos(_angles(heading, count)[rows] - foot.heading))
        cost = np.where(foot.distance <= max_distance, cost, np.inf)
        order = np.lexsort((segments, cost, rows))
        best = order[np.searchsorted(rows[order], np.arange(count))]
        found = np.isfinite(cost[best])
        return LaneMatch(
            *(np.where(found, getattr(foot, name)[best], getattr(none, name)) for name in none.__dataclass_fields__)
        )

    @property
    def has_drivable(self) -> bool:
        """Whether the map says where one may drive at all."""
        return self.border is not None

    def in_drivable(self, xy: Float[Array, "n 2"]) -> Bool[Array, " n"]:
        """Whether each point lies in the drivable area; its border belongs to it.

        Raises:
            InputError: the map has no drivable area, or a point is not finite.
        """
        return self.drivable_margin(xy) >= 0.0

    def drivable_margin(self, xy: Float[Array, "n 2"]) -> Float64[Array, " n"]:
        """Distance (m) of each point to the border of the drivable area, positive inside.

        Raises:
            InputError: the map has no drivable area, or a point is not finite.
        """
        xy = _points(xy)
        border = self._border_or_raise()
        if not len(xy):
            return np.zeros(0)
        points = shapely.points(xy)
        rows, segments = self._border_tree.query_nearest(points, all_matches=True)
        distance, inside = border_sides(border, xy[rows], segments)
        order = np.lexsort((segments, -np.abs(inside), distance, rows))
        best = order[np.searchsorted(rows[order], np.arange(len(xy)))]
        if self.drivable_polygon is not None:
            return np.where(shapely.intersects_xy(self.drivable_polygon, xy), distance[best], -distance[best])
        return np.where(inside[best] >= 0.0, distance[best], -distance[best])

    def segments_in_radius(
        self, xy: Float[Array, "n 2"], radius: float
    ) -> tuple[Int[Array, " pairs"], Int[Array, " pairs"]]:
        """Segments of ``arrays`` that come within ``radius`` (m) of each point: pairs (point, segment), sorted.

        Raises:
            InputError: a point is not finite, or the radius is not a number of at least 0.
        """
        if not radius >= 0.0:
            raise InputError(f"segments_in_radius: radius is {radius} m, must be at least 0")
        points = shapely.points(_points(xy))
        pairs = self._segment_tree.query(points, predicate="dwithin", distance=radius)
        order = np.lexsort((pairs[1], pairs[0]))
        return pairs[0][order], pairs[1][order]

    @cached_property
    def drivable_polygon(self) -> BaseGeometry | None:
        """The drivable area as one (multi-)polygon; None where it is known by road edges alone, or not at all."""
        if self.road_map.drivable_areas:
            polygons = _valid_polygons(self.road_map.drivable_areas)
        elif not self.road_map.road_edges:
            lanes = [lane for lane in self.road_map.lanes if lane.kind in DRIVABLE_KINDS]
            polygons = [part for lane in lanes for part in lane_strips(lane)]
        else:
            return None
        area = _union(polygons)
        if area.is_empty:
            return None
        shapely.prepare(area)
        return area

    @cached_property
    def border(self) -> Border | None:
        """The border of the drivable area; None where the map does not say."""
        return border_of(self.border_lines)

    @cached_property
    def border_lines(self) -> list[Float64[Array, "_ 2"]]:
        """The border as lines that have the road at their left: rings of polygons, or road edges; none if unknown."""
        area = self.drivable_polygon
        if area is None:
            return [edge[:, :2].astype(np.float64) for edge in self.road_map.road_edges]
        parts = shapely.get_parts(area)
        rings, part = shapely.get_rings(parts[shapely.get_type_id(parts) == POLYGON], return_index=True)
        outer = np.diff(part, prepend=-1) > 0  # the first ring of each polygon
        rings = np.where(shapely.is_ccw(rings) == outer, rings, shapely.reverse(rings))
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        return np.split(xy, np.flatnonzero(np.diff(ring)) + 1)

    def _border_or_raise(self) -> Border:
        if self.border is None:
            raise InputError("the road map has no drivable areas, road edges or lanes, so no drivable area is known")
        return self.border

    @cached_property
    def _border_tree(self) -> shapely.STRtree:
        border = self._border_or_raise()
        return shapely.STRtree(shapely.linestrings(np.stack([border.start, border.end], axis=1)))

    @cached_property
    def _segment_tree(self) -> shapely.STRtree:
        start = self.arrays.segment_start
        points = self.arrays.points[:, :2].astype(np.float64)
        return shapely.STRtree(shapely.linestrings(np.stack([points[start], points[start + 1]], axis=1)))

    @cached_property
    def _lane_tree(self) -> shapely.STRtree:
        return shapely.STRtree(self._segment_tree.geometries[: len(self._lane_s)])

    @cached_property
    def _lane_s(self) -> Float64[Array, " m"]:
        """Arc length at the start of each segment of a lane."""
        return np.concatenate([np.zeros(0), *(arc_length(lane.centreline)[:-1] for lane in self.road_map.lanes)])

    def _lane_candidates(self, xy: Array, slack: float) -> tuple[Array, Array]:
        """Pairs (point, segment) with all segments that are at most ``slack`` (m) further than the nearest."""
        points = shapely.points(xy)
        pairs, nearest = self._lane_tree.query_nearest(points, return_distance=True, all_matches=True)
        if slack == 0.0:
            return pairs[0], pairs[1]
        reach = np.zeros(len(xy))
        reach[pairs[0]] = nearest + slack + 1e-9
        near = self._lane_tree.query(points, predicate="dwithin", distance=reach)
        return near[0], near[1]

    def _lane_feet(self, xy: Array, segments: Array) -> LaneMatch:
        """Each point against one segment of a lane."""
        arrays = self.arrays
        first = arrays.segment_start[segments]
        start = arrays.points[first, :2].astype(np.float64)
        step = arrays.points[first + 1, :2] - start
        t, gap = _foot(xy, start, step)
        side = np.sign(step[:, 0] * (xy - start)[:, 1] - step[:, 1] * (xy - start)[:, 0])
        distance = np.hypot(gap[:, 0], gap[:, 1])
        return LaneMatch(
            index=arrays.segment_polyline[segments],
            s=self._lane_s[segments] + t * np.hypot(step[:, 0], step[:, 1]),
            offset=side * distance,
            heading=np.arctan2(step[:, 1], step[:, 0]),
            distance=distance,
        )


@lru_cache(maxsize=64)
def index_of(road_map: RoadMap) -> MapIndex:
    """The one index of a map that all who ask share; of more than 64 maps those asked for last are kept."""
    return MapIndex(road_map)


def lane_strips(lane: Lane) -> list[BaseGeometry]:
    """The ground that a lane covers as convex pieces: half its width to each side, or between its boundaries."""
    centre = lane.centreline[:, :2].astype(np.float64)
    if len(lane.left_boundary) >= 2 and len(lane.right_boundary) >= 2:
        ring = np.concatenate([lane.left_boundary[:, :2], lane.right_boundary[::-1, :2]])
        polygon = shapely.Polygon(ring)
        if polygon.is_valid:
            return [polygon]
    step = np.diff(centre, axis=0)
    normal = _left(step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9))
    vertex = np.concatenate([normal[:1], normal[:-1] + normal[1:], normal[-1:]])
    vertex /= np.maximum(np.linalg.norm(vertex, axis=1, keepdims=True), 1e-9)
    half = 0.5 * lane.width[:, None].astype(np.float64)
    left, right = centre + half * vertex, centre - half * vertex
    quads = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
    return [hull for quad in quads if (hull := shapely.MultiPoint(quad).convex_hull).geom_type == "Polygon"]


def _valid_polygons(rings: Sequence[Float32[Array, "_ 3"]]) -> list[BaseGeometry]:
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    xy = np.concatenate([ring[:, :2] for ring in rings]).astype(np.float64)
    polygons = np.atleast_1d(shapely.polygons(shapely.linearrings(xy, indices=owner)))
    return [polygon if polygon.is_valid else shapely.make_valid(polygon) for polygon in polygons]


def _union(polygons: Sequence[BaseGeometry]) -> BaseGeometry:
    area = shapely.union_all(polygons)
    if len(polygons) > 1:
        closed = area.buffer(GAP_CLOSED, join_style="mitre").buffer(-GAP_CLOSED, join_style="mitre")
        area = shapely.union(_rounded(area), _rounded(closed))
    return area


def _rounded(area: BaseGeometry) -> BaseGeometry:
    """The same area, to 10 nm: points that a buffer's rounding errors have moved are equal again, quicker to unite."""
    return shapely.transform(area, lambda xy: np.round(xy, DECIMALS))


def border_of(lines: Sequence[Float64[Array, "_ 2"]]) -> Border | None:
    """Segments of all lines without those of no length, with the normals of their vertices."""
    start = np.concatenate([np.zeros((0, 2)), *(line[:-1] for line in lines)])
    end = np.concatenate([np.zeros((0, 2)), *(line[1:] for line in lines)])
    length = np.linalg.norm(end - start, axis=1)
    kept = length > 1e-6
    if not kept.any():
        return None
    start, end = start[kept], end[kept]
    normal = _left((end - start) / length[kept, None])
    ends = np.concatenate([start, end])
    place = np.round((ends - ends.min(axis=0)) / JOINED).astype(np.int64)
    _, vertex = np.unique(place[:, 0] << 32 | place[:, 1], return_inverse=True)
    both = np.concatenate([normal, normal])
    sums = np.stack([np.bincount(vertex, weights=both[:, k]) for k in range(2)], axis=1)
    at_start, at_end = sums[vertex].reshape(2, -1, 2)
    return Border(start, end, _or_own(at_start, normal), _or_own(at_end, normal))


def _or_own(vertex: Array, own: Array) -> Array:
    """The vertex' normal, or the segment's own where opposite normals have cancelled out."""
    return np.where(np.linalg.norm(vertex, axis=1, keepdims=True) > 1e-6, vertex, own)


def border_sides(border: Border, xy: Array, segments: Array) -> tuple[Array, Array]:
    """Distance of each point to one border segment, and on which side: positive inside, the larger the surer."""
    start, end = border.start[segments], border.end[segments]
    t, gap = _foot(xy, start, end - start)
    distance = np.hypot(gap[:, 0], gap[:, 1])
    normal = np.where(t[:, None] <= 0.0, border.normal_start[segments], _left(end - start))
    normal = np.where(t[:, None] >= 1.0, border.normal_end[segments], normal)
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return distance, np.sum(gap * normal, axis=1) / np.maximum(distance, 1e-9)


def _foot(xy: Array, start: Array, step: Array) -> tuple[Array, Array]:
    """Foot of each point on its segment: the fraction along it, and the vector from the foot to the point."""
    t = np.sum((xy - start) * step, axis=1) / np.maximum(np.sum(step**2, axis=1), 1e-12)
    t = np.clip(t, 0.0, 1.0)
    return t, xy - start - t[:, None] * step


def _left(vectors: Array) -> Array:
    """Vectors turned left by a right angle."""
    return np.stack([-vectors[:, 1], vectors[:, 0]], axis=1)


def _points(xy: Array) -> Float64[Array, "n 2"]:
    points = np.asarray(xy, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise InputError(f"map index: xy has shape {points.shape}, must be finite numbers of shape [n, 2]")
    return points


def _angles(heading: Array, count: int) -> Float64[Array, " n"]:
    angles = np.asarray(heading, np.float64)
    if angles.shape != (count,) or not np.isfinite(angles).all():
        raise InputError(f"map index: heading has shape {angles.shape}, must be finite numbers of shape [{count}]")
    return angles
