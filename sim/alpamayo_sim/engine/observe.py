"""The observation of a driver, without images."""

import numpy as np
from jaxtyping import Float, Float32

from alpamayo_sim.datatypes.observation import ROUTE_POINTS, ROUTE_SPACING, Observation
from alpamayo_sim.datatypes.scene import Route, Scene
from alpamayo_sim.geometry import interpolate, to_frame, wrap_angle
from alpamayo_sim.map.index import MapIndex

Array = np.ndarray
LANE_REACH = 5.0  # m; a lane further off says nothing about the speed limit here


def observation_of(
    scene: Scene,
    route: Route,
    index: MapIndex,
    step: int,
    history: Float32[Array, "16 4"],
    acceleration: float,
    curvature: float,
    route_s: float,
    size: Float32[Array, "3"],
    elevation: float,
) -> Observation:
    """Return the observation at ``step``; ``history`` (x, y, heading, speed) is in the world's frame, oldest first.

    ``size`` is the ego's, ``elevation`` (m) that of the ground under it.
    """
    pose = history[-1, :3]
    return Observation(
        time=step * scene.dt,
        history=history_in_frame(history, pose),
        route=route_in_frame(route, route_s, pose),
        speed=float(history[-1, 3]),
        acceleration=acceleration,
        curvature=curvature,
        speed_limit=speed_limit(index, pose, elevation),
        navigation=navigation(route, route_s),
        size=size,
    )


def history_in_frame(history: Float[Array, "n 4"], pose: Float[Array, "3"]) -> Float32[Array, "n 4"]:
    """Return poses and speeds in the frame of ``pose``."""
    xy = to_frame(history[:, :2], pose[None])
    heading = wrap_angle(history[:, 2] - pose[2])
    return np.column_stack([xy, heading, history[:, 3]]).astype(np.float32)


def route_in_frame(route: Route, s: float, pose: Float32[Array, "3"]) -> Float32[Array, "32 2"]:
    """Return points every 4 m along the route from arc length ``s`` on; past its end the last repeats."""
    points = interpolate(route.path, s + ROUTE_SPACING * np.arange(ROUTE_POINTS))
    return to_frame(points[:, :2], pose[None].astype(np.float64)).astype(np.float32)


def speed_limit(index: MapIndex, pose: Float32[Array, "3"], elevation: float) -> float | None:
    """Return the speed limit (m/s) of the lane at a pose; None if it is unknown or there is no lane."""
    match = index.nearest_lane(pose[None, :2], pose[2:3], LANE_REACH, np.array([elevation]))
    lane = int(match.index[0])
    return None if lane < 0 else index.road_map.lanes[lane].speed_limit


def navigation(route: Route, s: float) -> str:
    """Return the navigation instruction at arc length ``s``: the last one that has started."""
    begun = [instruction for instruction in route.instructions if instruction.start <= s]
    return max(begun, key=lambda instruction: instruction.start).text if begun else ""
