"""Reads OpenDRIVE 1.4 to 1.8 (XML) as a ``Network``.

Format: ASAM OpenDRIVE 1.7. What changes no geometry and no traffic rule is skipped silently; what would, and is not
read, is listed with its line.
"""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from alpamayo_datasets.opendrive.network import Connection, Cubics, LaneRecord, Link, Network, Road, RoadSignal, Section
from alpamayo_datasets.opendrive.reference_line import Geometry, Local, ReferenceLine, arc, clothoid, polynomial
from alpamayo_datasets.xml_elements import child, number, place, whole, word
from alpamayo_datasets.xml_files import line_of, read_xml
from alpamayo_sim.errors import InputError

MAX_ROAD_M = 100_000.0
MAX_NETWORK_M = 1_000_000.0
MAX_SECTIONS = 100_000
MAX_LANE = 40  # the greatest number of a lane
GAP_M = 0.01  # between two geometries
MPS_OF_UNIT = {"m/s": 1.0, "km/h": 1.0 / 3.6, "mph": 0.44704}
DEFAULT_SPEED_UNIT = "m/s"
UNSUPPORTED = ("superelevation", "shape", "crossfall", "railroad", "signalReference", "tunnel", "bridge", "height")
LISTED_ONCE = 20  # places of one kind that are listed by line; the rest is counted


def read_network(path: Path) -> Network:
    """Read the road network of a file.

    Raises:
        InputError: The file cannot be read, is no OpenDRIVE, is hostile, or contradicts itself.
    """
    root, where = read_xml(path), str(path)
    if root.tag != "OpenDRIVE":
        raise InputError(f"{where}: is no OpenDRIVE: its root is {root.tag!r}")
    roads: dict[str, Road] = {}
    total = 0.0
    for element in root.findall("road"):
        total += number(element, "length", where)
        if total > MAX_NETWORK_M:
            raise InputError(f"{where}: its roads are longer than {MAX_NETWORK_M:g} m in all")
        road = _road(element, where)
        if road.id in roads:
            raise InputError(f"{place(element, where)}: there are two roads {road.id!r}")
        roads[road.id] = road
    if not any(section.lanes for road in roads.values() for section in road.sections):
        raise InputError(f"{where}: has no lanes")
    junctions = {word(element, "id", where): _connections(element, where) for element in root.findall("junction")}
    _check_links(root, roads, junctions, where)
    return Network(where, roads, junctions, unsupported(root, UNSUPPORTED))


def unsupported(root: Element, tags: tuple[str, ...]) -> tuple[str, ...]:
    """Return one text for each kind of element that is not read: its name, and the lines where it stands."""
    found = []
    for tag in tags:
        lines = [line_of(element) for element in root.iter(tag)]
        if lines:
            more = f" and {len(lines) - LISTED_ONCE} more" if len(lines) > LISTED_ONCE else ""
            found.append(f"{tag}: line {', '.join(map(str, lines[:LISTED_ONCE]))}{more}")
    return tuple(found)


def _road(element: Element, where: str) -> Road:
    length, name = number(element, "length", where), word(element, "id", where)
    if not 0.0 < length <= MAX_ROAD_M:
        raise InputError(f"{place(element, where)}: its length is {length:g} m, must be in (0, {MAX_ROAD_M:g}]")
    junction = element.get("junction", "-1")
    lanes = child(element, "lanes", where)
    line = _reference_line(child(element, "planView", where), where)
    elevation = _cubics(element.findall("elevationProfile/elevation"), "s", where)
    road = Road(
        id=name,
        length=length,
        junction=None if junction == "-1" else junction,
        left_hand=element.get("rule", "RHT") == "LHT",
        line=line,
        elevation=elevation,
        offset=_cubics(lanes.findall("laneOffset"), "s", where),
        sections=_sections(lanes, length, where),
        before=_link(element.find("link/predecessor"), where),
        after=_link(element.find("link/successor"), where),
        speeds=tuple(
            (number(kind, "s", where), limit)
            for kind in element.findall("type")
            if (limit := _speed(kind.find("speed"), where)) is not None
        ),
        signals=tuple(_signal(signal, where) for signal in element.findall("signals/signal")),
    )
    return _with_crosswalks(road, element, where)


