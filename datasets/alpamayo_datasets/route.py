"""The route of a recorded ego: where it drove, smoothed, and on along its lane."""

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Instruction, RoadMap, Route, Track
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings, project, wrap_angle
from alpamayo_sim.map.index import MapIndex, index_of

Array = np.ndarray

SPACING = 1.0  # m between the route's points
SMOOTHING = 3.0  # m to either side over which the path is averaged
AHEAD = 150.0  # m of route beyond the end of the recording, where lanes go on
EASE = 20.0  # m over which the ego's offset from its lane fades out beyond the recording
REACH = 3.0  # m from the ego at which a lane is taken for the one it drives on
TURN = 0.7  # rad within 30 m that a navigator calls a turn
NOTICE = 40.0  # m before a turn at which a navigator speaks


def route_of(ego: Track, road_map: RoadMap) -> Route:
    """The route that the ego's recording implies; an ego that stands gets the lane ahead of it."""
    seen = np.flatnonzero(ego.valid)
    pose = np.concatenate([ego.position[seen, :2], ego.heading[seen, None]], axis=1).astype(np.float64)
    ground = ego.position[seen, 2].astype(np.float64)
    path = _driven(pose)
    index = index_of(road_map)
    ahead, lanes_ahead = _lane_ahead(index, path[-1], _heading(path, pose), AHEAD)
    line = np.concatenate([path, ahead]) if len(ahead) else _long_enough(path, pose)
    z = np.interp(arc_length(line), arc_length(path), np.interp(*_heights(path, pose, ground)))
    headings = polyline_headings(line)
    match = index.nearest_lane(line[: len(path) : 2], headings[: len(path) : 2], max_distance=REACH)
    driven = [road_map.lanes[i].id for i in match.index if i >= 0]
    lane_ids = tuple(dict.fromkeys([*driven, *lanes_ahead]))
    points = np.concatenate([line, z[:, None]], axis=1).astype(np.float32)
    return Route(points, lane_ids, instructions(line))


def instructions(line: Float64[Array, "n 2"]) -> tuple[Instruction, ...]:
    """What a navigator would say along a path: its turns, each forty metres ahead."""
    s = arc_length(line)
    heading = np.unwrap(polyline_headings(line))
    turn = np.interp(s + 15.0, s, heading) - np.interp(s - 15.0, s, heading)
    side = np.where(np.abs(turn) > TURN, np.sign(turn), 0.0)
    said = [Instruction(0.0, "Follow the road")]
    starts = np.flatnonzero(np.diff(np.concatenate([[0.0], side])))
    for i in starts:
        text = {1.0: "Turn left", -1.0: "Turn right", 0.0: "Go straight on"}[float(side[i])]
        early = max(0.0, float(s[i]) - (NOTICE if side[i] else 0.0))
        said = [item for item in said if item.start < early] + [Instruction(early, text)]
    return tuple(item for before, item in zip([None, *said], said, strict=False) if not _repeats(before, item))


def _repeats(before: Instruction | None, item: Instruction) -> bool:
    return before is not None and before.text == item.text


def _driven(pose: Float64[Array, "n 3"]) -> Float64[Array, "m 2"]:
    """The recorded path every metre: forward motion alone, smoothed along its length, both ends kept."""
    kept = [0]
    for i in range(1, len(pose)):
        step = pose[i, :2] - pose[kept[-1], :2]
        forward = step @ np.array([np.cos(pose[i, 2]), np.sin(pose[i, 2])])
        if forward > 0.2:
            kept.append(i)
    rough = pose[kept, :2]
    if len(rough) < 2:
        return pose[:1, :2]
    length = arc_length(rough)[-1]
    s = np.linspace(0.0, length, max(2, int(np.ceil(length / SPACING)) + 1))
    window = np.linspace(-1.0, 1.0, 13)
    # The window narrows towards the ends, so that these stay where they are.
    reach = np.minimum(SMOOTHING, np.minimum(s, length - s))
    return interpolate(rough, s[:, None] + reach[:, None] * window).mean(axis=1)


def _heading(path: Float64[Array, "m 2"], pose: Float64[Array, "n 3"]) -> float:
    return float(pose[-1, 2] if len(path) < 3 else polyline_headings(path)[-1])


def _long_enough(path: Float64[Array, "m 2"], pose: Float64[Array, "n 3"]) -> Float64[Array, "k 2"]:
    """A path that can be followed: straight on for a while where there is no lane to go on along."""
    heading = _heading(path, pose)
    on = np.arange(1.0, 31.0)[:, None] * np.array([np.cos(heading), np.sin(heading)])
    return path if len(path) > 2 else np.concatenate([path, path[-1] + on])


def _lane_ahead(
    index: MapIndex, start: Float64[Array, "2"], heading: float, length: float
) -> tuple[Float64[Array, "n 2"], list[str]]:
    """The lane that goes on from a place, and then the straightest successors, up to ``length`` m."""
    match = index.nearest_lane(start[None], np.array([heading]), max_distance=REACH)
    if match.index[0] < 0 or abs(wrap_angle(match.heading - heading)[0]) > 0.8:
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
        lane = min(after, key=lambda option: abs(wrap_angle(np.asarray(_middle_heading(option) - end))))
        line, ids = np.concatenate([line, lane.centreline[:, :2]]), [*ids, lane.id]
    last = min(arc_length(line)[-1], first + length)
    s = np.arange(first + SPACING, last, SPACING)
    if len(s) < 2:
        return np.zeros((0, 2)), []
    _, offset = project(line, start[None])
    return _eased(interpolate(line, s), s - first, float(offset[0])), ids


def _middle_heading(lane: object) -> Array:
    line = lane.centreline  # type: ignore[attr-defined]
    chord = line[-1, :2] - line[0, :2]
    return np.asarray(np.arctan2(chord[1], chord[0]), np.float64)


def _eased(line: Float64[Array, "n 2"], s: Float64[Array, " n"], offset: float) -> Float64[Array, "n 2"]:
    """A line that begins ``offset`` m to the left of itself and comes back to itself smoothly."""
    heading = polyline_headings(line)
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
    rest = np.clip(1.0 - s / EASE, 0.0, 1.0)
    return line + (offset * rest**2 * (3.0 - 2.0 * rest))[:, None] * left


def _heights(path: Array, pose: Array, ground: Array) -> tuple[Array, Array, Array]:
    """Arguments of ``np.interp`` for the ground height at the path's points."""
    s, _ = project(path, pose[:, :2]) if len(path) > 1 else (np.zeros(len(pose)), None)
    order = np.argsort(s, kind="stable")
    return arc_length(path), s[order], ground[order]
