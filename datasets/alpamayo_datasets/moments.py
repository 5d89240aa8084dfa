"""Rare moments in a recording: hard brakes, cut-ins, near misses, jaywalkers, red lights and wrong-way drivers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from jaxtyping import Bool, Float64

from alpamayo_sim.datatypes.scene import Category, Scene, SignalState, Track
from alpamayo_sim.geometry import arc_length, boxes_overlap, polyline_headings, project, wrap_angle
from alpamayo_sim.map.index import index_of

Array = np.ndarray

VEHICLES = (Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE)
LOOK_AHEAD_S = 0.1  # between the times at which boxes that keep their velocities are compared
JAYWALKER_S = 0.5  # how long a pedestrian walks on the road at least


@dataclass(frozen=True)
class MomentConfig:
    """Thresholds of the kinds of moments.

    Attributes:
        near_ego_m: only road users that come this near to the ego count.
        hard_brake_mps2: deceleration, averaged over ``hard_brake_s``.
        hard_brake_s: s.
        cut_in_from_m: a vehicle was at least this far beside the ego's path ...
        cut_in_to_m: ... and is at most this far beside it ...
        cut_in_within_s: ... within this time ...
        cut_in_gap_m: ... with at most this gap to the ego's front ...
        cut_in_headway_s: ... and at most this headway.
        near_miss_s: time to a contact at constant velocities.
        near_miss_speed_mps: least speed of one towards the other.
        crosswalk_m: a pedestrian on the road is a jaywalker if farther than this from all crosswalks.
        walking_mps: least speed of a jaywalker.
        kerb_m: a pedestrian is on the road if this far from its border.
        red_light_mps: least speed over the line.
        wrong_way_rad: angle to the lane.
        wrong_way_lane_m: distance to the lane's centre at most.
        wrong_way_mps: least speed.
        wrong_way_s: how long.
    """

    near_ego_m: float = 60.0
    hard_brake_mps2: float = 4.0
    hard_brake_s: float = 0.5
    cut_in_from_m: float = 2.2
    cut_in_to_m: float = 1.2
    cut_in_within_s: float = 3.0
    cut_in_gap_m: float = 30.0
    cut_in_headway_s: float = 2.0
    near_miss_s: float = 1.0
    near_miss_speed_mps: float = 3.0
    crosswalk_m: float = 3.0
    walking_mps: float = 0.5
    kerb_m: float = 1.0
    red_light_mps: float = 2.0
    wrong_way_rad: float = 2.6
    wrong_way_lane_m: float = 1.5
    wrong_way_mps: float = 2.0
    wrong_way_s: float = 1.0


DEFAULT = MomentConfig()


@dataclass(frozen=True)
class Moment:
    """One rare moment: its kind, its road user, its first step and how long it lasts.

    ``value`` says how strong it is, in ``unit``: the deceleration, the headway, the time to a contact, the distance to
    the nearest crosswalk, the speed over the line or against the lane.
    """

    kind: str
    actor: str
    step: int
    time_s: float
    duration_s: float
    value: float
    unit: str
    x: float
    y: float


def moments(scene: Scene, config: MomentConfig = DEFAULT) -> list[Moment]:
    """Return the rare moments of a scene, by time; x and y (m) are in the frame of the file (float64)."""
    found = [moment for find in FINDERS.values() for moment in find(_Scene(scene), config)]
    return sorted(found, key=lambda moment: (moment.step, moment.kind, moment.actor))


class _Scene:
    """A scene with what several kinds of moments need."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.dt = scene, scene.dt
        self.others = [track for track in scene.tracks if track.id != scene.ego_id]

    def near(self, track: Track, config: MomentConfig) -> Bool[Array, " n"]:
        """Return the steps at which a road user is there and near the ego."""
        ego = self.scene.ego
        away = np.linalg.norm(track.position[:, :2] - ego.position[:, :2], axis=1)
        return track.valid & ego.valid & (away < config.near_ego_m)

    def spans(
        self,
        kind: str,
        track: Track,
        holds: Bool[Array, " n"],
        values: Float64[Array, " n"],
        unit: str,
        least_s: float,
        strongest: Callable[[Array], Any] = np.max,
    ) -> Iterator[Moment]:
        """Yield a moment for each span of steps at which something holds, with its strongest value."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], holds.astype(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2).tolist():
            if (end - start) * self.dt + 1e-9 < least_s:
                continue
            value = round(float(strongest(values[start:end])), 6)
            x, y = track.position[start, :2].astype(np.float64) + self.scene.origin[:2]
            time, lasts = start * self.dt, (end - start) * self.dt
            yield Moment(kind, track.id, start, round(time, 3), round(lasts, 3), value, unit, float(x), float(y))


def _hard_brakes(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    width = max(1, round(config.hard_brake_s / around.dt))
    for track in (around.scene.ego, *around.others):
        if track.category not in VEHICLES or around.scene.steps <= width:
            continue
        speed = speed_along(track)
        slower = np.zeros(around.scene.steps)
        slower[:-width] = (speed[:-width] - speed[width:]) / (width * around.dt)
        known = np.zeros(around.scene.steps, bool)
        known[:-width] = np.lib.stride_tricks.sliding_window_view(track.valid, width + 1).all(axis=1)
        holds = known & around.near(track, config) & (slower > config.hard_brake_mps2)
        yield from around.spans("hard-brake", track, holds, slower, "m/s²", around.dt)


def _cut_ins(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    scene, window = around.scene, round(config.cut_in_within_s / around.dt)
    path = _ego_path(scene)
    if path is None:
        return
    ego_s, _ = project(path, scene.ego.position[:, :2].astype(np.float64))
    ego_speed = speed_along(scene.ego)
    for track in around.others:
        there = around.near(track, config)
        if track.category not in VEHICLES or not there.any():
            continue
        s, offset = project(path, track.position[:, :2].astype(np.float64))
        gap = s - ego_s - 0.5 * (track.size[0] + scene.ego.size[0])
        beside = np.where(there, np.abs(offset), 0.0)
        before = np.array([beside[max(0, k - window) : k + 1].max() for k in range(scene.steps)])
        headway = gap / np.maximum(ego_speed, 0.1)
        close = (gap > 0.0) & (gap < config.cut_in_gap_m) & (headway < config.cut_in_headway_s)
        inside = there & (np.abs(offset) < config.cut_in_to_m)
        holds = inside & (before > config.cut_in_from_m) & close & (speed_along(track) > config.red_light_mps)
        yield from around.spans("cut-in", track, holds, headway, "s", around.dt, np.min)


def _near_misses(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    ego = around.scene.ego
    ego_pose = np.column_stack([ego.position[:, :2], ego.heading]).astype(np.float64)
    for track in around.others:
        there = np.flatnonzero(around.near(track, config))
        pose = np.column_stack([track.position[:, :2], track.heading]).astype(np.float64)
        towards = np.linalg.norm((ego.velocity - track.velocity).astype(np.float64), axis=1)
        there = there[towards[there] > config.near_miss_speed_mps]
        left = np.full(around.scene.steps, np.inf)
        sizes = ego.size[:2].astype(np.float64), track.size[:2].astype(np.float64)
        for ahead in np.arange(0.0, config.near_miss_s + 1e-9, LOOK_AHEAD_S)[::-1]:
            ours, theirs = (_moved(p, t, there, ahead) for p, t in ((ego_pose, ego), (pose, track)))
            left[there[boxes_overlap(ours, sizes[0], theirs, sizes[1])]] = ahead
        yield from around.spans("near-miss", track, np.isfinite(left), left, "s", around.dt, np.min)


def _jaywalkers(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    road_map = around.scene.road_map
    area = index_of(road_map).drivable_area
    if not area.is_defined:
        return
    crosswalks = shapely.union_all([shapely.make_valid(shapely.Polygon(r[:, :2])) for r in road_map.crosswalks])
    for track in around.others:
        holds = around.near(track, config)
        if track.category != Category.PEDESTRIAN or not holds.any():
            continue
        rows = np.flatnonzero(holds)
        xy = track.position[rows, :2].astype(np.float64)
        away = np.full(around.scene.steps, np.inf)
        if not crosswalks.is_empty:
            away[rows] = shapely.distance(crosswalks, shapely.points(xy))
        walks = np.hypot(*track.velocity[rows].T) > config.walking_mps
        holds[rows] = (area.margin(xy) > config.kerb_m) & (away[rows] > config.crosswalk_m) & walks
        capped = np.minimum(away, config.near_ego_m)
        yield from around.spans("jaywalker", track, holds, capped, "m", JAYWALKER_S)


def _red_lights(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    lanes = around.scene.road_map.lane_by_id
    for signal in around.scene.signals:
        red = signal.states == SignalState.RED
        if not red.any():
            continue
        for lane in (lanes[name] for name in signal.lane_ids if name in lanes):
            start, heading = lane.centreline[0, :2].astype(np.float64), float(polyline_headings(lane.centreline)[0])
            half = 0.5 * float(lane.width[0])
            for track in (around.scene.ego, *around.others):
                holds = _crosses(track, start, heading, half) & red & around.near(track, config)
                speed = speed_along(track)
                holds &= speed > config.red_light_mps
                if track.category in VEHICLES and holds.any():
                    yield from around.spans("red-light", track, holds, speed, "m/s", around.dt)


def _wrong_way(around: _Scene, config: MomentConfig) -> Iterator[Moment]:
    if not around.scene.road_map.lanes:
        return
    index = index_of(around.scene.road_map)
    for track in (around.scene.ego, *around.others):
        speed = speed_along(track)
        holds = around.near(track, config) & (speed > config.wrong_way_mps)
        if track.category not in VEHICLES or not holds.any():
            continue
        rows = np.flatnonzero(holds)
        xy, heading = track.position[rows, :2].astype(np.float64), track.heading[rows].astype(np.float64)
        along = index.nearest_lane(xy, heading, max_distance=config.wrong_way_lane_m)
        against = (along.index >= 0) & (np.abs(wrap_angle(along.heading - heading)) > config.wrong_way_rad)
        allowed = ~index.lane_in_intersection[np.maximum(along.index, 0)]
        holds[rows] = against & allowed
        yield from around.spans("wrong-way", track, holds, speed, "m/s", config.wrong_way_s)


FINDERS: dict[str, Callable[[_Scene, MomentConfig], Iterator[Moment]]] = {
    "hard-brake": _hard_brakes,
    "cut-in": _cut_ins,
    "near-miss": _near_misses,
    "jaywalker": _jaywalkers,
    "red-light": _red_lights,
    "wrong-way": _wrong_way,
}


def speed_along(track: Track) -> Float64[Array, " n"]:
    """Return the speed (m/s) along the heading; negative where a road user goes backwards."""
    c, s = np.cos(track.heading.astype(np.float64)), np.sin(track.heading.astype(np.float64))
    return np.asarray(c * track.velocity[:, 0] + s * track.velocity[:, 1])


def _moved(pose: Float64[Array, "n 3"], track: Track, rows: Array, ahead: float) -> Float64[Array, "k 3"]:
    """Return the poses of some steps, ``ahead`` seconds later at the velocity of the step."""
    return pose[rows] + ahead * np.pad(track.velocity[rows].astype(np.float64), ((0, 0), (0, 1)))


def _ego_path(scene: Scene) -> Float64[Array, "n 2"] | None:
    """Return the path of the ego: its route; None for an ego without one or that does not move."""
    if scene.route is None or arc_length(scene.route.path)[-1] < 1.0:
        return None
    return scene.route.path[:, :2].astype(np.float64)


def _crosses(track: Track, start: Float64[Array, "2"], heading: float, half_width: float) -> Bool[Array, " n"]:
    """Return the steps at which a road user's front passes over the start of a lane, in the lane's direction."""
    ahead = np.stack([np.cos(track.heading), np.sin(track.heading)], axis=1)
    nose = track.position[:, :2] + 0.5 * track.size[0] * ahead
    offset = nose.astype(np.float64) - start
    along = np.cos(heading) * offset[:, 0] + np.sin(heading) * offset[:, 1]
    across = np.cos(heading) * offset[:, 1] - np.sin(heading) * offset[:, 0]
    passed = np.zeros(len(along), bool)
    passed[1:] = (along[:-1] < 0.0) & (along[1:] >= 0.0) & track.valid[:-1] & track.valid[1:]
    straight = np.abs(wrap_angle(track.heading.astype(np.float64) - heading)) < 0.5
    return passed & straight & (np.abs(across) < half_width)
