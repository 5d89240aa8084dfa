"""Routes of a scenario file: waypoints, the roads between them, and places along them."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from alpamayo_datasets.opendrive.network import Network, Step
from alpamayo_sim.errors import InputError

Node = tuple[Step, bool]  # a lane of a section, and whether one drives towards greater arc lengths there


@dataclass(frozen=True)
class Waypoint:
    """A place on a lane: the lane, its arc length (m) on the road, and the driving direction there."""

    step: Step
    s: float
    along: bool


@dataclass(frozen=True)
class RoadRoute:
    """Roads in driving order, each with its direction (towards greater arc lengths), from an arc length (m) on."""

    roads: tuple[tuple[str, bool], ...]
    start: float

    @property
    def names(self) -> frozenset[str]:
        """The ids of the roads."""
        return frozenset(name for name, _ in self.roads)

    def place(self, network: Network, distance: float) -> tuple[str, bool, float] | None:
        """Return road, direction and arc length (m) at a distance (m) along the route; None beyond its last road."""
        s = self.start
        for name, along in self.roads:
            length = network.roads[name].length
            left = length - s if along else s
            if distance <= left + 1e-6:
                return name, along, min(max(s + (distance if along else -distance), 0.0), length)
            distance -= left
            following = self._after(name)
            s = 0.0 if following is None or following[1] else network.roads[following[0]].length
        return None

    def _after(self, name: str) -> tuple[str, bool] | None:
        names = [road for road, _ in self.roads]
        k = names.index(name) + 1
        return self.roads[k] if k < len(names) else None


def route_through(network: Network, waypoints: Sequence[Waypoint], where: str) -> RoadRoute:
    """Return the route along the fewest roads through waypoints.

    Raises:
        InputError: There are fewer than two, or no way leads from one to the next.
    """
    if len(waypoints) < 2:
        raise InputError(f"{where}: a route needs two waypoints, found {len(waypoints)}")
    roads: list[tuple[str, bool]] = []
    for k, (one, other) in enumerate(pairwise(waypoints)):
        leg = _leg(network, one, other)
        if leg is None:
            raise InputError(f"{where}: no way leads from waypoint {k + 1} (road {one.step[0]!r}) to waypoint {k + 2}")
        roads += leg if not roads or leg[0] != roads[-1] else leg[1:]
    return RoadRoute(tuple(roads), waypoints[0].s)


def _leg(network: Network, one: Waypoint, other: Waypoint) -> list[tuple[str, bool]] | None:
    """Return the roads from one waypoint to another, by a breadth-first search over lanes; None without a way."""
    road = network.roads[one.step[0]]
    ahead = other.s >= one.s if one.along else other.s <= one.s
    if one.step[0] == other.step[0] and ahead:
        return [(one.step[0], one.along)]
    lanes = [one.step[2], *(lane for lane in road.sections[one.step[1]].lanes if lane)]
    starts: list[Node] = [((*one.step[:2], lane), one.along) for lane in lanes if road.runs_along(lane) is one.along]
    before: dict[Node, Node | None] = dict.fromkeys(starts)
    queue = deque(before)
    while queue:
        node = queue.popleft()
        for after in network.continued(*node):
            if after in before:
                continue
            before[after] = node
            if after[0][0] == other.step[0]:
                return _roads(after, before)
            queue.append(after)
    return None


def _roads(last: Node, before: dict[Node, Node | None]) -> list[tuple[str, bool]]:
    nodes: list[Node] = []
    node: Node | None = last
    while node is not None:
        nodes.append(node)
        node = before[node]
    found = [(step[0], along) for step, along in nodes[::-1]]
    return [road for k, road in enumerate(found) if k == 0 or road != found[k - 1]]
