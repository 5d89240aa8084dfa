"""Distance to the border of the drivable area, for points and for boxes."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import shapely
from jaxtyping import Bool, Float, Float64, Int32
from shapely.geometry.base import BaseGeometry

from alpamayo_sim.datatypes.scene import RoadMap
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import oriented_corners
from alpamayo_sim.map.border import (
    Border,
    border_of,
    border_sides,
    drivable_polygon,
    level_lines,
    normals_where_certain,
    polygon_rings,
)
from alpamayo_sim.map.polylines import checked_points

if TYPE_CHECKING:
    from alpamayo_sim.map.border_grid import BorderGrid

Array = np.ndarray


class DrivableArea:
    """The drivable area of a map, with signed distances (m) to its border, positive inside.

    It is the union of ``drivable_areas`` where the map has any; else the ground at the left of ``road_edges``; else
    the union of the lanes' strips. A map with none of the three has no drivable area. Gaps of less than 0.1 m
    between the polygons of a union are closed.

    ``margin`` and ``contains`` search a tree: no preparation, for questions that are asked once. The methods for
    boxes answer from a grid that remembers its cells: for the many poses of plans. Both give the same distances.

    On a map with levels (``has_levels``) grounds above each other are different grounds. Questions with the
    ``elevation`` (m) of the ground under a point or box are answered on its level only.
    """

    def __init__(self, road_map: RoadMap, has_levels: bool = False) -> None:
        self._road_map, self._has_levels = road_map, has_levels
        self._levels: dict[int, DrivableArea | None] = {}

    @property
    def is_defined(self) -> bool:
        """Whether the map has a drivable area."""
        return self.border is not None

    def unite(self) -> None:
        """Unite the polygons now rather than at the first question, which is the costly part."""
        _ = self.border

    @cached_property
    def polygon(self) -> BaseGeometry | None:
        """The area as one (multi-)polygon; None where only road edges describe it, or nothing does."""
        return drivable_polygon(self._road_map)

    @cached_property
    def _prepared(self) -> BaseGeometry | None:
        """The area, prepared for many points."""
        shapely.prepare(self.polygon)
        return self.polygon

    @cached_property
    def border_lines(self) -> list[Float64[Array, "_ 2"]]:
        """The border as lines that have the road at their left: rings of the polygon, or road edges."""
        if self.polygon is None:
            return [edge[:, :2].astype(np.float64) for edge in self._road_map.road_edges]
        return polygon_rings(self.polygon)

    @cached_property
    def border(self) -> Border | None:
        """The border as segments; None where the map has no drivable area."""
        return border_of(self.border_lines)

    @cached_property
    def level_border(self) -> Border | None:
        """The border of a map with levels as segments with their heights; grounds above each other are not united.

        A border without heights is that of all levels.
        """
        border = border_of(level_lines(self._road_map))
        if border is None or np.ptp(border.elevation) > 0.0 or self.border is None:
            return border
        return replace(self.border, elevation=np.tile([-np.inf, np.inf], (len(self.border.start), 1)))

    def contains(self, xy: Float[Array, "n 2"], elevation: Float[Array, " n"] | None = None) -> Bool[Array, " n"]:
        """Return whether each point lies in the drivable area; the border belongs to it.

        Raises:
            InputError: The map has no drivable area, or a point is not finite.
        """
        if self.polygon is None or (elevation is not None and self._has_levels):
            return self.margin(xy, elevation) >= 0.0
        return np.asarray(shapely.intersects_xy(self._prepared, checked_points(xy)))

    def margin(self, xy: Float[Array, "n 2"], elevation: Float[Array, " n"] | None = None) -> Float64[Array, " n"]:
        """Return the distance (m) of each point to the border, positive inside.

        Raises:
            InputError: The map has no drivable area, or a point is not finite.
        """
        xy = checked_points(xy)
        border = self._border_or_raise()
        if not len(xy):
            return np.zeros(0)
        if elevation is not None and self._has_levels:
            return self._by_level(elevation, lambda area, rows: area.margin(xy[rows]))
        points = shapely.points(xy)
        rows, segments = self._tree.query_nearest(points, all_matches=True)
        distance, inside = border_sides(border, xy[rows], segments)
        order = np.lexsort((segments, -np.abs(inside), distance, rows))
        best = order[np.searchsorted(rows[order], np.arange(len(xy)))]
        if self.polygon is not None:
            return np.where(shapely.intersects_xy(self.polygon, xy), distance[best], -distance[best])
        return np.where(inside[best] >= 0.0, distance[best], -distance[best])

    def box_margin(
        self,
        boxes: Float64[Array, "... 4"],
        size: Float64[Array, "2"],
        max_margin: float,
        elevation: Float[Array, "..."] | None = None,
    ) -> Float64[Array, "..."]:
        """Return the least distance (m) of the corners of boxes to the border, at most ``max_margin`` (m).

        ``boxes`` are x, y, cosine and sine of the heading (``geometry.oriented``), ``size`` length and width (m).

        Raises:
            InputError: The map has no drivable area.
        """
        flat = np.ascontiguousarray(boxes.reshape(-1, 4))
        if elevation is not None and self._has_levels:
            under = np.broadcast_to(elevation, boxes.shape[:-1]).reshape(-1)
            margin = self._by_level(under, lambda area, rows: area.box_margin(flat[rows], size, max_margin))
            return np.minimum(margin, max_margin).reshape(boxes.shape[:-1])
        margin = self._grid.box_margin(flat, size, max_margin)
        unknown = np.isnan(margin)
        if unknown.any():
            corners = oriented_corners(flat[unknown], size).reshape(-1, 2)
            margin[unknown] = np.minimum(self.margin(corners).reshape(-1, 4).min(axis=1), max_margin)
        return margin.reshape(boxes.shape[:-1])

    def first_step_outside(
        self,
        boxes: Float64[Array, "n t 4"],
        size: Float64[Array, "2"],
        off_road_tolerance: float,
        elevation: Float[Array, "n t"] | None = None,
    ) -> Int32[Array, " n"]:
        """Return the first step of each motion with a corner more than a tolerance (m) off the road; -1 is never.

        ``off_road_tolerance`` must not be negative. The other arguments are those of ``box_margin``.

        Raises:
            InputError: The map has no drivable area.
        """
        boxes = np.ascontiguousarray(boxes)
        if elevation is not None and self._has_levels:
            outside = self.box_margin(boxes, size, 0.0, elevation) < -off_road_tolerance
            return np.where(outside.any(axis=1), np.argmax(outside, axis=1), -1).astype(np.int32)
        first = self._grid.first_step_outside(boxes, size, off_road_tolerance)
        rows = np.flatnonzero(first < -1)
        if len(rows):
            outside = self.box_margin(boxes[rows], size, 0.0) < -off_road_tolerance
            first[rows] = np.where(outside.any(axis=1), np.argmax(outside, axis=1), -1)
        return first

    def prepare(self, path: Float64[Array, "n 2"], exact_m: float, coarse_m: float) -> None:
        """Fill the grid now: exactly within ``exact_m`` of a path, coarsely within ``coarse_m``."""
        self._grid.prepare(path, exact_m, coarse_m)

    def _by_level(
        self, elevation: Float[Array, " n"], answer: Callable[["DrivableArea", Array], Array]
    ) -> Float64[Array, " n"]:
        """Return the answers for points of several levels; infinite where a level has no border."""
        band = np.floor(np.asarray(elevation, np.float64)).astype(np.int64)
        out = np.full(len(band), np.inf)
        for number in np.unique(band).tolist():
            area, rows = self._level(number), np.flatnonzero(band == number)
            if area is not None:
                out[rows] = answer(area, rows)
        return out

    def _level(self, number: int) -> "DrivableArea | None":
        """Return the area on the level of grounds from ``number`` to ``number`` + 1 (m)."""
        if number not in self._levels:
            border = self.level_border.on_level(number + 0.5) if self.level_border is not None else None
            area = DrivableArea(RoadMap())
            area.__dict__ |= {"polygon": None, "border": border}
            self._levels[number] = None if border is None else area
        return self._levels[number]

    def _border_or_raise(self) -> Border:
        if self.border is None:
            raise InputError("the road map has no drivable areas, road edges or lanes: it has no drivable area")
        return self.border

    @cached_property
    def _tree(self) -> shapely.STRtree:
        border = self._border_or_raise()
        return shapely.STRtree(shapely.linestrings(np.stack([border.start, border.end], axis=1)))

    @cached_property
    def _grid(self) -> "BorderGrid":
        from alpamayo_sim.map.border_grid import BorderGrid

        border = self._border_or_raise()
        if self.polygon is None:
            return BorderGrid(border, border.normal_start, border.normal_end)
        return BorderGrid(border, *normals_where_certain(border))
