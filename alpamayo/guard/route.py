"""The route of a drive as the guard uses it: a path of poses every metre."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.outcomes import TIMES, corner_margins
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings
from alpamayo_sim.map.drivable_area import DrivableArea

Array = np.ndarray
BEHIND_M = 2.0  # of the route behind the ego whose road departures are tolerated
PREPARED_EVERY = 4  # poses of the route between those around which the border is looked up


@dataclass(frozen=True, eq=False)
class RoutePath:
    """A route sampled every metre.

    Attributes:
        s: arc lengths (m).
        pose: x, y (m) and continuous heading (rad).
        margin: the least signed distance (m) of an ego's corners there to the border of the road; None without one.
    """

    s: Float64[Array, " n"]
    pose: Float64[Array, "n 3"]
    margin: Float64[Array, " n"] | None

    @classmethod
    def of(cls, route: Route, area: DrivableArea, size: Float64[Array, "2"], config: GuardConfig) -> "RoutePath":
        """Sample a route and look up the border of the road around it for an ego of ``size`` (m)."""
        points = route.path[:, :2].astype(np.float64)
        length = float(arc_length(points)[-1])
        s = np.linspace(0.0, length, max(int(np.ceil(length)), 1) + 1)
        xy = interpolate(points, s)
        pose = np.column_stack([xy, np.unwrap(polyline_headings(xy))])
        if not area.is_defined:
            return cls(s, pose, None)
        area.prepare(pose[::PREPARED_EVERY, :2], config.route_corridor_m, config.prepared_border_m)
        return cls(s, pose, corner_margins(area, pose, size))

    def least_margin(self, truth: GroundTruth, lookahead: float) -> float:
        """Return the least margin (m, at most 0) of the route within ``lookahead`` (m) of the ego."""
        assert self.margin is not None
        here = self.arc_length_at(float(truth.ego_pose[0]), float(truth.ego_pose[1]))
        first, last = np.searchsorted(self.s, [here - BEHIND_M, here + lookahead])
        return float(self.margin[first:last].min(initial=0.0))

    def path_from(self, truth: GroundTruth, config: GuardConfig) -> Float64[Array, "65 3"] | None:
        """Make a path at constant speed that returns from the ego's pose to the route; None if that is too far."""
        start = self.arc_length_at(float(truth.ego_pose[0]), float(truth.ego_pose[1]))
        pose, distance = truth.ego_pose.astype(np.float64), truth.ego_speed * TIMES
        path = np.stack([np.interp(start + distance, self.s, self.pose[:, i]) for i in range(3)], axis=-1)
        offset, turn = pose[:2] - path[0, :2], math.remainder(pose[2] - path[0, 2], math.tau)
        if np.linalg.norm(offset) > config.route_offset_limit_m or abs(turn) > config.route_heading_limit_rad:
            return None
        length = max(config.route_return_least_m, config.route_return_s * truth.ego_speed)
        left = np.clip(1.0 - distance / length, 0.0, 1.0)
        ease = left**3 * (10.0 - 15.0 * left + 6.0 * left**2)
        return path + ease[:, None] * np.array([offset[0], offset[1], turn])

    def arc_length_at(self, x: float, y: float) -> float:
        """Return the arc length (m) of the point of the route nearest to x, y, on a segment at the nearest sample."""
        nearest = int(np.argmin((self.pose[:, 0] - x) ** 2 + (self.pose[:, 1] - y) ** 2))
        feet = []
        for i in range(max(nearest - 1, 0), min(nearest + 1, len(self.pose) - 1)):
            (a, b, _), (c, d, _) = self.pose[i : i + 2].tolist()
            squared = (c - a) ** 2 + (d - b) ** 2
            part = ((x - a) * (c - a) + (y - b) * (d - b)) / squared if squared > 0.0 else 0.0
            part = min(max(part, 0.0), 1.0)
            gap = math.hypot(x - a - part * (c - a), y - b - part * (d - b))
            feet.append((gap, float(self.s[i] + part * (self.s[i + 1] - self.s[i]))))
        return min(feet)[1]
