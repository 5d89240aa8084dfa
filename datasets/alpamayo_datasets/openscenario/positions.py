"""Positions of a scenario file: where they put an entity."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.opendrive.network import Network, Road
from alpamayo_datasets.openscenario.entities import Catalogs
from alpamayo_datasets.openscenario.motion import Mover
from alpamayo_datasets.openscenario.routes import RoadRoute, Waypoint, route_through
from alpamayo_datasets.xml_elements import child, number, place, whole, word
from alpamayo_sim.errors import InputError

Array = np.ndarray

# names since version 1.1, and those of version 1.0
FROM_ENTITY = ("FromCurrentEntity", "PositionOfCurrentEntity")
FROM_LANE = ("FromLaneCoordinates", "PositionInLaneCoordinates")
FROM_ROAD = ("FromRoadCoordinates", "PositionInRoadCoordinates")


@dataclass(frozen=True, eq=False)
class Positions:
    """What positions refer to: the roads, where all entities are now, and the catalogs with their parameters."""

    network: Network
    movers: Mapping[str, Mover]
    where: str
    catalogs: Catalogs
    scope: Mapping[str, str]

    def put(self, mover: Mover, position: Element) -> None:
        """Put an entity at a position.

        Raises:
            InputError: The position is of a kind that is not supported, or its road, lane or entity is not there.
        """
        kind = next(iter(position), None)
        if kind is None or kind.tag not in _KINDS:
            name = "empty" if kind is None else kind.tag
            raise InputError(
                f"{place(position if kind is None else kind, self.where)}: a position that is {name} is not supported; "
                f"there are {', '.join(_KINDS)}"
            )
        _KINDS[kind.tag](self, mover, kind)

    def pose(self, position: Element) -> Float64[Array, "4"]:
        """Return x, y, z (m) and heading (rad) of a position.

        Raises:
            InputError: As ``put``.
        """
        first = next(iter(self.movers.values()))
        probe = Mover(first.entity, self.network)
        self.put(probe, position)
        return probe.place()

    def road(self, element: Element, name: str = "roadId") -> Road:
        """Return the road that an element names."""
        road = self.network.roads.get(word(element, name, self.where))
        if road is None:
            raise InputError(f"{place(element, self.where)}: there is no road {element.get(name)!r}")
        return road

    def route(self, element: Element) -> RoadRoute:
        """Return the route in an element: a Route, or a reference to one in a catalog.

        Raises:
            InputError: There is none, its waypoints are off the roads, or no way leads through them.
        """
        found, here = element.find("Route"), place(element, self.where)
        if found is None:
            found = self.catalogs.entry(child(element, "CatalogReference", self.where), self.scope)
        waypoints = [self._waypoint(child(each, "Position", self.where), here) for each in found.findall("Waypoint")]
        return route_through(self.network, waypoints, here)

    def _waypoint(self, position: Element, here: str) -> Waypoint:
        probe = Mover(next(iter(self.movers.values())).entity, self.network)
        self.put(probe, position)
        if probe.road is None or probe.step is None:
            raise InputError(f"{here}: a waypoint of the route is on no road")
        return Waypoint(probe.step, probe.s, probe.along)

    def other(self, element: Element) -> Mover:
        """Return the entity that an element refers to."""
        name = word(element, "entityRef", self.where)
        if name not in self.movers:
            raise InputError(f"{place(element, self.where)}: there is no entity {name!r}")
        return self.movers[name]


def _on_lane(at: Positions, mover: Mover, element: Element) -> None:
    road, lane = at.road(element), whole(element, "laneId", at.where)
    s, offset = number(element, "s", at.where), number(element, "offset", at.where, 0.0)
    _put(at, mover, element, road, lane, s, offset, road.runs_along(lane))


def _put(
    at: Positions, mover: Mover, element: Element, road: Road, lane: int, s: float, offset: float, along: bool
) -> None:
    """Put an entity on a lane with the orientation of the element, which may turn it against the lane."""
    if not -1e-3 <= s <= road.length + 1e-3:
        raise InputError(f"{place(element, at.where)}: s is {s:g} m, road {road.id!r} is {road.length:g} m long")
    s = min(max(s, 0.0), road.length)
    section = road.section_at(s)
    if lane not in road.sections[section].lanes and lane != 0:
        raise InputError(f"{place(element, at.where)}: road {road.id!r} has no lane {lane} at s = {s:g} m")
    ahead = float(road.line.pose(np.array([s]))[0, 2]) + (0.0 if along else math.pi)
    turned = _heading(at, element, ahead) - ahead
    if math.cos(turned) < 0.0:
        along, turned = not along, turned - math.pi
    mover.put_on_lane((road.id, section, lane), s, offset, along, math.remainder(turned, 2.0 * math.pi))


def _heading(at: Positions, element: Element, reference: float) -> float:
    """Return the heading (rad) of an element's orientation; relative ones add to ``reference``."""
    orientation = element.find("Orientation")
    if orientation is None:
        return reference
    heading = number(orientation, "h", at.where, 0.0)
    return heading + (reference if orientation.get("type", "absolute") == "relative" else 0.0)