def _reference_line(view: Element, where: str) -> ReferenceLine:
    found = [_geometry(element, where) for element in view.findall("geometry")]
    if not found:
        raise InputError(f"{place(view, where)}: has no geometry")
    return ReferenceLine(tuple(sorted(found, key=lambda geometry: geometry.s)))


def _geometry(element: Element, where: str) -> Geometry:
    s, x, y, heading, length = (number(element, name, where) for name in ("s", "x", "y", "hdg", "length"))
    if length < 0.0 or length > MAX_ROAD_M:
        raise InputError(f"{place(element, where)}: length is {length:g} m, must be in [0, {MAX_ROAD_M:g}]")
    return Geometry(s, x, y, heading, _local(element, length, where))


def _local(element: Element, length: float, where: str) -> Local:
    for shape in element:
        if shape.tag == "line":
            return arc(0.0)
        if shape.tag == "arc":
            return arc(number(shape, "curvature", where))
        if shape.tag == "spiral":
            return clothoid(number(shape, "curvStart", where), number(shape, "curvEnd", where), max(length, 1e-6))
        if shape.tag == "poly3":
            v = [number(shape, name, where) for name in "abcd"]
            return polynomial((0.0, 1.0, 0.0, 0.0), v, length, None)
        if shape.tag == "paramPoly3":
            u, v = ([number(shape, f"{name}{axis}", where) for name in "abcd"] for axis in "UV")
            return polynomial(u, v, length if shape.get("pRange") == "arcLength" else 1.0, length)
    raise InputError(f"{place(element, where)}: is no line, arc, spiral, poly3 or paramPoly3")


def _cubics(elements: list[Element], start: str, where: str) -> Cubics:
    rows = sorted(
        [number(element, start, where), *(number(element, name, where) for name in "abcd")] for element in elements
    )
    table = np.array(rows).reshape(-1, 5)
    return Cubics(table[:, 0], table[:, 1:])


def _sections(lanes: Element, length: float, where: str) -> tuple[Section, ...]:
    elements = sorted(lanes.findall("laneSection"), key=lambda element: number(element, "s", where))
    if not elements or len(elements) > MAX_SECTIONS:
        raise InputError(f"{place(lanes, where)}: has {len(elements)} lane sections, must be from 1 to {MAX_SECTIONS}")
    starts = [number(element, "s", where) for element in elements]
    return tuple(
        Section(start, end, {record.id: record for record in _lanes(element, where)})
        for element, start, end in zip(elements, starts, [*starts[1:], length], strict=True)
    )


def _lanes(section: Element, where: str) -> Iterator[LaneRecord]:
    for side, sign in (("left", 1), ("center", 0), ("right", -1)):
        for element in section.findall(f"{side}/lane"):
            name = whole(element, "id", where)
            if np.sign(name) != sign or abs(name) > MAX_LANE:
                raise InputError(f"{place(element, where)}: lane {name} cannot be on the {side} side")
            yield _lane(element, name, where)


def _lane(element: Element, name: int, where: str) -> LaneRecord:
    borders = element.findall("border")
    widths = element.findall("width")
    if name and not borders and not widths:
        raise InputError(f"{place(element, where)}: lane {name} has no width and no border")
    return LaneRecord(
        id=name,
        kind=element.get("type", "none"),
        width=_cubics(widths or borders, "sOffset", where),
        is_border=not widths and bool(borders),
        before=_linked(element.find("link/predecessor"), where),
        after=_linked(element.find("link/successor"), where),
        marks=tuple(
            (number(mark, "sOffset", where, 0.0), mark.get("type", "none"), mark.get("color", "standard"))
            for mark in element.findall("roadMark")
        ),
        speeds=tuple(
            (number(speed, "sOffset", where, 0.0), limit)
            for speed in element.findall("speed")
            if (limit := _speed(speed, where)) is not None
        ),
    )


def _linked(element: Element | None, where: str) -> int | None:
    return None if element is None else whole(element, "id", where)


