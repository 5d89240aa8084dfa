"""Contacts of the ego: with which agent, when, where on both boxes, and how hard."""

import enum
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float32

from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import box_corners, box_separation, to_frame

Array = np.ndarray

# Mass per volume of the box (kg/m³), which gives common road users their usual mass: a car 1.6 t, a laden
# truck 28 t, a bus 13 t, an adult 75 kg. Other categories do not move (barriers, buildings, trees).
DENSITY = {
    Category.UNKNOWN: 105.0,
    Category.VEHICLE: 105.0,
    Category.TRUCK: 170.0,
    Category.BUS: 140.0,
    Category.MOTORCYCLE: 110.0,
    Category.CYCLIST: 45.0,
    Category.PEDESTRIAN: 120.0,
    Category.ANIMAL: 200.0,
    Category.CONE: 30.0,
    Category.DEBRIS: 60.0,
}
EXPOSED = frozenset({Category.MOTORCYCLE, Category.CYCLIST, Category.PEDESTRIAN})


class Side(enum.IntEnum):
    """Side of a box."""

    FRONT = 0
    LEFT = 1
    REAR = 2
    RIGHT = 3


class Severity(enum.IntEnum):
    """Likely severity of a contact: four grades of the project's own, by change of velocity or closing speed.

    For people in vehicles the change of velocity counts, with limits of 1.4, 5.6 and 11.1 m/s (5, 20, 40 km/h);
    for pedestrians, cyclists and motorcyclists the closing speed, with limits of 0.6, 2.8 and 8.3 m/s (2, 10, 30).
    """

    TOUCH = 0
    LIGHT = 1
    SEVERE = 2
    CRITICAL = 3


@dataclass(frozen=True)
class Contact:
    """The ego's box against one agent's at one time (s since the start).

    ``agent`` is its index, ``point`` (m, world) the centre of the overlap, the sides are those of the two boxes
    that it is nearest to. ``relative_speed`` (m/s) is the length of the relative velocity and ``closing_speed`` its
    part along the line of impact, which is the normal of the faces that meet (negative: they part). ``depth`` (m)
    is the overlap along it. The changes of velocity (m/s) are those of a plastic central impact: each takes the
    share of the closing speed that the other's mass has of both.
    """

    agent: int
    id: str
    category: Category
    time: float
    point: tuple[float, float]
    ego_side: Side
    agent_side: Side
    relative_speed: float
    closing_speed: float
    depth: float
    ego_delta_v: float
    agent_delta_v: float
    severity: Severity


@dataclass(frozen=True, eq=False)
class Body:
    """One of the two: pose (x, y, heading), velocity (m/s), size (m) and mass (kg, may be infinite)."""

    pose: Float32[Array, "3"]
    velocity: Float32[Array, "2"]
    size: Float32[Array, "3"]
    mass: float


def contact_of(agent: int, name: str, category: Category, time: float, ego: Body, other: Body) -> Contact:
    """Describe the contact of the ego with an agent."""
    point = _centre_of_overlap(ego, other)
    normal = _line_of_impact(ego, other)
    relative = (ego.velocity - other.velocity).astype(np.float64)
    closing = float(relative @ normal)
    share = 1.0 if np.isinf(other.mass) else other.mass / (ego.mass + other.mass)
    taken = max(closing, 0.0)
    return Contact(
        agent=agent,
        id=name,
        category=category,
        time=time,
        point=(float(point[0]), float(point[1])),
        ego_side=side_of(point, ego),
        agent_side=side_of(point, other),
        relative_speed=float(np.linalg.norm(relative)),
        closing_speed=closing,
        depth=-_separation(ego, other),
        ego_delta_v=share * taken,
        agent_delta_v=(1.0 - share) * taken,
        severity=severity_of(category, share * taken, (1.0 - share) * taken, taken),
    )


def mass_of(category: Category, size: Float32[Array, "3"]) -> float:
    """Return an estimate of the mass (kg) of a road user or prop; infinite for categories that do not move."""
    return DENSITY.get(category, np.inf) * float(np.prod(size.astype(np.float64)))


def severity_of(category: Category, ego_delta_v: float, agent_delta_v: float, closing: float) -> Severity:
    """Return the worse of the two grades, of the ego's occupants and of the other road user."""
    ego = np.searchsorted([1.4, 5.6, 11.1], ego_delta_v, side="right")
    if category in EXPOSED:
        other = np.searchsorted([0.6, 2.8, 8.3], closing, side="right")
    elif category in (Category.VEHICLE, Category.TRUCK, Category.BUS):
        other = np.searchsorted([1.4, 5.6, 11.1], agent_delta_v, side="right")
    else:
        other = np.int64(0)
    return Severity(int(max(ego, other)))


def side_of(point: Array, body: Body) -> Side:
    """Return the side of a box that is nearest to a point in or near the box."""
    x, y = to_frame(point[None], body.pose[None])[0]
    length, width, _ = body.size
    gaps = {Side.FRONT: 0.5 * length - x, Side.LEFT: 0.5 * width - y}
    gaps |= {Side.REAR: 0.5 * length + x, Side.RIGHT: 0.5 * width + y}
    return min(gaps, key=lambda side: float(gaps[side]))


def _centre_of_overlap(ego: Body, other: Body) -> Array:
    one, two = (shapely.Polygon(box_corners(body.pose[None], body.size[None, :2])[0]) for body in (ego, other))
    shared = one.intersection(two)
    if not shared.is_empty:
        return np.array([shared.centroid.x, shared.centroid.y])
    return shapely.get_coordinates(shapely.shortest_line(one, two)).mean(axis=0)


def _line_of_impact(ego: Body, other: Body) -> Array:
    """Return the unit vector from the ego to the other box along the axis of least overlap."""
    towards = (other.pose[:2] - ego.pose[:2]).astype(np.float64)
    best, depth = np.array([1.0, 0.0]), np.inf
    for heading in (body.pose[2] + turn for body in (ego, other) for turn in (0.0, 0.5 * np.pi)):
        axis = np.array([np.cos(heading), np.sin(heading)])
        found = _half_extent(ego, axis) + _half_extent(other, axis) - abs(float(towards @ axis))
        if found < depth - 1e-6:
            best, depth = axis if towards @ axis >= 0.0 else -axis, found
    return best


def _half_extent(body: Body, axis: Array) -> float:
    c, s = np.cos(body.pose[2]), np.sin(body.pose[2])
    along, across = abs(c * axis[0] + s * axis[1]), abs(c * axis[1] - s * axis[0])
    return 0.5 * float(body.size[0] * along + body.size[1] * across)


def _separation(ego: Body, other: Body) -> float:
    a, b = (ego.pose[None], ego.size[None, :2]), (other.pose[None], other.size[None, :2])
    return float(box_separation(*a, *b)[0])
