"""Frenet frames of paths: arc length s along a path, lateral offset d to its left."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.spatial import cKDTree

from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.geometry import (
    AHEAD_M,
    BACK_M,
    PASS_LENGTH_M,
    PASS_TOLERANCE_M,
    arc_length,
    follow,
    interpolate,
    polyline_headings,
    project,
)

Array = np.ndarray

SPACING_M = 0.5  # between the samples of a route frame
LEAD_M, TRAIL_M = 60.0, 260.0  # straight extensions of a route before its start and beyond its end
COARSE_STEP = 8  # samples between those that a projection compares first
SMOOTHING_SAMPLES = 9  # that the heading is averaged over
MAX_FOOT_M = 1.0  # from a sample of a route to the foot of a point that is nearest to it
NEAR_MARGIN_M = 50.0  # ``project_near`` keeps at least this much of a path around the points
MIN_STEP_M = 1e-3  # points of a path that are closer repeat each other
LOST_M = 15.0  # from the path around the last place; then the whole path is searched again
OPPOSITE_COST_M = 5.0  # a first place in the opposite direction counts as twice this distance further away
PASS_SPACING_M, PASS_DISTANCE_M = 30.0, 8.0  # a path that comes back this near after this length meets itself
PASS_STEP = 2  # samples between those that are compared on such a path


@dataclass(frozen=True, eq=False)
class FrenetFrame:
    """A path with knots at the arc lengths ``s`` (m), interpolated linearly between them.

    ``xy`` (m) are the positions and ``heading`` (rad) the continuous headings at the knots. Positions at an offset d
    (m, left positive) lie on the normal of the interpolated heading. Beyond its ends the path is held, unless a method
    says that it goes straight on.
    """

    s: Float64[Array, " n"]
    xy: Float64[Array, "n 2"]
    heading: Float64[Array, " n"]

    @classmethod
    def of(cls, path: Float[Array, "n d"], heading: Float64[Array, " n"] | None = None) -> "FrenetFrame":
        """Return the frame of a polyline; by default each knot has the heading of the segment that leaves it."""
        xy = path[:, :2].astype(np.float64)
        return cls(arc_length(xy), xy, np.unwrap(polyline_headings(xy)) if heading is None else heading)

    @classmethod
    def resampled(cls, path: Float[Array, "n d"], spacing: float) -> "FrenetFrame":
        """Return the frame of a polyline with knots every ``spacing`` (m) or a little less."""
        points = path[:, :2].astype(np.float64)
        length = float(arc_length(points)[-1])
        s = np.linspace(0.0, length, max(int(np.ceil(length / spacing)), 1) + 1)
        xy = interpolate(points, s)
        return cls(s, xy, np.unwrap(polyline_headings(xy)))

    @classmethod
    def extended(cls, points: Float64[Array, "n 2"], length: float) -> "FrenetFrame":
        """Return the frame of a polyline that is continued straight on to ``length`` (m), at least by 1 m.

        The heading at a knot is the mean of the two segments that meet there.
        """
        step = np.diff(points, axis=0)
        step_length = np.hypot(step[:, 0], step[:, 1])
        if not (step_length > MIN_STEP_M).all():
            points = points[np.concatenate([[True], step_length > MIN_STEP_M])]
            step = np.diff(points, axis=0)
            step_length = np.hypot(step[:, 0], step[:, 1])
        s = np.zeros(len(points) + 1)
        np.cumsum(step_length, out=s[1:-1])
        missing = max(length - s[-2], 1.0)
        s[-1] = s[-2] + missing
        segment = np.arctan2(step[:, 1], step[:, 0])
        if np.abs(np.diff(segment)).max(initial=0.0) > np.pi:
            segment = np.unwrap(segment)
        xy, heading = np.empty((len(s), 2)), np.empty(len(s))
        xy[:-1], xy[-1] = points, points[-1] + missing / step_length[-1] * step[-1]
        heading[0], heading[-2:] = segment[0], segment[-1]
        heading[1:-2] = 0.5 * (segment[1:] + segment[:-1])
        return cls(s, xy, heading)

    @property
    def length(self) -> float:
        """Arc length (m) at the end of the path."""
        return float(self.s[-1])

    def position(self, s: Float[Array, "..."] | float, d: Float[Array, "..."] | float = 0.0) -> Float64[Array, "... 2"]:
        """Return positions (m) at arc lengths and offsets (m)."""
        x, y = np.interp(s, self.s, self.xy[:, 0]), np.interp(s, self.s, self.xy[:, 1])
        heading = np.interp(s, self.s, self.heading)
        return np.stack([x - d * np.sin(heading), y + d * np.cos(heading)], axis=-1)

    def heading_at(self, s: Float[Array, "..."] | float) -> Float64[Array, "..."]:
        """Return headings (rad, continuous) at arc lengths (m)."""
        return np.asarray(np.interp(s, self.s, self.heading))

    def pose_on_path(self, s: Float[Array, "..."], straight_on: bool = False) -> Float64[Array, "... 3"]:
        """Return x, y (m) and heading (rad) on the path at arc lengths (m).

        With ``straight_on`` the path goes on beyond its end in the direction that it has there.
        """
        columns = (self.xy[:, 0], self.xy[:, 1], self.heading)
        pose = np.stack([np.interp(s, self.s, column) for column in columns], axis=-1)
        if straight_on:
            beyond = np.maximum(s - self.s[-1], 0.0)[..., None]
            pose[..., :2] += beyond * np.array([np.cos(self.heading[-1]), np.sin(self.heading[-1])])
        return pose

    def project(self, xy: Float[Array, "m 2"]) -> tuple[Float64[Array, " m"], Float64[Array, " m"]]:
        """Return arc length s and offset d (m) of points, exact over all segments; see ``geometry.project``."""
        return project(self.xy, xy)

    def follow(
        self, xy: Float[Array, "t 2"], start: float | None = None
    ) -> tuple[Float64[Array, " t"], Float64[Array, " t"]]:
        """Return arc lengths and offsets (m) of consecutive positions; see ``geometry.follow``."""
        s, d = follow(self.xy, xy, None if start is None else start - float(self.s[0]))
        return float(self.s[0]) + s, d

    @cached_property
    def meets_itself(self) -> bool:
        """Whether the path crosses itself, or comes back to within ``PASS_DISTANCE_M`` of where it was."""
        dense = np.arange(self.s[0], self.s[-1], 0.5 * PASS_DISTANCE_M)
        xy = np.stack([np.interp(dense, self.s, column) for column in self.xy.T], axis=-1)
        pairs = cKDTree(xy).query_pairs(PASS_DISTANCE_M, output_type="ndarray")
        return bool(np.any(dense[pairs[:, 1]] - dense[pairs[:, 0]] > PASS_SPACING_M))

    def project_near(self, xy: Float64[Array, "m 2"]) -> tuple[Float64[Array, " m"], Float64[Array, " m"]]:
        """Return ``project`` of points that are close together; only the part of the path near them is searched."""
        centre = xy.mean(axis=0)
        distance = np.linalg.norm(self.xy - centre, axis=1)
        spread = np.linalg.norm(xy - centre, axis=1).max()
        kept = np.flatnonzero(distance <= distance.min() + 2.0 * spread + NEAR_MARGIN_M)
        first, last = max(int(kept[0]) - 1, 0), min(int(kept[-1]) + 2, len(self.xy))
        s, d = project(self.xy[first:last], xy)
        return float(self.s[first]) + s, d

    def nearest_s(self, x: float, y: float) -> float:
        """Return the arc length (m) of one point's foot on the segments at its nearest knot: fast, for fine paths."""
        nearest = int(np.argmin((self.xy[:, 0] - x) ** 2 + (self.xy[:, 1] - y) ** 2))
        feet = []
        for i in range(max(nearest - 1, 0), min(nearest + 1, len(self.xy) - 1)):
            (a, b), (c, d) = self.xy[i : i + 2].tolist()
            squared = (c - a) ** 2 + (d - b) ** 2
            part = ((x - a) * (c - a) + (y - b) * (d - b)) / squared if squared > 0.0 else 0.0
            part = min(max(part, 0.0), 1.0)
            gap = math.hypot(x - a - part * (c - a), y - b - part * (d - b))
            feet.append((gap, float(self.s[i] + part * (self.s[i + 1] - self.s[i]))))
        return min(feet)[1]