def _on_road(at: Positions, mover: Mover, element: Element) -> None:
    road, s, t = at.road(element), number(element, "s", at.where), number(element, "t", at.where)
    lane, offset = _lane_at(road, s, t)
    _put(at, mover, element, road, lane, s, offset, road.runs_along(lane))


def _lane_at(road: Road, s: float, t: float) -> tuple[int, float]:
    """Return the lane whose centre is nearest to an offset (m) from the reference line, and the rest."""
    at, section = np.array([min(max(s, 0.0), road.length)]), road.section_at(s)
    offsets = {lane: t - float(road.lane_t(lane, at, section)[0]) for lane in road.sections[section].lanes if lane}
    lane = min(offsets, key=lambda lane: abs(offsets[lane]), default=0)
    return lane, offsets.get(lane, t)


def _beside_road(at: Positions, mover: Mover, element: Element) -> None:
    """Put it at arc length and offset relative to another entity's, along the road."""
    other = at.other(element)
    road = _its_road(at, element, other)
    s = other.s + number(element, "ds", at.where)
    t = other.t + number(element, "dt", at.where)
    lane, offset = _lane_at(road, s, t)
    _put(at, mover, element, road, lane, s, offset, road.runs_along(lane))


def _beside_lane(at: Positions, mover: Mover, element: Element) -> None:
    """Put it on a lane relative to another entity's: so many lanes to its left, so far ahead."""
    other = at.other(element)
    road = _its_road(at, element, other)
    along = other.along
    ahead = number(element, "ds", at.where, number(element, "dsLane", at.where, 0.0))
    lane = lane_beside(other.lane or 0, whole(element, "dLane", at.where), along)
    _put(
        at,
        mover,
        element,
        road,
        lane,
        other.s + (ahead if along else -ahead),
        number(element, "offset", at.where, 0.0),
        road.runs_along(lane),
    )


def _its_road(at: Positions, element: Element, other: Mover) -> Road:
    if other.road is None:
        raise InputError(f"{place(element, at.where)}: entity {other.entity.name!r} is on no road")
    return other.road


def lane_beside(lane: int, by: int, along: bool) -> int:
    """Return the lane so many lanes to the left of a lane, as seen by who drives ``along`` the road; 0 is no lane."""
    step = 1 if (by > 0) is along else -1
    for _ in range(abs(by)):
        lane += step
        if lane == 0:
            lane += step
    return lane


def _in_world(at: Positions, mover: Mover, element: Element) -> None:
    x, y = (number(element, axis, at.where) for axis in "xy")
    z, heading = (number(element, axis, at.where, 0.0) for axis in "zh")
    mover.put_in_world(np.array([x, y, z, heading]))


def _beside_entity(at: Positions, mover: Mover, element: Element, turned: bool = True) -> None:
    """Put it relative to another entity: in that entity's axes, or in those of the world."""
    x, y, z, heading = at.other(element).place()
    dx, dy, dz = (number(element, name, at.where, 0.0) for name in ("dx", "dy", "dz"))
    c, s = (math.cos(heading), math.sin(heading)) if turned else (1.0, 0.0)
    pose = np.array([x + c * dx - s * dy, y + s * dx + c * dy, z + dz, _heading(at, element, heading)])
    mover.put_in_world(pose)


def _in_world_beside(at: Positions, mover: Mover, element: Element) -> None:
    _beside_entity(at, mover, element, turned=False)


def _on_route(at: Positions, mover: Mover, element: Element) -> None:
    """Put it at a distance along a route: on a lane of the road there, at an offset from it, or beside an entity."""
    route, inside = at.route(child(element, "RouteRef", at.where)), child(element, "InRoutePosition", at.where)
    found = next(iter(inside), None)
    if found is None or found.tag not in (*FROM_ENTITY, *FROM_LANE, *FROM_ROAD):
        raise InputError(f"{place(inside, at.where)}: needs one of {', '.join((*FROM_ENTITY, *FROM_LANE, *FROM_ROAD))}")
    if found.tag in FROM_ENTITY:
        mover.put_in_world(at.other(found).place())
        return
    distance = number(found, "pathS", at.where)
    there = route.place(at.network, distance) if distance >= 0.0 else None
    if there is None:
        raise InputError(f"{place(found, at.where)}: pathS is {distance:g} m, which is not on the route")
    road, along, s = at.network.roads[there[0]], *there[1:]
    if found.tag in FROM_LANE:
        lane, offset = whole(found, "laneId", at.where), number(found, "laneOffset", at.where, 0.0)
    else:
        lane, offset = _lane_at(road, s, number(found, "t", at.where))
    _put(at, mover, element, road, lane, s, offset, along)


_KINDS: Mapping[str, Callable[[Positions, Mover, Element], None]] = MappingProxyType(
    {
        "LanePosition": _on_lane,
        "RoadPosition": _on_road,
        "RelativeLanePosition": _beside_lane,
        "RelativeRoadPosition": _beside_road,
        "WorldPosition": _in_world,
        "RelativeObjectPosition": _beside_entity,
        "RelativeWorldPosition": _in_world_beside,
        "RoutePosition": _on_route,
    }
)
