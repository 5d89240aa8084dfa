"""Rules of the lane: driving direction, lane keeping, speed limit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.along_route import route_places
from alpamayo.validator.motions import MotionBatch, by_rows, differences
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import Lane, LaneKind
from alpamayo_sim.map.lane_tree import LaneMatch

Array = np.ndarray
OFF_ROUTE_WINDOW_S = 1.0
MINOR_OFF_ROUTE_M, MAJOR_OFF_ROUTE_M = 2.0, 6.0
"""Distance off the route's lanes within the window: below the first the value is 1, below the second 0.5."""
MAX_CENTRE_OFFSET_M = 0.5
MAX_OFF_CENTRE_TIME_S = 2.0
MAX_OVERSPEED_MPS = 2.23
"""The value is 0 at this mean overspeed (nuPlan)."""
ROUTE_MATCH_RADIUS_M = 2.0
"""Lanes within this distance of a route's path belong to a route that names no lanes."""


def has_lanes(motions: MotionBatch) -> bool:
    """Return whether the map has a lane that is more than a point."""
    return any(np.ptp(lane.centreline[:, :2], axis=0).any() for lane in motions.scene.road_map.lanes)


def lane_matches(motions: MotionBatch) -> LaneMatch:
    """Match each pose to its lane, flat: motion by motion, time by time."""
    ground = None if motions.ground is None else motions.ground.reshape(-1)
    return motions.map_index.match_boxes(motions.cached(ego_boxes).reshape(-1, 4), ground)


def driving_direction(motions: MotionBatch) -> RuleResult:
    """Judge the distance driven off the route's lanes in any second: under 2 m 1, under 6 m 0.5, else 0.

    The ego is off the route where its centre is on no lane of the route and on no lane of an intersection. A route
    that names no lanes has the lanes along its path. Without a route, the ego is off where its centre is on no lane
    whose direction is within 90 degrees of its heading. The margin is 2 m less that distance (m).
    """
    count = motions.count
    if not has_lanes(motions):
        return not_applicable(count, "the map has no lanes")
    on_lanes = _on_lanes(motions)

    def driven_off(rows: slice) -> Float64[Array, "n t"]:
        step = differences(motions.pose[rows])
        return np.where(on_lanes(rows), 0.0, np.hypot(step[..., 0], step[..., 1]))

    return _metres_in_a_second(motions, driven_off, "off the lanes of the route")


def driving_direction_nuplan(motions: MotionBatch) -> RuleResult:
    """Judge the distance driven against the direction of the lane in any second: under 2 m 1, under 6 m 0.5, else 0.

    Driving backwards counts, and so does the wrong lane; a lane that the route does not name does not. Off all lanes
    nothing counts. The margin is 2 m less that distance (m).
    """
    if not has_lanes(motions):
        return not_applicable(motions.count, "the map has no lanes")
    fit, steps = motions.cached(lane_fit), motions.pose.shape[1]

    def driven_against(rows: slice) -> Float64[Array, "n t"]:
        ego, first = motions.cached(ego_boxes)[rows], rows.start * steps
        step = differences(ego)
        ahead = step[..., 0] * ego[..., 2] + step[..., 1] * ego[..., 3]
        own = (fit.inside & (fit.cosine > 0.0))[first : first + ahead.size].reshape(ahead.shape)
        out = np.zeros(ahead.shape)
        k, t = np.nonzero(~own | (ahead < 0.0))
        if len(k):
            direction = _lane_directions(motions, k + rows.start, t)
            along = step[k, t, 0] * np.cos(direction) + step[k, t, 1] * np.sin(direction)
            out[k, t] = np.where(np.isnan(along), 0.0, np.maximum(-along, 0.0))
        return out

    return _metres_in_a_second(motions, driven_against, "against the direction of the lane")