def _speed(element: Element | None, where: str) -> float | None:
    """Return a limit in m/s; None where there is none."""
    if element is None or element.get("max") in (None, "no limit", "undefined"):
        return None
    unit = element.get("unit", DEFAULT_SPEED_UNIT)
    if unit not in MPS_OF_UNIT:
        raise InputError(f"{place(element, where)}: the unit is {unit!r}, must be {', '.join(MPS_OF_UNIT)}")
    limit = number(element, "max", where) * MPS_OF_UNIT[unit]
    return limit if limit > 0.0 else None


def _link(element: Element | None, where: str) -> Link | None:
    if element is None:
        return None
    kind = word(element, "elementType", where)
    if kind not in ("road", "junction"):
        raise InputError(f"{place(element, where)}: elementType is {kind!r}, must be road or junction")
    return Link(kind, word(element, "elementId", where), element.get("contactPoint") == "end")


def _connections(junction: Element, where: str) -> tuple[Connection, ...]:
    return tuple(
        Connection(
            word(element, "incomingRoad", where),
            word(element, "connectingRoad", where),
            element.get("contactPoint") == "end",
            tuple((whole(link, "from", where), whole(link, "to", where)) for link in element.findall("laneLink")),
        )
        for element in junction.findall("connection")
        if element.get("connectingRoad") is not None
    )


def _check_links(
    root: Element, roads: dict[str, Road], junctions: dict[str, tuple[Connection, ...]], where: str
) -> None:
    """Raise for a link to a road or junction that is not there, and for a junction that leads into itself."""
    for element in root.findall("road"):
        for end in element.findall("link/*"):
            known = junctions if end.get("elementType") == "junction" else roads
            if end.tag in ("predecessor", "successor") and end.get("elementId") not in known:
                raise InputError(f"{place(end, where)}: there is no {end.get('elementType')} {end.get('elementId')!r}")
    for element in root.findall("junction"):
        for connection in element.findall("connection"):
            for name in ("incomingRoad", "connectingRoad"):
                road = connection.get(name)
                if road is not None and road not in roads:
                    raise InputError(f"{place(connection, where)}: there is no {name} {road!r}")
            incoming = connection.get("incomingRoad")
            if incoming is not None and incoming == connection.get("connectingRoad"):
                raise InputError(f"{place(connection, where)}: road {incoming!r} leads into itself")


def _signal(element: Element, where: str) -> RoadSignal:
    return RoadSignal(
        id=word(element, "id", where),
        s=number(element, "s", where),
        t=number(element, "t", where),
        kind=element.get("type", ""),
        dynamic=element.get("dynamic") == "yes",
        orientation=element.get("orientation", "none"),
        validity=tuple(
            (whole(valid, "fromLane", where), whole(valid, "toLane", where)) for valid in element.findall("validity")
        ),
    )


def _with_crosswalks(road: Road, element: Element, where: str) -> Road:
    """Return the road with the outlines of its crosswalks in the world."""
    found = []
    for thing in element.findall("objects/object"):
        if thing.get("type") == "crosswalk" and len(ring := _outline(road, thing, where)) >= 3:
            found.append(ring)
    return Road(**(vars(road) | {"crosswalks": tuple(found)}))


def _outline(road: Road, thing: Element, where: str) -> np.ndarray:
    """Return the outline of an object in the world, by its corners or by its length and width."""
    s, t = number(thing, "s", where), number(thing, "t", where)
    corners = [*thing.iter("cornerRoad")]
    if corners:
        along = np.array([number(corner, "s", where) for corner in corners])
        return road.points(along, np.array([number(corner, "t", where) for corner in corners]))
    local = np.array(
        [[number(corner, "u", where), number(corner, "v", where)] for corner in thing.iter("cornerLocal")]
    ).reshape(-1, 2)
    if not len(local):
        half = 0.5 * np.array([number(thing, "length", where, 0.0), number(thing, "width", where, 0.0)])
        local = half * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) if half.all() else local
    centre = road.points(np.array([s]), np.array([t]))
    heading = float(road.line.pose(np.array([s]))[0, 2]) + number(thing, "hdg", where, 0.0)
    c, sn = np.cos(heading), np.sin(heading)
    turned = local @ np.array([[c, sn], [-sn, c]])
    return centre + np.concatenate([turned, np.zeros((len(turned), 1))], axis=1)
