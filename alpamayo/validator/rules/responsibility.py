"""RSS as a rule: no dangerous situation without the proper response."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator import rss
from alpamayo.validator.packed import columns, ego_boxes
from alpamayo.validator.rules.kinematics import motion
from alpamayo.validator.situation import Situation
from alpamayo.validator.verdict import Reasons, RuleResult, first_time
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
FURTHEST = 5.0  # m; a larger margin is not told apart
TOLERANCE = 0.5  # m/s²
STANDS = 0.05  # m/s


def responsibility(situation: Situation) -> RuleResult:
    """Where RSS finds a dangerous situation, the ego gives the proper response: 1, else 0.

    The road goes as the ego's heading does. Dangerous is where neither the longitudinal nor the lateral gap is safe;
    someone who stands does not move sideways. From a response time after it has become dangerous the ego, if it is
    the one behind, has to brake at ``brake_min`` (less 0.5 m/s²) or stand. The margin (m) is the larger of both
    gaps over their safe distance, to the worst other; a dangerous situation that is answered is not a violation.
    """
    margins, asked = gaps_and_response(situation)
    late = lasts(asked < 0.0, round(rss.EGO.response_time / situation.dt))
    unanswered = late & (situation.shared(motion)[0] > asked + TOLERANCE) & (np.abs(situation.speed) > STANDS)
    when = first_time(unanswered, situation.times)
    value = np.isnan(when).astype(np.float64)
    safe = np.where(unanswered, np.minimum(margins, -1e-3), np.maximum(margins, 0.0))
    least = margins.min(axis=1)
    reasons = Reasons(situation.count, lambda k: _reason(float(when[k]), float(least[k])))
    valid = np.ones(situation.count, bool)
    return RuleResult("rss", "m", value, safe.min(axis=1), valid, when, reasons, safe)


def gaps_and_response(situation: Situation) -> tuple[Float64[Array, "k t"], Float64[Array, "k t"]]:
    """Least of the larger margins (m) to anybody, at most ``FURTHEST``, and the most that may be accelerated (m/s²)."""
    from alpamayo.validator.kernels.responsibilities import responsibilities

    shape, there = situation.pose.shape[:2], situation.shared(columns)
    margins, asked = np.empty(shape), np.empty(shape)
    inputs = [
        *(situation.shared(ego_boxes), np.ascontiguousarray(situation.speed), wp.vec2d(*(0.5 * situation.size))),
        *(there.rows, there.halves, _rules(rss.EGO, rss.OTHER)),
        *(np.ones((shape[0], there.halves.shape[1])), margins, asked),
    ]
    wp.launch(responsibilities, dim=situation.count, inputs=inputs, device="cpu")
    return margins, asked


@lru_cache(maxsize=8)
def _rules(ego: rss.Parameters, other: rss.Parameters) -> object:
    """The parameters as the compiled loop takes them."""
    from alpamayo.validator.kernels.responsibilities import Rules

    rules = Rules()
    rules.rho_ego, rules.rho_other = ego.response_time, other.response_time
    rules.accel_ego, rules.accel_other = ego.accel_max, other.accel_max
    rules.accel_facing = max(ego.accel_max, other.accel_max)
    rules.brake_ego, rules.brake_ego_correct = 0.5 / ego.brake_min, 0.5 / ego.brake_min_correct
    rules.brake_other = 0.5 / other.brake_min
    rules.hardest_ego, rules.hardest_other = 0.5 / ego.brake_max, 0.5 / other.brake_max
    rules.least = max(ego.longitudinal_minimum, other.longitudinal_minimum)
    rules.side_accel = max(ego.lateral_accel_max, other.lateral_accel_max)
    rules.side_brake = 0.5 / min(ego.lateral_brake_min, other.lateral_brake_min)
    own = 0.5 * rules.side_accel * ego.response_time**2
    own += (ego.response_time * rules.side_accel) ** 2 * rules.side_brake
    rules.side_own = own + 0.5 * (ego.fluctuation + other.fluctuation)
    rules.still = _sideways_of_one(ego) + ego.fluctuation
    rules.ask, rules.ask_facing, rules.free = -ego.brake_min, -ego.brake_min_correct, ego.accel_max
    rules.stands, rules.furthest = STANDS, FURTHEST
    return rules


def _reason(when: float, least: float) -> str:
    if np.isfinite(when):
        return f"no proper response to a dangerous situation at {when:.1f} s"
    return "dangerous situations are answered" if least <= 0.0 else f"safe by {least:.1f} m or more"


def _sideways_of_one(parameters: rss.Parameters) -> float:
    """Way (m) that one alone can take sideways before it has stopped doing so."""
    rho, a, b = parameters.response_time, parameters.lateral_accel_max, parameters.lateral_brake_min
    return 0.5 * a * rho**2 + (a * rho) ** 2 / (2.0 * b)


def lasts(flags: Bool[Array, "k t"], steps: int) -> Bool[Array, "k t"]:
    """Where flags have been set for more than ``steps`` steps on end."""
    index = np.arange(flags.shape[1])
    last_clear = np.maximum.accumulate(np.where(flags, -1, index), axis=1)
    return flags & (index - last_clear > steps)
