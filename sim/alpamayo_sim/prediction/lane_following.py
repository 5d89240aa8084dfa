"""What the others will probably do: go on as they do, along their lane where they have one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category, is_static
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.segment_grid import warp_view
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
ALIGNED = np.deg2rad(30.0)
DRIFT_TIME = 3.0  # s; longer than this nobody goes on sideways
DRIFT_LANE = 3.5  # m
SWERVE = 3.0  # m/s²; no faster does a speed sideways grow
SWERVE_TIME = 0.8  # s
SURE = 1.5  # s; where a lane may be the wrong one, straight on counts too, for this long
MOVES = 0.5  # m/s
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 11)  # s; of a plan, and of what the time to collision looks at after 4 s
FURTHER = 300.0  # m of path beyond the lane
IS_WALKER = np.array([category in (Category.PEDESTRIAN, Category.ANIMAL) for category in Category])


class LaneForecaster:
    """Forecasts on one map; paths along the lanes are worked out once and kept.

    Vehicles and cyclists that go along a lane (within 30 degrees, or against it by as much) keep to it: they
    hold their speed, or their deceleration down to rest, and drift on sideways for at most 3 s or a lane's width;
    a drift that has just grown goes on growing for 0.8 s.
    Everybody else goes straight on. Someone on a lane of an intersection, or turned by more than 10 degrees to
    his lane, is there twice: along the lane, and straight on for 1.5 s. So is a walker: going on, and standing.
    """

    def __init__(self, index: MapIndex) -> None:
        self.index = index
        self._paths = Paths()
        self._lines: dict[int, tuple[Float64[Array, "n 2"], float]] = {}
        self._sideways: dict[str, float] = {}
        self._last: _Intent | None = None

    def forecast(
        self, agents: Agents, deceleration: Float64[Array, " n"] | None = None, *, since: float | None = None
    ) -> AgentTrajectories:
        """75 poses of everybody who is there, from now on.

        Args:
            agents: everybody.
            deceleration: of each (m/s², not negative), held until it stands.
            since: time (s) since this was last asked; how the speed sideways to the lane has changed since then
                goes on for 0.8 s. None: that is not known.
        """
        rows = np.flatnonzero(agents.valid)
        pose, velocity = agents.pose[rows].astype(np.float64), agents.velocity[rows].astype(np.float64)
        braking = np.zeros(len(rows)) if deceleration is None else deceleration[rows]
        speed = np.hypot(velocity[:, 0], velocity[:, 1])
        category = np.asarray(agents.category)[rows]
        lanes = self._lanes_of(pose, np.flatnonzero((speed > MOVES) & ~is_static(category) & ~IS_WALKER[category]))
        names = [agents.ids[i] for i in rows]
        drift = self._drift(velocity[lanes.rows], lanes, [names[i] for i in lanes.rows], since)
        until = np.full(len(rows), np.inf)
        until[lanes.rows] = np.where(lanes.doubtful, SURE, 0.0)
        straight, walkers = np.flatnonzero(until > 0.0), np.flatnonzero((speed > MOVES) & IS_WALKER[category])
        order = np.concatenate([straight, walkers, lanes.rows])
        pace = speed[order]
        pace[len(straight) : len(straight) + len(walkers)] = 0.0
        self._last = _Intent(
            ids=tuple(names[i] for i in order),
            category=category[order],
            size=agents.size[rows[order], :2].astype(np.float64),
            until=np.concatenate([until[straight], np.full(len(walkers) + len(lanes.rows), np.inf)]),
            motion=self._motion(pose[order], velocity[order], pace, braking[order], lanes, drift),
        )
        return self.at(TIMES)

    def at(self, times: Float64[Array, " t"]) -> AgentTrajectories:
        """The last forecast once more, at two or more other times (s) from when it was made."""
        from alpamayo_sim.prediction.kernels import go_on

        last = self._last
        assert last is not None
        count, steps = len(last.ids), len(times)
        poses, moved = np.empty((count, steps, 3)), np.empty((count, steps, 2))
        wp.launch(go_on, dim=count, inputs=[*last.motion, _sideways(), times, poses, moved], device="cpu")
        valid = times < last.until[:, None] + 0.5 * PLAN_DT
        return AgentTrajectories(last.ids, last.category, poses, moved, last.size, valid)

    def _lanes_of(self, pose: Float64[Array, "n 3"], rows: Int64[Array, " m"]) -> "_Along":
        """Which of some keep to a lane, and which.

        Someone drives against a lane where none goes his way within its width, but one the other way does.
        """
        count = len(rows)
        if not count or not self.index.road_map.lanes:
            none = np.zeros(0, np.int64)
            return _Along(none, none, none.astype(bool), none.astype(bool), *np.zeros((4, 0)))
        xy, heading = np.tile(pose[rows, :2], (2, 1)), np.concatenate([pose[rows, 2], pose[rows, 2] + np.pi])
        both = self.index.match_lanes(xy, heading)  # as they drive, and as if they drove the other way
        half, off = 0.5 * self.index.lane_width(both), np.abs(both.offset)
        turn = np.asarray(wrap_angle(heading - both.heading))
        along = (both.index >= 0) & (np.abs(turn) < ALIGNED)
        inside = along & (off < half)
        against = ~inside[:count] & inside[count:]
        choice = np.arange(count) + count * against
        kept = (along & (off < half + 0.5))[choice]
        lane, turn = both.index[choice], turn[choice]
        choice, lane, against, turn = choice[kept], lane[kept], against[kept], turn[kept]
        return _Along(
            rows=rows[kept],
            lane=lane,
            against=against,
            doubtful=self.index.lane_in_intersection[lane] | (np.abs(turn) > np.deg2rad(10.0)),
            s=both.s[choice],
            offset=np.where(against, -both.offset[choice], both.offset[choice]),
            heading=both.heading[choice] + np.pi * against,
            turn=turn,
        )

    def _drift(
        self, velocity: Float64[Array, "n 2"], lanes: "_Along", names: list[str], since: float | None
    ) -> Float64[Array, "n 2"]:
        """Speed (m/s) sideways to the lane, to the left of the one who drives, and how it grows (m/s²)."""
        before = self._sideways
        speed = velocity[:, 1] * np.cos(lanes.heading) - velocity[:, 0] * np.sin(lanes.heading)
        self._sideways = dict(zip(names, speed.tolist(), strict=True))
        change = np.zeros(len(names))
        if since is not None:
            then = np.array([before.get(name, np.inf) for name in names])
            grows = np.abs(speed) > np.abs(then)
            change[grows] = np.clip((speed[grows] - then[grows]) / since, -SWERVE, SWERVE)
        return np.stack([speed, change], axis=-1)

    def _motion(
        self, pose: Array, velocity: Array, speed: Array, braking: Array, lanes: "_Along", drift: Array
    ) -> list[Any]:
        """How all go on, as the compiled loop takes it: straight on, and the last rows along their lanes."""
        count, along = len(pose), slice(len(pose) - len(lanes.rows), None)
        path, motion = np.full(count, -1, np.int32), np.zeros((count, 12))
        keys = zip(lanes.lane.tolist(), lanes.against.tolist(), strict=True)
        path[along] = [self._paths.row(key, self._path) for key in keys]
        motion[:, :3], motion[:, 3:5] = pose, velocity / np.maximum(speed, 1e-6)[:, None]
        motion[:, 5], motion[:, 6] = speed, braking
        motion[along, 7] = np.where(lanes.against, self._paths.own[path[along]] - lanes.s, lanes.s)
        motion[along, 8], motion[along, 9], motion[along, 10:] = lanes.offset, lanes.turn, drift
        return [motion, path, self._paths.struct]

    def prepare(self, xy: Float64[Array, "n 2"], reach: float) -> None:
        """Work out now the paths of all lanes that come within ``reach`` (m) of points, both ways."""
        for lane, each in enumerate(self.index.road_map.lanes):
            if np.hypot(*(each.centreline[:, None, :2] - xy).T).min() < reach:
                for against in (False, True):
                    self._paths.row((lane, against), self._path)

    def _path(self, lane: int, against: bool) -> "Path":
        """A lane and what goes straightest on from it, ``FURTHER`` at least; against the traffic if asked."""
        (points, own), seen = self._line(lane, against), {lane}
        parts, length = [points], own
        while length < own + FURTHER:
            following = [i for i in self._connections[against][lane] if i not in seen]
            if not following:
                break
            end = points[-1] - points[-2]
            lane = min(following, key=lambda i: abs(_bend(end, self._line(i, against)[0])))
            seen.add(lane)
            points, more = self._line(lane, against)
            parts.append(points[1:])
            length += more
        s, line = _with_headings(np.concatenate(parts), own + FURTHER)
        return Path(own, s, line)

    def _line(self, lane: int, against: bool) -> tuple[Float64[Array, "n 2"], float]:
        """Points of a lane and its length (m), backwards if asked."""
        if lane not in self._lines:
            points = self.index.road_map.lanes[lane].centreline[:, :2].astype(np.float64)
            self._lines[lane] = points, float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        points, length = self._lines[lane]
        return points[::-1] if against else points, length

    @cached_property
    def _connections(self) -> tuple[list[list[int]], list[list[int]]]:
        """Lanes that go on from each lane, and those that lead to it."""
        lanes = self.index.road_map.lanes
        number = {lane.id: i for i, lane in enumerate(lanes)}
        after = [[number[name] for name in lane.successors if name in number] for lane in lanes]
        before: list[list[int]] = [[] for _ in lanes]
        for i, following in enumerate(after):
            for j in following:
                before[j].append(i)
        return after, before


@dataclass(frozen=True, eq=False)
class _Intent:
    """Who does what: each row counts ``until`` a time (s); ``motion`` are inputs of ``kernels.forecasts.go_on``."""

    ids: tuple[str, ...]
    category: Int8[Array, " n"]
    size: Float64[Array, "n 2"]
    until: Float64[Array, " n"]
    motion: list[Any]


@dataclass(frozen=True, eq=False)
class _Along:
    """Who of some (``rows``) keep to a lane, where on it, how far to its left; heading their way, turn to it."""

    rows: Int64[Array, " n"]
    lane: Int64[Array, " n"]
    against: Bool[Array, " n"]
    doubtful: Bool[Array, " n"]
    s: Float64[Array, " n"]
    offset: Float64[Array, " n"]
    heading: Float64[Array, " n"]
    turn: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class Path:
    """x, y, heading (continuous) at the arc lengths ``s`` along a lane, ``own`` (m) long, and on."""

    own: float
    s: Float64[Array, " n"]
    points: Float64[Array, "n 3"]


class Paths:
    """Paths by key, on end as the compiled loop takes them; ``own`` are the lengths (m) of the lanes they begin on."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bool], int] = {}
        self._first, self.own = np.zeros(1, np.int32), np.zeros(0)
        self._s, self._points = np.zeros(0), np.zeros((0, 3))
        self.struct = self._make_struct()

    def row(self, key: tuple[int, bool], make: Callable[[int, bool], Path]) -> int:
        """The number of a path, which is made if it is not there yet."""
        if key not in self._rows:
            path, row = make(*key), len(self._rows)
            self._rows[key] = row
            begin, end = self._first[row], self._first[row] + len(path.s)
            self._make_room(row + 1, end)
            self._s[begin:end], self._points[begin:end] = path.s, path.points
            self._first[row + 1], self.own[row] = end, path.own
        return self._rows[key]

    def _make_room(self, rows: int, points: int) -> None:
        """Room for so many paths and points; twice as many as are needed where there is not."""
        if rows >= len(self._first) or points > len(self._s):
            self._first = np.resize(self._first, max(len(self._first), 2 * rows))
            self.own = np.resize(self.own, len(self._first))
            more = max(2 * points - len(self._s), 0)
            self._s = np.concatenate([self._s, np.zeros(more)])
            self._points = np.concatenate([self._points, np.zeros((more, 3))])
            self.struct = self._make_struct()

    def _make_struct(self) -> Any:
        """Return all paths as ``prediction.kernels.Paths``; it shares its memory with this object."""
        from alpamayo_sim.prediction import kernels as forecasts

        paths = forecasts.Paths()
        paths.first, paths.s = warp_view(self._first, wp.int32), warp_view(self._s, wp.float64)
        paths.points = warp_view(self._points, wp.vec3d)
        return paths


