"""Actions of a scenario file: what they do to an entity, and when they are done."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree.ElementTree import Element

import numpy as np

from alpamayo_datasets.openscenario.motion import Mover, OffsetChange, SpeedChange, Trajectory
from alpamayo_datasets.openscenario.positions import Positions, lane_beside
from alpamayo_datasets.openscenario.shapes import SHAPES, Dynamics, dynamics_of
from alpamayo_datasets.xml_elements import child, number, place, whole, word
from alpamayo_sim.errors import InputError

IsDone = Callable[[float], bool]
"""Whether an action is done at a time (s)."""

LEAST_ACCELERATION_MPS2, USUAL_LATERAL_MPS2 = 1e-3, 1.0
MAX_VERTICES = 100_000


@dataclass(frozen=True, eq=False)
class Stage:
    """What actions act on: positions with all entities, and the time (s) of the last change of each signal's state."""

    positions: Positions
    signals: dict[str, list[tuple[float, str]]]

    @property
    def where(self) -> str:
        """The file, for messages."""
        return self.positions.where


def is_supported(action: Element) -> bool:
    """Return whether a private or global action is of a supported kind."""
    return _leaf(action) is not None


def start_private(stage: Stage, mover: Mover, action: Element, time: float) -> IsDone:
    """Start a private action of an entity at a time (s)."""
    found = _leaf(action)
    if found is None:
        return _at_once
    return _PRIVATE[found.tag](stage, mover, found, time)


def start_global(stage: Stage, action: Element, time: float) -> IsDone:
    """Start a global action at a time (s)."""
    for element in action.iter("TrafficSignalStateAction"):
        name = word(element, "name", stage.where)
        stage.signals.setdefault(name, []).append((time, word(element, "state", stage.where)))
    for element in action.iter("EntityAction"):
        mover = stage.positions.other(element)
        if (added := element.find("AddEntityAction")) is not None:
            stage.positions.put(mover, child(added, "Position", stage.where))
        else:
            mover.placed = False
    return _at_once


def _leaf(action: Element) -> Element | None:
    """Return the element of a supported action within a PrivateAction."""
    for element in action.iter():
        if element.tag in _PRIVATE:
            return element
    return None


def _at_once(_: float) -> bool:
    return True


