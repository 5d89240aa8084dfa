"""Lanelets, traffic lights, signs and goals in CommonRoad's XML."""

from collections import deque
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawRoute, RawSignal
from alpamayo_datasets.lanes import RawLane, lane_between
from alpamayo_datasets.readers.commonroad_elements import outline, point, points, reference
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import LaneKind, LineKind, SignalState
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings, project, wrap_angle

Array = np.ndarray

NO_LANES = {"sidewalk", "crosswalk"}
LANE_KINDS = {
    "bicycleLane": LaneKind.BICYCLE,
    "busLane": LaneKind.BUS,
    "shoulder": LaneKind.SHOULDER,
    "border": LaneKind.SHOULDER,
}
LINE_KINDS = {
    "dashed": LineKind.BROKEN_WHITE,
    "broad_dashed": LineKind.BROKEN_WHITE,
    "solid": LineKind.SOLID_WHITE,
    "broad_solid": LineKind.SOLID_WHITE,
    "solid_solid": LineKind.DOUBLE_WHITE,
    "solid_dashed": LineKind.DOUBLE_WHITE,
    "dashed_solid": LineKind.DOUBLE_WHITE,
}
STOP_SIGNS = {"206", "R1-1", "r2", "102"}
SPEED_SIGNS = {"274", "274.1", "R2-1", "r301", "maxspeed", "C14"}  # additionalValue is in m/s
SIGNAL_STATES = {
    "red": SignalState.RED,
    "redYellow": SignalState.RED,
    "yellow": SignalState.YELLOW,
    "green": SignalState.GREEN,
    "inactive": SignalState.OFF,
}
TURNS = {
    "left": {"left"},
    "straight": {"straight"},
    "right": {"right"},
    "leftStraight": {"left", "straight"},
    "straightRight": {"straight", "right"},
    "leftRight": {"left", "right"},
}
TURN_RAD = 0.5  # a lane that turns by more goes to a side
NEAR_LANE_M = 4.0  # from the ego to the lanelet that it starts on
MAX_ROUTE_LANES = 10_000


@dataclass(frozen=True)
class Network:
    """Lanelets by id: their elements, lanes and middles."""

    elements: dict[str, Element]
    lanes: dict[str, RawLane]
    centres: dict[str, Array]


def read_map(root: Element, where: str) -> tuple[RawMap, Network]:
    """Return the map and its lanelets.

    Raises:
        InputError: A lanelet is without an id or bounds, or a number is none.
    """
    raw, network = RawMap(), Network({}, {}, {})
    signs = {str(sign.get("id")): _meanings(sign) for sign in root.findall("trafficSign")}
    inside = {
        reference(after)
        for incoming in root.iterfind("intersection/incoming")
        for after in incoming
        if after.tag.startswith("successors")
    }
    for element in root.findall("lanelet"):
        name = str(element.get("id"))
        here = f"{where}: lanelet {name}"
        if name in network.elements:
            raise InputError(f"{where}: lanelet id {name!r} is used twice")
        network.elements[name] = element
        sides = []
        for side in ("leftBound", "rightBound"):
            bound = element.find(side)
            if bound is None or len(line := points(bound, f"{here}: {side}")) < 2:
                raise InputError(f"{here}: {side} must have two points at least")
            sides.append(line)
            paint = (bound.findtext("lineMarking") or "").strip()
            if paint in LINE_KINDS:
                raw.lines.append((line, LINE_KINDS[paint]))
        _add(raw, network, name, element, sides, signs, name in inside, here)
    return raw, network


