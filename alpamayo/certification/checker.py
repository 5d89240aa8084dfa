"""The independent check of an ego trajectory: pure functions over arrays, which share nothing with the planner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Bool, Float, Float64

from alpamayo.metrics.friction import friction_limit
from alpamayo_sim.geometry import box_corners, box_separation, wrap_angle

Array = np.ndarray
Motion = Float64[Array, "t 4"]

PARTS_OF_STEP = 4  # between two states, in which contacts are looked for
NEAR_M = 6.0  # gap of circumscribed circles beyond which boxes are not compared
STANDING_M = 0.02  # moved in a step, below which a curvature has no meaning
ROUTE_SHORTCUT = 1.2  # length along the route that the ego passes per metre driven, at most


@dataclass(frozen=True)
class MotionLimits:
    """The limits within which a motion counts as one that a car can drive.

    Attributes:
        acceleration_mps2: the greatest longitudinal acceleration.
        jerk_mps3: the greatest change of acceleration per time, that of full braking within one step of 0.1 s.
        curvature_per_m: the greatest curvature; a turning radius of 5 m.
        friction_tolerance_mps2: how much the acceleration may exceed the friction limit by rounding.
        odometry_m: how far a position may be from where speed and heading lead in one step.
        road_m: how far a corner may be outside the drivable area (nuPlan: 0.3 m).
        goal_m: how far the end may be before the goal, since a place on a bend has several arc lengths.
    """

    acceleration_mps2: float = 4.0
    jerk_mps3: float = 90.0
    curvature_per_m: float = 0.2
    friction_tolerance_mps2: float = 0.2
    odometry_m: float = 0.05
    road_m: float = 0.3
    goal_m: float = 0.5


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a trajectory is checked against: the recorded boxes of the others, the road and the goal.

    Attributes:
        dt: the length of a step (s).
        friction: the friction coefficient of the road.
        ego_size: length and width (m) of the ego.
        agent_pose: x, y, heading (m, rad) of the centre of each box at each state.
        agent_size: length and width (m) of each box.
        agent_valid: whether each box is there.
        route: the points (m) of the ego's path.
        goal_m: the distance along the route at which the ego arrives.
        areas: the outlines (m) of the drivable areas.
    """

    dt: float
    friction: float
    ego_size: Float64[Array, "2"]
    agent_pose: Float64[Array, "t n 3"]
    agent_size: Float64[Array, "n 2"]
    agent_valid: Bool[Array, "t n"]
    route: Float[Array, "p d"]
    goal_m: float
    areas: Sequence[Float[Array, "_ _"]]


def margins(motion: Motion, around: Surroundings, limits: MotionLimits | None = None) -> dict[str, float]:
    """Compute the signed margin of a motion (x, y, heading, speed) to each limit; positive is within it.

    Returns:
        ``clearance_m`` to the nearest box, ``goal_m`` beyond the goal, ``road_m``, and the margins of the motion
        itself: ``acceleration_mps2``, ``jerk_mps3``, ``curvature_per_m``, ``friction_mps2``, ``odometry_m``.
    """
    limits = limits or MotionLimits()
    return {
        "clearance_m": clearance(motion, around),
        "goal_m": progress(motion, around.route) - around.goal_m + limits.goal_m,
        "road_m": limits.road_m - distance_off_road(motion, around),
        **motion_margins(motion, around, limits),
    }


def is_solved(found: dict[str, float]) -> bool:
    """Return whether a motion with these margins is a solution: it keeps all limits, touches nothing and arrives."""
    return all(value >= 0.0 for value in found.values()) and found["clearance_m"] > 0.0


def motion_margins(motion: Motion, around: Surroundings, limits: MotionLimits) -> dict[str, float]:
    """Compute the margins to the kinematic limits by finite differences."""
    along, across, curvature = accelerations(motion, around.dt)
    jerk = np.diff(along) / around.dt
    used = np.hypot(along, across)
    return {
        "acceleration_mps2": limits.acceleration_mps2 - float(along.max(initial=0.0)),
        "jerk_mps3": limits.jerk_mps3 - float(np.abs(jerk).max(initial=0.0)),
        "curvature_per_m": limits.curvature_per_m - float(np.abs(curvature).max(initial=0.0)),
        "friction_mps2": friction_limit(around.friction, limits.friction_tolerance_mps2) - float(used.max(initial=0.0)),
        "odometry_m": limits.odometry_m - _odometry_error(motion, around.dt),
    }