def _teleport(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    mover.trajectory = mover.offset_change = None
    stage.positions.put(mover, child(element, "Position", stage.where))
    return _at_once


def _speed(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    dynamics = dynamics_of(child(element, "SpeedActionDynamics", stage.where), stage.where)
    target = child(element, "SpeedActionTarget", stage.where)
    mover.speed_source = None
    if (relative := target.find("RelativeTargetSpeed")) is not None:
        other, value = stage.positions.other(relative), number(relative, "value", stage.where)
        is_factor = relative.get("speedTargetValueType") == "factor"

        def wanted() -> float:
            return other.speed * value if is_factor else other.speed + value

        if relative.get("continuous") == "true":
            mover.speed_change, mover.speed_source = None, wanted
            return lambda now: mover.speed_source is not wanted
        return _change_speed(mover, wanted(), dynamics, time)
    absolute = child(target, "AbsoluteTargetSpeed", stage.where)
    return _change_speed(mover, number(absolute, "value", stage.where), dynamics, time)


def _change_speed(mover: Mover, to: float, dynamics: Dynamics, time: float) -> IsDone:
    duration = dynamics.duration(to - mover.speed)
    if dynamics.dimension == "distance" and dynamics.shape(0.0) == 0.0:
        duration = 2.0 * dynamics.value / max(to + mover.speed, 1e-9)
    change = SpeedChange(mover.speed, to, time, duration, dynamics.shape)
    mover.speed_change = change
    if duration <= 0.0:
        mover.speed = to
    return lambda now: mover.speed_change is not change or change.is_done(now)


def _speed_profile(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    """Reach the speeds of a profile one after the other, linearly."""
    entries = [
        (number(entry, "time", stage.where, 0.0), number(entry, "speed", stage.where))
        for entry in element.findall("SpeedProfileEntry")
    ]
    knots, speeds = [time], [mover.speed]
    for duration, speed in entries:
        knots.append(knots[-1] + duration)
        speeds.append(speed)

    def shape(part: float) -> float:
        return float(np.interp(time + part * (knots[-1] - time), knots, speeds))

    change = SpeedChange(0.0, 1.0, time, knots[-1] - time, shape)
    mover.speed_source, mover.speed_change = None, change
    return lambda now: mover.speed_change is not change or change.is_done(now)


def _change_lane(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    road = mover.road
    if road is None or mover.step is None:
        raise InputError(f"{place(element, stage.where)}: entity {mover.entity.name!r} is on no road")
    dynamics = dynamics_of(child(element, "LaneChangeActionDynamics", stage.where), stage.where)
    target = child(element, "LaneChangeTarget", stage.where)
    if (relative := target.find("RelativeTargetLane")) is not None:
        other = stage.positions.other(relative)
        lane = lane_beside(other.lane or 0, whole(relative, "value", stage.where), other.along)
    else:
        lane = whole(child(target, "AbsoluteTargetLane", stage.where), "value", stage.where)
    if lane not in road.sections[mover.step[1]].lanes:
        raise InputError(f"{place(target, stage.where)}: road {road.id!r} has no lane {lane} at s = {mover.s:.1f} m")
    t = mover.t
    mover.step = (road.id, mover.step[1], lane)
    mover.offset = t - (mover.t - mover.offset)
    left = number(element, "targetLaneOffset", stage.where, 0.0)
    return _shift(mover, left, dynamics, time)


def _change_offset(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    found = child(element, "LaneOffsetActionDynamics", stage.where)
    target = child(element, "LaneOffsetTarget", stage.where)
    if (relative := target.find("RelativeTargetLaneOffset")) is not None:
        to = stage.positions.other(relative).offset + number(relative, "value", stage.where)
    else:
        to = number(child(target, "AbsoluteTargetLaneOffset", stage.where), "value", stage.where)
    shape, steepest = SHAPES.get(found.get("dynamicsShape", "step"), SHAPES["step"])
    greatest = number(found, "maxLateralAcc", stage.where, USUAL_LATERAL_MPS2)
    # a cubic or sinusoidal shift of a duration T has the peak acceleration 6 d / T², at least that of its kind
    duration = math.sqrt(6.0 * abs(to - mover.offset) / max(greatest, LEAST_ACCELERATION_MPS2))
    return _shift(mover, to, Dynamics(shape, steepest, "time", duration), time)


def _shift(mover: Mover, to: float, dynamics: Dynamics, time: float) -> IsDone:
    """Move sideways to an offset (m, left of the road's direction) from the lane's centre."""
    over_distance = dynamics.dimension == "distance" and dynamics.shape(0.0) == 0.0
    extent = dynamics.value if over_distance else dynamics.duration(to - mover.offset)
    start = mover.travelled if over_distance else time
    change = OffsetChange(mover.offset, to, start, extent, over_distance, dynamics.shape)
    mover.offset_change = change
    return lambda now: mover.offset_change is not change


def _follow_trajectory(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    polyline = element.find(".//Polyline")
    if polyline is None:
        raise InputError(f"{place(element, stage.where)}: only trajectories of the shape Polyline are supported")
    vertices = polyline.findall("Vertex")
    if not 2 <= len(vertices) <= MAX_VERTICES:
        raise InputError(f"{place(polyline, stage.where)}: has {len(vertices)} vertices, must have 2 or more")
    places = [child(vertex, "Position", stage.where) for vertex in vertices]
    poses = np.array([stage.positions.pose(place) for place in places])
    turned = all(place.find(".//Orientation") is not None or place[0].get("h") is not None for place in places)
    times = None
    if (timing := element.find(".//Timing")) is not None:
        scale, shift = number(timing, "scale", stage.where, 1.0), number(timing, "offset", stage.where, 0.0)
        relative = timing.get("domainAbsoluteRelative", "absolute") == "relative"
        clock = np.array([number(vertex, "time", stage.where, 0.0) for vertex in vertices])
        times = clock * scale + shift + (time if relative else 0.0)
        if not np.all(np.diff(times) > 0.0):
            raise InputError(f"{place(polyline, stage.where)}: the times of the vertices must rise")
    mover.offset_change, mover.pose = None, mover.place()
    path = Trajectory(poses[:, :3], times, np.unwrap(poses[:, 3]) if turned else None)
    mover.trajectory = path
    return lambda now: mover.trajectory is not path


def _assign_route(stage: Stage, mover: Mover, element: Element, time: float) -> IsDone:
    mover.route = stage.positions.route(element).names
    return _at_once


_PRIVATE: Mapping[str, Callable[[Stage, Mover, Element, float], IsDone]] = MappingProxyType(
    {
        "TeleportAction": _teleport,
        "SpeedAction": _speed,
        "SpeedProfileAction": _speed_profile,
        "LaneChangeAction": _change_lane,
        "LaneOffsetAction": _change_offset,
        "FollowTrajectoryAction": _follow_trajectory,
        "AssignRouteAction": _assign_route,
    }
)
