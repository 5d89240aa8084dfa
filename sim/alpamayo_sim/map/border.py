"""The drivable area of a map as a polygon, and its border as segments with normals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float32, Float64
from shapely.geometry.base import BaseGeometry

from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap
from alpamayo_sim.geometry import arc_length, project
from alpamayo_sim.map.polylines import foot_on_segment, turned_left

Array = np.ndarray

POLYGON_TYPE_ID = 3  # shapely's number for a polygon
GAP_CLOSING_M = 0.05  # gaps between drivable polygons up to twice this wide are closed
ROUNDING_DECIMALS = 8  # of metres; the rounding errors of a buffer are smaller
VERTEX_TOLERANCE_M = 0.01  # border segments whose ends are this close share a vertex
MIN_SEGMENT_M = 1e-6
DRIVABLE_KINDS = frozenset(LaneKind) - {LaneKind.OTHER}


@dataclass(frozen=True, eq=False)
class Border:
    """The border of the drivable area as segments that have the road at their left.

    ``normal_start`` and ``normal_end`` are the sums of the unit left normals of the two segments that meet in that
    vertex. A point is inside where its offset from the nearest border point has a positive product with the normal
    there (Bærentzen and Aanæs, "Signed distance computation using the angle weighted pseudonormal", 2005).
    ``elevation`` is the least and the largest z (m) of each segment; 0 where the lines have none.
    """

    start: Float64[Array, "m 2"]
    end: Float64[Array, "m 2"]
    normal_start: Float64[Array, "m 2"]
    normal_end: Float64[Array, "m 2"]
    elevation: Float64[Array, "m 2"]

    def on_level(self, elevation: float) -> "Border | None":
        """Return the segments that are on the level of a ground at an elevation (m); None if there are none."""
        kept = (self.elevation[:, 0] < elevation + LEVEL_GAP_M) & (self.elevation[:, 1] > elevation - LEVEL_GAP_M)
        parts = (self.start, self.end, self.normal_start, self.normal_end, self.elevation)
        return Border(*(part[kept] for part in parts)) if kept.any() else None


def drivable_polygon(road_map: RoadMap) -> BaseGeometry | None:
    """Return the drivable area as one (multi-)polygon; None where only road edges describe it, or nothing does."""
    if road_map.drivable_areas:
        polygons = _valid_polygons(road_map.drivable_areas)
    elif not road_map.road_edges:
        lanes = [lane for lane in road_map.lanes if lane.kind in DRIVABLE_KINDS]
        polygons = [part for lane in lanes for part in lane_strips(lane)]
    else:
        return None
    area = _union(polygons)
    if area.is_empty:
        return None
    shapely.prepare(area)
    return area


def polygon_rings(area: BaseGeometry) -> list[Float64[Array, "_ 2"]]:
    """Return the rings of an area as closed lines that have the area at their left."""
    parts = shapely.get_parts(area)
    rings, part = shapely.get_rings(parts[shapely.get_type_id(parts) == POLYGON_TYPE_ID], return_index=True)
    outer = np.diff(part, prepend=-1) > 0  # the first ring of each polygon
    rings = np.where(shapely.is_ccw(rings) == outer, rings, shapely.reverse(rings))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    return np.split(xy, np.flatnonzero(np.diff(ring)) + 1)


def border_of(lines: Sequence[Float64[Array, "_ d"]]) -> Border | None:
    """Return the segments of all lines with the normals of their vertices; None where no segment has a length."""
    start = np.concatenate([np.zeros((0, 2)), *(line[:-1, :2] for line in lines)])
    end = np.concatenate([np.zeros((0, 2)), *(line[1:, :2] for line in lines)])
    elevation = np.concatenate([np.zeros((0, 2)), *(_spans(line) for line in lines)])
    length = np.linalg.norm(end - start, axis=1)
    kept = length > MIN_SEGMENT_M
    if not kept.any():
        return None
    start, end, elevation = start[kept], end[kept], elevation[kept]
    normal = turned_left((end - start) / length[kept, None])
    ends = np.concatenate([start, end])
    place = np.round((ends - ends.min(axis=0)) / VERTEX_TOLERANCE_M).astype(np.int64)
    _, vertex = np.unique(place[:, 0] << 32 | place[:, 1], return_inverse=True)
    both = np.concatenate([normal, normal])
    sums = np.stack([np.bincount(vertex, weights=both[:, k]) for k in range(2)], axis=1)
    at_start, at_end = sums[vertex].reshape(2, -1, 2)
    return Border(start, end, _or_own(at_start, normal), _or_own(at_end, normal), elevation)


def _spans(line: Float64[Array, "n d"]) -> Float64[Array, "m 2"]:
    """Return the least and the largest z (m) of each segment of a line; 0 for a line in the plane."""
    z = line[:, 2] if line.shape[1] > 2 else np.zeros(len(line))
    return np.stack([np.minimum(z[:-1], z[1:]), np.maximum(z[:-1], z[1:])], axis=1)


def border_sides(
    border: Border, xy: Float64[Array, "n 2"], segments: Array
) -> tuple[Float64[Array, " n"], Float64[Array, " n"]]:
    """Return the distance (m) of each point to one border segment, and its side.

    The side is positive inside. Its size is the cosine of the angle to the normal: larger is more certain.
    """
    start, end = border.start[segments], border.end[segments]
    t, gap = foot_on_segment(xy, start, end - start)
    distance = np.hypot(gap[:, 0], gap[:, 1])
    normal = np.where(t[:, None] <= 0.0, border.normal_start[segments], turned_left(end - start))
    normal = np.where(t[:, None] >= 1.0, border.normal_end[segments], normal)
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return distance, np.sum(gap * normal, axis=1) / np.maximum(distance, 1e-9)


def normals_where_certain(border: Border) -> tuple[Float64[Array, "m 2"], Float64[Array, "m 2"]]:
    """Return the vertex normals, NaN where polygons touch in a vertex: there only the polygons know the inside."""
    start, end = border.normal_start.copy(), border.normal_end.copy()
    ends = np.round(np.concatenate([border.start, border.end]) / VERTEX_TOLERANCE_M)
    _, vertex, count = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    touching = (count != 2)[vertex.ravel()].reshape(2, -1)
    start[touching[0]], end[touching[1]] = np.nan, np.nan
    return start, end


def lane_strips(lane: Lane) -> list[BaseGeometry]:
    """Return the ground of a lane as convex pieces: between its boundaries, else half its width to each side."""
    centre = lane.centreline[:, :2].astype(np.float64)
    if len(lane.left_boundary) >= 2 and len(lane.right_boundary) >= 2:
        ring = np.concatenate([lane.left_boundary[:, :2], lane.right_boundary[::-1, :2]])
        polygon = shapely.Polygon(ring)
        if polygon.is_valid:
            return [polygon]
    step = np.diff(centre, axis=0)
    normal = turned_left(step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9))
    vertex = np.concatenate([normal[:1], normal[:-1] + normal[1:], normal[-1:]])
    vertex /= np.maximum(np.linalg.norm(vertex, axis=1, keepdims=True), 1e-9)
    half = 0.5 * lane.width[:, None].astype(np.float64)
    left, right = centre + half * vertex, centre - half * vertex
    quads = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
    return [hull for quad in quads if (hull := shapely.MultiPoint(quad).convex_hull).geom_type == "Polygon"]


def level_lines(road_map: RoadMap) -> list[Float64[Array, "_ 3"]]:
    """Return the border of a map with levels as lines with the road at their left, with their heights.

    Grounds above each other are not one ground. The border of each polygon is its outline without the parts that lie
    in other polygons on its level.
    """
    if not road_map.drivable_areas and road_map.road_edges:
        return [edge.astype(np.float64) for edge in road_map.road_edges]
    rings = list(road_map.drivable_areas) or [
        ring for lane in road_map.lanes if lane.kind in DRIVABLE_KINDS for ring in _lane_rings(lane)
    ]
    outlines = [_oriented(ring.astype(np.float64)) for ring in rings]
    grown = [shapely.buffer(shapely.make_valid(shapely.Polygon(line[:, :2])), GAP_CLOSING_M) for line in outlines]
    tree, found = shapely.STRtree(grown), []
    for k, line in enumerate(outlines):
        near = [int(j) for j in tree.query(grown[k], predicate="intersects") if int(j) != k]
        beside = [grown[j] for j in near if _on_one_level(line, outlines[j])]
        rest: BaseGeometry = shapely.LineString(line[:, :2])
        if beside:
            rest = shapely.difference(rest, shapely.union_all(beside))
        knots = arc_length(line)
        for part in shapely.get_parts(shapely.line_merge(rest) if rest.geom_type != "LineString" else rest):
            xy = shapely.get_coordinates(part)
            if len(xy) > 1:
                found.append(np.column_stack([xy, np.interp(project(line, xy)[0], knots, line[:, 2])]))
    return found


def _on_one_level(one: Float64[Array, "n 3"], other: Float64[Array, "m 3"]) -> bool:
    """Return whether two outlines are on one level where they come nearest to each other."""
    apart = np.linalg.norm(one[:, None, :2] - other[None, :, :2], axis=2)
    i, j = np.unravel_index(int(np.argmin(apart)), apart.shape)
    return bool(abs(one[i, 2] - other[j, 2]) < LEVEL_GAP_M)


def _oriented(ring: Float64[Array, "n 3"]) -> Float64[Array, "m 3"]:
    """Return an outline closed and counter-clockwise."""
    closed = np.concatenate([ring, ring[:1]])
    return closed if shapely.is_ccw(shapely.LinearRing(ring[:, :2])) else closed[::-1]


def _lane_rings(lane: Lane) -> list[Float64[Array, "_ 3"]]:
    """Return the pieces of a lane's ground with the heights of its centreline."""
    centre, knots = lane.centreline.astype(np.float64), arc_length(lane.centreline)
    rings = [shapely.get_coordinates(strip)[:-1] for strip in lane_strips(lane)]
    return [np.column_stack([xy, np.interp(project(centre, xy)[0], knots, centre[:, 2])]) for xy in rings]


