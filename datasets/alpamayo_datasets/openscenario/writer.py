"""Writes a Scenario as OpenSCENARIO XML 1.2: places and trajectories with times, signal states, weather.

Formats: ASAM OpenSCENARIO XML 1.2 and OpenDRIVE 1.7. The boxes of entities are centred on their reference points.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from alpamayo_datasets.opendrive.writer import signal_ids
from alpamayo_sim.constants import DEFAULT_FRICTION
from alpamayo_sim.datatypes.scene import Category, Environment, Scene, SignalState

Array = np.ndarray

EGO = "Ego"
DATE = "2026-01-01T00:00:00"
STILL_M = 1e-3  # by which an entity that stands may move
NO_FOG_M = 100_000.0
VEHICLES = {
    Category.VEHICLE: "car",
    Category.TRUCK: "truck",
    Category.BUS: "bus",
    Category.MOTORCYCLE: "motorbike",
    Category.CYCLIST: "bicycle",
}
PEDESTRIANS = {Category.PEDESTRIAN: "pedestrian", Category.ANIMAL: "animal"}
THINGS = {
    Category.BUILDING: "building",
    Category.VEGETATION: "vegetation",
    Category.BARRIER: "barrier",
    Category.CONE: "obstacle",
    Category.DEBRIS: "obstacle",
    Category.UNKNOWN: "obstacle",
}
STATES = {
    SignalState.RED: "red",
    SignalState.YELLOW: "yellow",
    SignalState.GREEN: "green",
    SignalState.OFF: "off",
    SignalState.UNKNOWN: "off",
}


@dataclass(frozen=True, eq=False)
class Motion:
    """A road user or thing with its poses (m, rad) at the steps at which it is there."""

    name: str
    category: Category
    size: Float32[Array, "3"]
    pose: Float[Array, "t 3"]
    valid: Bool[Array, " t"]


def scenario_element(
    scene: Scene,
    ego_path: Float64[Array, "p 2"],
    ego_speed: float,
    motions: Sequence[Motion],
    roads: str,
    duration: float,
) -> Element:
    """Return the OpenSCENARIO document of a scenario.

    Args:
        scene: the scene, for its signals and its weather.
        ego_path: the path (m) that the ego follows.
        ego_speed: its constant speed (m/s).
        motions: all entities, the ego first; all of their steps are those of the scene.
        roads: the file of the roads, relative to the document.
        duration: the time (s) after which the scenario ends.
    """
    root = Element("OpenSCENARIO")
    header = {"revMajor": "1", "revMinor": "2", "date": DATE, "description": scene.id, "author": "alpamayo"}
    SubElement(root, "FileHeader", header)
    SubElement(root, "CatalogLocations")
    SubElement(SubElement(root, "RoadNetwork"), "LogicFile", {"filepath": roads})
    entities = SubElement(root, "Entities")
    for motion in motions:
        _add_entity(entities, motion)
    board = SubElement(root, "Storyboard")
    init = SubElement(SubElement(board, "Init"), "Actions")
    _add_weather(init, scene.environment)
    for name, states in _signals(scene):
        _add_signal_state(SubElement(init, "GlobalAction"), name, SignalState(int(states[0])))
    for k, motion in enumerate(motions):
        private = SubElement(init, "Private", {"entityRef": motion.name})
        _add_place(private, motion)
        if k == 0:
            _add_drive(private, ego_path, ego_speed)
        elif _moves(motion):
            _add_trajectory(private, motion, scene.dt)
    _add_story(board, scene, motions)
    _add_end(board, duration)
    return root


def _add_entity(parent: Element, motion: Motion) -> None:
    thing = SubElement(parent, "ScenarioObject", {"name": motion.name})
    length, width, height = (_text(value) for value in motion.size)
    if motion.category in VEHICLES:
        item = SubElement(thing, "Vehicle", {"name": motion.name, "vehicleCategory": VEHICLES[motion.category]})
    elif motion.category in PEDESTRIANS:
        kind = {"pedestrianCategory": PEDESTRIANS[motion.category], "mass": "80"}
        item = SubElement(thing, "Pedestrian", {"name": motion.name, **kind})
    else:
        kind = {"miscObjectCategory": THINGS[motion.category], "mass": "100"}
        item = SubElement(thing, "MiscObject", {"name": motion.name, **kind})
    box = SubElement(item, "BoundingBox")
    SubElement(box, "Center", {"x": "0", "y": "0", "z": _text(0.5 * float(motion.size[2]))})
    SubElement(box, "Dimensions", {"width": width, "length": length, "height": height})
    if motion.category in VEHICLES:
        SubElement(item, "Performance", {"maxSpeed": "70", "maxAcceleration": "10", "maxDeceleration": "10"})
        axles = SubElement(item, "Axles")
        for tag, share in (("FrontAxle", 0.3), ("RearAxle", -0.3)):
            where = {"positionX": _text(share * float(motion.size[0])), "positionZ": "0.3"}
            SubElement(axles, tag, {"maxSteering": "0.5", "wheelDiameter": "0.6", "trackWidth": width, **where})
    properties = SubElement(item, "Properties")
    SubElement(properties, "Property", {"name": "category", "value": motion.category.name})


def _add_weather(init: Element, environment: Environment) -> None:
    action = SubElement(SubElement(init, "GlobalAction"), "EnvironmentAction")
    found = SubElement(action, "Environment", {"name": "environment"})
    weather = SubElement(found, "Weather")
    sun = {"azimuth": environment.sun_azimuth, "elevation": environment.sun_elevation, "illuminance": 50_000.0}
    SubElement(weather, "Sun", {name: _text(value) for name, value in sun.items()})
    SubElement(weather, "Fog", {"visualRange": _text(environment.visibility or NO_FOG_M)})
    rain = {
        "precipitationType": "rain" if environment.rain else "dry",
        "precipitationIntensity": _text(environment.rain),
    }
    SubElement(weather, "Precipitation", rain)
    SubElement(found, "RoadCondition", {"frictionScaleFactor": _text(environment.friction / DEFAULT_FRICTION)})


def _add_place(private: Element, motion: Motion) -> None:
    first = int(np.argmax(motion.valid))
    action = SubElement(SubElement(private, "PrivateAction"), "TeleportAction")
    _add_world(SubElement(action, "Position"), motion.pose[first])


def _add_drive(private: Element, path: Float64[Array, "p 2"], speed: float) -> None:
    """Let the ego follow a path at a constant speed."""
    longitudinal = SubElement(SubElement(private, "PrivateAction"), "LongitudinalAction")
    action = SubElement(longitudinal, "SpeedAction")
    SubElement(action, "SpeedActionDynamics", {"dynamicsShape": "step", "dynamicsDimension": "time", "value": "0"})
    SubElement(SubElement(action, "SpeedActionTarget"), "AbsoluteTargetSpeed", {"value": _text(speed)})
    direction = np.gradient(path, axis=0)
    heading = np.unwrap(np.arctan2(direction[:, 1], direction[:, 0]))
    poses = np.column_stack([path, heading])
    SubElement(_add_vertices(private, "route", poses, np.zeros(len(poses))), "None")


def _add_trajectory(private: Element, motion: Motion, dt: float) -> None:
    rows = np.flatnonzero(motion.valid)
    reference = _add_vertices(private, f"trajectory of {motion.name}", motion.pose[rows], rows * dt)
    SubElement(reference, "Timing", {"domainAbsoluteRelative": "absolute", "scale": "1", "offset": "0"})


def _add_vertices(private: Element, name: str, poses: Float[Array, "t 3"], times: Float[Array, " t"]) -> Element:
    """Add an action that follows a trajectory; return the element of its time reference."""
    action = SubElement(SubElement(SubElement(private, "PrivateAction"), "RoutingAction"), "FollowTrajectoryAction")
    trajectory = SubElement(SubElement(action, "TrajectoryRef"), "Trajectory", {"name": name, "closed": "false"})
    line = SubElement(SubElement(trajectory, "Shape"), "Polyline")
    for pose, time in zip(poses, times, strict=True):
        _add_world(SubElement(SubElement(line, "Vertex", {"time": _text(float(time))}), "Position"), pose)
    reference = SubElement(action, "TimeReference")
    SubElement(action, "TrajectoryFollowingMode", {"followingMode": "position"})
    return reference


def _add_world(position: Element, pose: Float[Array, "3"]) -> None:
    SubElement(position, "WorldPosition", dict(zip("xyh", (_text(float(value)) for value in pose), strict=True)))


def _signals(scene: Scene) -> Iterable[tuple[str, Array]]:
    """Return the signals of the road file with the states of their traffic light."""
    return ((name, signal.states) for name, signal in signal_ids(scene))


def _add_signal_state(parent: Element, name: str, state: SignalState) -> None:
    action = SubElement(SubElement(parent, "InfrastructureAction"), "TrafficSignalAction")
    SubElement(action, "TrafficSignalStateAction", {"name": name, "state": STATES[state]})


def _add_story(board: Element, scene: Scene, motions: Sequence[Motion]) -> None:
    """Add the changes of traffic lights, and the ends of entities that vanish, as events at their times."""
    changes: list[tuple[float, Callable[[Element], None]]] = [
        (float(row * scene.dt), partial(_add_signal_state, name=name, state=SignalState(int(states[row]))))
        for name, states in _signals(scene)
        for row in np.flatnonzero(np.diff(states)) + 1
    ]
    for motion in motions:
        last = int(np.flatnonzero(motion.valid)[-1])
        if last + 1 < len(motion.valid):
            changes.append(((last + 0.5) * scene.dt, partial(_add_deletion, name=motion.name)))
    if not changes:
        return
    act = SubElement(SubElement(board, "Story", {"name": "changes"}), "Act", {"name": "changes act"})
    group = SubElement(act, "ManeuverGroup", {"name": "changes group", "maximumExecutionCount": "1"})
    SubElement(group, "Actors", {"selectTriggeringEntities": "false"})
    manoeuvre = SubElement(group, "Maneuver", {"name": "changes manoeuvre"})
    for k, (time, add) in enumerate(changes):
        about = {"name": f"change {k}", "priority": "parallel", "maximumExecutionCount": "1"}
        event = SubElement(manoeuvre, "Event", about)
        add(SubElement(SubElement(event, "Action", {"name": f"set {k}"}), "GlobalAction"))
        _add_time(SubElement(event, "StartTrigger"), f"at {k}", time)
    _add_time(SubElement(act, "StartTrigger"), "start", 0.0)


def _add_deletion(parent: Element, name: str) -> None:
    SubElement(SubElement(parent, "EntityAction", {"entityRef": name}), "DeleteEntityAction")


def _add_time(trigger: Element, name: str, time: float) -> None:
    condition = SubElement(
        SubElement(trigger, "ConditionGroup"), "Condition", {"name": name, "delay": "0", "conditionEdge": "none"}
    )
    values = {"value": _text(time), "rule": "greaterOrEqual"}
    SubElement(SubElement(condition, "ByValueCondition"), "SimulationTimeCondition", values)


def _add_end(board: Element, duration: float) -> None:
    _add_time(SubElement(board, "StopTrigger"), "end", duration)


def _moves(motion: Motion) -> bool:
    there = motion.pose[motion.valid]
    return len(there) > 1 and bool(np.ptp(there[:, :2], axis=0).max() > STILL_M)


def _text(value: float) -> str:
    return f"{float(value):.6f}".rstrip("0").rstrip(".") or "0"
