"""RSS where paths cross: both are never in the crossing together, or one of both can still stop before it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.metrics import rss
from alpamayo.validator.contacts import STOPPED_MPS
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_boxes, ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.kinematics import motion_quantities
from alpamayo.validator.rules.rss import RESPONSE_TOLERANCE_MPS2, exceeds_duration
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import is_static

Array = np.ndarray
LOOK_AHEAD_M = 100.0
"""Crossings further ahead are ignored."""
MIN_CROSSING_ANGLE_RAD = np.deg2rad(30.0)
CROSSING_MARGIN_LIMIT_M = 20.0
"""Margins are computed up to this."""


@dataclass(frozen=True, eq=False)
class Crossing:
    """Where the straight paths of the ego and one agent cross.

    Attributes:
        enter: distance (m) of the ego to the crossing, negative inside.
        leave: distance (m) until the ego has left it.
        enter_other: as ``enter``, of the agent.
        leave_other: as ``leave``, of the agent.
        ahead: whether both have the crossing ahead.
    """

    enter: Float64[Array, "k t"]
    leave: Float64[Array, "k t"]
    enter_other: Float64[Array, "k t"]
    leave_other: Float64[Array, "k t"]
    ahead: Bool[Array, "k t"]


def rss_intersection(motions: MotionBatch) -> RuleResult:
    """Judge RSS at crossings (definition 17): at an unsafe crossing the ego brakes at ``brake_min``: 1, else 0.

    Both continue straight on; paths that cross at less than 30 degrees are left to ``rss``. No priority is assumed, so
    a crossing is safe while either can stop before it; see ``rss.intersection_safe``. The ego has one response time
    before it has to brake. An ego inside the crossing has to leave it, not to brake. The margin (m) is the larger of
    both distances to the crossing less the stopping distance. Props never cross. Not applicable where no path crosses
    the ego's.
    """
    shape = motions.speed.shape
    margins, worst, agent = np.full(shape, CROSSING_MARGIN_LIMIT_M), np.full(shape, np.inf), np.full(shape, -1)
    crossed = np.zeros(motions.count, bool)
    acceleration = motions.cached(motion_quantities)[0]
    for a in np.flatnonzero(~is_static(motions.traffic.category)):
        where = crossing(motions, int(a))
        if not where.ahead.any():
            continue
        cross, margin, danger = _with_agent(motions, int(a), where)
        crossed |= cross.any(axis=1)
        margins = np.where(cross, np.minimum(margins, margin), margins)
        worse = danger & (margin < worst)
        worst[worse], agent[worse] = margin[worse], a
    if not crossed.any():
        return not_applicable(motions.count, "no agent crosses the ego's path")
    unsafe = agent >= 0
    late = exceeds_duration(unsafe, round(rss.EGO.response_time / motions.dt))
    brakes_too_little = acceleration > RESPONSE_TOLERANCE_MPS2 - rss.EGO.brake_min
    broken = late & brakes_too_little & (np.abs(motions.speed) > STOPPED_MPS)
    when = first_time(broken, motions.times)
    margins = np.where(broken, np.minimum(margins, -VIOLATION_MARGIN), np.maximum(margins, 0.0))
    least, value = margins.min(axis=1), np.where(crossed, np.isnan(when).astype(np.float64), np.nan)

    def describe(k: int) -> str:
        if not crossed[k]:
            return "no agent crosses the ego's path"
        if np.isfinite(when[k]):
            name = motions.traffic.ids[agent[k, round(when[k] / motions.dt)]]
            return f"does not brake for {name!r}, which crosses its path, at {when[k]:.1f} s"
        if unsafe[k].any():
            return "proper response at all unsafe crossings"
        return f"crossings are safe by {least[k]:.1f} m or more"

    when, least = np.where(crossed, when, np.nan), np.where(crossed, least, np.nan)
    return RuleResult(value, least, crossed, when, Reasons(motions.count, describe), margins)


def _with_agent(
    motions: MotionBatch, a: int, x: Crossing
) -> tuple[Bool[Array, "k t"], Float64[Array, "k t"], Bool[Array, "k t"]]:
    """Return where one agent has a crossing with the ego ahead, the margin (m), and where it is unsafe for the ego."""
    v = np.abs(motions.speed)
    v_other = np.hypot(*np.moveaxis(motions.traffic.velocity[a, : v.shape[1]], -1, 0))
    v_other = np.broadcast_to(v_other, v.shape)
    stops = [
        enter - rss.stopping_distance(u, response_time=p.response_time, accel_max=p.accel_max, brake=p.brake_min)
        for u, enter, p in ((v, x.enter, rss.EGO), (v_other, x.enter_other, rss.OTHER))
    ]
    safe = rss.intersection_safe(
        v, v_other, enter_1=x.enter, leave_1=x.leave, enter_2=x.enter_other, leave_2=x.leave_other
    )
    margin = np.maximum(*stops)
    margin = np.where(safe, np.maximum(margin, 0.0), np.minimum(margin, -VIOLATION_MARGIN))
    return x.ahead, margin, x.ahead & ~safe & (x.enter > 0.0)


def crossing(motions: MotionBatch, a: int) -> Crossing:
    """Compute where the straight paths of the ego and one agent cross, at each time."""
    ego, agents = motions.cached(ego_boxes), motions.cached(agent_boxes)
    box, half, own = agents.boxes[a], agents.halves[a], 0.5 * motions.size
    sine = ego[..., 2] * box[:, 3] - ego[..., 3] * box[:, 2]
    cosine = np.abs(ego[..., 2] * box[:, 2] + ego[..., 3] * box[:, 3])
    steep = np.abs(sine) > np.sin(MIN_CROSSING_ANGLE_RAD)
    sine = np.where(steep, sine, 1.0)
    dx, dy = box[:, 0] - ego[..., 0], box[:, 1] - ego[..., 1]
    distance = (dx * box[:, 3] - dy * box[:, 2]) / sine
    distance_other = (dx * ego[..., 3] - dy * ego[..., 2]) / sine
    reach = own[0] + (half[1] + own[1] * cosine) / np.abs(sine)
    reach_other = half[0] + (own[1] + half[1] * cosine) / np.abs(sine)
    ahead = steep & agents.valid[a] & (distance + reach > 0.0) & (distance_other + reach_other > 0.0)
    ahead &= (distance - reach < LOOK_AHEAD_M) & (distance_other - reach_other < LOOK_AHEAD_M)
    return Crossing(
        distance - reach, distance + reach, distance_other - reach_other, distance_other + reach_other, ahead
    )


RULES = (
    Rule(
        name="rss_intersection",
        unit="m",
        summary="The ego brakes at every crossing of paths that RSS calls unsafe.",
        source="RSS at crossings, definition 17; ad-rss-lib",
        evaluate=rss_intersection,
        episode_only=True,
    ),
)