def _add(
    raw: RawMap,
    network: Network,
    name: str,
    element: Element,
    sides: list[Array],
    signs: dict[str, dict[str, float]],
    in_intersection: bool,
    where: str,
) -> None:
    """Add a lanelet to the map: a lane or a crosswalk, with its stop line if a stop sign stands there."""
    kinds = {(item.text or "").strip() for item in element.findall("laneletType")}
    outlined = np.concatenate([sides[0], sides[1][::-1]])
    centre, left, right = lane_between(*sides)
    network.centres[name] = centre[len(centre) // 2] if len(centre) else outlined.mean(axis=0)
    if "crosswalk" in kinds:
        raw.crosswalks.append(outlined)
    if kinds & NO_LANES or len(centre) < 2:
        return
    meanings: dict[str, float] = {}
    for sign in element.findall("trafficSignRef"):
        meanings |= signs.get(reference(sign), {})
    limit = element.findtext("speedLimit")
    if limit is not None:
        meanings["limit"] = _positive(limit)
    lane = RawLane(
        id=name,
        centreline=centre,
        left=left,
        right=right,
        kind=next((LANE_KINDS[kind] for kind in sorted(kinds) if kind in LANE_KINDS), LaneKind.DRIVING),
        speed_limit=meanings.get("limit") or None,
        successors=tuple(dict.fromkeys(reference(item) for item in element.findall("successor"))),
        left_neighbours=_neighbours(element, "adjacentLeft"),
        right_neighbours=_neighbours(element, "adjacentRight"),
        in_intersection=in_intersection,
        boundaries=(sides[0], sides[1]),
    )
    network.lanes[name] = lane
    raw.lanes.append(lane)
    if "stop" in meanings:
        raw.stop_lines.append((_stop_line(element, sides, where), (name,)))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0.0 < value < 200.0 else 0.0


def _meanings(sign: Element) -> dict[str, float]:
    """Return what a traffic sign says: ``stop``, or a speed ``limit`` (m/s)."""
    found: dict[str, float] = {}
    for element in sign.findall("trafficSignElement"):
        kind = (element.findtext("trafficSignID") or "").strip()
        if kind in STOP_SIGNS:
            found["stop"] = 1.0
        elif kind in SPEED_SIGNS:
            found["limit"] = _positive(element.findtext("additionalValue") or "")
    return found


def _neighbours(element: Element, tag: str) -> tuple[str, ...]:
    return tuple(reference(item) for item in element.findall(tag) if item.get("drivingDir") == "same")


def _stop_line(element: Element, sides: list[Array], where: str) -> Array:
    """Return the stop line that the lanelet draws, else its end."""
    drawn = element.find("stopLine")
    line = points(drawn, f"{where}: stopLine") if drawn is not None else np.zeros((0, 3))
    return line if len(line) > 1 else np.stack([sides[0][-1], sides[1][-1]])


def signals(root: Element, network: Network, start: int, steps: int, where: str) -> list[RawSignal]:
    """Return the traffic lights from step ``start`` on: one for each, with the lanes that begin at it.

    Raises:
        InputError: A cycle's number is none.
    """
    found = []
    for light in root.findall("trafficLight"):
        name = str(light.get("id"))
        here = f"{where}: traffic light {name}"
        turns = TURNS.get((light.findtext("direction") or "").strip())
        before = [lane for lane in network.lanes.values() if _has_light(network.elements[lane.id], name)]
        begin = [
            after
            for lane in before
            for after in lane.successors or ()
            if after in network.lanes and (turns is None or _turn(network.lanes[after]) in turns)
        ]
        spot = light.find("position/point")
        if spot is None and not before:
            continue
        place = point(spot, f"{here}: position") if spot is not None else before[0].centreline[-1]
        found.append(RawSignal(name, place, _shown(light, start, steps, here), tuple(dict.fromkeys(begin))))
    return found


def _has_light(element: Element, name: str) -> bool:
    return any(reference(item) == name for item in element.findall("trafficLightRef"))


def _turn(lane: RawLane) -> str:
    headings = polyline_headings(lane.centreline)
    turn = float(wrap_angle(np.asarray(headings[-1] - headings[0])))
    return "left" if turn > TURN_RAD else "right" if turn < -TURN_RAD else "straight"


def _shown(light: Element, start: int, steps: int, where: str) -> Array:
    """Return what a light shows at each step: its cycle begins at its time offset."""
    cycle = light.find("cycle")
    if (light.findtext("active") or "true").strip() == "false":
        return np.full(steps, SignalState.OFF, np.int8)
    elements = [] if cycle is None else cycle.findall("cycleElement")
    if cycle is None or not elements:
        return np.full(steps, SignalState.UNKNOWN, np.int8)
    durations = [_steps(item.findtext("duration"), f"{where}: duration") for item in elements]
    words = [(item.findtext("color") or "").strip() for item in elements]
    codes = [meaning_of(word, SIGNAL_STATES, SignalState.UNKNOWN, "color", where) for word in words]
    offset = _steps(cycle.findtext("timeOffset") or "0", f"{where}: timeOffset")
    ends = np.cumsum(durations)
    if ends[-1] <= 0:
        raise InputError(f"{where}: the durations of its cycle must be positive")
    phase = (start + np.arange(steps) - offset) % ends[-1]
    return np.array(codes, np.int8)[np.searchsorted(ends, phase, side="right")]


def _steps(text: str | None, where: str) -> int:
    try:
        value = int(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where}: is {text!r}, must be a number of steps") from None
    if not 0 <= value < 1 << 40:
        raise InputError(f"{where}: is {value}, must not be negative")
    return value


def route(problem: Element, place: Array, heading: float, network: Network, where: str) -> RawRoute | None:
    """Return the way from the ego to its goal over the lanelets; None where the goal is no place.

    Raises:
        InputError: The goal's area is wrong.
    """
    goals, target = _goal(problem, network, where)
    if not goals:
        return None
    ways = (_lanes_to(start, goals, network) for start in _lanes_at(place[:2], heading, network))
    names = next((way for way in ways if way), [])
    if not names:
        return None
    line = _along(names, network)
    first = float(project(line, place[None, :2])[0][0])
    last = arc_length(line)[-1] if target is None else float(project(line, target[None, :2])[0][0])
    if last - first < 1.0:
        return None
    path = interpolate(line, np.linspace(first, last, max(2, int(last - first) + 1)))
    path[0] = place
    return RawRoute(path, tuple(names))


def _goal(problem: Element, network: Network, where: str) -> tuple[set[str], Array | None]:
    """Return the lanelets of the first goal that is a place, and the middle of its area if it is no lanelet."""
    for goal in problem.findall("goalState/position"):
        named = {reference(item) for item in goal.findall("lanelet")} & set(network.lanes)
        if named:
            return named, None
        if len(goal) and goal.find("lanelet") is None:
            centre = point(spot, where)[:2] if (spot := goal.find("point")) is not None else outline(goal, where)[0]
            near = {name for name, lane in network.lanes.items() if _distance(lane, centre) < NEAR_LANE_M}
            return near, centre
    return set(), None


def _lanes_at(place: Float64[Array, "2"], heading: float, network: Network) -> list[str]:
    """Return the lanelets near a place that go the ego's way, the best one first; where they part there are several."""
    found = []
    for name, lane in network.lanes.items():
        distance = _distance(lane, place)
        if distance < NEAR_LANE_M:
            nearest = int(np.argmin(np.linalg.norm(lane.centreline[:, :2] - place, axis=1)))
            off = abs(float(wrap_angle(np.asarray(polyline_headings(lane.centreline)[nearest] - heading))))
            if off < np.pi / 2:
                found.append((distance + off, name))
    return [name for _, name in sorted(found)]


def _distance(lane: RawLane, place: Float64[Array, "2"]) -> float:
    return float(np.abs(project(lane.centreline, place[None])[1][0]))


def _lanes_to(start: str, goals: set[str], network: Network) -> list[str]:
    """Return the lanelets from a start to the nearest goal, by successors and neighbours of the same direction."""
    before: dict[str, str | None] = {start: None}
    queue = deque([start])
    while queue and len(before) < MAX_ROUTE_LANES:
        name = queue.popleft()
        if name in goals:
            found: list[str] = []
            at: str | None = name
            while at is not None:
                found.insert(0, at)
                at = before[at]
            return found
        lane = network.lanes[name]
        for after in (*(lane.successors or ()), *lane.left_neighbours, *lane.right_neighbours):
            if after in network.lanes and after not in before:
                before[after] = name
                queue.append(after)
    return []


def _along(names: list[str], network: Network) -> Float64[Array, "n 3"]:
    """Return one line along lanelets; a change to a neighbour goes over the length of both."""
    parts = []
    for k, name in enumerate(names):
        line = network.lanes[name].centreline
        changes_in = k > 0 and name not in (network.lanes[names[k - 1]].successors or ())
        changes_out = k + 1 < len(names) and names[k + 1] not in (network.lanes[name].successors or ())
        length = arc_length(line)[-1]
        first, last = (0.6 * length if changes_in else 0.0), (0.4 * length if changes_out else length)
        if last > first:
            parts.append(interpolate(line, np.linspace(first, last, max(2, int((last - first) / 2.0)))))
    return np.concatenate(parts) if parts else network.lanes[names[0]].centreline
