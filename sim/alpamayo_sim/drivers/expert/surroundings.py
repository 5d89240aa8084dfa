"""Tables along the route: drivable width to either side, lanes and their directions."""

from dataclasses import dataclass

import numpy as np

from alpamayo_sim.datatypes.scene import LaneKind
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray

ROW = 2.0  # m between rows
COLUMN = 0.25  # m between columns
SIDE = 12.0  # m that the table reaches to either side
USED = (LaneKind.DRIVING, LaneKind.BUS)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Tables along the route: row i is at s = first + ROW * i.

    ``left`` and ``right`` (m) bound the drivable ground around the route; ``opposite`` says whether the ground at
    an offset belongs to a lane of the other direction; ``centre`` (m) is the offset of the centre of the lane of
    the same direction there, NaN where there is none.
    """

    first: float
    left: Array
    right: Array
    opposite: Array
    centre: Array

    def row(self, s: Array) -> Array:
        """Rows of arc lengths."""
        return np.clip(np.round((s - self.first) / ROW), 0, len(self.left) - 1).astype(np.int64)

    def column(self, d: Array) -> Array:
        """Columns of offsets."""
        return np.clip(np.round((d + SIDE) / COLUMN), 0, self.opposite.shape[1] - 1).astype(np.int64)

    def fits(self, offset: float, half: float, start: float, end: float) -> bool:
        """Whether a car of that half width keeps to drivable ground at an offset, from ``start`` to ``end`` (m)."""
        rows = self.row(np.arange(start, max(end, start) + 0.1, ROW))
        return bool(np.all(self.left[rows] >= offset + half) and np.all(self.right[rows] <= offset - half))

    def lane_offsets(self, s: float) -> list[float]:
        """Offsets (m) of the lanes of the same direction beside the route at ``s``, without the route's own."""
        row = self.centre[int(self.row(np.asarray(s)))]
        found: list[float] = []
        for offset in np.sort(row[np.isfinite(row)]):
            if abs(offset) > 1.5 and all(abs(offset - other) > 1.0 for other in found):
                found.append(float(offset))
        return found


def surroundings(frame: RouteFrame, index: MapIndex) -> Surroundings:
    """Tabulate the map around the whole route."""
    s = np.arange(-20.0, frame.route_length + 40.0, ROW)
    d = -SIDE + COLUMN * np.arange(round(2.0 * SIDE / COLUMN) + 1)
    xy, heading = frame.to_world(np.repeat(s, len(d)), np.tile(d, len(s)))
    shape = (len(s), len(d))
    left, right = _free_width(xy, shape, d, index)
    opposite, centre = np.zeros(shape, bool), np.full(shape, np.nan)
    if index.road_map.lanes:
        match = index.nearest_lane(xy, max_distance=4.0)
        lanes = index.road_map.lanes
        used = np.array([lane.kind in USED for lane in lanes])
        half = np.array([0.5 * float(np.median(lane.width)) for lane in lanes])
        inside = (match.index >= 0) & used[match.index] & (match.distance <= half[match.index] + 0.1)
        angle = np.abs(wrap_angle(match.heading - heading))
        opposite = (inside & (angle > 2.0)).reshape(shape)
        same = inside & (angle < 0.5)
        centre = np.where(same, np.tile(d, len(s)) - match.offset, np.nan).reshape(shape)
    return Surroundings(float(s[0]), left, right, opposite, centre)


def _free_width(xy: Array, shape: tuple[int, int], d: Array, index: MapIndex) -> tuple[Array, Array]:
    """How far the drivable ground around the route reaches to the left and to the right."""
    if not index.drivable_area.is_defined:
        return np.full(shape[0], SIDE), np.full(shape[0], -SIDE)
    free = index.drivable_area.contains(xy).reshape(shape)
    middle = shape[1] // 2
    ahead = np.cumprod(free[:, middle:], axis=1).sum(axis=1)
    behind = np.cumprod(free[:, middle::-1], axis=1).sum(axis=1)
    left = d[np.minimum(middle + np.maximum(ahead, 1) - 1, shape[1] - 1)]
    right = d[np.maximum(middle - np.maximum(behind, 1) + 1, 0)]
    # Some logs have routes off the map: a lane's width counts as drivable there.
    lost = ~free[:, middle]
    return np.where(lost, 1.8, left), np.where(lost, -1.8, right)
