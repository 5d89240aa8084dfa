"""Rules of the lane: the right one, its middle, its speed."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.motions import MotionBatch, by_rows, differences
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import LaneKind
from alpamayo_sim.map.index import route_index
from alpamayo_sim.map.lane_tree import LaneMatch

Array = np.ndarray
WINDOW = 1.0  # s
FEW, MANY = 2.0, 6.0  # m in the window: NAVSIM's and nuPlan's bounds of driving direction
KEEPING = 0.5  # m
KEEPING_TIME = 2.0  # s
OVERSPEED = 2.23  # m/s; nuPlan's
AGAINST = 0.5 * np.pi
FURTHEST = 20.0  # m


def has_lanes(motions: MotionBatch) -> bool:
    """Whether the map has a lane at all that is more than a point."""
    return any(np.ptp(lane.centreline[:, :2], axis=0).any() for lane in motions.scene.road_map.lanes)


def lane_matches(motions: MotionBatch) -> LaneMatch:
    """The lane of each pose, flat: motion by motion, time by time."""
    return motions.map_index.match_boxes(motions.cached(ego_boxes).reshape(-1, 4))


def driving_direction(motions: MotionBatch) -> RuleResult:
    """Metres driven off the lanes of the route in any second: under 2 m 1, under 6 m 0.5, else 0 (NAVSIM's DDC).

    Off is a centre on no lane of the route and on no lane of an intersection. A route that names no lanes has those
    that its path runs along. Without a route, off is a centre on no lane that goes within 90 degrees of the ego's
    way. The margin is what is left (m) of the first 2 m.
    """
    name, count = "driving_direction", motions.count
    if not has_lanes(motions):
        return not_applicable(name, "m", count, "the map has no lanes")
    steps, on_lanes = round(WINDOW / motions.dt), _on_lanes(motions)

    def driven_off(rows: slice) -> Float64[Array, "n t"]:
        """Metres in the second before each time."""
        step = differences(motions.pose[rows])
        off = np.where(on_lanes(rows), 0.0, np.hypot(step[..., 0], step[..., 1]))
        total = np.cumsum(off, axis=1)
        window = total.copy()
        window[:, steps:] -= total[:, :-steps]
        return window

    margins = by_rows(driven_off, motions.pose.shape[:2])
    worst, when = margins.max(axis=1), first_time(margins >= FEW, motions.times)
    np.subtract(FEW, margins, out=margins)
    value = np.where(worst < FEW, 1.0, np.where(worst < MANY, 0.5, 0.0))

    def say(k: int) -> str:
        if worst[k] >= FEW:
            return f"{worst[k]:.1f} m in a second off the lanes of the route, first over {FEW:.0f} m at {when[k]:.1f} s"
        return f"at most {worst[k]:.1f} m in a second off the lanes of the route"

    reasons = Reasons(count, say)
    return RuleResult(name, "m", value, FEW - worst, np.ones(count, bool), when, reasons, margins)


def outside_lanes(motions: MotionBatch) -> tuple[Float64[Array, " k"], Float64[Array, " k"]]:
    """Metres that each centre drives off the lanes of the route, as ``driving_direction`` has them, and in all."""
    rows = slice(0, motions.count)
    step = differences(motions.pose)
    moved = np.hypot(step[..., 0], step[..., 1])
    return np.where(_on_lanes(motions)(rows), 0.0, moved).sum(axis=1), moved.sum(axis=1)


def lane_keeping(motions: MotionBatch) -> RuleResult:
    """Not more than 0.5 m from the middle for 2 s on end: 1, else 0 (NAVSIM's LK); intersections are not counted.

    The middle is the route's, or without a route that of the nearest lane. The margin is 0.5 m less the least
    distance over the worst 2 s.
    """
    name, count = "lane_keeping", motions.count
    scene = motions.scene
    if not has_lanes(motions):
        return not_applicable(name, "m", count, "the map has no lanes")
    match = motions.cached(lane_matches)
    crossing = _of_lanes(motions, [lane.in_intersection for lane in scene.road_map.lanes], match)
    away = _off_middle(motions)
    steps = round(KEEPING_TIME / motions.dt)
    margins = np.full(away.shape, KEEPING)
    if away.shape[1] >= steps:
        through = crossing.any(axis=1)
        margins[~through, steps - 1 :] = KEEPING - _least_of_windows(away[~through], steps)
        # where there are intersections, their steps are moved to the end of each row, so that windows go over them
        order = np.argsort(crossing[through], axis=1, kind="stable")
        kept = np.take_along_axis(np.where(crossing, 0.0, away)[through], order, axis=1)
        part = margins[through]
        np.put_along_axis(part, order[:, steps - 1 :], KEEPING - _least_of_windows(kept, steps), axis=1)
        margins[through] = part
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def say(k: int) -> str:
        if margin[k] < 0.0:
            return f"{KEEPING - margin[k]:.2f} m or more off the middle for {KEEPING_TIME:.0f} s until {when[k]:.1f} s"
        return f"never off the middle by more than {KEEPING} m for {KEEPING_TIME:.0f} s"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(name, "m", value, margin, np.ones(count, bool), when, Reasons(count, say), margins)


def _off_middle(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Distance (m) of each centre to the middle of the route, or without a route to that of its lane."""
    shape, route = motions.pose.shape[:2], motions.scene.route
    if route is None:
        return np.abs(motions.cached(lane_matches).offset).reshape(shape)
    on_route, ego = route_index(route), motions.cached(ego_boxes)
    return by_rows(
        lambda rows: np.abs(on_route.match_boxes(ego[rows].reshape(-1, 4)).offset).reshape(-1, shape[1]), shape
    )


def speed_limit(motions: MotionBatch) -> RuleResult:
    """How much too fast and for how long: max(0, 1 - sum of overspeed * dt / (2.23 m/s * duration)) (nuPlan's).

    The margin (m/s) is the limit of the lane less the speed; times on lanes without a known limit do not count.
    """
    name, count = "speed_limit", motions.count
    lanes = motions.scene.road_map.lanes
    limits = np.array([np.nan if lane.speed_limit is None else lane.speed_limit for lane in lanes])
    if not has_lanes(motions) or np.isnan(limits).all():
        return not_applicable(name, "m/s", count, "no lane has a known speed limit")
    match = motions.cached(lane_matches)
    limit = np.where(match.index >= 0, limits[match.index], np.nan).reshape(count, -1)
    margins = limit - np.abs(motions.speed)
    known = ~np.isnan(margins)
    over = np.where(known, np.maximum(-margins, 0.0), 0.0)
    duration = max(float(motions.times[-1]), motions.dt)
    value = np.maximum(0.0, 1.0 - over.sum(axis=1) * motions.dt / (OVERSPEED * duration))
    valid = known.any(axis=1)
    least = np.where(valid, np.where(known, margins, np.inf).min(axis=1), np.nan)
    when = first_time(known & (margins < 0.0), motions.times)

    def say(k: int) -> str:
        if not valid[k]:
            return "no limit is known where it drives"
        if least[k] < 0.0:
            return f"up to {-least[k]:.1f} m/s too fast, first at {when[k]:.1f} s"
        return f"at least {least[k]:.1f} m/s under the limit"

    value = np.where(valid, value, np.nan)
    return RuleResult(name, "m/s", value, least, valid, when, Reasons(count, say), margins)


def _least_of_windows(values: Array, steps: int) -> Float64[Array, "k windows"]:
    """Least value of each window of ``steps`` values along the rows, put together from windows of powers of two."""
    width, least = 1, values
    while 2 * width <= steps:
        least = np.minimum(least[:, :-width], least[:, width:])
        width *= 2
    rest = steps - width
    return np.minimum(least[:, : least.shape[1] - rest], least[:, rest:])


def _on_lanes(motions: MotionBatch) -> Callable[[slice], Bool[Array, "n t"]]:
    """Whether each centre of some motions is on a lane where the ego may be: of the route, or of an intersection."""
    match, lanes, route = motions.cached(lane_matches), motions.scene.road_map.lanes, route_lanes(motions)
    steps = motions.pose.shape[1]
    crossing = np.array([lane.in_intersection for lane in lanes])
    right = np.array([not route or lane.id in route for lane in lanes])

    def part(rows: slice) -> Bool[Array, "n t"]:
        pose = motions.pose[rows].reshape(-1, 3)
        first = rows.start * steps
        here = LaneMatch(*(getattr(match, name)[first : first + len(pose)] for name in match.__dataclass_fields__))
        inside = here.distance <= 0.5 * motions.map_index.lane_width(here)
        turn = np.cos(here.heading - pose[:, 2]) > 0.0
        allowed = crossing[here.index] | (right[here.index] & turn)
        return (inside & allowed & (here.index >= 0)).reshape(-1, steps)

    return part


def route_lanes(motions: MotionBatch) -> frozenset[str]:
    """Lanes of the route: those it names and their neighbours that go the same way, or those its path runs along."""
    scene = motions.scene
    if scene.route is None:
        return frozenset()
    by_id, lanes = scene.road_map.lane_by_id, scene.road_map.lanes
    named = [name for name in scene.route.lane_ids if name in by_id]
    if not named:
        path = scene.route.path[:, :2].astype(np.float64)
        step = np.diff(path, axis=0)
        match = motions.map_index.nearest_lane(path[:-1], np.arctan2(step[:, 1], step[:, 0]), 2.0)
        named = [lanes[i].id for i in np.unique(match.index[match.index >= 0])]
    beside = [
        other
        for name in named
        for other in (*by_id[name].left_neighbours, *by_id[name].right_neighbours)
        if other in by_id and by_id[other].kind == LaneKind.DRIVING and _same_way(by_id[name], by_id[other])
    ]
    return frozenset((*named, *beside))


def _same_way(a: object, b: object) -> bool:
    """Whether two neighbouring lanes go within 90 degrees of each other."""
    ways = [lane.centreline[-1, :2] - lane.centreline[0, :2] for lane in (a, b)]  # type: ignore[attr-defined]
    return bool(ways[0] @ ways[1] > 0.0)


def _of_lanes(motions: MotionBatch, flags: list[bool], match: LaneMatch) -> Bool[Array, "k t"]:
    found = np.array(flags)[match.index] & (match.index >= 0)
    return found.reshape(motions.count, -1)
