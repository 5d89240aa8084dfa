"""Roundabouts with one lane and four arms, entered to the right and driven counter-clockwise.

Arms are numbered counter-clockwise from the west. A ring lane begins and ends where a lane joins or leaves the ring;
the lanes of an arm are straight, and a smooth connector leads from them into the ring and out of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float32

from alpamayo_scenarios.alignment import Alignment, flat, straight
from alpamayo_scenarios.conflicts import add_stream, shortened
from alpamayo_scenarios.roads import lane_path
from alpamayo_scenarios.scenery import add_roadside, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, Environment, Instruction, Lane, LineKind, RoadLine, RoadMap, Route
from alpamayo_sim.geometry import arc_length

Array = np.ndarray
Path = Float32[Array, "_ 3"]

ARMS = ("west", "south", "east", "north")
ARM_LENGTH_M = 110.0  # from the middle of the roundabout to the end of an arm
ARM_LANE_WIDTH_M = 3.5
RING_LANE_WIDTH_M = 5.0
SHOULDER_M = 0.5
CONNECTOR_M = 13.0  # from the ring's centreline to where an arm's straight lane ends
JOIN_RAD = math.radians(32.0)  # between the middle of an arm and the places where its lanes join and leave the ring
FLARE_RAD = math.radians(44.0)  # of the ground that joins an arm and the ring
POINT_SPACING_M = 1.0
EXITS = {"right": 1, "through": 2, "left": 3}
TEXTS = {"right": "Take the first exit", "through": "Take the second exit", "left": "Take the third exit"}


@dataclass(eq=False)
class RoundaboutSite:
    """A roundabout with the ego on its west arm; ``before`` (m) lie between the ego and the place where it joins."""

    road_map: RoadMap
    stage: Stage
    rng: np.random.Generator
    route: Route
    before: float

    def path(self, arm: str, exit_number: int) -> Path:
        """Return the path from the beginning of an arm through the roundabout to the end of an exit's arm."""
        return lane_path(self.road_map, roundabout_lanes(arm, exit_number))

    def stream(self, arm: str, exit_number: int, times: Sequence[float], speed: float) -> None:
        """Add ``stream-*`` cars that pass the place where the ego joins the ring at ``times`` (s)."""
        path = self.path(arm, exit_number)
        join = self.road_map.lane_by_id[f"{ARMS[0]}-entry"].centreline[-1, :2]
        along = arc_length(path)
        way = float(along[int(np.argmin(np.hypot(*(path[:, :2] - join).T)))])
        add_stream(self.stage, self.rng, path, way, times, speed)

    def scenario(self, beyond: float, environment: Environment | None = None) -> Scenario:
        """Add the roadside and return the scenario; the goal is ``beyond`` (m) after the place where the ego joins."""
        kerb = ARM_LANE_WIDTH_M + SHOULDER_M
        roads = [(line, -kerb, kerb) for line in _axes()]
        add_roadside(self.stage, self.rng, self.road_map, roads, 0.7)
        weather = environment or draw_environment(self.rng)
        return self.stage.scenario(self.road_map, self.route, self.before + beyond, weather)


def roundabout_site(
    rng: np.random.Generator, speed: float, time: float, limit: float, radius: float, turn: str, duration: float
) -> RoundaboutSite:
    """Make a roundabout whose ring a steady ego joins after ``time`` (s).

    Args:
        rng: the source of everything that is not given.
        speed: the ego's initial speed (m/s).
        time: s.
        limit: the speed limit (m/s).
        radius: of the ring's centreline (m).
        turn: ``right``, ``through`` or ``left``: the first, second or third exit.
        duration: of the scenario (s).
    """
    road_map = roundabout(radius, limit)
    ids = roundabout_lanes(ARMS[0], EXITS[turn])
    whole = lane_path(road_map, ids)
    join = sum(float(arc_length(road_map.lane_by_id[name].centreline)[-1]) for name in ids[:2])
    before = speed * time
    path = shortened(whole, join - before)
    stage = Stage(_axes()[0], duration)
    stage.add_track("ego", Category.VEHICLE, (float(path[0, 0]), float(path[0, 1]), 0.0), speed, EGO_SIZE)
    stage.add_prop("island-tree", Category.VEGETATION, (0.0, 0.0, 0.0), (5.0, 5.0, 6.0))
    return RoundaboutSite(road_map, stage, rng, Route(path, ids, (Instruction(0.0, TEXTS[turn]),)), before)


