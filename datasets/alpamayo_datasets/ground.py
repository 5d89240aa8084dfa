"""The drivable area from the closed rings that outline it."""

import numpy as np
import shapely
from jaxtyping import Float64
from scipy.spatial import cKDTree
from shapely.geometry.base import BaseGeometry

Array = np.ndarray
MIN_AREA_M2 = 0.01
MIN_RING_POINTS = 3
SEAM_M = 0.05  # half the width of gaps between neighbouring areas that are closed


def areas_of_rings(rings: list[Float64[Array, "_ 3"]]) -> tuple[list[Array], list[Array]]:
    """Return drivable polygons without holes, and road edges with the road at their left.

    A ring inside another one is a hole in it, a ring inside the hole is ground again, and so on. Ground with a hole is
    cut into polygons that touch; the edges follow the rings only.
    """
    area: BaseGeometry = shapely.Polygon()
    for polygon in sorted((_polygon(ring) for ring in rings), key=lambda p: -p.area):
        area = shapely.symmetric_difference(area, polygon)
    parts = [shapely.geometry.polygon.orient(part) for part in _polygons(area)]
    edges = [_ring(line) for part in parts for line in (part.exterior, *part.interiors)]
    pieces = [_ring(piece.exterior)[:-1] for part in parts for piece in without_holes(part)]
    return pieces, edges


def areas_of_polygons(polygons: list[Float64[Array, "_ 3"]]) -> tuple[list[Array], list[Array]]:
    """Return the union of drivable polygons without holes, and its edges with the road at their left.

    Heights are those of the nearest vertex of the polygons.
    """
    rings = [ring for ring in polygons if len(ring) >= MIN_RING_POINTS]
    if not rings:
        return [], []
    grown = [shapely.buffer(_polygon(ring), SEAM_M, join_style="mitre") for ring in rings]
    united = shapely.buffer(shapely.union_all(grown), -SEAM_M, join_style="mitre")
    parts = [shapely.geometry.polygon.orient(part) for part in _polygons(united)]
    edges = [_ring(line) for part in parts for line in (part.exterior, *part.interiors)]
    pieces = [_ring(piece.exterior)[:-1] for part in parts for piece in without_holes(part)]
    vertices = np.concatenate(rings)
    tree = cKDTree(vertices[:, :2])
    for line in (*edges, *pieces):
        line[:, 2] = vertices[tree.query(line[:, :2])[1], 2]
    return pieces, edges


def without_holes(polygon: shapely.Polygon) -> list[shapely.Polygon]:
    """Cut a polygon into pieces without holes, along vertical lines through its holes."""
    if not polygon.interiors:
        return [polygon]
    west, south, east, north = polygon.bounds
    x = shapely.Polygon(polygon.interiors[0]).centroid.x
    halves = (shapely.box(west, south, x, north), shapely.box(x, south, east, north))
    parts = [part for half in halves for part in _polygons(shapely.intersection(polygon, half))]
    return [piece for part in parts for piece in without_holes(part)]


def _polygon(ring: Float64[Array, "_ 3"]) -> BaseGeometry:
    return shapely.make_valid(shapely.Polygon(ring[:, :2]))


def _polygons(area: BaseGeometry) -> list[shapely.Polygon]:
    return [part for part in shapely.get_parts(area) if isinstance(part, shapely.Polygon) and part.area > MIN_AREA_M2]


def _ring(line: shapely.LinearRing) -> Float64[Array, "_ 3"]:
    xy = shapely.get_coordinates(line)
    return np.concatenate([xy, np.zeros((len(xy), 1))], axis=1)
