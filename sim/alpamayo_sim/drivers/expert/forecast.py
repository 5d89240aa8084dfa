"""What the other road users will probably do: keep to their lane, finish a lane change, or go straight on."""

from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scene import Category, Lane
from alpamayo_sim.geometry import arc_length, wrap_angle
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray

DT = 0.2  # s
STEPS = 49  # poses, now to 9.6 s
TIMES = DT * np.arange(STEPS)
ON_WHEELS = (Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE)
MOVING = 0.3  # m/s
ALONG = np.deg2rad(50.0)  # angle to a lane within which a road user follows it
LANE_REACH = 3.0  # m from a lane's centreline
SETTLE = 0.25  # m/s across the lane from which a lane change is expected
PAST_CENTRE = 0.15  # m
QUICK = 1.6  # m/s across that a lane change reaches at least
TREND = 1.2  # s for which a measured acceleration is taken to last
WHEEL_ACCELERATION = 6.0  # m/s², what is believed of a measurement
HALT = 3.0  # m/s² with which those on foot may stop at any time


@dataclass(frozen=True, eq=False)
class Forecast:
    """Expected poses of the agents of ``rows`` (their rows in ``Agents``) at ``TIMES``."""

    rows: Array
    pose: Float64[Array, "n 49 3"]
    speed: Float64[Array, "n 49"]
    size: Float64[Array, "n 2"]
    category: Array
    standing: Bool[Array, " n"]


@dataclass(eq=False)
class Memory:
    """What is remembered of each agent from one step to the next."""

    speed: dict[str, float] = field(default_factory=dict)
    acceleration: dict[str, float] = field(default_factory=dict)
    still_since: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def update(self, agents: Agents, time: float, dt: float) -> None:
        """Measure accelerations, smoothed over a few steps, and for how long each agent has stood."""
        speeds = np.hypot(agents.velocity[:, 0], agents.velocity[:, 1])
        for k in np.flatnonzero(agents.valid):
            name, speed = agents.ids[k], float(speeds[k])
            before = self.speed.get(name)
            if before is not None:
                change = float(np.clip((speed - before) / dt, -9.0, WHEEL_ACCELERATION))
                self.acceleration[name] = 0.5 * self.acceleration.get(name, 0.0) + 0.5 * change
            self.speed[name] = speed
            if speed > MOVING:
                self.still_since.pop(name, None)
            else:
                # Whoever stands when first met has stood for long.
                self.still_since.setdefault(name, -1e3 if before is None else time)

    def always_stood(self, name: str) -> bool:
        """Whether it has never moved since it was first met."""
        return self.still_since.get(name, 0.0) < 0.0

    def stands_for(self, name: str, time: float) -> float:
        """Seconds since it last moved; 0 for who moves."""
        since = self.still_since.get(name)
        return 0.0 if since is None else time - since


def forecast(truth: GroundTruth, rows: Array, index: MapIndex, memory: Memory) -> Forecast:
    """Expected motion of the given agents."""
    agents = truth.agents
    pose = agents.pose[rows].astype(np.float64)
    velocity = agents.velocity[rows].astype(np.float64)
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    category = agents.category[rows].astype(np.int64)
    acceleration = np.array([memory.acceleration.get(agents.ids[k], 0.0) for k in rows])
    acceleration[~np.isin(category, ON_WHEELS)] = 0.0
    way, speeds = _along(speed, acceleration)
    course = np.where(speed > MOVING, np.arctan2(velocity[:, 1], velocity[:, 0]), pose[:, 2])
    out = np.empty((len(rows), STEPS, 3))
    out[..., 0] = pose[:, None, 0] + way * np.cos(course)[:, None]
    out[..., 1] = pose[:, None, 1] + way * np.sin(course)[:, None]
    out[..., 2] = pose[:, None, 2]
    on_lane = np.flatnonzero((speed > MOVING) & np.isin(category, (*ON_WHEELS, Category.CYCLIST)))
    if on_lane.size and index.road_map.lanes:
        _keep_lanes(out, on_lane, pose, course, speed, way, index)
    size = agents.size[rows, :2].astype(np.float64)
    straight = Forecast(rows, out, speeds, size, category, speed <= MOVING)
    on_foot = np.flatnonzero((speed > MOVING) & np.isin(category, (Category.PEDESTRIAN, Category.ANIMAL)))
    return _joined(straight, _halted(straight, on_foot, course, speed)) if on_foot.size else straight


def _halted(straight: Forecast, which: Array, course: Array, speed: Array) -> Forecast:
    """The same road users once more, if they came to a halt now."""
    way, speeds = _along(speed[which], np.full(len(which), -HALT))
    pose = straight.pose[which].copy()
    pose[..., 0] = pose[:, :1, 0] + way * np.cos(course[which])[:, None]
    pose[..., 1] = pose[:, :1, 1] + way * np.sin(course[which])[:, None]
    rest = straight.rows[which], pose, speeds, straight.size[which], straight.category[which]
    return Forecast(*rest, np.ones(len(which), bool))


def _joined(a: Forecast, b: Forecast) -> Forecast:
    return Forecast(*(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(Forecast)))