def roundabout(radius: float, limit: float) -> RoadMap:
    """Make the map of a roundabout; ``radius`` (m) is that of the ring's centreline, the limit is in m/s."""
    lanes: list[Lane] = []
    for k, arm in enumerate(ARMS):
        lanes += _arm_lanes(k, arm, radius, limit)
    areas = [_arm_ground(k, radius) for k in range(4)] + [_ring_ground(k, radius) for k in range(4)]
    lines = [RoadLine(flat(_turned(k, _arm_middle(radius))), LineKind.SOLID_YELLOW) for k in range(4)]
    return RoadMap(tuple(lanes), tuple(areas), road_edges=_kerbs(areas), road_lines=tuple(lines))


def _kerbs(areas: Sequence[Path]) -> tuple[Path, ...]:
    """Return the edges of the ground with the road at their left, without the ends of the arms."""
    ground = shapely.union_all([shapely.Polygon(area[:, :2]) for area in areas])
    assert isinstance(ground, shapely.Polygon)
    whole = shapely.segmentize(shapely.geometry.polygon.orient(ground), 2.0)
    outside = shapely.get_coordinates(whole.exterior)
    at_end = np.abs(outside[:-1]).max(axis=1) > ARM_LENGTH_M - 0.1
    first = int(np.argmax(at_end))
    outside, at_end = np.roll(outside[:-1], -first, axis=0), np.roll(at_end, -first)
    pieces = np.split(np.arange(len(outside)), np.flatnonzero(at_end[:-1] & at_end[1:]) + 1)
    edges = [flat(outside[piece]) for piece in pieces if len(piece) > 2]
    return (*edges, *(flat(shapely.get_coordinates(ring)) for ring in whole.interiors))


def roundabout_lanes(arm: str, exit_number: int) -> tuple[str, ...]:
    """Return the lanes from an arm to its first, second, third or fourth exit."""
    k = ARMS.index(arm)
    ids = [f"{arm}-in", f"{arm}-entry"]
    for passed in range(exit_number):
        ids.append(f"ring-{ARMS[(k + passed) % 4]}-after")
        if passed + 1 < exit_number:
            ids.append(f"ring-{ARMS[(k + passed + 1) % 4]}-past")
    last = ARMS[(k + exit_number) % 4]
    return (*ids, f"{last}-exit", f"{last}-out")


def _arm_lanes(k: int, arm: str, radius: float, limit: float) -> list[Lane]:
    """Return the lanes of an arm, and the two ring lanes at it: past the arm, and after it."""
    following = ARMS[(k + 1) % 4]
    near, half = -(radius + CONNECTOR_M), 0.5 * ARM_LANE_WIDTH_M
    middle = math.pi
    inward = np.array([[-ARM_LENGTH_M, -half], [near, -half]])
    outward = np.array([[near, half], [-ARM_LENGTH_M, half]])
    join, leave = middle + JOIN_RAD, middle - JOIN_RAD
    entry = _connector(inward[1], 0.0, *_on_ring(radius, join))
    departure = _connector(*_on_ring(radius, leave), outward[0], math.pi)
    past = radius * _circle(np.linspace(leave, join, _count(2.0 * JOIN_RAD * radius)))
    gap = 0.5 * math.pi - 2.0 * JOIN_RAD
    after = radius * _circle(np.linspace(join, join + gap, _count(gap * radius)))
    made = (
        (f"{arm}-in", _dense(inward), ARM_LANE_WIDTH_M, (f"{arm}-entry",), False),
        (f"{arm}-entry", entry, ARM_LANE_WIDTH_M, (f"ring-{arm}-after",), True),
        (f"ring-{arm}-past", past, RING_LANE_WIDTH_M, (f"ring-{arm}-after",), True),
        (f"ring-{arm}-after", after, RING_LANE_WIDTH_M, (f"ring-{following}-past", f"{following}-exit"), True),
        (f"{arm}-exit", departure, ARM_LANE_WIDTH_M, (f"{arm}-out",), True),
        (f"{arm}-out", _dense(outward), ARM_LANE_WIDTH_M, (), False),
    )
    return [_lane(name, _turned(k, points), width, limit, after, inside) for name, points, width, after, inside in made]


