"""The route of a recorded ego: its smoothed path, continued along its lane."""

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Instruction, Lane, RoadMap, Route, Track
from alpamayo_sim.geometry import arc_length, follow, interpolate, polyline_headings, project, wrap_angle
from alpamayo_sim.map.index import MapIndex, index_of

Array = np.ndarray

SPACING_M = 1.0  # between the route's points
MIN_STEP_M = 0.2  # of forward motion between two points of the path
SMOOTHING_M = 3.0  # to either side over which the path is averaged
SMOOTHING_POINTS = 13
AHEAD_M = 150.0  # of route beyond the end of the recording, where lanes continue
STRAIGHT_AHEAD_M = 30.0  # of route where there is no lane
EASE_M = 20.0  # over which the ego's offset from its lane fades out beyond the recording
LANE_DISTANCE_M = 3.0  # at most, from the ego to the centreline of its lane
LANE_TURN_RAD = 0.8  # at most, between the ego and its lane
TURN_RAD = 0.7  # within TURN_LENGTH_M, from which a navigator calls it a turn
TURN_LENGTH_M = 30.0
NOTICE_M = 40.0  # before a turn, where a navigator announces it


def route_of(ego: Track, road_map: RoadMap) -> Route:
    """Return the route of the ego's recording; an ego that does not move gets the lane ahead of it."""
    seen = np.flatnonzero(ego.valid)
    pose = np.concatenate([ego.position[seen, :2], ego.heading[seen, None]], axis=1).astype(np.float64)
    ground = ego.position[seen, 2].astype(np.float64)
    path = _driven(pose)
    index = index_of(road_map)
    ahead, lanes_ahead = _lane_ahead(index, path[-1], _heading(path, pose), AHEAD_M)
    line = np.concatenate([path, ahead]) if len(ahead) else _at_least_straight(path, pose)
    z = np.interp(arc_length(line), arc_length(path), np.interp(*_heights(path, pose, ground)))
    headings = polyline_headings(line)
    match = index.nearest_lane(line[: len(path) : 2], headings[: len(path) : 2], max_distance=LANE_DISTANCE_M)
    driven = [road_map.lanes[i].id for i in match.index if i >= 0]
    lane_ids = tuple(dict.fromkeys([*driven, *lanes_ahead]))
    points = np.concatenate([line, z[:, None]], axis=1).astype(np.float32)
    return Route(points, lane_ids, instructions(line))


def instructions(line: Float64[Array, "n 2"]) -> tuple[Instruction, ...]:
    """Return the instructions of a navigator along a path: its turns, each announced 40 m ahead."""
    s = arc_length(line)
    heading = np.unwrap(polyline_headings(line))
    turn = np.interp(s + 0.5 * TURN_LENGTH_M, s, heading) - np.interp(s - 0.5 * TURN_LENGTH_M, s, heading)
    side = np.where(np.abs(turn) > TURN_RAD, np.sign(turn), 0.0)
    announced = [Instruction(0.0, "Follow the road")]
    starts = np.flatnonzero(np.diff(np.concatenate([[0.0], side])))
    for i in starts:
        text = {1.0: "Turn left", -1.0: "Turn right", 0.0: "Go straight on"}[float(side[i])]
        early = max(0.0, float(s[i]) - (NOTICE_M if side[i] else 0.0))
        announced = [item for item in announced if item.start < early] + [Instruction(early, text)]
    pairs = zip([None, *announced], announced, strict=False)
    return tuple(item for before, item in pairs if not _repeats(before, item))


def _repeats(before: Instruction | None, item: Instruction) -> bool:
    return before is not None and before.text == item.text


