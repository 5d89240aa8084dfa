"""Frenet frames of paths: arc length s along a path, lateral offset d to its left."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_sim.datatypes.scene import Route, Scene, SignalState
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings, project

Array = np.ndarray

SPACING_M = 0.5  # between the samples of a route frame
LEAD_M, TRAIL_M = 60.0, 260.0  # straight extensions of a route before its start and beyond its end
COARSE_STEP = 8  # samples between those that a projection compares first
SMOOTHING_SAMPLES = 9  # that the heading is averaged over
MAX_FOOT_M = 1.0  # from a sample of a route to the foot of a point that is nearest to it
NEAR_MARGIN_M = 50.0  # ``project_near`` keeps at least this much of a path around the points
MIN_STEP_M = 1e-3  # points of a path that are closer repeat each other
STOP_GAP_M = 1.0  # between the ego's front and a stop line
STOP_LINE_OFFSET_M = 15.0  # a stop line further from the route than this is not its own
COMFORTABLE_BRAKING_MPS2 = 3.5


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

    def position(self, s: Float[Array, "..."], d: Float[Array, "..."] | float = 0.0) -> Float64[Array, "... 2"]:
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

    ``s`` is 0 where the route begins and negative before that. The equal spacing makes ``at``, ``position``,
    ``heading_at`` and ``project`` cheap: they index the samples and do not search.
    """

    curvature: Float64[Array, " n"]
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
        return cls(s, xy, heading, curvature, float(knots[-1]))

    def at(self, s: Float[Array, "..."] | float) -> tuple[Array, Array, Array]:
        """Return position (m) [..., 2], heading (rad) and curvature (1/m) at arc lengths, clamped to the ends."""
        u = np.clip((np.asarray(s) - self.s[0]) / SPACING_M, 0.0, len(self.s) - 1.001)
        i = u.astype(np.int64)
        f = u - i
        xy = self.xy[i] * (1.0 - f)[..., None] + self.xy[i + 1] * f[..., None]
        heading = self.heading[i] * (1.0 - f) + self.heading[i + 1] * f
        return xy, heading, self.curvature[i]

    def to_world(self, s: Float[Array, "..."], d: Float[Array, "..."]) -> tuple[Array, Array]:
        """Return the world position (m) [..., 2] of (s, d) and the route's heading (rad) there."""
        xy, heading, _ = self.at(s)
        normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return xy + normal * np.asarray(d)[..., None], heading

    def position(self, s: Float[Array, "..."], d: Float[Array, "..."] | float = 0.0) -> Float64[Array, "... 2"]:
        """Return positions (m) at arc lengths and offsets (m)."""
        return self.to_world(s, np.asarray(d))[0]

    def heading_at(self, s: Float[Array, "..."] | float) -> Float64[Array, "..."]:
        """Return headings (rad, continuous) at arc lengths (m)."""
        return np.asarray(self.at(s)[1])

    def project(
        self, xy: Float[Array, "... 2"], near: float | None = None, reach: float = 120.0
    ) -> tuple[Array, Array]:
        """Return arc length and offset (m) of points from their nearest samples.

        The offset is measured on the smooth normal of the nearest sample. With ``near`` (m) only the route within
        ``reach`` (m) of that arc length is searched.
        """
        points = np.asarray(xy, np.float64)
        first, last = 0, len(self.s)
        if near is not None:
            first = max(0, int((near - reach - self.s[0]) / SPACING_M))
            last = min(last, max(first + 2, int((near + reach - self.s[0]) / SPACING_M)))
        flat = points.reshape(-1, 2)
        nearest = self._nearest(flat, first, last)
        gap = flat - self.xy[nearest]
        c, s = np.cos(self.heading[nearest]), np.sin(self.heading[nearest])
        along = np.clip(c * gap[:, 0] + s * gap[:, 1], -MAX_FOOT_M, MAX_FOOT_M)
        across = c * gap[:, 1] - s * gap[:, 0]
        shape = points.shape[:-1]
        return (self.s[nearest] + along).reshape(shape), across.reshape(shape)

    def _nearest(self, points: Float64[Array, "m 2"], first: int, last: int) -> Array:
        """Return the nearest sample of ``first`` to ``last``: among every eighth one, then among its neighbours."""
        coarse = np.arange(first, last, COARSE_STEP)
        squared = (points[:, :1] - self.xy[coarse, 0]) ** 2 + (points[:, 1:] - self.xy[coarse, 1]) ** 2
        fine = coarse[np.argmin(squared, axis=1)][:, None] + np.arange(-COARSE_STEP, COARSE_STEP + 1)
        fine = np.clip(fine, first, last - 1)
        squared = (points[:, :1] - self.xy[fine, 0]) ** 2 + (points[:, 1:] - self.xy[fine, 1]) ** 2
        return fine[np.arange(len(points)), np.argmin(squared, axis=1)]


@dataclass(frozen=True, eq=False)
class SignalStop:
    """A stop for a signal of the route: the arc length ``s`` (m) that the ego's front must not pass."""

    signal: int
    s: float


def signal_stops(scene: Scene, frame: RouteFrame) -> tuple[SignalStop, ...]:
    """Return the stops of the signals whose lanes the route uses."""
    if scene.route is None:
        return ()
    used = set(scene.route.lane_ids)
    stops = []
    for i, signal in enumerate(scene.signals):
        lanes = used.intersection(signal.lane_ids)
        if lanes:
            stops.append(SignalStop(i, _stop_line_s(scene, frame, lanes)))
    return tuple(stops)


def must_stop(state: int, distance: float, speed: float, comfortable: float = COMFORTABLE_BRAKING_MPS2) -> bool:
    """Return whether to stop ``distance`` (m) ahead: at red, and at yellow if ``comfortable`` braking (m/s²) can."""
    if state == SignalState.RED:
        return True
    return state == SignalState.YELLOW and speed**2 / (2.0 * max(distance, 0.1)) < comfortable


def _stop_line_s(scene: Scene, frame: RouteFrame, lanes: set[str]) -> float:
    """Return the arc length (m) of the lanes' or their predecessors' stop line, else of the signal's lane."""
    by_id = scene.road_map.lane_by_id
    before = {lane.id for lane in scene.road_map.lanes if lanes.intersection(lane.successors)}
    for line in scene.road_map.stop_lines:
        if lanes.union(before).intersection(line.lane_ids):
            s, d = frame.project(interpolate(line.line[:, :2], 0.5 * arc_length(line.line)[-1:]))
            if abs(d[0]) < STOP_LINE_OFFSET_M:
                return float(s[0])
    known = [by_id[name] for name in sorted(lanes) if name in by_id]
    if not known:
        return np.inf
    lane = known[0]
    point = lane.centreline[0 if lane.in_intersection else -1, :2]
    return float(frame.project(point[None])[0][0])


def _direction(points: Float64[Array, "n 2"]) -> Float64[Array, "2"]:
    """Return the unit vector from the first to the last point."""
    step = points[-1] - points[0]
    return step / max(float(np.hypot(*step)), 1e-9)


def _smoothed(values: Float64[Array, " n"]) -> Float64[Array, " n"]:
    """Return means over neighbours, with the ends repeated."""
    half = SMOOTHING_SAMPLES // 2
    padded = np.concatenate([np.repeat(values[:1], half), values, np.repeat(values[-1:], half)])
    return np.convolve(padded, np.full(SMOOTHING_SAMPLES, 1.0 / SMOOTHING_SAMPLES), mode="valid")
