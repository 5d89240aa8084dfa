"""The drivable area of a map as a polygon, and its border as segments with normals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float32, Float64
from shapely.geometry.base import BaseGeometry

from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap
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
    """

    start: Float64[Array, "m 2"]
    end: Float64[Array, "m 2"]
    normal_start: Float64[Array, "m 2"]
    normal_end: Float64[Array, "m 2"]


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


def border_of(lines: Sequence[Float64[Array, "_ 2"]]) -> Border | None:
    """Return the segments of all lines with the normals of their vertices; None where no segment has a length."""
    start = np.concatenate([np.zeros((0, 2)), *(line[:-1] for line in lines)])
    end = np.concatenate([np.zeros((0, 2)), *(line[1:] for line in lines)])
    length = np.linalg.norm(end - start, axis=1)
    kept = length > MIN_SEGMENT_M
    if not kept.any():
        return None
    start, end = start[kept], end[kept]
    normal = turned_left((end - start) / length[kept, None])
    ends = np.concatenate([start, end])
    place = np.round((ends - ends.min(axis=0)) / VERTEX_TOLERANCE_M).astype(np.int64)
    _, vertex = np.unique(place[:, 0] << 32 | place[:, 1], return_inverse=True)
    both = np.concatenate([normal, normal])
    sums = np.stack([np.bincount(vertex, weights=both[:, k]) for k in range(2)], axis=1)
    at_start, at_end = sums[vertex].reshape(2, -1, 2)
    return Border(start, end, _or_own(at_start, normal), _or_own(at_end, normal))


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