def _lane(name: str, points: Array, width: float, limit: float, successors: tuple[str, ...], inside: bool) -> Lane:
    ahead = np.gradient(points, axis=0)
    normal = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1) / np.hypot(ahead[:, 0], ahead[:, 1])[:, None]
    return Lane(
        id=name,
        centreline=flat(points),
        width=np.full(len(points), width, np.float32),
        left_boundary=flat(points + 0.5 * width * normal),
        right_boundary=flat(points - 0.5 * width * normal),
        speed_limit=limit,
        successors=successors,
        in_intersection=inside,
    )


def _on_ring(radius: float, angle: float) -> tuple[Array, float]:
    """Return the point of the ring at an angle, and its driving direction (rad)."""
    return radius * _circle(np.array([angle]))[0], angle + 0.5 * math.pi


def _connector(start: Array, heading: float, end: Array, end_heading: float) -> Array:
    """Return a cubic Hermite curve between two poses, with points every metre or closer."""
    length = float(np.hypot(*(end - start)))
    t = np.linspace(0.0, 1.0, _count(1.1 * length))[:, None]
    a = length * np.array([math.cos(heading), math.sin(heading)])
    b = length * np.array([math.cos(end_heading), math.sin(end_heading)])
    h00, h10 = 2.0 * t**3 - 3.0 * t**2 + 1.0, t**3 - 2.0 * t**2 + t
    h01, h11 = -2.0 * t**3 + 3.0 * t**2, t**3 - t**2
    return np.asarray(h00 * start + h10 * a + h01 * end + h11 * b)


def _arm_middle(radius: float) -> Array:
    return np.linspace([-ARM_LENGTH_M, 0.0], [-(radius + CONNECTOR_M), 0.0], 30)


def _arm_ground(k: int, radius: float) -> Path:
    """Return the ground of an arm, with its flare into the ring."""
    kerb, near = ARM_LANE_WIDTH_M + SHOULDER_M, -(radius + CONNECTOR_M)
    outer = radius + 0.5 * RING_LANE_WIDTH_M + SHOULDER_M
    low, high = outer * _circle(math.pi + np.array([FLARE_RAD, -FLARE_RAD]))
    corners = [[-ARM_LENGTH_M, -kerb], [near, -kerb], low, high, [near, kerb], [-ARM_LENGTH_M, kerb]]
    return flat(_turned(k, np.array(corners)))


def _ring_ground(k: int, radius: float) -> Path:
    """Return a quarter of the ring, which overlaps its neighbours a little."""
    angles = np.linspace(-0.26 * math.pi, 0.26 * math.pi, 28)
    inner = radius - 0.5 * RING_LANE_WIDTH_M - SHOULDER_M
    outer = radius + 0.5 * RING_LANE_WIDTH_M + SHOULDER_M
    return flat(_turned(k, np.concatenate([outer * _circle(angles), inner * _circle(angles[::-1])])))


def _turned(k: int, points: Array) -> Array:
    """Turn points of the west arm to arm ``k``."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[k]
    return np.stack([c * points[:, 0] - s * points[:, 1], s * points[:, 0] + c * points[:, 1]], axis=-1)


def _axes() -> list[Alignment]:
    """Return the middles of the two roads, from west to east and from south to north."""
    length = 2.0 * ARM_LENGTH_M
    return [straight(length, (-ARM_LENGTH_M, 0.0)), straight(length, (0.0, -ARM_LENGTH_M), 0.5 * math.pi)]


def _circle(angles: Array) -> Array:
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _dense(ends: Array) -> Array:
    count = _count(float(np.hypot(*(ends[1] - ends[0]))) / 2.0)
    return np.linspace(ends[0], ends[1], count)


def _count(length: float) -> int:
    return max(3, math.ceil(length / POINT_SPACING_M) + 1)
