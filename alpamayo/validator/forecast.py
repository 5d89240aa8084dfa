"""What the others will probably do: go on as they do, along their lane where they have one."""

import math
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.lane_field import LaneField, lane_field
from alpamayo.validator.places import LANE_APART, lane_width
from alpamayo.validator.situation import Traffic, is_static
from alpamayo_sim.driver import PLAN_DT, PLAN_STEPS, Agents
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map_index import LaneMatch, MapIndex
from alpamayo_sim.scene import Category

Array = np.ndarray
STEPS = PLAN_STEPS + 1
ALIGNED = np.deg2rad(30.0)
DRIFT_TIME = 3.0  # s; longer than this nobody goes on sideways
DRIFT_LANE = 3.5  # m
SWERVE = 3.0  # m/s²; no faster does a speed sideways grow
SWERVE_TIME = 0.8  # s
SURE = 1.5  # s; where a lane may be the wrong one, straight on counts too, for this long
MOVES = 0.5  # m/s
FURTHER = 150.0  # m of path beyond the lane
IS_WALKER = np.array([category in (Category.PEDESTRIAN, Category.ANIMAL) for category in Category])


class LaneForecaster:
    """Forecasts on one map; paths along the lanes are worked out once and kept.

    Vehicles and cyclists that go along a lane (within 30 degrees, or against it by as much) keep to it: they
    hold their speed, or their deceleration down to rest, and drift on sideways for at most 3 s or a lane's width;
    a drift that has just grown goes on growing for 0.8 s.
    Everybody else goes straight on. Someone on a lane of an intersection, or turned by more than 10 degrees to
    his lane, is there twice: along the lane, and straight on for 1.5 s.
    """

    def __init__(self, index: MapIndex) -> None:
        self.index = index
        self._paths: dict[tuple[int, bool], tuple[Array, Array]] = {}
        self._sideways: dict[str, float] = {}

    def forecast(
        self, agents: Agents, deceleration: Float64[Array, " n"] | None = None, *, since: float | None = None
    ) -> Traffic:
        """65 poses of everybody who is there, from now on.

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
        travelled, speeds = _motion(speed, braking)
        category = np.asarray(agents.category)[rows]
        straight = _straight(pose, velocity, speed, travelled, speeds)
        valid = np.ones(travelled.shape, bool)
        follows = np.flatnonzero((speed > MOVES) & ~is_static(category) & ~IS_WALKER[category])
        names = [agents.ids[rows[i]] for i in follows]
        along, kept, doubtful = self._along_lanes(pose[follows], velocity[follows], travelled[follows], names, since)
        follows = follows[kept]
        valid[follows[~doubtful], :] = False
        valid[follows[doubtful], round(SURE / PLAN_DT) + 1 :] = False
        valid[follows, 0] = True
        order = np.concatenate([np.arange(len(rows)), follows])
        poses = np.concatenate([straight, along])
        moved = np.diff(poses[..., :2], axis=1, append=poses[:, -1:, :2]) / PLAN_DT
        moved[:, -1] = moved[:, -2]
        return Traffic(
            ids=tuple(agents.ids[rows[i]] for i in order),
            category=category[order],
            pose=poses,
            velocity=moved,
            size=agents.size[rows, :2].astype(np.float64)[order],
            valid=np.concatenate([valid, np.ones((len(follows), STEPS), bool)]),
        )

    def _along_lanes(
        self, pose: Array, velocity: Array, travelled: Array, names: list[str], since: float | None
    ) -> tuple[Array, Array, Bool[Array, " n"]]:
        """Poses along their lanes, which of the given have one, and of which of those it is in doubt."""
        before, self._sideways = self._sideways, {}
        none = np.zeros((0, STEPS, 3)), np.zeros(0, np.int64), np.zeros(0, bool)
        if not len(pose) or not self.index.road_map.lanes:
            return none
        match = self._lanes.match(pose[:, :2], pose[:, 2])
        against, match = self._against(pose, match)
        turn = wrap_angle(pose[:, 2] - match.heading + np.pi * against)
        half = 0.5 * lane_width(self.index, match)
        kept = np.flatnonzero((match.index >= 0) & (np.abs(turn) < ALIGNED) & (np.abs(match.offset) < half + 0.5))
        if not len(kept):
            return none
        match, against = _rows(match, kept), against[kept]
        doubtful = self._in_intersection[match.index] | (np.abs(turn[kept]) > np.deg2rad(10.0))
        drift = self._drift(velocity[kept], match, against, [names[i] for i in kept], before, since)
        return self._follow(pose[kept], drift, travelled[kept], match, against), kept, doubtful

    def _drift(
        self,
        velocity: Array,
        match: LaneMatch,
        against: Bool[Array, " n"],
        names: list[str],
        before: dict[str, float],
        since: float | None,
    ) -> Float64[Array, "n 65"]:
        """Way (m) sideways to the lane, to the left of the one who drives."""
        heading = match.heading + np.pi * against
        speed = velocity[:, 1] * np.cos(heading) - velocity[:, 0] * np.sin(heading)
        self._sideways = dict(zip(names, speed.tolist(), strict=True))
        change = np.zeros(len(names))
        if since is not None:
            then = np.array([before.get(name, np.inf) for name in names])
            grows = np.abs(speed) > np.abs(then)
            change[grows] = np.clip((speed[grows] - then[grows]) / since, -SWERVE, SWERVE)
        t = np.minimum(PLAN_DT * np.arange(STEPS), DRIFT_TIME)
        growing = np.minimum(t, SWERVE_TIME)
        way = speed[:, None] * t + change[:, None] * growing * (t - 0.5 * growing)
        return np.clip(way, -DRIFT_LANE, DRIFT_LANE)

    def _against(self, pose: Array, match: LaneMatch) -> tuple[Bool[Array, " n"], LaneMatch]:
        """Who drives against a lane (none goes his way within its width, but one the other way does), and the lanes."""
        off = np.flatnonzero(np.abs(match.offset) > 0.5 * lane_width(self.index, match))
        against = np.zeros(len(pose), bool)
        if len(off):
            other = self._lanes.match(pose[off, :2], pose[off, 2] + np.pi)
            inside = np.abs(other.offset) < 0.5 * lane_width(self.index, other)
            against[off[inside]] = True
            for name in match.__dataclass_fields__:
                getattr(match, name)[off[inside]] = getattr(other, name)[inside]
        return against, match

    def _follow(
        self, pose: Array, drift: Array, travelled: Array, match: LaneMatch, against: Bool[Array, " n"]
    ) -> Float64[Array, "n 65 3"]:
        """Poses along the lanes' paths, the offset kept but for the drift, a turn to the lane eased out."""
        keys = list(zip(match.index.tolist(), against.tolist(), strict=True))
        paths = {key: self._path(*key) for key in keys}
        row = {key: i for i, key in enumerate(paths)}
        apart = LANE_APART * np.array([row[key] for key in keys])[:, None]
        knots = np.concatenate([LANE_APART * i + path[0] for i, path in enumerate(paths.values())])
        lines = np.concatenate([path[1] for path in paths.values()])
        length = np.array([paths[key][0][-1] for key in keys])
        s = np.where(against, length - FURTHER - match.s, match.s)[:, None] + travelled
        s = apart + np.clip(s, 0.0, length[:, None])
        x, y, heading = (np.interp(s, knots, lines[:, i]) for i in range(3))
        offset = np.where(against, -match.offset, match.offset)[:, None] + drift
        ease = np.maximum(1.0 - PLAN_DT * np.arange(STEPS) / DRIFT_TIME, 0.0)
        turned = np.asarray(wrap_angle(pose[:, 2] - match.heading - np.pi * against))[:, None] * ease
        out = np.stack([x - offset * np.sin(heading), y + offset * np.cos(heading), heading + turned], axis=-1)
        out[..., :2] += pose[:, None, :2] - out[:, :1, :2]
        return out

    def _path(self, lane: int, against: bool) -> tuple[Array, Array]:
        """Arc lengths and x, y, heading along a lane and on, at least ``FURTHER``; against it if asked."""
        if (lane, against) not in self._paths:
            lanes = self.index.road_map.lanes
            points = lanes[lane].centreline[:, :2].astype(np.float64)
            own = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
            points = points[::-1] if against else self._chain(lane, points, own + FURTHER)
            self._paths[lane, against] = _with_headings(points, own + FURTHER)
        return self._paths[lane, against]

    def _chain(self, lane: int, points: Array, length: float) -> Array:
        """Centreline and straightest successors up to a length (m)."""
        lanes, seen = self.index.road_map.lanes, {lane}
        while np.linalg.norm(np.diff(points, axis=0), axis=1).sum() < length:
            following = [self._by_id[name] for name in lanes[lane].successors if name in self._by_id]
            following = [i for i in following if i not in seen]
            if not following:
                break
            end = points[-1] - points[-2]
            lane = min(following, key=lambda i: abs(_bend(end, lanes[i].centreline[:, :2])))
            seen.add(lane)
            points = np.concatenate([points, lanes[lane].centreline[1:, :2].astype(np.float64)])
        return points

    @cached_property
    def _lanes(self) -> LaneField:
        return lane_field(self.index)

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {lane.id: i for i, lane in enumerate(self.index.road_map.lanes)}

    @cached_property
    def _in_intersection(self) -> Bool[Array, " lanes"]:
        return np.array([lane.in_intersection for lane in self.index.road_map.lanes])


