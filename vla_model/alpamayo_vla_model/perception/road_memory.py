"""The memory of the road: the route so far in the odometry frame, and what lies beside it."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_sim.datatypes.observation import ROUTE_SPACING
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route
from alpamayo_sim.geometry import from_frame
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.planning.surroundings import COLUMN_SPACING_M, HALF_WIDTH_M, Surroundings
from alpamayo_vla_model.perception.objects import OFFSETS_M, STATION_SPACING_M, STATIONS, Control, Ground

Array = np.ndarray

ROW_SPACING_M = 2.0
BEHIND_M = 20.0  # rows that begin before the ego's first place
MAX_ROWS = 2000
LANE_WIDTH_M = 3.5
LANES_ASIDE = 2
MIN_LANE_ROWS = 4
NEAR_M, NEAR_GAIN, FAR_GAIN = 40.0, 0.25, 0.1  # share that a step's answer gets in the memory
CONTROL_GAIN, LINE_GAIN = 0.4, 0.3
AHEAD_M = 160.0  # of the surroundings that the planner gets
CERTAIN_HALF_WIDTH_M = 1.5  # of the route that always counts as road
GRID_SPACING_M = 2.0  # least growth of the route that makes a new frame


@dataclass(eq=False)
class RoadMemory:
    """The route and its surroundings, in the odometry frame; ``s`` is 0 at the ego's first place.

    Attributes:
        frame: the route so far.
        s: the ego's arc length (m).
        ground: probabilities of ``Ground`` at rows every 2 m and ``OFFSETS_M``.
        control: probabilities of ``Control``.
        line_s: the arc length (m) of the next controlled line.
    """

    frame: RouteFrame = field(init=False)
    s: float = 0.0
    ground: Float64[Array, "rows offsets grounds"] = field(default_factory=lambda: _unknown_ground())
    seen: Float64[Array, " rows"] = field(default_factory=lambda: np.zeros(MAX_ROWS))
    control: Float64[Array, " controls"] = field(default_factory=lambda: np.eye(len(Control))[Control.NONE])
    line_s: float = np.inf
    _points: list[Array] = field(default_factory=list)
    _end: float = 0.0

    def follow(self, route: Float[Array, "32 2"], pose: Float64[Array, "3"]) -> None:
        """Take in the route of one observation (ego frame); ``pose`` is the ego's in the odometry frame."""
        points = from_frame(route.astype(np.float64), pose)
        if not self._points:
            self._points, self._end = [points[0]], 0.0
            self._extend(points, 0.0)
            return
        self.s = float(self.frame.project(pose[None, :2], self.s)[0][0])
        self._extend(points, self.s)

    def _extend(self, points: Array, start: float) -> None:
        grown = False
        for k, point in enumerate(points):
            s = start + ROUTE_SPACING * k
            if s > self._end + GRID_SPACING_M and np.linalg.norm(point - self._points[-1]) > 0.5:
                self._points.append(point)
                self._end = s
                grown = True
        if grown or not hasattr(self, "frame"):
            path = np.array(self._points if len(self._points) > 1 else [self._points[0], self._points[0] + 1.0])
            self.frame = RouteFrame.of_route(Route(np.column_stack([path, np.zeros(len(path))]).astype(np.float32)))

    def look(
        self,
        ground: Float64[Array, "16 17 4"],
        control: Float64[Array, " controls"],
        line_distance: float,
    ) -> None:
        """Take in what one step saw of the road: probabilities, and the distance (m) to the controlled line."""
        ahead = STATION_SPACING_M * np.arange(STATIONS)
        first = max(int((self.s + BEHIND_M) / ROW_SPACING_M), 0)
        rows = np.arange(first, min(first + int(ahead[-1] / ROW_SPACING_M), MAX_ROWS))
        place = rows * ROW_SPACING_M - BEHIND_M - self.s
        low = np.clip((place / STATION_SPACING_M).astype(np.int64), 0, STATIONS - 2)
        part = np.clip(place / STATION_SPACING_M - low, 0.0, 1.0)[:, None, None]
        answer = (1.0 - part) * ground[low] + part * ground[low + 1]
        gain = np.where(place < NEAR_M, NEAR_GAIN, FAR_GAIN)
        gain = np.maximum(gain, 1.0 / (self.seen[rows] + 1.0))[:, None, None]
        self.ground[rows] += gain * (answer - self.ground[rows])
        self.seen[rows] += 1.0
        if first:
            known = self.ground[first : first + 1]
            fresh = self.seen[:first] == 0.0
            self.ground[:first][fresh] = known
        self.control = (1.0 - CONTROL_GAIN) * self.control + CONTROL_GAIN * control
        if self.controlled:
            line = self.s + line_distance
            passed = not np.isfinite(self.line_s) or abs(line - self.line_s) > 15.0
            self.line_s = line if passed else (1.0 - LINE_GAIN) * self.line_s + LINE_GAIN * line
        else:
            self.line_s = np.inf

    @property
    def controlled(self) -> bool:
        """Whether a signal is expected ahead."""
        return bool(self.control[Control.NONE] < 0.5)

    @property
    def state(self) -> Control:
        """The likeliest state of the next signal."""
        return Control(int(np.argmax(self.control[1:])) + 1) if self.controlled else Control.NONE

    def rows_between(self, start: float, end: float) -> tuple[Array, Array]:
        """Return the numbers and arc lengths (m) of the rows from ``start`` to ``end`` (m)."""
        first = max(int((start + BEHIND_M) / ROW_SPACING_M), 0)
        rows = np.arange(first, min(int((end + BEHIND_M) / ROW_SPACING_M) + 1, MAX_ROWS))
        return rows, rows * ROW_SPACING_M - BEHIND_M

    def surroundings(self) -> Surroundings:
        """Return the borders and lanes around the ego, as the planner takes them."""
        rows, s = self.rows_between(self.s - BEHIND_M, self.s + AHEAD_M)
        d = COLUMN_SPACING_M * np.arange(round(2.0 * HALF_WIDTH_M / COLUMN_SPACING_M) + 1) - HALF_WIDTH_M
        chance = _interpolated(self.ground[rows], d)
        middle = len(d) // 2
        free = chance[..., Ground.OFF_ROAD] < 0.5
        free[:, np.abs(d) <= CERTAIN_HALF_WIDTH_M] = True
        left = np.cumprod(free[:, middle:], axis=1).sum(axis=1)
        right = np.cumprod(free[:, middle::-1], axis=1).sum(axis=1)
        lanes = np.round(d / LANE_WIDTH_M) * LANE_WIDTH_M
        return Surroundings(
            first=float(s[0]),
            left=d[np.minimum(middle + left - 1, len(d) - 1)],
            right=d[np.maximum(middle - right + 1, 0)],
            opposite=chance[..., Ground.OPPOSITE_DIRECTION] > 0.5,
            centre=np.where(chance[..., Ground.SAME_DIRECTION] > 0.5, lanes, np.nan),
        )

    def road_map(self) -> RoadMap:
        """Return the believed lanes along the route, in the odometry frame."""
        rows, s = self.rows_between(self.s - BEHIND_M, self.s + 130.0)
        lanes = [self._lane("route", s, 0.0, False)]
        for k in (*range(-LANES_ASIDE, 0), *range(1, LANES_ASIDE + 1)):
            offset = k * LANE_WIDTH_M
            column = int(np.argmin(np.abs(OFFSETS_M - offset)))
            use = self.ground[rows][:, max(column - 1, 0) : column + 2].mean(axis=1)
            for ground, reverse in ((Ground.SAME_DIRECTION, False), (Ground.OPPOSITE_DIRECTION, True)):
                used = use[:, ground] > 0.5
                if used.sum() >= MIN_LANE_ROWS:
                    lanes.append(self._lane(f"{ground.name.lower()}{k}", s[used], offset, reverse))
        return RoadMap(lanes=tuple(lanes))

    def _lane(self, name: str, s: Array, offset: float, reverse: bool) -> Lane:
        points = self.frame.position(s, offset)
        points = points[::-1] if reverse else points
        centreline = np.column_stack([points, np.zeros(len(points))]).astype(np.float32)
        return Lane(name, centreline, np.full(len(points), LANE_WIDTH_M, np.float32))


def _interpolated(ground: Float64[Array, "rows offsets grounds"], d: Float64[Array, " columns"]) -> Array:
    """Return the probabilities at offsets ``d`` (m); beyond the table there is no road."""
    place = np.clip((d - OFFSETS_M[0]) / (OFFSETS_M[1] - OFFSETS_M[0]), 0.0, len(OFFSETS_M) - 1.001)
    low = place.astype(np.int64)
    part = (place - low)[None, :, None]
    chance = (1.0 - part) * ground[:, low] + part * ground[:, low + 1]
    chance[:, (d < OFFSETS_M[0]) | (d > OFFSETS_M[-1])] = np.eye(len(Ground))[Ground.OFF_ROAD]
    return np.asarray(chance)


def _unknown_ground() -> Float64[Array, "rows offsets grounds"]:
    """Return the ground before anything was seen: a lane of the route, and nothing beside it."""
    ground = np.zeros((MAX_ROWS, len(OFFSETS_M), len(Ground)))
    ground[..., Ground.OFF_ROAD] = 1.0
    inside = np.abs(OFFSETS_M) <= 0.5 * LANE_WIDTH_M
    ground[:, inside] = np.eye(len(Ground))[Ground.SAME_DIRECTION]
    return ground
