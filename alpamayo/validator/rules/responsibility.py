"""RSS as a rule: no dangerous situation without the proper response."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator import rss
from alpamayo.validator.rules.kinematics import motion
from alpamayo.validator.situation import Situation
from alpamayo.validator.verdict import RuleResult, first_time

Array = np.ndarray
CHUNK = 200_000
FURTHEST = 5.0  # m; a larger margin is not told apart
LOOK = 300.0  # m
SIDEWAYS = 4.0  # s; nobody gets further sideways than in that time at the present speed
TOLERANCE = 0.5  # m/s²
STANDS = 0.05  # m/s


def responsibility(situation: Situation) -> RuleResult:
    """Where RSS finds a dangerous situation, the ego gives the proper response: 1, else 0.

    The road goes as the ego's heading does. Dangerous is where neither the longitudinal nor the lateral gap is safe;
    someone who stands does not move sideways. From a response time after it has become dangerous the ego, if it is
    the one behind, has to brake at ``brake_min`` (less 0.5 m/s²) or stand. The margin (m) is the larger of both
    gaps over their safe distance, to the worst other; a dangerous situation that is answered is not a violation.
    """
    margins = np.full(situation.pose.shape[:2], FURTHEST)
    unanswered = np.zeros(margins.shape, bool)
    along, *_ = motion(situation)
    chunk = max(1, CHUNK // max(1, margins.shape[1] * len(situation.traffic.ids)))
    for first in range(0, situation.count, chunk):
        rows = slice(first, first + chunk)
        margins[rows], unanswered[rows] = _judged(situation, rows, along[rows])
    when = first_time(unanswered, situation.times)
    value = np.isnan(when).astype(np.float64)
    dangerous = (margins <= 0.0).any(axis=1)
    safe = np.where(unanswered, np.minimum(margins, -1e-3), np.maximum(margins, 0.0))
    reasons = tuple(
        f"no proper response to a dangerous situation at {at:.1f} s"
        if np.isfinite(at)
        else ("dangerous situations are answered" if risky else f"safe by {min(m, FURTHEST):.1f} m or more")
        for at, risky, m in zip(when, dangerous, margins.min(axis=1), strict=True)
    )
    return RuleResult("rss", "m", value, safe.min(axis=1), np.ones(situation.count, bool), when, reasons, safe)


def _judged(situation: Situation, rows: slice, along: Array) -> tuple[Float64[Array, "k t"], Array]:
    """Least margin (m) to anybody, and where the proper response is missing."""
    traffic, steps = situation.traffic, len(situation.times)
    pose, speed = situation.pose[rows], situation.speed[rows]
    if not len(traffic.ids):
        return np.full(speed.shape, FURTHEST), np.zeros(speed.shape, bool)
    other, velocity = traffic.pose[:, :steps], traffic.velocity[:, :steps]
    c, s = np.cos(pose[:, None, :, 2]), np.sin(pose[:, None, :, 2])
    dx, dy = other[None, ..., 0] - pose[:, None, :, 0], other[None, ..., 1] - pose[:, None, :, 1]
    ahead, left = c * dx + s * dy, c * dy - s * dx
    v_right = s * velocity[None, ..., 0] - c * velocity[None, ..., 1]
    there = np.broadcast_to(traffic.valid[None, :, :steps], ahead.shape)
    reach = 0.5 * (situation.size[1] + np.hypot(traffic.size[:, 0], traffic.size[:, 1]))[:, None] + FURTHEST
    near = there & (np.abs(left) < reach + SIDEWAYS * np.abs(v_right)) & (np.abs(ahead) < LOOK)
    k, a = np.nonzero(near.any(axis=2))
    ahead, left, v_right, there = ahead[k, a], left[k, a], v_right[k, a], there[k, a]
    turn = other[a, :, 2] - pose[k, :, 2]
    ct, st = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    length, width = traffic.size[a, 0, None], traffic.size[a, 1, None]
    gap = np.abs(ahead) - 0.5 * (situation.size[0] + length * ct + width * st)
    side_gap = np.abs(left) - 0.5 * (situation.size[1] + length * st + width * ct)
    v_along = np.cos(pose[k, :, 2]) * velocity[a, :, 0] + np.sin(pose[k, :, 2]) * velocity[a, :, 1]
    stands = np.hypot(velocity[a, :, 0], velocity[a, :, 1]) <= STANDS
    ego_behind, ego_left = ahead > 0.0, left < 0.0
    danger = rss.assess(gap, side_gap, np.abs(speed[k]), v_along, np.zeros_like(gap), v_right, ego_behind, ego_left)
    still = _sideways_of_one(rss.EGO) + rss.EGO.fluctuation
    lateral = np.where(stands, side_gap - still, danger.lateral)
    danger = rss.Danger(np.where(there, danger.longitudinal, np.inf), np.where(there, lateral, np.inf))
    margin = np.full(speed.shape, FURTHEST)
    np.minimum.at(margin, k, danger.margin)
    facing = (v_along < 0.0) & ego_behind
    needed = rss.proper_response(danger, ego_left=ego_left, facing=facing, ego_behind=ego_behind).longitudinal_max
    asked = np.full(speed.shape, rss.EGO.accel_max)
    np.minimum.at(asked, k, needed)
    late = _lasts(asked < 0.0, round(rss.EGO.response_time / situation.dt))
    return margin, late & (along > asked + TOLERANCE) & (np.abs(speed) > STANDS)


def _sideways_of_one(parameters: rss.Parameters) -> float:
    """Way (m) that one alone can take sideways before it has stopped doing so."""
    rho, a, b = parameters.response_time, parameters.lateral_accel_max, parameters.lateral_brake_min
    return 0.5 * a * rho**2 + (a * rho) ** 2 / (2.0 * b)


def _lasts(flags: Array, steps: int) -> Array:
    """Where flags have been set for more than ``steps`` steps on end."""
    index = np.arange(flags.shape[1])
    last_clear = np.maximum.accumulate(np.where(flags, -1, index), axis=1)
    return flags & (index - last_clear > steps)
