"""Stop lines of lights and stop signs: where they are, which way they are crossed, and where a route meets them.

All parts of the project take their stop lines from here: the engine, the reference drivers and the validator.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_sim.constants import LEVEL_GAP_M
from alpamayo_sim.datatypes.scene import Lane, RoadMap, Route, Scene, SignalState, StopLine
from alpamayo_sim.map.frenet import RouteFrame

Array = np.ndarray

STOP_GAP_M = 1.0  # between the ego's front and a stop line
STOP_ZONE_M = 4.0  # before the line of a sign, in which the ego has to stop
COMFORTABLE_BRAKING_MPS2 = 3.5
MIN_LINE_LENGTH_M = 0.01  # a shorter line or lane is a point, which cannot be crossed
LINE_END_TOLERANCE_M = 1.0  # a front crosses a line also this far outside of its ends
MIN_DIRECTION_COSINE = 0.5  # only what moves within 60 degrees of the direction across a line crosses it
SAME_PLACE_M = 1.5  # lanes that begin this close to each other begin at one line


@dataclass(frozen=True, eq=False)
class DirectedLine:
    """A stop line: both ends (m), the unit direction of travel across it, and the z (m) of its ground."""

    ends: Float64[Array, "2 2"]
    direction: Float64[Array, "2"]
    elevation: float


@dataclass(frozen=True, eq=False)
class RouteStop:
    """A stop line on a route: the arc length ``s`` (m) that the front must not pass, and its signal.

    ``signal`` is the number of the scene's signal; None for a stop sign.
    """

    s: float
    signal: int | None


def signal_lines(scene: Scene) -> list[list[DirectedLine]]:
    """Return the lines of each signal: stop lines that name its lanes, or without any the starts of these lanes.

    Where several lanes begin at one place and the scene's route takes one of them, the lights of the others do not
    apply there: a red light for straight on does not stop an ego that turns left on green.
    """
    road_map, other = scene.road_map, _lanes_beside_route(scene.road_map, scene.route)
    return [
        lines_of_lanes(road_map, tuple(name for name in signal.lane_ids if name not in other))
        for signal in scene.signals
    ]


def sign_lines(scene: Scene) -> list[DirectedLine]:
    """Return the lines of stop signs: stop lines that name lanes of which none has a signal."""
    signalled = {name for signal in scene.signals for name in signal.lane_ids}
    lines = [line for line in scene.road_map.stop_lines if line.lane_ids and not signalled.intersection(line.lane_ids)]
    return [_directed(scene.road_map, line) for line in lines if _has_extent(line)]


def lines_of_lanes(road_map: RoadMap, lane_ids: tuple[str, ...]) -> list[DirectedLine]:
    """Return the stop lines that name one of some lanes, or without any the starts of the lanes."""
    wanted = set(lane_ids)
    lines = [line for line in road_map.stop_lines if wanted.intersection(line.lane_ids) and _has_extent(line)]
    if lines:
        return [_directed(road_map, line) for line in lines]
    starts = [_lane_start(road_map.lane_by_id[name]) for name in lane_ids if name in road_map.lane_by_id]
    return [line for line in starts if line is not None]


def route_stops(scene: Scene, frame: RouteFrame) -> tuple[RouteStop, ...]:
    """Return all stop lines that the scene's route crosses in their direction, in order along it."""
    lines: list[tuple[DirectedLine, int | None]] = [
        (line, number) for number, found in enumerate(signal_lines(scene)) for line in found
    ]
    lines += [(line, None) for line in sign_lines(scene)]
    stops = [RouteStop(s, number) for line, number in lines for s in _crossings(frame, line)]
    return tuple(sorted(stops, key=lambda stop: stop.s))


def must_stop(state: int, distance: float, speed: float, comfortable: float = COMFORTABLE_BRAKING_MPS2) -> bool:
    """Return whether to stop ``distance`` (m) ahead: at red, and at yellow if ``comfortable`` braking (m/s²) can."""
    if state == SignalState.RED:
        return True
    return state == SignalState.YELLOW and speed**2 / (2.0 * max(distance, 0.1)) < comfortable


def _crossings(frame: RouteFrame, line: DirectedLine) -> list[float]:
    """Return the arc lengths (m) at which a route crosses a line in its direction, on its level."""
    before = (frame.xy - line.ends[0]) @ line.direction
    along = line.ends[1] - line.ends[0]
    length = float(np.hypot(*along))
    place = (frame.xy - line.ends[0]) @ along / length
    within = (place > -LINE_END_TOLERANCE_M) & (place < length + LINE_END_TOLERANCE_M)
    aligned = np.cos(frame.heading - np.arctan2(line.direction[1], line.direction[0])) > MIN_DIRECTION_COSINE
    level = np.abs(frame.elevation - line.elevation) < LEVEL_GAP_M
    crossed = (before[:-1] < 0.0) & (before[1:] >= 0.0) & (within & aligned & level)[1:]
    middle = line.ends.mean(axis=0)
    found = [float(frame.project(middle[None], float(frame.s[1:][k]), 10.0)[0][0]) for k in np.flatnonzero(crossed)]
    return [s for s in found if 0.0 <= s <= frame.route_length]


def _lanes_beside_route(road_map: RoadMap, route: Route | None) -> set[str]:
    """Return the lanes off the route that begin where a lane of the route begins."""
    taken = [name for name in (route.lane_ids if route else ()) if name in road_map.lane_by_id]
    if not taken:
        return set()
    places = np.array([road_map.lane_by_id[name].centreline[0] for name in taken], np.float64)
    others = [lane for lane in road_map.lanes if lane.id not in taken]
    starts = np.array([lane.centreline[0] for lane in others], np.float64).reshape(-1, 3)
    near = np.linalg.norm(starts[:, None] - places, axis=2).min(axis=1) < SAME_PLACE_M
    return {lane.id for lane, is_near in zip(others, near, strict=True) if is_near}


def _directed(road_map: RoadMap, line: StopLine) -> DirectedLine:
    """Return a stop line with the direction of its lanes across it."""
    ends = line.line[[0, -1], :2].astype(np.float64)
    along = ends[1] - ends[0]
    direction = np.array([along[1], -along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    elevation, middle = float(line.line[:, 2].mean()), ends.mean(axis=0)
    known = [road_map.lane_by_id[name] for name in line.lane_ids if name in road_map.lane_by_id]
    if known:
        points = known[0].centreline[:, :2].astype(np.float64)
        near = int(np.clip(np.argmin(np.linalg.norm(points - middle, axis=1)), 0, len(points) - 2))
        direction = direction if (points[near + 1] - points[near]) @ direction > 0.0 else -direction
    return DirectedLine(ends, direction, elevation)


def _lane_start(lane: Lane) -> DirectedLine | None:
    """Return the line across the start of a lane; None where the lane is a point."""
    points = lane.centreline[:, :2].astype(np.float64)
    away = points - points[0]
    length = np.linalg.norm(away, axis=1)
    first = int(np.argmax(length > MIN_LINE_LENGTH_M))
    if length[first] <= MIN_LINE_LENGTH_M:
        return None
    direction = away[first] / length[first]
    across = 0.5 * float(lane.width[0]) * np.array([-direction[1], direction[0]])
    return DirectedLine(np.stack([points[0] + across, points[0] - across]), direction, float(lane.centreline[0, 2]))


def _has_extent(line: StopLine) -> bool:
    ends: Float[Array, "2 2"] = line.line[[0, -1], :2]
    return float(np.linalg.norm(ends[1] - ends[0])) > MIN_LINE_LENGTH_M
