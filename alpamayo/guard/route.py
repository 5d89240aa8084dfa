"""The route of a drive as the guard uses it: a Frenet frame with knots every metre."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.outcomes import TIMES, corner_margins
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.map.frenet import FrenetFrame

Array = np.ndarray
BEHIND_M = 2.0  # road departures of the route are tolerated up to this distance behind the ego
SPACING_M = 1.0  # between the knots
PREPARED_EVERY = 4  # poses of the route between those around which the border is looked up


@dataclass(frozen=True, eq=False)
class RoutePath:
    """A route sampled every metre.

    Attributes:
        frame: its Frenet frame.
        margin: the least signed distance (m) of an ego's corners at each knot to the border of the road; None without
            a border.
    """

    frame: FrenetFrame
    margin: Float64[Array, " n"] | None

    @classmethod
    def of(cls, route: Route, area: DrivableArea, size: Float64[Array, "2"], config: GuardConfig) -> "RoutePath":
        """Sample a route and look up the border of the road around it for an ego of ``size`` (m)."""
        frame = FrenetFrame.resampled(route.path, SPACING_M)
        if not area.is_defined:
            return cls(frame, None)
        area.prepare(frame.xy[::PREPARED_EVERY], config.route_corridor_m, config.prepared_border_m)
        return cls(frame, corner_margins(area, np.column_stack([frame.xy, frame.heading]), size))

    def least_margin(self, truth: GroundTruth, lookahead: float) -> float:
        """Return the least margin (m, at most 0) of the route within ``lookahead`` (m) of the ego."""
        assert self.margin is not None
        here = self.frame.nearest_s(float(truth.ego_pose[0]), float(truth.ego_pose[1]))
        first, last = np.searchsorted(self.frame.s, [here - BEHIND_M, here + lookahead])
        return float(self.margin[first:last].min(initial=0.0))

    def path_from(self, truth: GroundTruth, config: GuardConfig) -> Float64[Array, "65 3"] | None:
        """Make a path at constant speed that returns from the ego's pose to the route; None if that is too far."""
        start = self.frame.nearest_s(float(truth.ego_pose[0]), float(truth.ego_pose[1]))
        pose, distance = truth.ego_pose.astype(np.float64), truth.ego_speed * TIMES
        path = self.frame.pose_on_path(start + distance)
        offset, turn = pose[:2] - path[0, :2], math.remainder(pose[2] - path[0, 2], math.tau)
        if np.linalg.norm(offset) > config.route_offset_limit_m or abs(turn) > config.route_heading_limit_rad:
            return None
        length = max(config.route_return_least_m, config.route_return_s * truth.ego_speed)
        left = np.clip(1.0 - distance / length, 0.0, 1.0)
        ease = left**3 * (10.0 - 15.0 * left + 6.0 * left**2)
        return path + ease[:, None] * np.array([offset[0], offset[1], turn])
