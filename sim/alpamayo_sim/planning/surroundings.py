"""Tables along the route: borders of the drivable area, lanes and their directions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo_sim.datatypes.scene import LaneKind
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray

ROW_SPACING_M = 2.0
COLUMN_SPACING_M = 0.25
HALF_WIDTH_M = 12.0  # of the tables, to either side of the route
UNMAPPED_HALF_WIDTH_M = 1.8  # of the drivable area where the route is off the map
USED_LANES = (LaneKind.DRIVING, LaneKind.BUS)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Tables along the route. Rows are arc lengths, columns are offsets from the route.

    Attributes:
        first: the arc length (m) of the first row.
        left: the offset (m) of the left border of the drivable area around the route.
        right: the offset (m) of the right border.
        opposite: whether there is a lane of the other direction.
        centre: the offset (m) of the centre of the lane of the same direction; NaN without one.
    """

    first: float
    left: Float64[Array, " rows"]
    right: Float64[Array, " rows"]
    opposite: Bool[Array, "rows columns"]
    centre: Float64[Array, "rows columns"]

    def row(self, s: Float64[Array, "*n"]) -> Int64[Array, "*n"]:
        """Return the rows of arc lengths (m)."""
        return np.clip(np.round((s - self.first) / ROW_SPACING_M), 0, len(self.left) - 1).astype(np.int64)

    def column(self, d: Float64[Array, "*n"]) -> Int64[Array, "*n"]:
        """Return the columns of offsets (m)."""
        return np.clip(np.round((d + HALF_WIDTH_M) / COLUMN_SPACING_M), 0, self.opposite.shape[1] - 1).astype(np.int64)

    def fits(self, offset: float, half: float, start: float, end: float) -> bool:
        """Return whether a vehicle at an offset (m) stays in the drivable area.

        Args:
            offset: the offset (m) from the route.
            half: half the width (m) of the vehicle.
            start: the first arc length (m).
            end: the last arc length (m).
        """
        rows = self.row(np.arange(start, max(end, start) + 0.1, ROW_SPACING_M))
        return bool(np.all(self.left[rows] >= offset + half) and np.all(self.right[rows] <= offset - half))

    def lane_offsets(self, s: float) -> list[float]:
        """Return the offsets (m) of the other lanes of the same direction at arc length ``s`` (m)."""
        row = self.centre[int(self.row(np.array([s]))[0])]
        found: list[float] = []
        for offset in np.sort(row[np.isfinite(row)]):
            if abs(offset) > 1.5 and all(abs(offset - other) > 1.0 for other in found):
                found.append(float(offset))
        return found


def surroundings(frame: RouteFrame, index: MapIndex) -> Surroundings:
    """Tabulate the map around the whole route."""
    s = np.arange(-20.0, frame.route_length + 40.0, ROW_SPACING_M)
    d = -HALF_WIDTH_M + COLUMN_SPACING_M * np.arange(round(2.0 * HALF_WIDTH_M / COLUMN_SPACING_M) + 1)
    xy, heading = frame.to_world(np.repeat(s, len(d)), np.tile(d, len(s)))
    shape = (len(s), len(d))
    ground = np.repeat(frame.elevation_at(s), len(d))
    left, right = _free_width(xy, ground, d, index)
    opposite, centre = np.zeros(shape, bool), np.full(shape, np.nan)
    if index.road_map.lanes:
        match = index.nearest_lane(xy, max_distance=4.0, elevation=ground)
        lanes = index.road_map.lanes
        used = np.array([lane.kind in USED_LANES for lane in lanes])
        half = np.array([0.5 * float(np.median(lane.width)) for lane in lanes])
        inside = (match.index >= 0) & used[match.index] & (match.distance <= half[match.index] + 0.1)
        angle = np.abs(wrap_angle(match.heading - heading))
        opposite = (inside & (angle > 2.0)).reshape(shape)
        same = inside & (angle < 0.5)
        centre = np.where(same, np.tile(d, len(s)) - match.offset, np.nan).reshape(shape)
    return Surroundings(float(s[0]), left, right, opposite, centre)


def _free_width(xy: Array, ground: Array, d: Array, index: MapIndex) -> tuple[Array, Array]:
    """Return the offsets (m) of the left and the right border of the drivable area around the route."""
    if not index.drivable_area.is_defined:
        rows = len(xy) // len(d)
        return np.full(rows, HALF_WIDTH_M), np.full(rows, -HALF_WIDTH_M)
    free = index.drivable_area.contains(xy, ground).reshape(-1, len(d))
    centre_column = len(d) // 2
    ahead = np.cumprod(free[:, centre_column:], axis=1).sum(axis=1)
    behind = np.cumprod(free[:, centre_column::-1], axis=1).sum(axis=1)
    left = d[np.minimum(centre_column + np.maximum(ahead, 1) - 1, len(d) - 1)]
    right = d[np.maximum(centre_column - np.maximum(behind, 1) + 1, 0)]
    # Some logs have routes off the map: a lane's width counts as drivable there.
    is_mapped = free[:, centre_column]
    return np.where(is_mapped, left, UNMAPPED_HALF_WIDTH_M), np.where(is_mapped, right, -UNMAPPED_HALF_WIDTH_M)
