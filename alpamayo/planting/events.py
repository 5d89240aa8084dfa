"""The event of a family, taken from a generated scenario: its actors and how they move about a steady ego."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.motion_replay import MotionReplay, replay_motion, steady_motion
from alpamayo.planting.road_sections import LaneAcross, lanes_across
from alpamayo_scenarios.families import Family
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import RoadMap
from alpamayo_sim.geometry import box_separation, from_frame, to_frame
from alpamayo_sim.map.index import index_of

Array = np.ndarray

SURROUNDINGS = re.compile(r"(car|parked|vegetation|building)-\d+")  # names of what only fills the scene
STRAIGHT_M = 0.3  # sideways from a straight line, that a route of a road which any recording may have stays within


@dataclass(frozen=True, eq=False)
class Event:
    """The event of a generated scenario.

    Positions are in the frame of its ego's first pose: u ahead, v to the left (m). A ``mirrored`` event is that of
    left-hand traffic: v is to the right on the generated road, which has right-hand traffic.
    """

    family: Family
    scenario: Scenario
    mirrored: bool = False

    @property
    def start(self) -> Float64[Array, "3"]:
        """The ego's first pose: x, y (m), heading (rad)."""
        ego = self.scenario.scene.ego
        return np.array([*ego.position[0, :2], ego.heading[0]], np.float64)

    @property
    def speed(self) -> float:
        """The ego's first speed (m/s)."""
        return float(np.hypot(*self.scenario.scene.ego.velocity[0]))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The tracks and props that belong to the event, the critical actors first."""
        scene = self.scenario.scene
        ids = [track.id for track in scene.tracks if track.id != scene.ego_id] + [prop.id for prop in scene.props]
        critical = [name for name in ids if self.family.is_critical(name)]
        return (*critical, *(name for name in ids if name not in critical and not SURROUNDINGS.fullmatch(name)))

    def needs(self, name: str) -> bool:
        """Return whether there is no event without an actor: a critical one, or the car of a critical door."""
        parts = (other for other in self.names if self.family.is_critical(other))
        return self.family.is_critical(name) or any(part.startswith(f"{name}-") for part in parts)

    @cached_property
    def motion(self) -> MotionReplay:
        """The actors of the event about an ego that follows its route at its first speed."""
        scene, names = self.scenario.scene, {*self.names, self.scenario.scene.ego_id}
        tracks = tuple(track for track in scene.tracks if track.id in names)
        props = tuple(prop for prop in scene.props if prop.id in names)
        scripts = tuple(script for script in self.scenario.scripts if script.track_id in names)
        alone = replace(self.scenario, scene=replace(scene, tracks=tracks, props=props), scripts=scripts)
        return replay_motion(alone, steady_motion(alone))

    @cached_property
    def place(self) -> tuple[int, float]:
        """The step at which the steady ego is nearest to a critical actor, and that clearance (m)."""
        return nearest(self.motion, steady_motion(self.scenario)[:, :3].astype(np.float64), self.family)

    @property
    def time_s(self) -> float:
        """The time (s) of the event."""
        return self.place[0] * self.scenario.scene.dt

    @property
    def distance_m(self) -> float:
        """How far (m) the steady ego has come at the event."""
        return self.speed * self.time_s

    def path(self, name: str) -> tuple[Float64[Array, "t 3"], Bool[Array, " t"]]:
        """Return u, v and heading (rad, from the ego's first one) of an actor at each step, and whether it is there."""
        k = self.motion.ids.index(name)
        pose = self.motion.pose[:, k].astype(np.float64)
        return self.local(pose), self.motion.valid[:, k]

    def size(self, name: str) -> Float64[Array, "2"]:
        """Return length and width (m) of an actor."""
        return self.motion.size[self.motion.ids.index(name), :2].astype(np.float64)

    def why_bound(self) -> str:
        """Return why only roads of its own fit the event; empty where a recorded road may."""
        scene = self.scenario.scene
        assert scene.route is not None
        if scene.signals:
            return "it needs traffic lights of its own"
        route = to_frame(scene.route.path[:, :2].astype(np.float64), self.start)
        if np.abs(route[route[:, 0] < self.scenario.goal.distance, 1]).max() > STRAIGHT_M:
            return "its route turns, or changes lanes where a lane ends"
        return ""

    @property
    def side(self) -> float:
        """The sign of v: -1 on a road that is mirrored."""
        return -1.0 if self.mirrored else 1.0

    def local(self, pose: Float64[Array, "n 3"]) -> Float64[Array, "n 3"]:
        """Return u, v (m) and heading (rad, from the ego's first one) of poses in the generated scenario."""
        u, v = to_frame(pose[:, :2], self.start).T
        return np.column_stack([u, self.side * v, self.side * (pose[:, 2] - self.start[2])])

    def world(self, local: Float64[Array, "n 2"]) -> Float64[Array, "n 2"]:
        """Return the places (m) in the generated scenario of u, v (m)."""
        return from_frame(local * np.array([1.0, self.side]), self.start)

    def lanes(self, distance: float) -> list[LaneAcross]:
        """Return the lanes of the road ``distance`` (m) ahead of the ego's start, from right to left."""
        pose = np.append(self.world(np.array([[distance, 0.0]]))[0], self.start[2])
        lanes = lanes_across(self.scenario.scene.road_map, pose)
        return [replace(lane, offset=-lane.offset) for lane in lanes[::-1]] if self.mirrored else lanes

    @cached_property
    def in_intersection(self) -> bool:
        """Whether the event is in an intersection."""
        return in_intersection(self.scenario.scene.road_map, self.world(np.array([[self.distance_m, 0.0]])))


def nearest(motion: MotionReplay, ego: Float64[Array, "t 3"], family: Family) -> tuple[int, float]:
    """Return the step at which an ego is nearest to a critical actor of a family, and that clearance (m)."""
    critical = [k for k, name in enumerate(motion.ids) if family.is_critical(name)]
    pose, size = motion.pose[:, critical].astype(np.float64), motion.size[critical, :2].astype(np.float64)
    gap = box_separation(ego[:, None], motion.ego_size[:2].astype(np.float64), pose, size[None])
    least = np.where(motion.valid[:, critical], gap, np.inf).min(axis=1)
    step = int(np.argmax(least <= 0.0)) if (least <= 0.0).any() else int(np.argmin(least))
    return step, float(least[step])


def in_intersection(road_map: RoadMap, place: Float64[Array, "1 2"]) -> bool:
    """Return whether the lane at a place (m) lies in an intersection."""
    index = index_of(road_map)
    match = index.nearest_lane(place)
    return bool(match.index[0] >= 0 and index.lane_in_intersection[match.index[0]])