def _rows(match: LaneMatch, rows: Array) -> LaneMatch:
    return LaneMatch(**{name: getattr(match, name)[rows] for name in match.__dataclass_fields__})


def _motion(speed: Array, braking: Array) -> tuple[Array, Array]:
    """Way (m) and speed (m/s) of each over the 65 times when it brakes as it does until it stands."""
    t = PLAN_DT * np.arange(STEPS)
    end = np.divide(speed, braking, out=np.full(len(speed), np.inf), where=braking > 0.0)
    lasting = np.minimum(t, end[:, None])
    return (
        speed[:, None] * lasting - 0.5 * braking[:, None] * lasting**2,
        np.maximum(speed[:, None] - braking[:, None] * t, 0.0),
    )


def _straight(pose: Array, velocity: Array, speed: Array, travelled: Array, speeds: Array) -> Float64[Array, "n 65 3"]:
    direction = velocity / np.maximum(speed, 1e-6)[:, None]
    out = np.repeat(pose[:, None], STEPS, axis=1)
    out[..., :2] += travelled[..., None] * direction[:, None]
    return out


def _bend(end: Array, following: Array) -> float:
    """Angle (rad) between the end of one path and the whole of the next."""
    whole = following[-1] - following[0]
    return math.remainder(math.atan2(whole[1], whole[0]) - math.atan2(end[1], end[0]), math.tau)


def _with_headings(points: Array, length: float) -> tuple[Array, Array]:
    """Arc lengths and x, y, heading (continuous) of a path, carried on straight up to ``length`` (m)."""
    step = np.diff(points, axis=0)
    kept = np.concatenate([[True], np.linalg.norm(step, axis=1) > 1e-3])
    points = points[kept]
    step = np.diff(points, axis=0)
    direction = step[-1] / np.linalg.norm(step[-1])
    missing = max(length - float(np.linalg.norm(step, axis=1).sum()), 1.0)
    points = np.concatenate([points, points[-1:] + missing * direction])
    step = np.diff(points, axis=0)
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(step, axis=1))])
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    middle = np.concatenate([heading[:1], 0.5 * (heading[1:] + heading[:-1]), heading[-1:]])
    return knots, np.column_stack([points, middle])