@dataclass(frozen=True, eq=False)
class LaneFit:
    """Whether each pose, flat, is inside its matched lane, and the cosine of the angle to the lane's direction."""

    inside: Bool[Array, " n"]
    cosine: Float64[Array, " n"]


def lane_fit(motions: MotionBatch) -> LaneFit:
    """Return how poses fit their lanes of ``lane_matches``."""
    match = motions.cached(lane_matches)
    inside = (match.index >= 0) & (match.distance <= 0.5 * motions.map_index.lane_width(match))
    return LaneFit(inside, np.cos(match.heading - motions.pose[..., 2].reshape(-1)))


def _lane_directions(motions: MotionBatch, k: Array, t: Array) -> Float64[Array, " n"]:
    """Return the direction (rad) of the lane that contains some poses, NaN without one.

    Of several lanes one in the direction of the heading counts, as in an intersection.
    """
    match, fit, row = motions.cached(lane_matches), motions.cached(lane_fit), k * motions.pose.shape[1] + t
    own = fit.inside[row] & (fit.cosine[row] > 0.0)
    direction = np.where(own, match.heading[row], np.nan)
    if not own.all():
        xy = np.ascontiguousarray(motions.pose[k[~own], t[~own], :2])
        ground = None if motions.ground is None else motions.ground[k[~own], t[~own]]
        nearest = motions.map_index.match_lanes(xy, elevation=ground)
        inside = (nearest.index >= 0) & (nearest.distance <= 0.5 * motions.map_index.lane_width(nearest))
        direction[~own] = np.where(inside, nearest.heading, np.nan)
    return direction


def _metres_in_a_second(
    motions: MotionBatch, metres: Callable[[slice], Float64[Array, "n t"]], what: str
) -> RuleResult:
    """Judge the metres of a kind that are driven in any second; ``metres`` gives those of each step, for some rows."""
    count, steps = motions.count, round(OFF_ROUTE_WINDOW_S / motions.dt)

    def in_window(rows: slice) -> Float64[Array, "n t"]:
        total = np.cumsum(metres(rows), axis=1)
        window = total.copy()
        window[:, steps:] -= total[:, :-steps]
        return window

    margins = by_rows(in_window, motions.pose.shape[:2])
    worst, when = margins.max(axis=1), first_time(margins >= MINOR_OFF_ROUTE_M, motions.times)
    np.subtract(MINOR_OFF_ROUTE_M, margins, out=margins)
    value = np.where(worst < MINOR_OFF_ROUTE_M, 1.0, np.where(worst < MAJOR_OFF_ROUTE_M, 0.5, 0.0))

    def describe(k: int) -> str:
        if worst[k] >= MINOR_OFF_ROUTE_M:
            return f"{worst[k]:.1f} m in a second {what}, first over {MINOR_OFF_ROUTE_M:.0f} m at {when[k]:.1f} s"
        return f"at most {worst[k]:.1f} m in a second {what}"

    margin = MINOR_OFF_ROUTE_M - worst
    return RuleResult(value, margin, np.ones(count, bool), when, Reasons(count, describe), margins)


def outside_lanes(motions: MotionBatch) -> tuple[Float64[Array, " k"], Float64[Array, " k"]]:
    """Compute the distance (m) driven off the route's lanes, as in ``driving_direction``, and the whole distance."""
    rows = slice(0, motions.count)
    step = differences(motions.pose)
    moved = np.hypot(step[..., 0], step[..., 1])
    return np.where(_on_lanes(motions)(rows), 0.0, moved).sum(axis=1), moved.sum(axis=1)


