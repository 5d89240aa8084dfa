"""CommonRoad scenarios as XML 2020a, one file for each recording.

The ego is a planning problem: its first state, and its last recorded place as the goal. CommonRoad has no place for the
ego's recorded motion, for the heights of road users, and for lights that do not repeat themselves: a light's cycle is
what the recording shows of it, again and again.

Format: https://commonroad.in.tum.de/static/docs/XML_commonRoad_2020a.pdf
"""

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from jaxtyping import Float

from alpamayo_datasets.recording import Recording, others_of, state_of, steps_of
from alpamayo_datasets.writers.names import file_name
from alpamayo_sim.datatypes.scene import Category, Environment, Lane, LaneKind, Prop, Scene, Signal, SignalState, Track
from alpamayo_sim.geometry import polyline_headings, wrap_angle
from alpamayo_sim.sensors.ground import lane_sides

Array = np.ndarray

DATE = "2026-01-01"
GOAL_SIZE_M = (8.0, 3.0)  # of the area about the ego's last place
GOAL_STEPS = 20  # before and after the ego's last step
TURN_RAD = 0.5  # a lane that turns by more goes to a side
STOP_SIGN, SPEED_SIGN = "206", "274"  # of Germany; the value of the second one is in m/s
TYPES = {
    Category.UNKNOWN: "unknown",
    Category.VEHICLE: "car",
    Category.TRUCK: "truck",
    Category.BUS: "bus",
    Category.MOTORCYCLE: "motorcycle",
    Category.CYCLIST: "bicycle",
    Category.PEDESTRIAN: "pedestrian",
    Category.ANIMAL: "unknown",
    Category.CONE: "constructionZone",
    Category.BARRIER: "constructionZone",
    Category.DEBRIS: "unknown",
    Category.BUILDING: "building",
    Category.VEGETATION: "unknown",
}
LANELET_TYPES = {LaneKind.BICYCLE: "bicycleLane", LaneKind.BUS: "busLane", LaneKind.SHOULDER: "shoulder"}
COLOURS = {
    SignalState.RED: "red",
    SignalState.YELLOW: "yellow",
    SignalState.GREEN: "green",
    SignalState.OFF: "inactive",
    SignalState.UNKNOWN: "inactive",
}
RAIN_MMPH = ((0.1, "sunny"), (3.5, "light_rain"), (7.0, "mid_rain"), (np.inf, "heavy_rain"))


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write each recording as ``ID.xml``.

    Raises:
        InputError: Two recordings have one name.
    """
    taken: set[str] = set()
    for recording in recordings:
        path = folder / f"{file_name(recording.scene.id, taken)}.xml"
        tree = ElementTree.ElementTree(_File(recording.scene).scenario())
        ElementTree.indent(tree, " ")
        tree.write(path, encoding="UTF-8", xml_declaration=True)


class _File:
    """One scenario: its elements, and the numbers that name them."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.numbers = itertools.count(1)
        self.lanes = {lane.id: next(self.numbers) for lane in scene.road_map.lanes}
        self.before: dict[str, list[str]] = {name: [] for name in self.lanes}
        for lane in scene.road_map.lanes:
            for after in lane.successors:
                if after in self.before:
                    self.before[after].append(lane.id)
        self.lights = {signal.id: next(self.numbers) for signal in scene.signals}
        limits = {lane.speed_limit for lane in scene.road_map.lanes if lane.speed_limit is not None}
        self.limits = {limit: next(self.numbers) for limit in sorted(limits)}
        self.stop_sign = next(self.numbers)

    def scenario(self) -> Element:
        scene = self.scene
        name = re.sub(r"[^A-Za-z0-9]", "", scene.id) or "Scene"
        root = Element("commonRoad", timeStepSize=repr(float(scene.dt)), commonRoadVersion="2020a")
        about = {"benchmarkID": f"ZAM_{name}-1_1_T-1", "author": "alpamayo", "affiliation": "alpamayo", "date": DATE}
        for key, value in {
            **about,
            "source": f"{scene.provenance.source} (licence: {scene.provenance.licence})",
        }.items():
            root.set(key, value)
        _location(root, scene.environment)
        SubElement(SubElement(root, "scenarioTags"), "simulated")
        for lane in scene.road_map.lanes:
            self._lanelet(root, lane)
        for ring in scene.road_map.crosswalks:
            self._crosswalk(root, ring)
        self._signs(root)
        for signal in scene.signals:
            self._light(root, signal)
        self._intersection(root)
        for thing in sorted(others_of(scene), key=lambda each: not isinstance(each, Prop)):  # static ones come first
            self._obstacle(root, thing)
        self._problem(root)
        return root

    def _lanelet(self, root: Element, lane: Lane) -> None:
        lanelet = SubElement(root, "lanelet", id=str(self.lanes[lane.id]))
        height = lane.centreline[:, 2:]
        for tag, side in zip(("leftBound", "rightBound"), lane_sides(lane), strict=True):
            self._points(SubElement(lanelet, tag), np.column_stack([side, height]))
        for tag, names in (("predecessor", self.before[lane.id]), ("successor", lane.successors)):
            for name in names:
                if name in self.lanes:
                    SubElement(lanelet, tag, ref=str(self.lanes[name]))
        for tag, names in (("adjacentLeft", lane.left_neighbours), ("adjacentRight", lane.right_neighbours)):
            for name in [name for name in names if name in self.lanes][:1]:
                SubElement(lanelet, tag, ref=str(self.lanes[name]), drivingDir="same")
        stop = next((each for each in self.scene.road_map.stop_lines if lane.id in each.lane_ids), None)
        if stop is not None:
            line = SubElement(lanelet, "stopLine")
            self._points(line, stop.line[[0, -1]])
            SubElement(line, "lineMarking").text = "solid"
        SubElement(lanelet, "laneletType").text = LANELET_TYPES.get(lane.kind, "urban")
        if lane.speed_limit is not None:
            SubElement(lanelet, "trafficSignRef", ref=str(self.limits[lane.speed_limit]))
        if stop is not None:
            SubElement(lanelet, "trafficSignRef", ref=str(self.stop_sign))
        for signal in self.scene.signals:
            if set(signal.lane_ids) & set(lane.successors):
                SubElement(lanelet, "trafficLightRef", ref=str(self.lights[signal.id]))

    def _crosswalk(self, root: Element, ring: Float[Array, "n 3"]) -> None:
        lanelet = SubElement(root, "lanelet", id=str(next(self.numbers)))
        half = len(ring) // 2
        for tag, side in (("leftBound", ring[:half]), ("rightBound", ring[half : 2 * half][::-1])):
            self._points(SubElement(lanelet, tag), side if len(side) > 1 else ring[[0, -1]])
        SubElement(lanelet, "laneletType").text = "crosswalk"

    def _signs(self, root: Element) -> None:
        signs = [(number, SPEED_SIGN, repr(float(limit))) for limit, number in self.limits.items()]
        if self.scene.road_map.stop_lines:
            signs.append((self.stop_sign, STOP_SIGN, ""))
        for number, kind, value in signs:
            element = SubElement(SubElement(root, "trafficSign", id=str(number)), "trafficSignElement")
            SubElement(element, "trafficSignID").text = kind
            if value:
                SubElement(element, "additionalValue").text = value

    def _light(self, root: Element, signal: Signal) -> None:
        light = SubElement(root, "trafficLight", id=str(self.lights[signal.id]))
        cycle = SubElement(light, "cycle")
        for state, steps in itertools.groupby(signal.states.tolist()):
            element = SubElement(cycle, "cycleElement")
            SubElement(element, "duration").text = str(len(list(steps)))
            SubElement(element, "color").text = COLOURS[SignalState(state)]
        SubElement(cycle, "timeOffset").text = "0"
        self._points(SubElement(light, "position"), signal.position[None])
        SubElement(light, "active").text = "true"

    def _intersection(self, root: Element) -> None:
        """Add one intersection: the lanes that lead into lanes of intersections, by the sides that those turn to."""
        inside = {lane.id: lane for lane in self.scene.road_map.lanes if lane.in_intersection}
        into = {name: [each for each in self.before[name] if each not in inside] for name in inside}
        incoming = sorted({name for names in into.values() for name in names}, key=self.lanes.__getitem__)
        if not incoming:
            return
        intersection = SubElement(root, "intersection", id=str(next(self.numbers)))
        for name in incoming:
            element = SubElement(intersection, "incoming", id=str(next(self.numbers)))
            SubElement(element, "incomingLanelet", ref=str(self.lanes[name]))
            for after in (each for each in inside if name in into[each]):
                SubElement(element, f"successors{_side(inside[after])}", ref=str(self.lanes[after]))

    def _obstacle(self, root: Element, thing: Track | Prop) -> None:
        steps = steps_of(thing, self.scene.steps).tolist()
        if not steps:
            return
        kind = "staticObstacle" if isinstance(thing, Prop) else "dynamicObstacle"
        obstacle = SubElement(root, kind, id=str(next(self.numbers)))
        SubElement(obstacle, "type").text = TYPES[Category(thing.category)]
        shape = SubElement(SubElement(obstacle, "shape"), "rectangle")
        SubElement(shape, "length").text, SubElement(shape, "width").text = (repr(float(v)) for v in thing.size[:2])
        self._state(SubElement(obstacle, "initialState"), thing, steps[0])
        if len(steps) > 1 and not isinstance(thing, Prop):
            trajectory = SubElement(obstacle, "trajectory")
            for step in steps[1:]:
                self._state(SubElement(trajectory, "state"), thing, step)

    def _state(self, state: Element, thing: Track | Prop, step: int) -> None:
        position, heading, velocity = state_of(thing, step)
        self._points(SubElement(state, "position"), position[None])
        along = float(np.cos(heading) * velocity[0] + np.sin(heading) * velocity[1])
        for tag, value in (("orientation", heading), ("time", step), ("velocity", along)):
            SubElement(SubElement(state, tag), "exact").text = repr(value)

    def _problem(self, root: Element) -> None:
        ego = self.scene.ego
        seen = np.flatnonzero(ego.valid).tolist()
        problem = SubElement(root, "planningProblem", id=str(next(self.numbers)))
        initial = SubElement(problem, "initialState")
        self._state(initial, ego, seen[0])
        for tag in ("yawRate", "slipAngle"):
            SubElement(SubElement(initial, tag), "exact").text = "0.0"
        goal = SubElement(problem, "goalState")
        time = SubElement(goal, "time")
        SubElement(time, "intervalStart").text = str(max(seen[-1] - GOAL_STEPS, 1))
        SubElement(time, "intervalEnd").text = str(max(seen[-1], 1))
        area = SubElement(SubElement(goal, "position"), "rectangle")
        position, heading, _ = state_of(ego, seen[-1])
        SubElement(area, "length").text, SubElement(area, "width").text = (repr(value) for value in GOAL_SIZE_M)
        SubElement(area, "orientation").text = repr(float(heading))
        centre = SubElement(area, "center")
        for axis, value in zip("xy", position + self.scene.origin, strict=False):
            SubElement(centre, axis).text = repr(float(value))

    def _points(self, parent: Element, points: Float[Array, "n 3"]) -> None:
        flat = not np.any(points[:, 2] + self.scene.origin[2])
        for row in points.astype(np.float64) + self.scene.origin:
            point = SubElement(parent, "point")
            for axis, value in zip("xy" if flat else "xyz", row, strict=False):
                SubElement(point, axis).text = repr(float(value))


def _location(root: Element, environment: Environment) -> None:
    location = SubElement(root, "location")
    for tag, value in (("geoNameId", "-999"), ("gpsLatitude", "999"), ("gpsLongitude", "999")):
        SubElement(location, tag).text = value
    around = SubElement(location, "environment")
    SubElement(around, "timeOfDay").text = "night" if environment.sun_elevation < 0.0 else "day"
    fog = environment.visibility is not None and environment.rain < RAIN_MMPH[0][0]
    weather = "fog" if fog else next(word for most, word in RAIN_MMPH if environment.rain < most)
    SubElement(around, "weather").text = weather
    SubElement(around, "underground").text = "wet" if environment.rain >= RAIN_MMPH[0][0] else "clean"


def _side(lane: Lane) -> str:
    headings = polyline_headings(lane.centreline)
    turn = float(wrap_angle(np.asarray(headings[-1] - headings[0])))
    return "Left" if turn > TURN_RAD else "Right" if turn < -TURN_RAD else "Straight"
