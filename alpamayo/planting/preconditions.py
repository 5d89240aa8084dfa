"""The preconditions of an event in a recording: each check returns why it does not hold, or an empty text."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.planting.events import Event
from alpamayo.planting.transfer import Transfer
from alpamayo_sim.datatypes.scenario import VEHICLES
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.geometry import box_separation
from alpamayo_sim.map.index import index_of

Array = np.ndarray


@dataclass(frozen=True)
class PlantingConfig:
    """Thresholds of the preconditions.

    Attributes:
        lane_reach_m: an actor uses a lane that its middle comes this near to.
        roadside_reach_m: an actor further than this beyond the outer lanes is not beside the road, but on another one.
        ego_corridor_m: half the width of the ground that an actor keeps free which keeps it free in the family.
        room_m: gap that planted and recorded road users keep until the event.
        missed_m: how much further from a steady ego the event may be than in the family.
    """

    lane_reach_m: float = 1.2
    roadside_reach_m: float = 8.0
    ego_corridor_m: float = 1.1
    room_m: float = 0.2
    missed_m: float = 0.5


@dataclass(frozen=True, eq=False)
class Course:
    """One actor of the event until the event: its path in the frame of the event, and where it is there."""

    name: str
    local: Float64[Array, "t 3"]
    valid: Bool[Array, " t"]
    size: Float64[Array, "2"]
    is_vehicle: bool

    @classmethod
    def of(cls, event: Event, name: str) -> "Course":
        """Return the course of an actor."""
        until = slice(0, event.place[0] + 1)
        local, valid = event.path(name)
        track = next((track for track in event.scenario.scene.tracks if track.id == name), None)
        is_vehicle = track is not None and track.category in VEHICLES
        return cls(name, local[until], valid[until], event.size(name), is_vehicle)


def why_no_lane(course: Course, transfer: Transfer, config: PlantingConfig) -> str:
    """Check that the lanes which the actor uses are there, and that its roadside is beside the ego's road."""
    v, lanes = course.local[course.valid, 1], transfer.lanes
    for lane, reason in lanes.missing:
        if len(v) and np.abs(v - lane.offset).min() < config.lane_reach_m:
            return reason
    low, high = lanes.offsets[0], lanes.offsets[-1]
    for edge, beyond, side in ((low, low - v, "right"), (high, v - high, "left")):
        beside = v[(beyond > 0.0) & (beyond < config.roadside_reach_m)]
        extra = lanes.roadside(edge + (-1.0 if side == "right" else 1.0))
        if len(beside) and extra:
            return f"{course.name!r} is at the {side} roadside, and {extra} more lanes lie between"
    return ""


def why_no_ground(course: Course, transfer: Transfer) -> str:
    """Check that vehicles stay on drivable ground where they do in the family."""
    if not course.is_vehicle or not course.valid.any():
        return ""
    local = course.local[course.valid]
    on_road = _drivable(transfer.event.scenario.scene, transfer.event.world(local[:, :2]))
    here = _drivable(transfer.recording.scene, transfer.pose(local)[:, :2])
    lost = on_road & ~here
    if not lost.any():
        return ""
    u, v = local[np.argmax(lost), :2]
    return f"{course.name!r} has no road {u:.0f} m ahead of the ego and {abs(v):.0f} m to its {_side(v)}"


def why_in_the_way(course: Course, transfer: Transfer, config: PlantingConfig) -> str:
    """Check that an actor which stands beside the ego's path in the family does not reach into it."""
    v = course.local[:1, 1]
    half = 0.5 * course.size[1]
    was_free = abs(float(v[0])) - half > config.ego_corridor_m
    is_free = abs(float(transfer.lanes.across(v)[0])) - half > config.ego_corridor_m
    return "" if is_free or not was_free else f"{course.name!r} would reach into the ego's path"


def why_no_room(course: Course, transfer: Transfer, first: int, config: PlantingConfig) -> str:
    """Check that no recorded road user is where the actor is, from step ``first`` of the recording to the event."""
    scene, event_dt = transfer.recording.scene, transfer.event.scenario.scene.dt
    times = np.arange(0.0, (len(course.local) - 1) * event_dt + 1e-9, scene.dt)
    times = times[first + np.arange(len(times)) < scene.steps]
    rows = np.round(times / event_dt).astype(int)
    pose = transfer.pose(course.local[rows])
    for track in scene.tracks:
        if track.id == scene.ego_id:
            continue
        at = slice(first, first + len(times))
        there = np.column_stack([track.position[at, :2], track.heading[at]]).astype(np.float64)
        gap = box_separation(pose, course.size, there, track.size[:2].astype(np.float64))
        meets = (gap < config.room_m) & track.valid[at] & course.valid[rows]
        if meets.any():
            return f"recorded {track.id!r} is where {course.name!r} would be at {times[np.argmax(meets)]:.1f} s"
    for prop in scene.props:
        box = np.array([*prop.position[:2], prop.heading], np.float64)
        if (box_separation(pose, course.size, box, prop.size[:2].astype(np.float64)) < config.room_m).any():
            return f"recorded {prop.id!r} is where {course.name!r} would be"
    return ""


def why_not(course: Course, transfer: Transfer, first: int, config: PlantingConfig) -> str:
    """Return why an actor cannot be planted from step ``first`` of the recording on; empty where it can."""
    return (
        why_no_lane(course, transfer, config)
        or why_in_the_way(course, transfer, config)
        or why_no_ground(course, transfer)
        or why_no_room(course, transfer, first, config)
    )


def _drivable(scene: Scene, xy: Float64[Array, "n 2"]) -> Bool[Array, " n"]:
    area = index_of(scene.road_map).drivable_area
    return area.contains(xy) if area.is_defined else np.ones(len(xy), bool)


def _side(v: Any) -> str:
    return "left" if v > 0.0 else "right"
