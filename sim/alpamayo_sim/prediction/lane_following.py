"""Lane-following prediction of all agents, compiled: along the lane where there is one, else straight on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int32, Int64

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category, is_static
from alpamayo_sim.geometry import arc_length, wrap_angle
from alpamayo_sim.map.frenet import FrenetFrame
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.segment_grid import warp_view
from alpamayo_sim.prediction.lane_paths import GUARD_LANE_FOLLOWING, LaneFollowingConfig, LaneGraph
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
LATERAL_MOTION_S = 3.0  # a lateral motion ends after this time
LATERAL_MOTION_M = 3.5  # and after a lane's width
LATERAL_ACCELERATION_MPS2 = 3.0  # bound of a measured lateral acceleration
LATERAL_ACCELERATION_S = 0.8  # a measured lateral acceleration lasts this long
LANE_MARGIN_M = 0.5  # outside its lane an agent still follows it
AMBIGUOUS_ANGLE_RAD = np.deg2rad(10.0)  # from this angle to its lane an agent may also go straight on
STRAIGHT_ON_S = 1.5  # for this long
PATH_SPACING_M = 1e6  # between two paths in one list of arc lengths; longer than any path
TIMES = PLAN_DT * np.arange(PLAN_STEPS + 11)  # s; of a plan, and the second that time to collision needs after it
IS_WALKER = np.array([category in (Category.PEDESTRIAN, Category.ANIMAL) for category in Category])


class LaneFollowingPredictor:
    """Predicts agents on one map; paths along lanes are computed once and kept.

    Vehicles and cyclists that move along a lane, in either direction, follow it. They keep their speed, or brake at
    their deceleration to standstill. They keep their lateral speed for at most 3 s or a lane's width; a lateral
    speed that has just grown goes on growing for 0.8 s. All other agents go straight on.

    Ambiguous agents have two rows. An agent on a lane of an intersection, or at more than 10 degrees to its lane,
    follows the lane and also goes straight on for 1.5 s. A walker goes on and also stops.

    Args:
        index: the map.
        config: the thresholds.
    """

    def __init__(self, index: MapIndex, config: LaneFollowingConfig = GUARD_LANE_FOLLOWING) -> None:
        self.index, self.config = index, config
        self._graph = LaneGraph(index.road_map)
        self._paths = PathTable()
        self._lines: dict[int, tuple[Float64[Array, "n 2"], float]] = {}
        self._lateral_speeds: dict[str, float] = {}
        self._last: _Prediction | None = None

    def predict(
        self, agents: Agents, deceleration: Float64[Array, " n"] | None = None, *, since: float | None = None
    ) -> AgentTrajectories:
        """Predict 75 poses of all present agents, the first of them now.

        Args:
            agents: the agents.
            deceleration: the deceleration (m/s², not negative) of each, which lasts to standstill.
            since: the time (s) since the last call, to measure lateral accelerations; None if it is not known.
        """
        rows, moving = np.flatnonzero(agents.valid), self.config.moving_mps
        pose, velocity = agents.pose[rows].astype(np.float64), agents.velocity[rows].astype(np.float64)
        braking = np.zeros(len(rows)) if deceleration is None else deceleration[rows]
        speed = np.hypot(velocity[:, 0], velocity[:, 1])
        category = np.asarray(agents.category)[rows]
        ground = None if agents.elevation is None else agents.elevation[rows].astype(np.float64)
        drives = np.flatnonzero((speed > moving) & ~is_static(category) & ~IS_WALKER[category])
        lanes = self._match(pose, ground, drives)
        names = [agents.ids[i] for i in rows]
        lateral = self._lateral_motion(velocity[lanes.rows], lanes, [names[i] for i in lanes.rows], since)
        until = np.full(len(rows), np.inf)
        until[lanes.rows] = np.where(lanes.is_ambiguous, STRAIGHT_ON_S, 0.0)
        straight, walkers = np.flatnonzero(until > 0.0), np.flatnonzero((speed > moving) & IS_WALKER[category])
        order = np.concatenate([straight, walkers, lanes.rows])
        predicted_speed = speed[order]
        predicted_speed[len(straight) : len(straight) + len(walkers)] = 0.0
        self._last = _Prediction(
            ids=tuple(names[i] for i in order),
            category=category[order],
            size=agents.size[rows[order], :2].astype(np.float64),
            until=np.concatenate([until[straight], np.full(len(walkers) + len(lanes.rows), np.inf)]),
            motion=self._motion(pose[order], velocity[order], predicted_speed, braking[order], lanes, lateral),
            elevation=None if ground is None else ground[order],
            height=agents.size[rows[order], 2].astype(np.float64),
        )
        return self.predict_at(TIMES)

    def predict_at(self, times: Float64[Array, " t"]) -> AgentTrajectories:
        """Evaluate the last prediction at two or more other times (s) since it was made."""
        from alpamayo_sim.prediction.kernels import predict_poses

        last = self._last
        assert last is not None
        count, steps = len(last.ids), len(times)
        poses, velocity = np.empty((count, steps, 3)), np.empty((count, steps, 2))
        inputs = [*last.motion, _lateral_bounds(), times, poses, velocity]
        wp.launch(predict_poses, dim=count, inputs=inputs, device="cpu")
        valid = times < last.until[:, None] + 0.5 * PLAN_DT
        elevation = self._elevation(last, poses)
        return AgentTrajectories(last.ids, last.category, poses, velocity, last.size, valid, elevation, last.height)

    def _elevation(self, last: "_Prediction", poses: Float64[Array, "n t 3"]) -> Float64[Array, "n t"] | None:
        """Return the z (m) of the ground under the agents: it rises and falls with the path of an agent, if any."""
        if last.elevation is None:
            return None
        motion, path, _ = last.motion
        step = np.diff(poses[..., :2], axis=1)
        driven = np.cumsum(np.hypot(step[..., 0], step[..., 1]), axis=1)
        s = motion[:, 7:8] + np.concatenate([np.zeros((len(poses), 1)), driven], axis=1)
        z = self._paths.elevation_at(np.maximum(path, 0), s)
        return np.asarray(last.elevation[:, None] + np.where((path >= 0)[:, None], z - z[:, :1], 0.0))

    def prepare(self, xy: Float64[Array, "n 2"], reach: float) -> None:
        """Compute the paths of all lanes within ``reach`` (m) of points now, in both directions."""
        for lane, each in enumerate(self.index.road_map.lanes):
            if np.hypot(*(each.centreline[:, None, :2] - xy).T).min() < reach:
                for against in (False, True):
                    self._paths.row((lane, against), self._path)

    def _match(
        self, pose: Float64[Array, "n 3"], ground: Float64[Array, " n"] | None, rows: Int64[Array, " m"]
    ) -> "_LaneFollowers":
        """Find the agents that follow a lane.

        An agent drives against a lane if that lane contains it and no lane of its own direction does.
        """
        count = len(rows)
        if not count or not self.index.road_map.lanes:
            none = np.zeros(0, np.int64)
            return _LaneFollowers(none, none, none.astype(bool), none.astype(bool), *np.zeros((4, 0)))
        xy, heading = np.tile(pose[rows, :2], (2, 1)), np.concatenate([pose[rows, 2], pose[rows, 2] + np.pi])
        elevation = None if ground is None else np.tile(ground[rows], 2)
        both = self.index.match_lanes(xy, heading, elevation)  # in the direction of motion, and against it
        half, distance = 0.5 * self.index.lane_width(both), np.abs(both.offset)
        turn = np.asarray(wrap_angle(heading - both.heading))
        is_aligned = (both.index >= 0) & (np.abs(turn) < self.config.aligned_angle_rad)
        is_inside = is_aligned & (distance < half)
        against = ~is_inside[:count] & is_inside[count:]
        choice = np.arange(count) + count * against
        kept = (is_aligned & (distance < half + LANE_MARGIN_M))[choice]
        lane, turn = both.index[choice], turn[choice]
        choice, lane, against, turn = choice[kept], lane[kept], against[kept], turn[kept]
        return _LaneFollowers(
            rows=rows[kept],
            lane=lane,
            against=against,
            is_ambiguous=self.index.lane_in_intersection[lane] | (np.abs(turn) > AMBIGUOUS_ANGLE_RAD),
            s=both.s[choice],
            offset=np.where(against, -both.offset[choice], both.offset[choice]),
            heading=both.heading[choice] + np.pi * against,
            turn=turn,
        )

    def _lateral_motion(
        self, velocity: Float64[Array, "n 2"], lanes: "_LaneFollowers", names: list[str], since: float | None
    ) -> Float64[Array, "n 2"]:
        """Return speed (m/s) and acceleration (m/s²) lateral to the lane, positive to the left of the agent."""
        before = self._lateral_speeds
        speed = velocity[:, 1] * np.cos(lanes.heading) - velocity[:, 0] * np.sin(lanes.heading)
        self._lateral_speeds = dict(zip(names, speed.tolist(), strict=True))
        acceleration = np.zeros(len(names))
        if since is not None:
            last = np.array([before.get(name, np.inf) for name in names])
            grows = np.abs(speed) > np.abs(last)
            measured = (speed[grows] - last[grows]) / since
            acceleration[grows] = np.clip(measured, -LATERAL_ACCELERATION_MPS2, LATERAL_ACCELERATION_MPS2)
        return np.stack([speed, acceleration], axis=-1)

    def _motion(
        self,
        pose: Float64[Array, "n 3"],
        velocity: Float64[Array, "n 2"],
        speed: Float64[Array, " n"],
        braking: Float64[Array, " n"],
        lanes: "_LaneFollowers",
        lateral: Float64[Array, "m 2"],
    ) -> list[Any]:
        """Return the inputs of the kernel; the last rows follow their lanes."""
        count, followers = len(pose), slice(len(pose) - len(lanes.rows), None)
        path, motion = np.full(count, -1, np.int32), np.zeros((count, 12))
        keys = zip(lanes.lane.tolist(), lanes.against.tolist(), strict=True)
        path[followers] = [self._paths.row(key, self._path) for key in keys]
        motion[:, :3], motion[:, 3:5] = pose, velocity / np.maximum(speed, 1e-6)[:, None]
        motion[:, 5], motion[:, 6] = speed, braking
        own_length = self._paths.lane_length[path[followers]]
        motion[followers, 7] = np.where(lanes.against, own_length - lanes.s, lanes.s)
        motion[followers, 8], motion[followers, 9], motion[followers, 10:] = lanes.offset, lanes.turn, lateral
        return [motion, path, self._paths.struct]

    def _path(self, lane: int, against: bool) -> "LanePath":
        """Return the path along a lane and its straightest continuation."""

        def turn_of(current: int, option: int) -> float:
            return abs(_turn(self._line(current, against)[0], self._line(option, against)[0]))

        points, own = self._line(lane, against)
        end = own + self.config.path_length_m
        chain = self._graph.chain(lane, against, (own, end), lambda i: self._line(i, against)[1], turn_of)
        parts = [points, *(self._line(i, against)[0][1:] for i in chain)]
        frame = FrenetFrame.extended(np.concatenate(parts), end)
        lines = [self.index.road_map.lanes[i].centreline[:: -1 if against else 1] for i in (lane, *chain)]
        ground = np.concatenate([lines[0], *(line[1:] for line in lines[1:])]).astype(np.float64)
        elevation = np.interp(frame.s, arc_length(ground), ground[:, 2])
        return LanePath(own, frame.s, np.column_stack([frame.xy, frame.heading]), elevation)

    def _line(self, lane: int, against: bool) -> tuple[Float64[Array, "n 2"], float]:
        """Return the points of a lane, in reverse order if asked, and its length (m)."""
        if lane not in self._lines:
            points = self.index.road_map.lanes[lane].centreline[:, :2].astype(np.float64)
            self._lines[lane] = points, float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        points, length = self._lines[lane]
        return points[::-1] if against else points, length


@dataclass(frozen=True, eq=False)
class _Prediction:
    """The last prediction: each row is valid ``until`` a time (s); ``motion`` are inputs of the kernel.

    ``elevation`` is the present z (m) of the ground under the agents.
    """

    ids: tuple[str, ...]
    category: Int8[Array, " n"]
    size: Float64[Array, "n 2"]
    until: Float64[Array, " n"]
    motion: list[Any]
    elevation: Float64[Array, " n"] | None
    height: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class _LaneFollowers:
    """Agents that follow a lane.

    Attributes:
        rows: the agents.
        lane: the number of the lane.
        against: whether the agent drives against it.
        is_ambiguous: whether the agent may also go straight on.
        s: the arc length (m) on the lane.
        offset: the offset (m) to the left of the lane, as seen by the agent.
        heading: the heading (rad) of the lane in the direction of the agent.
        turn: the angle (rad) of the agent to it.
    """

    rows: Int64[Array, " n"]
    lane: Int64[Array, " n"]
    against: Bool[Array, " n"]
    is_ambiguous: Bool[Array, " n"]
    s: Float64[Array, " n"]
    offset: Float64[Array, " n"]
    heading: Float64[Array, " n"]
    turn: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class LanePath:
    """A path along a lane of ``lane_length`` (m) and beyond: x, y, continuous heading at arc lengths ``s``.

    ``elevation`` is the z (m) of the ground there.
    """

    lane_length: float
    s: Float64[Array, " n"]
    points: Float64[Array, "n 3"]
    elevation: Float64[Array, " n"]


class PathTable:
    """Paths by key, one after the other in memory as the kernel takes them.

    Attributes:
        lane_length: the length (m) of the lane that each path begins on.
        struct: all paths as ``prediction.kernels.Paths``; it shares its memory with this object.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bool], int] = {}
        self._first, self.lane_length = np.zeros(1, np.int32), np.zeros(0)
        self._s, self._points, self._elevation = np.zeros(0), np.zeros((0, 3)), np.zeros(0)
        self._is_flat = True
        self.struct = self._make_struct()

    def row(self, key: tuple[int, bool], make: Callable[[int, bool], LanePath]) -> int:
        """Return the row of a path; make the path if it is new."""
        if key not in self._rows:
            path, row = make(*key), len(self._rows)
            self._rows[key] = row
            begin, end = self._first[row], self._first[row] + len(path.s)
            self._reserve(row + 1, end)
            self._s[begin:end], self._points[begin:end] = path.s, path.points
            self._elevation[begin:end] = path.elevation
            self._is_flat = self._is_flat and not np.ptp(path.elevation) > 0.0
            self._first[row + 1], self.lane_length[row] = end, path.lane_length
        return self._rows[key]

    def elevation_at(self, rows: Int32[Array, " n"], s: Float64[Array, "n t"]) -> Float64[Array, "n t"]:
        """Return the z (m) of the ground at arc lengths (m) of paths; all paths are looked up in one list."""
        if self._is_flat:
            return np.zeros(s.shape)
        count = len(self._rows)
        apart = PATH_SPACING_M * np.repeat(np.arange(count), np.diff(self._first[: count + 1]))
        end = self._first[count]
        last = self._s[self._first[rows + 1] - 1][:, None]
        at = np.clip(s, 0.0, last) + PATH_SPACING_M * rows[:, None]
        return np.asarray(np.interp(at, self._s[:end] + apart, self._elevation[:end]))

    def _reserve(self, rows: int, points: int) -> None:
        """Make room for numbers of paths and points, twice as many as needed if there is not enough."""
        if rows >= len(self._first) or points > len(self._s):
            self._first = np.resize(self._first, max(len(self._first), 2 * rows))
            self.lane_length = np.resize(self.lane_length, len(self._first))
            more = max(2 * points - len(self._s), 0)
            self._s = np.concatenate([self._s, np.zeros(more)])
            self._points = np.concatenate([self._points, np.zeros((more, 3))])
            self._elevation = np.concatenate([self._elevation, np.zeros(more)])
            self.struct = self._make_struct()

    def _make_struct(self) -> Any:
        from alpamayo_sim.prediction import kernels

        paths = kernels.Paths()
        paths.first, paths.s = warp_view(self._first, wp.int32), warp_view(self._s, wp.float64)
        paths.points = warp_view(self._points, wp.vec3d)
        return paths


@lru_cache(maxsize=1)
def _lateral_bounds() -> Any:
    from alpamayo_sim.prediction.kernels import LateralBounds

    bounds = LateralBounds()
    bounds.duration, bounds.distance = LATERAL_MOTION_S, LATERAL_MOTION_M
    bounds.acceleration_duration = LATERAL_ACCELERATION_S
    return bounds


def _turn(line: Float64[Array, "n 2"], following: Float64[Array, "m 2"]) -> float:
    """Return the angle (rad) between the end of one line and the whole of the next."""
    end, whole = line[-1] - line[-2], following[-1] - following[0]
    return math.remainder(math.atan2(whole[1], whole[0]) - math.atan2(end[1], end[0]), math.tau)
