"""The route of a drive as the guard uses it: a Frenet frame with knots every metre."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.outcomes import TIMES, corner_margins
from alpamayo.validator.along_route import first_places, places_along
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.geometry import arc_length
from alpamayo_sim.map.drivable_area import DrivableArea
from alpamayo_sim.map.frenet import FrenetFrame

Array = np.ndarray
BEHIND_M = 2.0  # road departures of the route are tolerated up to this distance behind the ego
SPACING_M = 1.0  # between the knots
STEP_M = 10.0  # the ego may have moved this far since its last place
PREPARED_EVERY = 4  # poses of the route between those around which the border is looked up


@dataclass(frozen=True, eq=False)
class RoutePath:
    """A route sampled every metre.

    Attributes:
        route: the route.
        frame: its Frenet frame.
        margin: the least signed distance (m) of an ego's corners at each knot to the border of the road; None without
            a border.
    """

    route: Route
    frame: FrenetFrame
    margin: Float64[Array, " n"] | None

    @classmethod
    def of(cls, route: Route, area: DrivableArea, size: Float64[Array, "2"], config: GuardConfig) -> "RoutePath":
        """Sample a route and look up the border of the road around it for an ego of ``size`` (m)."""
        frame = FrenetFrame.resampled(route.path, SPACING_M)
        ground = np.interp(frame.s, arc_length(route.path), route.path[:, 2].astype(np.float64))
        if not area.is_defined:
            return cls(route, frame, None)
        area.prepare(frame.xy[::PREPARED_EVERY], config.route_corridor_m, config.prepared_border_m)
        return cls(route, frame, corner_margins(area, np.column_stack([frame.xy, frame.heading]), size, ground))

    def place_of(self, truth: GroundTruth, last: float | None) -> float:
        """Return the arc length (m) of the ego; it is searched from the ``last`` one on, if that is known."""
        pose = truth.ego_pose.astype(np.float64)[None]
        start = first_places(self.route, pose, truth.ego_elevation) if last is None else np.array([last])
        return float(places_along(self.route, pose[None], start, moved=0.0 if last is None else STEP_M).s[0, 0])

    def least_margin(self, here: float, lookahead: float) -> float:
        """Return the least margin (m, at most 0) of the route within ``lookahead`` (m) of an arc length."""
        assert self.margin is not None
        first, last = np.searchsorted(self.frame.s, [here - BEHIND_M, here + lookahead])
        return float(self.margin[first:last].min(initial=0.0))

    def path_from(self, truth: GroundTruth, start: float, config: GuardConfig) -> Float64[Array, "65 3"] | None:
        """Make a path at constant speed that returns from the ego's pose to the route; None if that is too far.

        ``start`` is the ego's arc length (m) on the route.
        """
        pose, distance = truth.ego_pose.astype(np.float64), truth.ego_speed * TIMES
        path = self.frame.pose_on_path(start + distance)
        offset, turn = pose[:2] - path[0, :2], math.remainder(pose[2] - path[0, 2], math.tau)
        if np.linalg.norm(offset) > config.route_offset_limit_m or abs(turn) > config.route_heading_limit_rad:
            return None
        length = max(config.route_return_least_m, config.route_return_s * truth.ego_speed)
        left = np.clip(1.0 - distance / length, 0.0, 1.0)
        ease = left**3 * (10.0 - 15.0 * left + 6.0 * left**2)
        return path + ease[:, None] * np.array([offset[0], offset[1], turn])