def lane_keeping(motions: MotionBatch) -> RuleResult:
    """Judge whether the ego is more than 0.5 m off the centre for 2 s without a break: 0, else 1.

    Times in intersections are skipped. The centre is the route's, or without a route that of the nearest lane. The
    margin is 0.5 m less the least offset over the worst 2 s.
    """
    count = motions.count
    scene = motions.scene
    if not has_lanes(motions):
        return not_applicable(count, "the map has no lanes")
    match = motions.cached(lane_matches)
    in_intersection = _of_lanes(motions, [lane.in_intersection for lane in scene.road_map.lanes], match)
    offset = _centre_offset(motions)
    steps = round(MAX_OFF_CENTRE_TIME_S / motions.dt)
    margins = np.full(offset.shape, MAX_CENTRE_OFFSET_M)
    if offset.shape[1] >= steps:
        crosses = in_intersection.any(axis=1)
        margins[~crosses, steps - 1 :] = MAX_CENTRE_OFFSET_M - _window_minimum(offset[~crosses], steps)
        # Steps in intersections move to the end of their row, so that windows skip them.
        order = np.argsort(in_intersection[crosses], axis=1, kind="stable")
        kept = np.take_along_axis(np.where(in_intersection, 0.0, offset)[crosses], order, axis=1)
        part = margins[crosses]
        np.put_along_axis(part, order[:, steps - 1 :], MAX_CENTRE_OFFSET_M - _window_minimum(kept, steps), axis=1)
        margins[crosses] = part
    margin = margins.min(axis=1)
    when = first_time(margins < 0.0, motions.times)

    def describe(k: int) -> str:
        duration = f"for {MAX_OFF_CENTRE_TIME_S:.0f} s"
        if margin[k] < 0.0:
            return f"{MAX_CENTRE_OFFSET_M - margin[k]:.2f} m or more off the centre {duration} until {when[k]:.1f} s"
        return f"never more than {MAX_CENTRE_OFFSET_M} m off the centre {duration}"

    value = (margin >= 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, Reasons(count, describe), margins)


