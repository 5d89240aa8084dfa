"""Writes the map of a Scene as OpenDRIVE 1.7: one road with one lane for each lane of the map.

A lane's centreline is the reference line of its road, as cubic polynomials between the points with the tangents there.
Lanes that fork or merge are the connecting roads of junctions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Lane, LaneKind, RoadMap, Scene, Signal
from alpamayo_sim.geometry import arc_length, interpolate

Array = np.ndarray

LANE_TYPES = {
    LaneKind.DRIVING: "driving",
    LaneKind.BICYCLE: "biking",
    LaneKind.BUS: "bus",
    LaneKind.PARKING: "parking",
    LaneKind.SHOULDER: "shoulder",
    LaneKind.OTHER: "none",
}
STEADY_WIDTH_M = 1e-3  # by which the width of a lane may vary that is written as one number
PIECE_M = 4.0  # the least length of a cubic piece of a reference line
TRAFFIC_LIGHT = "1000001"


@dataclass(frozen=True)
class Ends:
    """What the road of a lane is linked to: a road or a junction at each end, and the junction that it belongs to."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None
    junction: str


def road_element(scene: Scene, date: str) -> Element:
    """Return the OpenDRIVE document of a Scene's map; ``date`` is written into its header."""
    root = Element("OpenDRIVE")
    header = {"revMajor": "1", "revMinor": "7", "name": scene.id, "version": "1.00", "date": date}
    SubElement(root, "header", {**header, "vendor": "alpamayo"})
    numbers = {lane.id: str(k) for k, lane in enumerate(scene.road_map.lanes)}
    ends, junctions = _linked(scene.road_map, numbers)
    lines = {lane.id: _spaced(lane.centreline.astype(np.float64) + scene.origin) for lane in scene.road_map.lanes}
    tangents = _tangents(lines, numbers, ends)
    for lane in scene.road_map.lanes:
        _add_road(root, scene, lane, numbers[lane.id], ends[lane.id], lines[lane.id], tangents[lane.id])
    for name, connections in junctions.items():
        _add_junction(root, name, connections)
    return root


def _linked(road_map: RoadMap, numbers: Mapping[str, str]) -> tuple[dict[str, Ends], dict[str, list[tuple[str, str]]]]:
    """Return the ends of each lane's road, and the pairs of incoming and connecting roads of each junction."""
    after = {lane.id: [name for name in lane.successors if name in numbers] for lane in road_map.lanes}
    before: dict[str, list[str]] = {name: [] for name in after}
    for name, following in after.items():
        for each in following:
            before[each].append(name)
    connecting = {each for following in after.values() if len(following) > 1 for each in following}
    connecting |= {each for those in before.values() if len(those) > 1 for each in those}
    group = _groups(connecting, after, before)
    ends, junctions = {}, dict[str, list[tuple[str, str]]]()
    for name in after:
        if name in connecting:
            for incoming in before[name]:
                junctions.setdefault(group[name], []).append((numbers[incoming], numbers[name]))
        ends[name] = Ends(
            _end(name, before[name], connecting, group, numbers),
            _end(name, after[name], connecting, group, numbers),
            group.get(name, "-1"),
        )
    return ends, junctions


def _end(
    name: str, others: list[str], connecting: set[str], group: Mapping[str, str], numbers: Mapping[str, str]
) -> tuple[str, str] | None:
    """Return the element that an end of a lane's road is linked to."""
    if not others:
        return None
    if name not in connecting and others[0] in connecting:
        return "junction", group[others[0]]
    return "road", numbers[others[0]]