def accelerations(motion: Motion, dt: float) -> tuple[Float64[Array, " s"], Float64[Array, " s"], Float64[Array, " s"]]:
    """Return the acceleration along and across (m/s²) and the curvature (1/m) of each step."""
    speed = 0.5 * (motion[1:, 3] + motion[:-1, 3])
    turned = wrap_angle(np.diff(motion[:, 2]))
    moved = speed * dt
    curvature = np.where(moved > STANDING_M, turned / np.maximum(moved, STANDING_M), 0.0)
    return np.diff(motion[:, 3]) / dt, speed * turned / dt, curvature


def friction_use(motion: Motion, dt: float, friction: float) -> float:
    """Return the greatest share of the friction limit that a motion uses."""
    along, across, _ = accelerations(motion, dt)
    return float(np.hypot(along, across).max(initial=0.0)) / friction_limit(friction, 0.0)


def clearance(motion: Motion, around: Surroundings) -> float:
    """Compute the smallest signed distance (m) of the ego's box to a box, also between the states; at most 6 m.

    A pair of boxes that is further apart than that at both ends of a step is taken not to meet within it.
    """
    ego, others = motion[:, :3], around.agent_pose
    reach = 0.5 * (np.hypot(*around.ego_size) + np.hypot(around.agent_size[:, 0], around.agent_size[:, 1])) + NEAR_M
    near = ((others[..., :2] - ego[:, None, :2]) ** 2).sum(axis=-1) < reach**2
    near &= around.agent_valid
    rows, agents = np.nonzero((near[:-1] | near[1:]) & around.agent_valid[:-1] & around.agent_valid[1:])
    gap = np.inf
    for part in np.linspace(0.0, 1.0, PARTS_OF_STEP + 1):
        here = _between(ego[rows], ego[rows + 1], part)
        there = _between(others[rows, agents], others[rows + 1, agents], part)
        found = box_separation(here, around.ego_size, there, around.agent_size[agents])
        gap = min(gap, float(found.min(initial=NEAR_M)))
    return gap


def progress(motion: Motion, route: Float[Array, "p d"]) -> float:
    """Compute the arc length (m) along the route of the last state, no further than the ego can have come."""
    line = route[:, :2].astype(np.float64)
    s, d = _places(line, motion[0, :2])
    start = float(s[np.argmin(d)])
    driven = float(np.linalg.norm(np.diff(motion[:, :2], axis=0), axis=1).sum())
    s, d = _places(line, motion[-1, :2])
    return float(s[np.argmin(np.where(s <= start + ROUTE_SHORTCUT * driven + 1.0, d, np.inf))])


def distance_off_road(motion: Motion, around: Surroundings) -> float:
    """Compute how far (m) a corner of the ego is outside all drivable areas, at most."""
    corners = box_corners(motion[:, :3], around.ego_size).reshape(-1, 2)
    areas = [shapely.Polygon(outline[:, :2]) for outline in around.areas]
    for area in areas:
        shapely.prepare(area)
        corners = corners[~shapely.contains_xy(area, corners)]
    if not areas or not len(corners):
        return 0.0
    return float(np.min([shapely.distance(area, shapely.points(corners)) for area in areas], axis=0).max())


def _odometry_error(motion: Motion, dt: float) -> float:
    """Return the greatest distance (m) of a position from where mean speed and mean heading lead in one step."""
    heading = motion[:-1, 2] + 0.5 * wrap_angle(np.diff(motion[:, 2]))
    step = 0.5 * (motion[1:, 3] + motion[:-1, 3]) * dt
    expected = motion[:-1, :2] + step[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    return float(np.linalg.norm(motion[1:, :2] - expected, axis=1).max(initial=0.0))


def _places(
    line: Float64[Array, "p 2"], point: Float64[Array, "2"]
) -> tuple[Float64[Array, " s"], Float64[Array, " s"]]:
    """Return the arc length and the distance (m) of the nearest point of each segment of a line."""
    along, offset = np.diff(line, axis=0), point - line[:-1]
    length = np.linalg.norm(along, axis=1)
    part = np.clip((along * offset).sum(axis=1) / np.maximum(length, 1e-9) ** 2, 0.0, 1.0)
    s = np.concatenate([[0.0], np.cumsum(length)[:-1]]) + part * length
    return s, np.linalg.norm(offset - part[:, None] * along, axis=1)


def _between(start: Float64[Array, "m 3"], end: Float64[Array, "m 3"], part: float) -> Float64[Array, "m 3"]:
    """Interpolate poses at a part of a step."""
    change = end - start
    change[:, 2] = wrap_angle(change[:, 2])
    return start + part * change