def _valid_polygons(rings: Sequence[Float32[Array, "_ 3"]]) -> list[BaseGeometry]:
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    xy = np.concatenate([ring[:, :2] for ring in rings]).astype(np.float64)
    polygons = np.atleast_1d(shapely.polygons(shapely.linearrings(xy, indices=owner)))
    return [polygon if polygon.is_valid else shapely.make_valid(polygon) for polygon in polygons]


def _union(polygons: Sequence[BaseGeometry]) -> BaseGeometry:
    """Unite polygons and close the gaps between them."""
    area = shapely.union_all(polygons)
    if len(polygons) > 1:
        closed = area.buffer(GAP_CLOSING_M, join_style="mitre").buffer(-GAP_CLOSING_M, join_style="mitre")
        area = shapely.union(_rounded(area), _rounded(closed))
    return area


def _rounded(area: BaseGeometry) -> BaseGeometry:
    """Round to 10 nm: points that a buffer has moved by rounding errors are equal again, and the union is faster."""
    return shapely.transform(area, lambda xy: np.round(xy, ROUNDING_DECIMALS))


def _or_own(vertex: Array, own: Array) -> Array:
    """Return the normal of the vertex, or the segment's own where opposite normals have cancelled out."""
    return np.where(np.linalg.norm(vertex, axis=1, keepdims=True) > 1e-6, vertex, own)