def _groups(connecting: set[str], after: Mapping[str, list[str]], before: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the junction of each connecting lane: those with a common lane before or after them share one."""
    found: dict[str, str] = {}
    for start in sorted(connecting):
        if start in found:
            continue
        name, pending = f"{1_000_000 + len(set(found.values()))}", [start]
        while pending:
            lane = pending.pop()
            if lane in found:
                continue
            found[lane] = name
            pending += [each for end in before[lane] for each in after[end] if each in connecting]
            pending += [each for end in after[lane] for each in before[end] if each in connecting]
    return found


def _tangents(
    lines: Mapping[str, Float64[Array, "_ 3"]], numbers: Mapping[str, str], ends: Mapping[str, Ends]
) -> dict[str, Float64[Array, "_ 2"]]:
    """Return the unit tangents at the points of each line; a connecting road has those of the roads at its ends."""
    own = {}
    for name, line in lines.items():
        tangent = np.gradient(line[:, :2], axis=0, edge_order=2 if len(line) > 2 else 1)
        own[name] = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    lane_of = {number: name for name, number in numbers.items()}
    for name, tangent in own.items():
        for row, beside, end in ((0, -1, ends[name].before), (-1, 0, ends[name].after)):
            if ends[name].junction != "-1" and end is not None and end[0] == "road":
                tangent[row] = own[lane_of[end[1]]][beside]
    return own


def _add_road(
    root: Element,
    scene: Scene,
    lane: Lane,
    number: str,
    ends: Ends,
    line: Float64[Array, "n 3"],
    tangent: Float64[Array, "n 2"],
) -> None:
    s, pieces = _pieces(line[:, :2], tangent)
    road = SubElement(
        root,
        "road",
        {"name": lane.id, "length": _text(s[-1]), "id": number, "junction": ends.junction, "rule": "RHT"},
    )
    link = SubElement(road, "link")
    for tag, end, contact in (("predecessor", ends.before, "end"), ("successor", ends.after, "start")):
        if end is not None:
            place = {"contactPoint": contact} if end[0] == "road" else {}
            SubElement(link, tag, {"elementType": end[0], "elementId": end[1], **place})
    if lane.speed_limit is not None:
        kind = SubElement(road, "type", {"s": "0", "type": "town"})
        SubElement(kind, "speed", {"max": _text(lane.speed_limit), "unit": "m/s"})
    view = SubElement(road, "planView")
    for attributes, curve in pieces:
        SubElement(SubElement(view, "geometry", attributes), "paramPoly3", {**curve, "pRange": "normalized"})
    _add_heights(road, s, line[:, 2])
    _add_lane(road, lane, s, ends)
    _add_signals(road, scene, lane)


def _spaced(line: Float64[Array, "n 3"]) -> Float64[Array, "m 3"]:
    """Return points of a line that are so far apart that a cubic between them has no noise."""
    s = arc_length(line)
    count = max(int(s[-1] / PIECE_M), 1) + 1
    return np.concatenate([interpolate(line[:, :2], np.linspace(0.0, s[-1], count)),
                           np.interp(np.linspace(0.0, s[-1], count), s, line[:, 2])[:, None]], axis=1)  # fmt: skip


def _pieces(
    line: Float64[Array, "n 2"], tangent: Float64[Array, "n 2"]
) -> tuple[Float64[Array, " n"], list[tuple[dict[str, str], dict[str, str]]]]:
    """Return the arc lengths (m) at the points, and start and coefficients of a cubic from each point to the next.

    The cubics are Hermite curves with the tangents at the points, so that the heading has no step.
    """
    found, s = [], [0.0]
    for k in range(len(line) - 1):
        heading = float(np.arctan2(tangent[k, 1], tangent[k, 0]))
        c, sn = np.cos(heading), np.sin(heading)
        turn = np.array([[c, sn], [-sn, c]])
        chord = turn @ (line[k + 1] - line[k])
        reach = float(np.linalg.norm(chord))
        first, last = np.array([reach, 0.0]), reach * (turn @ tangent[k + 1])
        coefficients = np.stack([np.zeros(2), first, 3.0 * chord - 2.0 * first - last, first + last - 2.0 * chord])
        p = np.linspace(0.0, 1.0, 65)[:, None]
        curve = coefficients[0] + p * (coefficients[1] + p * (coefficients[2] + p * coefficients[3]))
        length = float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum())
        place = {"s": s[-1], "x": line[k, 0], "y": line[k, 1], "hdg": heading, "length": length}
        names = [f"{name}{axis}" for name in "abcd" for axis in "UV"]
        found.append(
            (
                {name: _text(value) for name, value in place.items()},
                {name: _text(value) for name, value in zip(names, coefficients.reshape(-1), strict=True)},
            )
        )
        s.append(s[-1] + length)
    return np.array(s), found


def _add_heights(road: Element, s: Float64[Array, " n"], z: Float64[Array, " n"]) -> None:
    """Add the heights, linear between the points; none where the road is flat."""
    profile = SubElement(road, "elevationProfile")
    if np.ptp(z) < 1e-4:
        _cubic(profile, "elevation", "s", 0.0, float(z[0]), 0.0)
        return
    for k in range(len(s) - 1):
        _cubic(profile, "elevation", "s", float(s[k]), float(z[k]), float((z[k + 1] - z[k]) / (s[k + 1] - s[k])))


def _cubic(parent: Element, tag: str, start: str, s: float, a: float, b: float) -> None:
    SubElement(parent, tag, {start: _text(s), "a": _text(a), "b": _text(b), "c": "0", "d": "0"})


def _add_lane(road: Element, lane: Lane, s: Float64[Array, " n"], ends: Ends) -> None:
    """Add the one lane, whose centre is the reference line."""
    places = arc_length(lane.centreline.astype(np.float64))
    width = np.interp(s, places * s[-1] / places[-1], lane.width.astype(np.float64))
    lanes = SubElement(road, "lanes")
    knots = [0, len(s) - 1] if np.ptp(width) < STEADY_WIDTH_M else list(range(len(s)))
    slopes = [float((width[after] - width[here]) / (s[after] - s[here])) for here, after in pairwise(knots)]
    for here, slope in zip(knots, slopes, strict=False):
        _cubic(lanes, "laneOffset", "s", float(s[here]), 0.5 * float(width[here]), 0.5 * slope)
    section = SubElement(lanes, "laneSection", {"s": "0"})
    centre = SubElement(SubElement(section, "center"), "lane", {"id": "0", "type": "none", "level": "false"})
    _mark(centre)
    kind = LANE_TYPES[lane.kind]
    right = SubElement(SubElement(section, "right"), "lane", {"id": "-1", "type": kind, "level": "false"})
    link = SubElement(right, "link")
    for tag, end in (("predecessor", ends.before), ("successor", ends.after)):
        if end is not None and end[0] == "road":
            SubElement(link, tag, {"id": "-1"})
    for here, slope in zip(knots, slopes, strict=False):
        _cubic(right, "width", "sOffset", float(s[here]), float(width[here]), slope)
    _mark(right)


def _mark(lane: Element) -> None:
    SubElement(
        lane, "roadMark", {"sOffset": "0", "type": "none", "weight": "standard", "color": "standard", "width": "0"}
    )


def signal_ids(scene: Scene) -> list[tuple[str, Signal]]:
    """Return the id of each signal of the road file with the traffic light of the Scene that it belongs to.

    A traffic light has one signal on the road of each lane that leads to its lanes.
    """
    return [(name, signal) for _, name, signal in _lane_signals(scene)]


def _lane_signals(scene: Scene) -> list[tuple[str, str, Signal]]:
    """Return the lane, the id and the traffic light of each signal."""
    return [
        (lane.id, f"{number}{k:03d}", signal)
        for number, lane in enumerate(scene.road_map.lanes, start=1)
        for k, signal in enumerate(scene.signals)
        if set(lane.successors) & set(signal.lane_ids)
    ]


def _add_signals(road: Element, scene: Scene, lane: Lane) -> None:
    """Add the traffic lights of the lanes that begin behind this lane."""
    here = [(name, signal) for owner, name, signal in _lane_signals(scene) if owner == lane.id]
    if not here:
        return
    parent, length = SubElement(road, "signals"), float(arc_length(lane.centreline)[-1])
    for name, signal in here:
        place = {"s": _text(length), "t": "0", "zOffset": "4", "orientation": "+", "height": "1", "width": "0.4"}
        kind = {"type": TRAFFIC_LIGHT, "subtype": "-1", "value": "-1", "country": "OpenDRIVE", "dynamic": "yes"}
        SubElement(parent, "signal", {"id": name, "name": signal.id, **place, **kind})


def _add_junction(root: Element, name: str, connections: Iterable[tuple[str, str]]) -> None:
    junction = SubElement(root, "junction", {"name": "", "id": name})
    for k, (incoming, connecting) in enumerate(connections):
        attributes = {"id": str(k), "incomingRoad": incoming, "connectingRoad": connecting, "contactPoint": "start"}
        SubElement(SubElement(junction, "connection", attributes), "laneLink", {"from": "-1", "to": "-1"})


def _text(value: float) -> str:
    """Return a number as text without loss that matters: a hundredth of a micrometre."""
    return f"{float(value):.8f}".rstrip("0").rstrip(".") or "0"