def _along(speed: Array, acceleration: Array) -> tuple[Array, Array]:
    """Way (m) and speed (m/s) at ``TIMES``: the acceleration lasts ``TREND`` s at most, nobody drives backwards."""
    t = TIMES[None]
    lasting = np.where(acceleration < 0.0, 2.5, TREND)[:, None]
    a = acceleration[:, None]
    until = np.where(a < 0.0, np.minimum(lasting, speed[:, None] / np.maximum(-a, 1e-6)), lasting)
    u = np.minimum(t, until)
    way = speed[:, None] * u + 0.5 * a * u**2
    reached = np.maximum(speed[:, None] + a * u, 0.0)
    return way + reached * (t - u), reached


def _keep_lanes(
    out: Array, which: Array, pose: Array, course: Array, speed: Array, way: Array, index: MapIndex
) -> None:
    """Bend the straight forecasts of those who drive along a lane, in either direction."""
    match = index.nearest_lane(pose[which, :2], course[which])
    for i, lane, s, offset, heading, distance in zip(
        which, match.index, match.s, match.offset, match.heading, match.distance, strict=True
    ):
        angle = float(wrap_angle(np.asarray(course[i] - heading)))
        against = abs(angle) > np.pi - ALONG
        if distance > LANE_REACH or lane < 0 or not (abs(angle) < ALONG or against):
            continue
        line = _lane_line(index, index.road_map.lanes[lane], against)
        start = s if not against else line.own_length - s
        d = offset if not against else -offset
        drift = speed[i] * np.sin(angle - np.pi * np.sign(angle) * against)
        width = float(np.median(index.road_map.lanes[lane].width))
        across = _across(d, drift, width)
        xy, bend = line.at(start + way[i])
        out[i, :, 0] = xy[:, 0] - across * np.sin(bend)
        out[i, :, 1] = xy[:, 1] + across * np.cos(bend)
        out[i, 0, :2] = pose[i, :2]
        out[i, 1:, 2] = bend[1:]


def _across(d: float, drift: float, width: float) -> Array:
    """Offset (m) over time: who drifts goes on to the next lane's centre, others keep their offset."""
    if abs(drift) < SETTLE:
        return np.full(STEPS, d)
    # Before a lane's centre it is about to settle there, behind it it goes on to the next one.
    goal = np.ceil((d * np.sign(drift) - PAST_CENTRE) / width) * width * np.sign(drift)
    # A change of lane begins slowly.
    drift = np.sign(drift) * np.clip(1.5 * abs(drift), QUICK, 2.5)
    moved = d + drift * TIMES
    return np.minimum(moved, goal) if drift > 0 else np.maximum(moved, goal)


@dataclass(frozen=True, eq=False)
class _Line:
    """A lane and its straightest successors as one line."""

    xy: Array
    s: Array
    heading: Array
    own_length: float

    def at(self, s: Array) -> tuple[Array, Array]:
        """Position and heading; straight on beyond the end."""
        xy = np.stack([np.interp(s, self.s, self.xy[:, k]) for k in (0, 1)], axis=-1)
        heading = np.interp(s, self.s, self.heading)
        beyond = np.maximum(s - self.s[-1], 0.0)[:, None]
        return xy + beyond * np.array([np.cos(self.heading[-1]), np.sin(self.heading[-1])]), heading


def _lane_line(index: MapIndex, lane: Lane, against: bool, reach: float = 200.0) -> _Line:
    """Successors are followed for ``reach`` m; against the direction the lane alone is taken, and straight on."""
    cache: dict[tuple[str, bool], _Line] = index.__dict__.setdefault("_expert_lines", {})
    key = (lane.id, against)
    if key not in cache:
        pieces = [lane.centreline[:, :2].astype(np.float64)]
        own = float(arc_length(pieces[0])[-1])
        if against:
            before = _chain(index, lane, reach, backwards=True)
            joined = np.concatenate([*before[::-1], pieces[0]])[::-1]
        else:
            joined = np.concatenate([*pieces, *_chain(index, lane, reach, backwards=False)])
        keep = np.concatenate([[True], np.linalg.norm(np.diff(joined, axis=0), axis=1) > 1e-3])
        joined = joined[keep]
        step = np.gradient(joined, axis=0)
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        cache[key] = _Line(joined, arc_length(joined), heading, own)
    return cache[key]


def _chain(index: MapIndex, lane: Lane, reach: float, backwards: bool) -> list[Array]:
    """Centrelines of the straightest successors, or of the predecessors, one after the other."""
    pieces: list[Array] = []
    by_id, current, length = index.road_map.lane_by_id, lane, 0.0
    visited = {lane.id}
    while length < reach:
        if backwards:
            options = [x for x in index.road_map.lanes if current.id in x.successors]
        else:
            options = [by_id[name] for name in current.successors if name in by_id]
        options = [x for x in options if x.id not in visited]
        if not options:
            break
        current = min(options, key=_turn)
        visited.add(current.id)
        line = current.centreline[:, :2].astype(np.float64)
        pieces.append(line)
        length += float(arc_length(line)[-1])
    return pieces


def _turn(lane: Lane) -> float:
    """How far a lane bends (rad)."""
    step = np.diff(lane.centreline[[0, 1, -2, -1], :2].astype(np.float64), axis=0)
    angles = np.arctan2(step[[0, 2], 1], step[[0, 2], 0])
    return float(abs(wrap_angle(np.asarray(angles[1] - angles[0]))))
