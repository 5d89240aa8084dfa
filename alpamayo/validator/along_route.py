"""Where motions are along the route: a place goes on from the place before it, also where the route meets itself."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import ego_boxes
from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Route
from alpamayo_sim.geometry import oriented
from alpamayo_sim.map.frenet import OPPOSITE_COST_M, FrenetFrame
from alpamayo_sim.map.polylines import foot_on_segment
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
LEVEL_COST_M = 100.0
"""A first place on another level counts as this much further away."""
MAX_SHARED_ROUTES = 8


@dataclass(frozen=True, eq=False)
class RoutePlaces:
    """Arc length s (m) along a route and offset (m, left positive) from it, of each pose of motions."""

    s: Float64[Array, "k t"]
    offset: Float64[Array, "k t"]


@lru_cache(maxsize=MAX_SHARED_ROUTES)
def route_frame(route: Route) -> FrenetFrame:
    """Return the Frenet frame of a route, shared by all callers."""
    return FrenetFrame.of(route.path)


def route_places(motions: MotionBatch) -> RoutePlaces:
    """Return the places of motions on the scene's route; all of them begin at one place."""
    route = motions.scene.route
    assert route is not None
    here = None if motions.elevation is None else float(motions.elevation[0, 0])
    start = first_places(route, motions.pose[:1, 0], here)
    return _followed(route_frame(route), motions.cached(ego_boxes), np.repeat(start, motions.count))


def places_along(
    route: Route, pose: Float64[Array, "k t 3"], start: Float64[Array, " k"] | None = None, *, moved: float = 0.0
) -> RoutePlaces:
    """Return the places of poses on a route.

    Args:
        route: the route.
        pose: x, y (m) and heading (rad).
        start: the place (m) before the first pose of each motion; by default its ``first_places``.
        moved: the distance (m) driven since that place.
    """
    start = first_places(route, pose[:, 0]) if start is None else start
    return _followed(route_frame(route), oriented(pose), start, moved)


def first_places(route: Route, pose: Float64[Array, "k 3"], elevation: float | None = None) -> Float64[Array, " k"]:
    """Return the arc lengths (m) of poses on a whole route: nearest in position and direction, and on their level.

    Of equal places the first one counts.
    """
    frame = route_frame(route)
    step, length = np.diff(frame.xy, axis=0), np.diff(frame.s)
    xy = np.repeat(pose[:, None, :2], len(step), axis=1).reshape(-1, 2)
    part, gap = foot_on_segment(xy, np.tile(frame.xy[:-1], (len(pose), 1)), np.tile(step, (len(pose), 1)))
    distance = np.hypot(gap[:, 0], gap[:, 1]).reshape(len(pose), -1)
    cost = distance + OPPOSITE_COST_M * (1.0 - np.cos(frame.heading[:-1] - pose[:, 2:]))
    if elevation is not None:
        level = 0.5 * (route.path[:-1, 2] + route.path[1:, 2])
        cost = cost + LEVEL_COST_M * (np.abs(level - elevation) > LEVEL_GAP_M)
    best = np.argmin(np.where(length > 0.0, cost, np.inf), axis=1)
    return np.asarray(frame.s[best] + part.reshape(distance.shape)[np.arange(len(pose)), best] * length[best])


def rise_along(route: Route, s: Float64[Array, "k t"]) -> Float64[Array, "k t"]:
    """Return by how much (m) the ground of a route is higher at arc lengths than at the first one of each row."""
    z = np.interp(s, route_frame(route).s, route.path[:, 2].astype(np.float64))
    return np.asarray(z - z[:, :1])


def _followed(
    frame: FrenetFrame, boxes: Float64[Array, "k t 4"], start: Float64[Array, " k"], moved: float = 0.0
) -> RoutePlaces:
    from alpamayo.validator.kernels.along_route import follow_path

    s, offset = np.empty(boxes.shape[:2]), np.empty(boxes.shape[:2])
    inputs = [frame.s, frame.xy, np.ascontiguousarray(boxes), start, moved, s, offset]
    wp.launch(follow_path, dim=len(boxes), inputs=inputs, device="cpu")
    return RoutePlaces(s, offset)