@lru_cache(maxsize=1)
def _sideways() -> Any:
    """The bounds of what goes on sideways, as the compiled loop takes them."""
    from alpamayo_sim.prediction.kernels import Sideways

    bounds = Sideways()
    bounds.lasting, bounds.furthest, bounds.growing = DRIFT_TIME, DRIFT_LANE, SWERVE_TIME
    return bounds


def _bend(end: Array, following: Array) -> float:
    """Angle (rad) between the end of one path and the whole of the next."""
    whole = following[-1] - following[0]
    return math.remainder(math.atan2(whole[1], whole[0]) - math.atan2(end[1], end[0]), math.tau)


def _with_headings(points: Array, length: float) -> tuple[Array, Array]:
    """Arc lengths and x, y, heading (continuous) of a path, carried on straight up to ``length`` (m)."""
    step = np.diff(points, axis=0)
    way = np.hypot(step[:, 0], step[:, 1])
    if not (way > 1e-3).all():
        points = points[np.concatenate([[True], way > 1e-3])]
        step = np.diff(points, axis=0)
        way = np.hypot(step[:, 0], step[:, 1])
    s = np.zeros(len(points) + 1)
    np.cumsum(way, out=s[1:-1])
    missing = max(length - s[-2], 1.0)
    s[-1] = s[-2] + missing
    heading = np.arctan2(step[:, 1], step[:, 0])
    if np.abs(np.diff(heading)).max(initial=0.0) > np.pi:
        heading = np.unwrap(heading)
    line = np.empty((len(s), 3))
    line[:-1, :2], line[-1, :2] = points, points[-1] + missing / way[-1] * step[-1]
    line[0, 2], line[-2:, 2] = heading[0], heading[-1]
    line[1:-2, 2] = 0.5 * (heading[1:] + heading[:-1])
    return s, line
