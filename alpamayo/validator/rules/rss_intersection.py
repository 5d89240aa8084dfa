"""RSS where ways cross: nobody is in the crossing while the other is, or one of both can still stop before it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.metrics import rss
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_boxes, ego_boxes
from alpamayo.validator.rules.kinematics import motion
from alpamayo.validator.rules.rss import STANDS, TOLERANCE, lasts
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.datatypes.scene import is_static

Array = np.ndarray
LOOK = 100.0  # m; a crossing further ahead is not looked at
LEAST_ANGLE = np.deg2rad(30.0)
FURTHEST = 20.0  # m; a larger margin is not told apart


@dataclass(frozen=True, eq=False)
class Crossing:
    """Distances (m) of the ego and an other to the place where their straight ways cross, and who has one ahead."""

    enter: Float64[Array, "k t"]
    leave: Float64[Array, "k t"]
    enter_other: Float64[Array, "k t"]
    leave_other: Float64[Array, "k t"]
    ahead: Bool[Array, "k t"]


def rss_intersection(motions: MotionBatch) -> RuleResult:
    """RSS at crossings (definition 17): no unsafe crossing without braking at ``brake_min`` after the response time.

    Both go straight on; ways that cross at less than 30 degrees are left to ``rss``. Nobody is taken to have
    priority, so it is safe while either can stop before the crossing; see ``rss.intersection_safe``. Who is in the
    crossing already has to leave it, not to brake. The margin (m) is the larger of both distances to the crossing
    less the way to a stop. Props never cross. Not applicable where nobody crosses the ego's way.
    """
    name, shape = "rss_intersection", motions.speed.shape
    margins, worst, whom = np.full(shape, FURTHEST), np.full(shape, np.inf), np.full(shape, -1)
    met = np.zeros(motions.count, bool)
    along = motions.cached(motion)[0]
    for a in np.flatnonzero(~is_static(motions.traffic.category)):
        where = crossing(motions, int(a))
        if not where.ahead.any():
            continue
        cross, margin, danger = _with_other(motions, int(a), where)
        met |= cross.any(axis=1)
        margins = np.where(cross, np.minimum(margins, margin), margins)
        worse = danger & (margin < worst)
        worst[worse], whom[worse] = margin[worse], a
    if not met.any():
        return not_applicable(name, "m", motions.count, "nobody crosses the ego's way")
    unsafe = whom >= 0
    late = lasts(unsafe, round(rss.EGO.response_time / motions.dt))
    broken = late & (along > TOLERANCE - rss.EGO.brake_min) & (np.abs(motions.speed) > STANDS)
    when = first_time(broken, motions.times)
    margins = np.where(broken, np.minimum(margins, -1e-3), np.maximum(margins, 0.0))
    least, value = margins.min(axis=1), np.where(met, np.isnan(when).astype(np.float64), np.nan)

    def say(k: int) -> str:
        if not met[k]:
            return "nobody crosses the ego's way"
        if np.isfinite(when[k]):
            who = motions.traffic.ids[whom[k, round(when[k] / motions.dt)]]
            return f"does not brake for {who!r}, who crosses its way, at {when[k]:.1f} s"
        return (
            "unsafe crossings are answered" if unsafe[k].any() else f"crossings are safe, by {least[k]:.1f} m or more"
        )

    when, least = np.where(met, when, np.nan), np.where(met, least, np.nan)
    return RuleResult(name, "m", value, least, met, when, Reasons(motions.count, say), margins)


def _with_other(
    motions: MotionBatch, a: int, x: Crossing
) -> tuple[Bool[Array, "k t"], Float64[Array, "k t"], Bool[Array, "k t"]]:
    """Where one other has a crossing with the ego ahead, the margin (m), and where it is unsafe for the ego."""
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
    margin = np.where(safe, np.maximum(margin, 0.0), np.minimum(margin, -1e-3))
    return x.ahead, margin, x.ahead & ~safe & (x.enter > 0.0)


def crossing(motions: MotionBatch, a: int) -> Crossing:
    """Where the straight ways of the ego and one other cross, at each time."""
    ego, there = motions.cached(ego_boxes), motions.cached(agent_boxes)
    box, half, own = there.boxes[a], there.halves[a], 0.5 * motions.size
    sine = ego[..., 2] * box[:, 3] - ego[..., 3] * box[:, 2]
    cosine = np.abs(ego[..., 2] * box[:, 2] + ego[..., 3] * box[:, 3])
    steep = np.abs(sine) > np.sin(LEAST_ANGLE)
    sine = np.where(steep, sine, 1.0)
    dx, dy = box[:, 0] - ego[..., 0], box[:, 1] - ego[..., 1]
    way = (dx * box[:, 3] - dy * box[:, 2]) / sine
    way_other = (dx * ego[..., 3] - dy * ego[..., 2]) / sine
    room = own[0] + (half[1] + own[1] * cosine) / np.abs(sine)
    room_other = half[0] + (own[1] + half[1] * cosine) / np.abs(sine)
    ahead = steep & there.valid[a] & (way + room > 0.0) & (way_other + room_other > 0.0)
    ahead &= (way - room < LOOK) & (way_other - room_other < LOOK)
    return Crossing(way - room, way + room, way_other - room_other, way_other + room_other, ahead)
