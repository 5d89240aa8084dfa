"""The route as a frame: arc length s along it and lateral offset d (left positive)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_sim.datatypes.scene import Route, Scene, SignalState
from alpamayo_sim.geometry import arc_length, interpolate

Array = np.ndarray

SPACING = 0.5  # m
BEFORE, BEYOND = 60.0, 260.0  # m by which the route is lengthened, straight on
COARSE = 8  # points between those that a projection looks at first
SMOOTHING = 9  # points that the heading is averaged over
STOP_GAP = 1.0  # m between the ego's front and a stop line


@dataclass(frozen=True, eq=False)
class RouteFrame:
    """A route resampled every ``SPACING`` m. ``s`` is 0 where the route begins and negative before that."""

    s: Float64[Array, " n"]
    xy: Float64[Array, "n 2"]
    heading: Float64[Array, " n"]
    curvature: Float64[Array, " n"]
    length: float

    @classmethod
    def of(cls, route: Route) -> "RouteFrame":
        """Resample and lengthen a route."""
        path = route.path[:, :2].astype(np.float64)
        knots = arc_length(path)
        inner = interpolate(path, np.arange(0.0, knots[-1] + 1e-6, SPACING))
        ends = [_direction(inner[: min(len(inner), 5)]), _direction(inner[-min(len(inner), 5) :])]
        before = inner[0] - ends[0] * np.arange(BEFORE, 0.0, -SPACING)[:, None]
        after = inner[-1] + ends[1] * np.arange(SPACING, BEYOND, SPACING)[:, None]
        xy = np.concatenate([before, inner, after])
        step = np.gradient(xy, axis=0)
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        heading = _smoothed(heading)
        curvature = _smoothed(np.gradient(heading, SPACING))
        s = -BEFORE + SPACING * np.arange(len(xy))
        return cls(s, xy, heading, curvature, float(knots[-1]))

    def at(self, s: Float[Array, "..."] | float) -> tuple[Array, Array, Array]:
        """Position (m) [..., 2], heading (rad) and curvature (1/m) at arc lengths, clamped to the frame's ends."""
        u = np.clip((np.asarray(s) - self.s[0]) / SPACING, 0.0, len(self.s) - 1.001)
        i = u.astype(np.int64)
        f = u - i
        xy = self.xy[i] * (1.0 - f)[..., None] + self.xy[i + 1] * f[..., None]
        heading = self.heading[i] * (1.0 - f) + self.heading[i + 1] * f
        return xy, heading, self.curvature[i]

    def to_world(self, s: Float[Array, "..."], d: Float[Array, "..."]) -> tuple[Array, Array]:
        """World position (m) [..., 2] of (s, d) and the route's heading (rad) there."""
        xy, heading, _ = self.at(s)
        normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return xy + normal * np.asarray(d)[..., None], heading

    def project(
        self, xy: Float[Array, "... 2"], near: float | None = None, reach: float = 120.0
    ) -> tuple[Array, Array]:
        """Arc length and offset (m) of world points; with ``near`` only that part of the route counts."""
        points = np.asarray(xy, np.float64)
        first, last = 0, len(self.s)
        if near is not None:
            first = max(0, int((near - reach - self.s[0]) / SPACING))
            last = min(last, max(first + 2, int((near + reach - self.s[0]) / SPACING)))
        flat = points.reshape(-1, 2)
        nearest = self._nearest(flat, first, last)
        gap = flat - self.xy[nearest]
        c, s = np.cos(self.heading[nearest]), np.sin(self.heading[nearest])
        along = np.clip(c * gap[:, 0] + s * gap[:, 1], -2.0 * SPACING, 2.0 * SPACING)
        across = c * gap[:, 1] - s * gap[:, 0]
        shape = points.shape[:-1]
        return (self.s[nearest] + along).reshape(shape), across.reshape(shape)

    def _nearest(self, points: Float64[Array, "m 2"], first: int, last: int) -> Array:
        """Index of the nearest point of the route among ``first`` to ``last``: every eighth, then around that."""
        coarse = np.arange(first, last, COARSE)
        squared = (points[:, :1] - self.xy[coarse, 0]) ** 2 + (points[:, 1:] - self.xy[coarse, 1]) ** 2
        around = coarse[np.argmin(squared, axis=1)][:, None] + np.arange(-COARSE, COARSE + 1)
        around = np.clip(around, first, last - 1)
        fine = (points[:, :1] - self.xy[around, 0]) ** 2 + (points[:, 1:] - self.xy[around, 1]) ** 2
        return around[np.arange(len(points)), np.argmin(fine, axis=1)]


@dataclass(frozen=True, eq=False)
class SignalStop:
    """Where the ego has to stop for a signal of its route: the arc length (m) that its front must not pass."""

    signal: int
    s: float


def signal_stops(scene: Scene, frame: RouteFrame) -> tuple[SignalStop, ...]:
    """The signals whose lanes the route uses, and where their stop lines cross it."""
    if scene.route is None:
        return ()
    used = set(scene.route.lane_ids)
    stops = []
    for i, signal in enumerate(scene.signals):
        lanes = used.intersection(signal.lane_ids)
        if lanes:
            stops.append(SignalStop(i, _stop_line(scene, frame, lanes)))
    return tuple(stops)


def must_stop(state: int, distance: float, speed: float, comfortable: float = 3.5) -> bool:
    """Whether to stop ``distance`` (m) ahead: at red, and at yellow where that needs no hard braking."""
    if state == SignalState.RED:
        return True
    return state == SignalState.YELLOW and speed**2 / (2.0 * max(distance, 0.1)) < comfortable


def _stop_line(scene: Scene, frame: RouteFrame, lanes: set[str]) -> float:
    """The stop line of the lanes, or of those before them; else where the signal's lane begins or ends."""
    by_id = scene.road_map.lane_by_id
    before = {lane.id for lane in scene.road_map.lanes if lanes.intersection(lane.successors)}
    for line in scene.road_map.stop_lines:
        if lanes.union(before).intersection(line.lane_ids):
            s, d = frame.project(interpolate(line.line[:, :2], 0.5 * arc_length(line.line)[-1:]))
            if abs(d[0]) < 15.0:
                return float(s[0])
    known = [by_id[name] for name in sorted(lanes) if name in by_id]
    if not known:
        return np.inf
    lane = known[0]
    point = lane.centreline[0 if lane.in_intersection else -1, :2]
    return float(frame.project(point[None])[0][0])


def _direction(points: Float64[Array, "n 2"]) -> Float64[Array, "2"]:
    step = points[-1] - points[0]
    return step / max(float(np.hypot(*step)), 1e-9)


def _smoothed(values: Float64[Array, " n"]) -> Float64[Array, " n"]:
    """Mean over neighbours, with the ends repeated."""
    half = SMOOTHING // 2
    padded = np.concatenate([np.repeat(values[:1], half), values, np.repeat(values[-1:], half)])
    return np.convolve(padded, np.full(SMOOTHING, 1.0 / SMOOTHING), mode="valid")