def central_headings(points: Float64[Array, "n 2"]) -> Float64[Array, " n"]:
    """Return continuous headings (rad) of points by central differences, one-sided at the ends."""
    step = np.gradient(points, axis=0)
    return np.unwrap(np.arctan2(step[:, 1], step[:, 0]))


@dataclass(frozen=True, eq=False)
class RouteFrame(FrenetFrame):
    """A route with smooth headings and curvatures (1/m), sampled every ``SPACING_M`` and extended at both ends.

    ``s`` is 0 where the route begins and negative before that. ``elevation`` is the z (m) of the ground. The equal
    spacing makes ``at``, ``position``, ``heading_at`` and ``project`` cheap: they index the samples and do not search.
    """

    curvature: Float64[Array, " n"]
    elevation: Float64[Array, " n"]
    route_length: float

    @classmethod
    def of_route(cls, route: Route) -> "RouteFrame":
        """Resample a route and extend it straight on."""
        path = route.path[:, :2].astype(np.float64)
        knots = arc_length(path)
        inner = interpolate(path, np.arange(0.0, knots[-1] + 1e-6, SPACING_M))
        ends = [_direction(inner[: min(len(inner), 5)]), _direction(inner[-min(len(inner), 5) :])]
        before = inner[0] - ends[0] * np.arange(LEAD_M, 0.0, -SPACING_M)[:, None]
        after = inner[-1] + ends[1] * np.arange(SPACING_M, TRAIL_M, SPACING_M)[:, None]
        xy = np.concatenate([before, inner, after])
        heading = _smoothed(central_headings(xy))
        curvature = _smoothed(np.gradient(heading, SPACING_M))
        s = -LEAD_M + SPACING_M * np.arange(len(xy))
        elevation = np.interp(s, knots, route.path[:, 2].astype(np.float64))
        return cls(s, xy, heading, curvature, elevation, float(knots[-1]))

    def place(self, pose: Float[Array, "3"], last: float | None, elevation: float | None = None) -> tuple[float, float]:
        """Return arc length and offset (m) of a vehicle that follows the route.

        Args:
            pose: x, y (m) and heading (rad).
            last: its last arc length (m), around which it is searched; None for the first time.
            elevation: the z (m) of the ground under it, which tells levels apart; None where it is unknown.
        """
        xy = np.asarray(pose, np.float64)[None, :2]
        if last is not None:
            (s,), (d,) = self.project(xy, last + 0.5 * (AHEAD_M - BACK_M), 0.5 * (AHEAD_M + BACK_M))
            if math.hypot(*(self.at(s)[0] - xy[0])) < LOST_M:
                return float(s), float(d)
        (s,), (d,) = self.project(xy) if not self.meets_itself else self._first_place(pose, elevation)
        return float(s), float(d)

    def _first_place(self, pose: Float[Array, "3"], elevation: float | None) -> tuple[Array, Array]:
        """Return arc length and offset (m) of a pose on a route that meets itself: the first of equal places."""
        gap = np.asarray(pose[:2], np.float64) - self.xy
        cost = np.hypot(gap[:, 0], gap[:, 1]) + OPPOSITE_COST_M * (1.0 - np.cos(self.heading - float(pose[2])))
        cost = np.where(self._other_level(elevation) | (self.s > self.route_length), np.inf, cost)
        if not np.isfinite(cost).any():
            return self.project(np.asarray(pose, np.float64)[None, :2])
        first = int(np.argmax(cost <= cost.min() + PASS_TOLERANCE_M))
        nearest = first + int(np.argmin(cost[first : first + round(PASS_LENGTH_M / SPACING_M)]))
        return self.project(np.asarray(pose, np.float64)[None, :2], float(self.s[nearest]), BACK_M)

    def _other_level(self, elevation: float | None) -> Array:
        """Return which samples are on another level than an elevation (m)."""
        if elevation is None:
            return np.zeros(len(self.s), bool)
        return np.abs(self.elevation - elevation) > LEVEL_GAP_M

    def at(self, s: Float[Array, "..."] | float) -> tuple[Array, Array, Array]:
        """Return position (m) [..., 2], heading (rad) and curvature (1/m) at arc lengths, clamped to the ends."""
        u = np.clip((np.asarray(s) - self.s[0]) / SPACING_M, 0.0, len(self.s) - 1.001)
        i = u.astype(np.int64)
        f = u - i
        xy = self.xy[i] * (1.0 - f)[..., None] + self.xy[i + 1] * f[..., None]
        heading = self.heading[i] * (1.0 - f) + self.heading[i + 1] * f
        return xy, heading, self.curvature[i]

    def curvature_at(self, s: float) -> float:
        """Return the curvature (1/m) of ``at`` at one arc length (m), without its arrays."""
        u = min(max((s - float(self.s[0])) / SPACING_M, 0.0), len(self.s) - 1.001)
        return float(self.curvature[int(u)])

    def to_world(self, s: Float[Array, "..."], d: Float[Array, "..."]) -> tuple[Array, Array]:
        """Return the world position (m) [..., 2] of (s, d) and the route's heading (rad) there."""
        xy, heading, _ = self.at(s)
        normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return xy + normal * np.asarray(d)[..., None], heading

    def position(self, s: Float[Array, "..."] | float, d: Float[Array, "..."] | float = 0.0) -> Float64[Array, "... 2"]:
        """Return positions (m) at arc lengths and offsets (m)."""
        return self.to_world(np.asarray(s, np.float64), np.asarray(d))[0]

    def heading_at(self, s: Float[Array, "..."] | float) -> Float64[Array, "..."]:
        """Return headings (rad, continuous) at arc lengths (m)."""
        return np.asarray(self.at(s)[1])

    def project(
        self,
        xy: Float[Array, "... 2"],
        near: float | None = None,
        reach: float = 120.0,
        elevation: Float[Array, "..."] | None = None,
    ) -> tuple[Array, Array]:
        """Return arc length and offset (m) of points from their nearest samples.

        The offset is measured on the smooth normal of the nearest sample. With ``near`` (m) only the route within
        ``reach`` (m) of that arc length is searched; of several passes of the route by a point the first one from
        ``BACK_M`` behind ``near`` on is taken, on the level of the point where its ``elevation`` (m) is given.
        """
        points = np.asarray(xy, np.float64)
        first, last = 0, len(self.s)
        passes = near is not None and self.meets_itself
        if near is not None:
            first = max(0, int((near - (min(reach, BACK_M) if passes else reach) - self.s[0]) / SPACING_M))
            last = min(last, max(first + 2, int((near + reach - self.s[0]) / SPACING_M)))
        flat = points.reshape(-1, 2)
        if passes:
            level = None if elevation is None else np.broadcast_to(elevation, points.shape[:-1]).reshape(-1)
            nearest = self._first_nearest(flat, first, last, level)
        else:
            nearest = self._nearest(flat, first, last)
        gap = flat - self.xy[nearest]
        c, s = np.cos(self.heading[nearest]), np.sin(self.heading[nearest])
        along = np.clip(c * gap[:, 0] + s * gap[:, 1], -MAX_FOOT_M, MAX_FOOT_M)
        across = c * gap[:, 1] - s * gap[:, 0]
        shape = points.shape[:-1]
        return (self.s[nearest] + along).reshape(shape), across.reshape(shape)

    def elevation_at(self, s: Float[Array, "..."] | float) -> Float64[Array, "..."]:
        """Return the z (m) of the ground at arc lengths (m)."""
        return np.asarray(np.interp(s, self.s, self.elevation))

    def _nearest(self, points: Float64[Array, "m 2"], first: int, last: int) -> Int64[Array, " m"]:
        """Return the nearest sample of ``first`` to ``last``: among every eighth one, then among its neighbours."""
        coarse = np.arange(first, last, COARSE_STEP)
        squared = (points[:, :1] - self.xy[coarse, 0]) ** 2 + (points[:, 1:] - self.xy[coarse, 1]) ** 2
        return self._refined(points, coarse[np.argmin(squared, axis=1)], COARSE_STEP, (first, last))

    def _first_nearest(
        self, points: Float64[Array, "m 2"], first: int, last: int, elevation: Float64[Array, " m"] | None
    ) -> Int64[Array, " m"]:
        """Return the nearest sample of the first pass of the route by each point."""
        coarse = np.arange(first, last, PASS_STEP)
        distance = np.hypot(points[:, :1] - self.xy[coarse, 0], points[:, 1:] - self.xy[coarse, 1])
        if elevation is not None:
            other = np.abs(self.elevation[coarse] - elevation[:, None]) > LEVEL_GAP_M
            distance = np.where(other & ~other.all(axis=1, keepdims=True), np.inf, distance)
        begin = np.argmax(distance <= distance.min(axis=1, keepdims=True) + PASS_TOLERANCE_M, axis=1)
        ahead = np.arange(len(coarse)) - begin[:, None]
        in_pass = (ahead >= 0) & (ahead < round(PASS_LENGTH_M / SPACING_M / PASS_STEP))
        nearest = coarse[np.argmin(np.where(in_pass, distance, np.inf), axis=1)]
        return self._refined(points, nearest, PASS_STEP, (first, last))

    def _refined(
        self, points: Float64[Array, "m 2"], nearest: Int64[Array, " m"], reach: int, ends: tuple[int, int]
    ) -> Int64[Array, " m"]:
        """Return the nearest of the samples up to ``reach`` away from a sample of each point, between two ends."""
        fine = np.clip(nearest[:, None] + np.arange(-reach, reach + 1), ends[0], ends[1] - 1)
        squared = (points[:, :1] - self.xy[fine, 0]) ** 2 + (points[:, 1:] - self.xy[fine, 1]) ** 2
        return np.asarray(fine[np.arange(len(points)), np.argmin(squared, axis=1)])


def _direction(points: Float64[Array, "n 2"]) -> Float64[Array, "2"]:
    """Return the unit vector from the first to the last point."""
    step = points[-1] - points[0]
    return step / max(float(np.hypot(*step)), 1e-9)


def _smoothed(values: Float64[Array, " n"]) -> Float64[Array, " n"]:
    """Return means over neighbours, with the ends repeated."""
    half = SMOOTHING_SAMPLES // 2
    padded = np.concatenate([np.repeat(values[:1], half), values, np.repeat(values[-1:], half)])
    return np.convolve(padded, np.full(SMOOTHING_SAMPLES, 1.0 / SMOOTHING_SAMPLES), mode="valid")
