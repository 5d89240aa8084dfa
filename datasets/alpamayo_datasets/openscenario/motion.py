"""The motion of an entity: along the lanes of a road network, along a trajectory, or straight on."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.opendrive.network import Network, Road, Step
from alpamayo_datasets.openscenario.entities import Entity
from alpamayo_sim.geometry import arc_length

Array = np.ndarray
Shape = Callable[[float], float]

CURVATURE_SPAN_M = 0.5  # of the arc length, over which a road's curvature is measured
LEAST_SCALE = 0.1  # of a lane's length to that of the reference line
MAX_ROADS_PER_MOVE = 100


@dataclass
class SpeedChange:
    """A speed (m/s) that goes from ``before`` to ``after`` over a duration (s) from a time (s) on."""

    before: float
    after: float
    start: float
    duration: float
    shape: Shape

    def at(self, time: float) -> float:
        """Return the speed at a time (s)."""
        if self.duration <= 0.0:
            return self.after
        part = min(max((time - self.start) / self.duration, 0.0), 1.0)
        return self.before + (self.after - self.before) * self.shape(part)

    def is_done(self, time: float) -> bool:
        """Return whether the speed is reached."""
        return time >= self.start + self.duration - 1e-9


@dataclass
class OffsetChange:
    """A lateral offset (m) that goes from ``before`` to ``after`` over a duration (s) or over a distance (m)."""

    before: float
    after: float
    start: float
    extent: float
    over_distance: bool
    shape: Shape

    def part(self, time: float, travelled: float) -> float:
        """Return the part that is done."""
        now = travelled if self.over_distance else time
        return 1.0 if self.extent <= 0.0 else min(max((now - self.start) / self.extent, 0.0), 1.0)

    def at(self, time: float, travelled: float) -> float:
        """Return the offset."""
        return self.before + (self.after - self.before) * self.shape(self.part(time, travelled))


@dataclass
class Trajectory:
    """A polyline (m) that is followed by its arc length, or by the times (s) of its points.

    Without ``headings`` (rad) that of the segment holds.
    """

    points: Float64[Array, "n 3"]
    times: Float64[Array, " n"] | None
    headings: Float64[Array, " n"] | None = None
    along: float = 0.0

    def __post_init__(self) -> None:
        self.lengths = arc_length(self.points)

    def place(self, at: float) -> tuple[Float64[Array, "3"], float]:
        """Return the point (m) and the heading (rad) at an arc length or a time."""
        knots = self.lengths if self.times is None else self.times
        point = np.array([np.interp(at, knots, self.points[:, k]) for k in range(3)])
        if self.headings is not None:
            return point, float(np.interp(at, knots, self.headings))
        k = min(max(int(np.searchsorted(knots, at, side="right")) - 1, 0), len(knots) - 2)
        ahead = self.points[k + 1, :2] - self.points[k, :2]
        return point, math.atan2(ahead[1], ahead[0])


@dataclass(eq=False)
class Mover:
    """One entity on its way.

    Attributes:
        entity: the entity.
        network: the roads.
        step: its lane; None off the roads.
        s: its arc length (m) on the road.
        offset: its offset (m, left of the road's direction) from the lane's centre.
        along: whether it drives towards greater arc lengths.
        turned: its heading (rad) relative to its direction on the road.
        pose: x, y, z (m) and heading (rad) of its reference point, where it is off the roads.
        speed: its speed (m/s).
        travelled: the distance (m) that it has driven.
        stands_at_end: since when (s) it stands at the end of the road; None elsewhere.
        placed: whether it has a place yet.
        is_sought: whether its road is not looked for yet.
        route: the ids of the roads that it prefers where roads fork; empty without a route.
    """

    entity: Entity
    network: Network
    step: Step | None = None
    s: float = 0.0
    offset: float = 0.0
    along: bool = True
    turned: float = 0.0
    pose: Float64[Array, "4"] = field(default_factory=lambda: np.zeros(4))
    speed: float = 0.0
    acceleration: float = 0.0
    travelled: float = 0.0
    stands_at_end: float | None = None
    standing_since: float | None = None
    placed: bool = False
    is_sought: bool = False
    route: frozenset[str] = frozenset()
    speed_change: SpeedChange | None = None
    speed_source: Callable[[], float] | None = None
    offset_change: OffsetChange | None = None
    trajectory: Trajectory | None = None

    @property
    def road(self) -> Road | None:
        """The road that it is on; after a place in the world it is looked for at the first question."""
        if self.is_sought:
            self._find_road()
        return None if self.step is None else self.network.roads[self.step[0]]

    @property
    def lane(self) -> int | None:
        """The id of its lane."""
        return None if self.road is None or self.step is None else self.step[2]

    @property
    def t(self) -> float:
        """Its offset (m) from the reference line of its road."""
        assert self.step is not None
        assert self.road is not None
        return float(self.road.lane_t(self.step[2], np.array([self.s]), self.step[1])[0]) + self.offset

    def put_on_lane(self, step: Step, s: float, offset: float, along: bool, turned: float = 0.0) -> None:
        """Put it on a lane."""
        self.step, self.s, self.offset, self.along, self.turned = step, s, offset, along, turned
        self.placed, self.stands_at_end, self.is_sought = True, None, False

    def put_in_world(self, pose: Float64[Array, "4"]) -> None:
        """Put it anywhere: on the lane there if there is one, else off the roads."""
        self.pose, self.placed, self.stands_at_end = pose, True, None
        self.step, self.is_sought = None, True

    def _find_road(self) -> None:
        """Put it on the lane at its place, if there is one."""
        self.is_sought = False
        found = locate(self.network, float(self.pose[0]), float(self.pose[1]))
        if found is None:
            return
        step, s, offset = found
        heading = float(self.network.roads[step[0]].line.pose(np.array([s]))[0, 2])
        along = math.cos(float(self.pose[3]) - heading) >= 0.0
        direction = heading if along else heading + math.pi
        self.put_on_lane(step, s, offset, along, math.remainder(float(self.pose[3]) - direction, 2.0 * math.pi))

    def place(self) -> Float64[Array, "4"]:
        """Return x, y, z (m) and heading (rad) of its reference point."""
        if self.step is None or self.road is None:
            return self.pose
        s = np.array([self.s])
        heading = float(self.road.line.pose(s)[0, 2]) + (0.0 if self.along else math.pi)
        point = self.road.points(s, np.array([self.t]))[0]
        return np.array([*point, heading + self.turned])

    def centre(self) -> Float64[Array, "4"]:
        """Return x, y, z (m) and heading (rad) of the middle of its box."""
        x, y, z, heading = self.place()
        ahead, left = self.entity.centre
        c, s = math.cos(heading), math.sin(heading)
        return np.array([x + c * ahead - s * left, y + s * ahead + c * left, z, heading])

    def move(self, time: float, dt: float) -> None:
        """Drive for ``dt`` (s) from a time (s) on."""
        before = self.speed
        distance = self._distance(time, dt)
        self.acceleration = (self.speed - before) / dt
        self.travelled += abs(distance)
        self.standing_since = (
            None if self.speed > 1e-6 else time if self.standing_since is None else self.standing_since
        )
        if self.trajectory is not None:
            self._follow(time + dt, distance, dt)
        elif distance == 0.0:
            pass
        elif self.road is not None:
            self._along_road(distance, time + dt)
        else:
            heading = self.pose[3]
            self.pose = self.pose + np.array([distance * math.cos(heading), distance * math.sin(heading), 0.0, 0.0])
        if self.offset_change is not None:
            self._shift(time + dt, distance)

    def _distance(self, time: float, dt: float) -> float:
        """Return the distance (m) of a move, by Simpson's rule, and set the speed at its end."""
        if self.speed_source is not None:
            self.speed = self.speed_source()
            return self.speed * dt
        if self.speed_change is None:
            return self.speed * dt
        first, middle, last = (self.speed_change.at(time + part * dt) for part in (0.0, 0.5, 1.0))
        self.speed = last
        return (first + 4.0 * middle + last) * dt / 6.0

    def _follow(self, time: float, distance: float, dt: float) -> None:
        """Follow the trajectory; where it ends, go on along the lane there."""
        assert self.trajectory is not None
        path, before = self.trajectory, self.pose
        path.along = time if path.times is not None else path.along + distance
        point, heading = path.place(path.along)
        if path.times is not None:
            self.speed = math.dist(point[:2], before[:2]) / dt
        self.step, self.is_sought, self.pose = None, False, np.array([*point, heading])
        if path.along >= float((path.lengths if path.times is None else path.times)[-1]):
            self.trajectory = None
            self.put_in_world(self.pose)

    def _shift(self, time: float, distance: float) -> None:
        """Move sideways; the heading is that of the path."""
        assert self.offset_change is not None
        before = self.offset
        self.offset = self.offset_change.at(time, self.travelled)
        left = (self.offset - before) * (1.0 if self.along else -1.0)
        self.turned = math.atan2(left, distance) if abs(distance) > 1e-6 else self.turned
        if self.offset_change.part(time, self.travelled) >= 1.0:
            self.offset_change, self.turned = None, 0.0

    def _along_road(self, distance: float, time: float) -> None:
        left = distance
        for _ in range(MAX_ROADS_PER_MOVE):
            assert self.step is not None
            assert self.road is not None
            section = self.road.sections[self.step[1]]
            scale = max(1.0 - self._curvature() * self.t, LEAST_SCALE)
            to = self.s + (left if self.along else -left) / scale
            if section.start <= to <= section.end:
                self.s = to
                return
            border = section.end if to > section.end else section.start
            left -= math.copysign(abs(border - self.s) * scale, left)
            if not self._enter_next(to > section.end):
                self.s = border
                self.stands_at_end = time if self.stands_at_end is None else self.stands_at_end
                return

    def _enter_next(self, upwards: bool) -> bool:
        """Go on in the next lane of the route, else in the straightest one; return whether there is any."""
        assert self.step is not None
        options = self.network.continued(self.step, upwards)
        if not options:
            return False
        options = [option for option in options if option[0][0] in self.route] or options
        step, along = min(options, key=lambda option: abs(self._turn(option[0])))
        section = self.network.roads[step[0]].sections[step[1]]
        self.step, self.along, self.s = step, along, section.start if along else section.end
        return True

    def _turn(self, step: Step) -> float:
        """Return the change of heading (rad) along a road."""
        road = self.network.roads[step[0]]
        ends = road.line.pose(np.array([0.0, road.length]))[:, 2]
        return math.remainder(float(ends[1] - ends[0]), 2.0 * math.pi) if road.junction is not None else 0.0

    def _curvature(self) -> float:
        assert self.road is not None
        low = min(max(self.s - 0.5 * CURVATURE_SPAN_M, 0.0), max(self.road.length - CURVATURE_SPAN_M, 0.0))
        first, last = self.road.line.pose(np.array([low, low + CURVATURE_SPAN_M]))[:, 2]
        return math.remainder(float(last - first), 2.0 * math.pi) / CURVATURE_SPAN_M


LOCATE_SPACING_M = 1.0
LOCATE_REACH_M = 30.0


def locate(network: Network, x: float, y: float) -> tuple[Step, float, float] | None:
    """Return the lane at a point, its arc length and the offset (m) from the lane's centre; None off the roads."""
    best: tuple[float, Step, float, float] | None = None
    for road in network.roads.values():
        s = np.linspace(0.0, road.length, max(int(np.ceil(road.length / LOCATE_SPACING_M)), 1) + 1)
        pose = road.line.pose(s)
        k = int(np.argmin(np.hypot(pose[:, 0] - x, pose[:, 1] - y)))
        dx, dy, heading = x - pose[k, 0], y - pose[k, 1], pose[k, 2]
        at = float(np.clip(s[k] + dx * math.cos(heading) + dy * math.sin(heading), 0.0, road.length))
        near = road.line.pose(np.array([at]))[0]
        t = float(-(x - near[0]) * math.sin(near[2]) + (y - near[1]) * math.cos(near[2]))
        if math.hypot(x - near[0], y - near[1]) > LOCATE_REACH_M:
            continue
        section = road.section_at(at)
        for lane in road.sections[section].lanes:
            if lane:
                offset = t - float(road.lane_t(lane, np.array([at]), section)[0])
                width = abs(
                    float(road.sections[section].border(lane, np.array([at]))[0])
                    - float(road.sections[section].border(lane - (1 if lane > 0 else -1), np.array([at]))[0])
                )
                if abs(offset) <= 0.5 * width and (best is None or abs(offset) < best[0]):
                    best = abs(offset), (road.id, section, lane), at, offset
    return None if best is None else best[1:]