def _driven(pose: Float64[Array, "n 3"]) -> Float64[Array, "m 2"]:
    """Return the recorded path every metre: only forward motion, smoothed along its length, both ends kept."""
    kept = [0]
    for i in range(1, len(pose)):
        step = pose[i, :2] - pose[kept[-1], :2]
        forward = step @ np.array([np.cos(pose[i, 2]), np.sin(pose[i, 2])])
        if forward > MIN_STEP_M:
            kept.append(i)
    rough = pose[kept, :2]
    if len(rough) < 2:
        return pose[:1, :2]
    length = arc_length(rough)[-1]
    s = np.linspace(0.0, length, max(2, int(np.ceil(length / SPACING_M)) + 1))
    window = np.linspace(-1.0, 1.0, SMOOTHING_POINTS)
    # the window narrows towards the ends, which stay where they are
    reach = np.minimum(SMOOTHING_M, np.minimum(s, length - s))
    return interpolate(rough, s[:, None] + reach[:, None] * window).mean(axis=1)


def _heading(path: Float64[Array, "m 2"], pose: Float64[Array, "n 3"]) -> float:
    return float(pose[-1, 2] if len(path) < 3 else polyline_headings(path)[-1])


def _at_least_straight(path: Float64[Array, "m 2"], pose: Float64[Array, "n 3"]) -> Float64[Array, "k 2"]:
    """Return a path that can be followed: a short one is continued straight on."""
    heading = _heading(path, pose)
    on = np.arange(1.0, STRAIGHT_AHEAD_M + 1.0)[:, None] * np.array([np.cos(heading), np.sin(heading)])
    return path if len(path) > 2 else np.concatenate([path, path[-1] + on])


def _lane_ahead(
    index: MapIndex, start: Float64[Array, "2"], heading: float, length: float
) -> tuple[Float64[Array, "n 2"], list[str]]:
    """Return up to ``length`` (m) of the lane ahead of a position and its straightest successors, and their ids."""
    match = index.nearest_lane(start[None], np.array([heading]), max_distance=LANE_DISTANCE_M)
    if match.index[0] < 0 or abs(wrap_angle(match.heading - heading)[0]) > LANE_TURN_RAD:
        return np.zeros((0, 2)), []
    lane = index.road_map.lanes[int(match.index[0])]
    ids, line = [lane.id], lane.centreline[:, :2].astype(np.float64)
    first = float(match.s[0])
    while arc_length(line)[-1] < first + length:
        end = polyline_headings(line)[-1]
        after = [index.road_map.lane_by_id[i] for i in lane.successors if i in index.road_map.lane_by_id]
        after = [option for option in after if option.id not in ids]
        if not after:
            break
        lane = min(after, key=lambda option: abs(wrap_angle(np.asarray(_chord_heading(option) - end))))
        line, ids = np.concatenate([line, lane.centreline[:, :2]]), [*ids, lane.id]
    last = min(arc_length(line)[-1], first + length)
    s = np.arange(first + SPACING_M, last, SPACING_M)
    if len(s) < 2:
        return np.zeros((0, 2)), []
    _, offset = project(line, start[None])
    return _eased(interpolate(line, s), s - first, float(offset[0])), ids


def _chord_heading(lane: Lane) -> Array:
    line = lane.centreline
    chord = line[-1, :2] - line[0, :2]
    return np.asarray(np.arctan2(chord[1], chord[0]), np.float64)


def _eased(line: Float64[Array, "n 2"], s: Float64[Array, " n"], offset: float) -> Float64[Array, "n 2"]:
    """Return a line shifted left by ``offset`` (m) at its start, fading smoothly to no shift."""
    heading = polyline_headings(line)
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
    rest = np.clip(1.0 - s / EASE_M, 0.0, 1.0)
    return line + (offset * rest**2 * (3.0 - 2.0 * rest))[:, None] * left


def _heights(path: Array, pose: Array, ground: Array) -> tuple[Array, Array, Array]:
    """Return the arguments of ``np.interp`` for the ground height at the path's points."""
    s, _ = follow(path, pose[:, :2]) if len(path) > 1 else (np.zeros(len(pose)), None)
    order = np.argsort(s, kind="stable")
    return arc_length(path), s[order], ground[order]
