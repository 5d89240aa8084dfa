"""Where the ego's box is on the map: in one lane or several, off the road, in an intersection."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from alpamayo.validator.motions import MotionBatch
from alpamayo_sim.geometry import oriented

Array = np.ndarray
LANE_TOLERANCE_M = 0.05
"""A box may reach this far over its lane and still be in it alone."""


@dataclass(frozen=True, eq=False)
class LaneOccupancy:
    """For n poses of the ego: whether its box overlaps several lanes, is off the road, is in an intersection."""

    several_lanes: Bool[Array, " n"]
    off_road: Bool[Array, " n"]
    in_intersection: Bool[Array, " n"]


def lane_occupancy(motions: MotionBatch, k: Int[Array, " n"], t: Int[Array, " n"]) -> LaneOccupancy:
    """Compute the occupancy of some poses, by motion and time.

    Without lanes (a drivable area) on the map, all flags of that kind are False.
    """
    count, pose = len(k), motions.pose[k, t]
    ground = None if motions.ground is None else motions.ground[k, t]
    lanes = motions.scene.road_map.lanes
    several = in_intersection = off_road = np.zeros(count, bool)
    map_index = motions.map_index
    if count and map_index.drivable_area.is_defined:
        off_road = map_index.drivable_area.box_margin(oriented(pose[None])[0], motions.size, 0.0, ground) < 0.0
    if count and lanes:
        match = map_index.match_lanes(pose[:, :2], pose[:, 2], ground)
        several = map_index.lane_overhang(match, pose, motions.size) > LANE_TOLERANCE_M
        in_intersection = map_index.lane_in_intersection[match.index] & (match.index >= 0)
    return LaneOccupancy(several, off_road, in_intersection)
