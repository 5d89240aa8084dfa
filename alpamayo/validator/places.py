"""Where on the map the ego's box is: in one lane or several, on the road, in an intersection."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.lane_field import lane_field
from alpamayo.validator.situation import Situation, oriented
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map_index import LaneMatch, MapIndex

Array = np.ndarray
LANE_TOLERANCE = 0.05  # m
LANE_APART = 1e6  # m; more than any lane is long


@dataclass(frozen=True, eq=False)
class Places:
    """Of n poses of the ego: does its box reach over its lane, leave the road, stand in an intersection?"""

    several_lanes: Bool[Array, " n"]
    off_road: Bool[Array, " n"]
    in_intersection: Bool[Array, " n"]


def places(situation: Situation, pose: Float64[Array, "n 3"]) -> Places:
    """Where the ego's box is at each pose; on a map without lanes (drivable area) all of that kind is False."""
    count = len(pose)
    lanes = situation.scene.road_map.lanes
    several = crossing = off_road = np.zeros(count, bool)
    if count and situation.area.known:
        off_road = situation.area.box_margin(oriented(pose[:, None]), situation.size, 0.0)[:, 0] < 0.0
    if count and lanes:
        field = lane_field(situation.index)
        match = field.match(pose[:, :2], pose[:, 2])
        several = lane_overhang(situation.index, match, pose, situation.size) > LANE_TOLERANCE
        crossing = field.in_intersection[match.index] & (match.index >= 0)
    return Places(several, off_road, crossing)


def lane_overhang(
    index: MapIndex, match: LaneMatch, pose: Float64[Array, "n 3"], size: Float64[Array, "2"]
) -> Float64[Array, " n"]:
    """How far (m) the box reaches over the border of the lane that it is matched to; negative is room left."""
    turn = pose[:, 2] - match.heading
    reach = 0.5 * (size[0] * np.abs(np.sin(turn)) + size[1] * np.abs(np.cos(turn)))
    return np.abs(match.offset) + reach - 0.5 * lane_width(index, match)


def lane_width(index: MapIndex, match: LaneMatch) -> Float64[Array, " n"]:
    """Width (m) of the matched lane beside each point; infinite where there is no lane."""
    width = np.full(len(match.index), np.inf)
    rows = match.index >= 0
    if rows.any():
        knots, widths = _widths(index)
        width[rows] = np.interp(LANE_APART * match.index[rows] + match.s[rows], knots, widths)
    return width


@lru_cache(maxsize=8)
def _widths(index: MapIndex) -> tuple[Float64[Array, " p"], Float64[Array, " p"]]:
    """Widths of all lanes in one line: arc length plus ``LANE_APART`` times the lane's number."""
    lanes = index.road_map.lanes
    knots = [LANE_APART * i + arc_length(lane.centreline) for i, lane in enumerate(lanes)]
    return np.concatenate(knots), np.concatenate([lane.width for lane in lanes]).astype(np.float64)