def _centre_offset(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Compute the distance (m) of the ego's centre to the route, or without a route to the centre of its lane."""
    shape, route = motions.pose.shape[:2], motions.scene.route
    if route is None:
        return np.abs(motions.cached(lane_matches).offset).reshape(shape)
    return np.abs(motions.cached(route_places).offset)


def speed_limit(motions: MotionBatch) -> RuleResult:
    """Judge overspeed by amount and duration: max(0, 1 - sum of overspeed * dt / (2.23 m/s * duration)).

    The margin (m/s) is the limit of the lane less the speed. Times on lanes without a known limit do not count.
    """
    count = motions.count
    lanes = motions.scene.road_map.lanes
    limits = np.array([np.nan if lane.speed_limit is None else lane.speed_limit for lane in lanes])
    if not has_lanes(motions) or np.isnan(limits).all():
        return not_applicable(count, "no lane has a known speed limit")
    match = motions.cached(lane_matches)
    limit = np.where(match.index >= 0, limits[match.index], np.nan).reshape(count, -1)
    margins = limit - np.abs(motions.speed)
    known = ~np.isnan(margins)
    over = np.where(known, np.maximum(-margins, 0.0), 0.0)
    duration = max(float(motions.times[-1]), motions.dt)
    value = np.maximum(0.0, 1.0 - over.sum(axis=1) * motions.dt / (MAX_OVERSPEED_MPS * duration))
    valid = known.any(axis=1)
    least = np.where(valid, np.where(known, margins, np.inf).min(axis=1), np.nan)
    when = first_time(known & (margins < 0.0), motions.times)

    def describe(k: int) -> str:
        if not valid[k]:
            return "no speed limit is known on its lanes"
        if least[k] < 0.0:
            return f"up to {-least[k]:.1f} m/s over the limit, first at {when[k]:.1f} s"
        return f"at least {least[k]:.1f} m/s below the limit"

    value = np.where(valid, value, np.nan)
    return RuleResult(value, least, valid, when, Reasons(count, describe), margins)


def _window_minimum(values: Array, steps: int) -> Float64[Array, "k windows"]:
    """Compute the minimum of each window of ``steps`` values along the rows, from windows of powers of two."""
    width, least = 1, values
    while 2 * width <= steps:
        least = np.minimum(least[:, :-width], least[:, width:])
        width *= 2
    rest = steps - width
    return np.minimum(least[:, : least.shape[1] - rest], least[:, rest:])


def _on_lanes(motions: MotionBatch) -> Callable[[slice], Bool[Array, "n t"]]:
    """Return a function that tells, for rows of motions, whether the ego's centre is on an allowed lane.

    Allowed are the lanes of the route in their direction, and all lanes of intersections.
    """
    match, lanes, route = motions.cached(lane_matches), motions.scene.road_map.lanes, route_lanes(motions)
    steps, fit = motions.pose.shape[1], motions.cached(lane_fit)
    in_intersection = np.array([lane.in_intersection for lane in lanes])
    on_route = np.array([not route or lane.id in route for lane in lanes])

    def part(rows: slice) -> Bool[Array, "n t"]:
        some = slice(rows.start * steps, rows.stop * steps)
        index = match.index[some]
        allowed = in_intersection[index] | (on_route[index] & (fit.cosine[some] > 0.0))
        return (fit.inside[some] & allowed).reshape(-1, steps)

    return part


def route_lanes(motions: MotionBatch) -> frozenset[str]:
    """Return the ids of the route's lanes and of their neighbours in the same direction.

    A route that names no lanes has the lanes along its path.
    """
    scene = motions.scene
    if scene.route is None:
        return frozenset()
    by_id, lanes = scene.road_map.lane_by_id, scene.road_map.lanes
    named = [name for name in scene.route.lane_ids if name in by_id]
    if not named:
        path = scene.route.path[:, :2].astype(np.float64)
        step = np.diff(path, axis=0)
        course, ground = np.arctan2(step[:, 1], step[:, 0]), scene.route.path[:-1, 2]
        match = motions.map_index.nearest_lane(path[:-1], course, ROUTE_MATCH_RADIUS_M, ground)
        named = [lanes[i].id for i in np.unique(match.index[match.index >= 0])]
    neighbours = [
        other
        for name in named
        for other in (*by_id[name].left_neighbours, *by_id[name].right_neighbours)
        if other in by_id and by_id[other].kind == LaneKind.DRIVING and _same_direction(by_id[name], by_id[other])
    ]
    return frozenset((*named, *neighbours))


def _same_direction(a: Lane, b: Lane) -> bool:
    """Return whether the directions of two neighbouring lanes are within 90 degrees of each other."""
    directions = [lane.centreline[-1, :2] - lane.centreline[0, :2] for lane in (a, b)]
    return bool(directions[0] @ directions[1] > 0.0)


def _of_lanes(motions: MotionBatch, flags: list[bool], match: LaneMatch) -> Bool[Array, "k t"]:
    found = np.array(flags)[match.index] & (match.index >= 0)
    return found.reshape(motions.count, -1)


RULES = (
    Rule(
        name="driving_direction",
        unit="m",
        summary="The ego drives less than 2 m in any second off the lanes of the route, intersections excluded.",
        source="NAVSIM DDC",
        evaluate=driving_direction,
        aliases=("ddc", "driving_direction_compliance"),
    ),
    Rule(
        name="driving_direction_nuplan",
        unit="m",
        summary="The ego drives less than 2 m in any second against the direction of its lane.",
        source="nuPlan",
        evaluate=driving_direction_nuplan,
    ),
    Rule(
        name="speed_limit",
        unit="m/s",
        summary="The ego keeps to the speed limit of its lane.",
        source="nuPlan",
        evaluate=speed_limit,
        aliases=("sc", "speed_limit_compliance"),
    ),
    Rule(
        name="lane_keeping",
        unit="m",
        summary="The ego is never more than 0.5 m off the centre for 2 s, intersections excluded.",
        source="NAVSIM LK",
        evaluate=lane_keeping,
        aliases=("lk",),
    ),
)
