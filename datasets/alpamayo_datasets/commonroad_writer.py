"""Writes a Scenario as CommonRoad XML 2020a: lanelets, obstacles with trajectories, and a planning problem.

Format: https://commonroad.in.tum.de/static/docs/XML_commonRoad_2020a.pdf.
"""

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from jaxtyping import Float

from alpamayo_datasets.openscenario.writer import STILL_M, Motion
from alpamayo_sim.datatypes.scene import Category, Lane, Scene
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings

Array = np.ndarray

TYPES = {
    Category.VEHICLE: "car",
    Category.TRUCK: "truck",
    Category.BUS: "bus",
    Category.MOTORCYCLE: "motorcycle",
    Category.CYCLIST: "bicycle",
    Category.PEDESTRIAN: "pedestrian",
    Category.BUILDING: "building",
    Category.BARRIER: "roadBoundary",
    Category.CONE: "constructionZone",
}
GOAL_SIZE_M = (8.0, 3.5)


def commonroad_element(scene: Scene, motions: Sequence[Motion], goal: float, duration: float) -> Element:
    """Return the CommonRoad document of a scenario.

    Args:
        scene: the scene, for its lanes.
        motions: all entities, the ego first.
        goal: the distance (m) along the route at which the ego arrives.
        duration: the time (s) within which it has to.
    """
    about = {"author": "alpamayo", "affiliation": "", "source": scene.provenance.source, "date": "2026-01-01"}
    root = Element(
        "commonRoad",
        {"timeStepSize": f"{scene.dt:g}", "commonRoadVersion": "2020a", "benchmarkID": scene.id, **about},
    )
    location = SubElement(root, "location")
    for tag, value in (("geoNameId", "-999"), ("gpsLatitude", "999"), ("gpsLongitude", "999")):
        SubElement(location, tag).text = value
    SubElement(root, "scenarioTags")
    ids = {lane.id: str(k) for k, lane in enumerate(scene.road_map.lanes, start=1)}
    for lane in scene.road_map.lanes:
        _add_lanelet(root, scene, lane, ids)
    first = len(ids) + 1
    for k, motion in enumerate(motions[1:]):
        _add_obstacle(root, motion, str(first + k), scene.dt)
    _add_problem(root, scene, motions[0], str(first + len(motions)), goal, round(duration / scene.dt))
    return root


def _add_lanelet(root: Element, scene: Scene, lane: Lane, ids: Mapping[str, str]) -> None:
    lanelet = SubElement(root, "lanelet", {"id": ids[lane.id]})
    left, right = _bounds(lane)
    for tag, line in (("leftBound", left), ("rightBound", right)):
        bound = SubElement(lanelet, tag)
        for x, y in line + scene.origin[:2]:
            _add_point(bound, x, y)
    before = [other.id for other in scene.road_map.lanes if lane.id in other.successors]
    for tag, names in (("predecessor", before), ("successor", lane.successors)):
        for name in names:
            if name in ids:
                SubElement(lanelet, tag, {"ref": ids[name]})
    for tag, names in (("adjacentLeft", lane.left_neighbours), ("adjacentRight", lane.right_neighbours)):
        if names and names[0] in ids:
            SubElement(lanelet, tag, {"ref": ids[names[0]], "drivingDir": "same"})
    SubElement(lanelet, "laneletType").text = "urban"


def _bounds(lane: Lane) -> tuple[Array, Array]:
    """Return the left and the right bound with a point each beside the points of the centreline."""
    line = lane.centreline[:, :2].astype(np.float64)
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    left = 0.5 * lane.width[:, None].astype(np.float64) * np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1)
    return line + left, line - left


def _add_point(parent: Element, x: float, y: float) -> None:
    point = SubElement(parent, "point")
    for tag, value in (("x", x), ("y", y)):
        SubElement(point, tag).text = f"{value:.4f}"


def _add_obstacle(root: Element, motion: Motion, name: str, dt: float) -> None:
    rows = np.flatnonzero(motion.valid)
    stands = float(np.ptp(motion.pose[rows, :2], axis=0).max()) < STILL_M
    obstacle = SubElement(root, "staticObstacle" if stands else "dynamicObstacle", {"id": name})
    SubElement(obstacle, "type").text = TYPES.get(motion.category, "unknown")
    box = SubElement(SubElement(obstacle, "shape"), "rectangle")
    for tag, value in zip(("length", "width"), motion.size, strict=False):
        SubElement(box, tag).text = f"{float(value):.4f}"
    speed = np.zeros(len(rows))
    if not stands:
        speed = np.linalg.norm(np.gradient(motion.pose[rows, :2], axis=0), axis=1) / dt
    _add_state(SubElement(obstacle, "initialState"), motion.pose[rows[0]], int(rows[0]), float(speed[0]))
    if not stands:
        trajectory = SubElement(obstacle, "trajectory")
        for row, v in zip(rows[1:], speed[1:], strict=True):
            _add_state(SubElement(trajectory, "state"), motion.pose[row], int(row), float(v))


def _add_state(state: Element, pose: Float[Array, "3"], step: int, speed: float) -> None:
    _add_point(SubElement(state, "position"), float(pose[0]), float(pose[1]))
    for tag, text in (("orientation", f"{float(pose[2]):.6f}"), ("time", str(step)), ("velocity", f"{speed:.4f}")):
        SubElement(SubElement(state, tag), "exact").text = text


def _add_problem(root: Element, scene: Scene, ego: Motion, name: str, goal: float, steps: int) -> None:
    problem = SubElement(root, "planningProblem", {"id": name})
    state = SubElement(problem, "initialState")
    _add_state(state, ego.pose[0], 0, float(np.hypot(*scene.ego.velocity[0])))
    for tag in ("yawRate", "slipAngle"):
        SubElement(SubElement(state, tag), "exact").text = "0"
    assert scene.route is not None
    path = scene.route.path[:, :2].astype(np.float64)
    along = arc_length(path)
    x, y = interpolate(path, np.array([goal]))[0] + scene.origin[:2]
    heading = float(np.interp(goal, along, np.unwrap(polyline_headings(path))))
    target = SubElement(problem, "goalState")
    box = SubElement(SubElement(target, "position"), "rectangle")
    for tag, value in (("length", GOAL_SIZE_M[0]), ("width", GOAL_SIZE_M[1]), ("orientation", heading)):
        SubElement(box, tag).text = f"{value:.4f}"
    centre = SubElement(box, "center")
    for tag, value in (("x", x), ("y", y)):
        SubElement(centre, tag).text = f"{value:.4f}"
    time = SubElement(target, "time")
    SubElement(time, "intervalStart").text = "0"
    SubElement(time, "intervalEnd").text = str(steps)
