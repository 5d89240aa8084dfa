"""RSS as a rule: no dangerous motions without the proper response."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.metrics import rss
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_boxes, agent_columns, ego_boxes
from alpamayo.validator.rules.kinematics import motion
from alpamayo.validator.verdict import Reasons, RuleResult, first_time
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
FURTHEST = 5.0  # m; a larger margin is not told apart
TOLERANCE = 0.5  # m/s²
STANDS = 0.05  # m/s


def responsibility(motions: MotionBatch) -> RuleResult:
    """Where RSS finds a dangerous motions, the ego gives the proper response: 1, else 0.

    The road goes as the ego's heading does. Dangerous is where neither the longitudinal nor the lateral gap is safe;
    someone who stands does not move sideways. From a response time after it has become dangerous the ego, if it is
    the one behind, has to brake at ``brake_min`` (less 0.5 m/s²) or stand. The margin (m) is the larger of both
    gaps over their safe distance, to the worst other; a dangerous situation that is answered is not a violation.
    """
    margins, asked = gaps_and_response(motions)
    late = lasts(asked < 0.0, round(rss.EGO.response_time / motions.dt))
    unanswered = late & (motions.cached(motion)[0] > asked + TOLERANCE) & (np.abs(motions.speed) > STANDS)
    when = first_time(unanswered, motions.times)
    value = np.isnan(when).astype(np.float64)
    safe = np.where(unanswered, np.minimum(margins, -1e-3), np.maximum(margins, 0.0))
    least, worst = margins.min(axis=1), margins.argmin(axis=1)

    def say(k: int) -> str:
        if np.isfinite(when[k]):
            t = round(float(when[k]) / motions.dt)
            return f"no proper response to a dangerous situation with {_whom(motions, k, t)} at {when[k]:.1f} s"
        if least[k] <= 0.0:
            return f"dangerous situations are answered, the worst with {_whom(motions, k, int(worst[k]))}"
        return f"safe by {least[k]:.1f} m or more"

    reasons = Reasons(motions.count, say)
    valid = np.ones(motions.count, bool)
    return RuleResult("rss", "m", value, safe.min(axis=1), valid, when, reasons, safe)


def gaps_and_response(motions: MotionBatch) -> tuple[Float64[Array, "k t"], Float64[Array, "k t"]]:
    """Least of the larger margins (m) to anybody, at most ``FURTHEST``, and the most that may be accelerated (m/s²)."""
    from alpamayo.validator.kernels.rss import rss_margins

    shape, there = motions.pose.shape[:2], motions.cached(agent_columns)
    margins, asked = np.empty(shape), np.empty(shape)
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), wp.vec2d(*(0.5 * motions.size))),
        *(there.rows, there.halves, _rules(rss.EGO, rss.OTHER)),
        *(np.ones((shape[0], there.halves.shape[1])), margins, asked),
    ]
    wp.launch(rss_margins, dim=motions.count, inputs=inputs, device="cpu")
    return margins, asked


@lru_cache(maxsize=8)
def _rules(ego: rss.Parameters, other: rss.Parameters) -> object:
    """The parameters as the compiled loop takes them."""
    from alpamayo.validator.kernels.rss import RssConstants

    constants = RssConstants()
    constants.rho_ego, constants.rho_other = ego.response_time, other.response_time
    constants.accel_ego, constants.accel_other = ego.accel_max, other.accel_max
    constants.accel_facing = max(ego.accel_max, other.accel_max)
    constants.brake_ego, constants.brake_ego_correct = 0.5 / ego.brake_min, 0.5 / ego.brake_min_correct
    constants.brake_other = 0.5 / other.brake_min
    constants.hardest_ego, constants.hardest_other = 0.5 / ego.brake_max, 0.5 / other.brake_max
    constants.least = max(ego.longitudinal_minimum, other.longitudinal_minimum)
    constants.side_accel = max(ego.lateral_accel_max, other.lateral_accel_max)
    constants.side_brake = 0.5 / min(ego.lateral_brake_min, other.lateral_brake_min)
    own = 0.5 * constants.side_accel * ego.response_time**2
    own += (ego.response_time * constants.side_accel) ** 2 * constants.side_brake
    constants.side_own = own + 0.5 * (ego.fluctuation + other.fluctuation)
    constants.still = _sideways_of_one(ego) + ego.fluctuation
    constants.response, constants.response_facing, constants.unrestricted = (
        -ego.brake_min,
        -ego.brake_min_correct,
        ego.accel_max,
    )
    constants.stopped, constants.margin_limit = STANDS, FURTHEST
    return constants


def _whom(motions: MotionBatch, k: int, t: int) -> str:
    """Who asks most of the ego in one motion at one time; of several the one with the least margin."""
    margins, asked = with_each(motions, k)
    a = np.lexsort((margins[:, t], asked[:, t]))[0]
    return repr(motions.traffic.ids[a])


def with_each(motions: MotionBatch, k: int) -> tuple[Float64[Array, "a t"], Float64[Array, "a t"]]:
    """What ``gaps_and_response`` says of one motion, with each other on his own: larger margin and acceleration."""
    ego, there, v = motions.cached(ego_boxes)[k], motions.cached(agent_boxes), np.abs(motions.speed[k])
    velocity = motions.traffic.velocity[:, : len(v)]
    c, s = ego[:, 2], ego[:, 3]
    dx, dy = there.boxes[..., 0] - ego[:, 0], there.boxes[..., 1] - ego[:, 1]
    ahead, left = c * dx + s * dy, c * dy - s * dx
    along, right = c * velocity[..., 0] + s * velocity[..., 1], s * velocity[..., 0] - c * velocity[..., 1]
    cosine = np.abs(c * there.boxes[..., 2] + s * there.boxes[..., 3])
    sine = np.abs(c * there.boxes[..., 3] - s * there.boxes[..., 2])
    length, width = there.halves[:, :1], there.halves[:, 1:]
    gap = np.abs(ahead) - 0.5 * motions.size[0] - length * cosine - width * sine
    side_gap = np.abs(left) - 0.5 * motions.size[1] - length * sine - width * cosine
    behind, ego_left = ahead > 0.0, left < 0.0
    danger = rss.assess(gap, side_gap, v, along, np.zeros_like(gap), right, behind, ego_left)
    still = side_gap - _sideways_of_one(rss.EGO) - rss.EGO.fluctuation
    stands = np.hypot(velocity[..., 0], velocity[..., 1]) <= STANDS
    lateral = np.where(stands, still, danger.lateral)
    danger = rss.RssMargins(*(np.where(there.valid, margin, np.inf) for margin in (danger.longitudinal, lateral)))
    response = rss.proper_response(danger, ego_left=ego_left, facing=(along < 0.0) & behind, ego_behind=behind)
    return danger.margin, response.longitudinal_max


def _sideways_of_one(parameters: rss.Parameters) -> float:
    """Way (m) that one alone can take sideways before it has stopped doing so."""
    rho, a, b = parameters.response_time, parameters.lateral_accel_max, parameters.lateral_brake_min
    return 0.5 * a * rho**2 + (a * rho) ** 2 / (2.0 * b)


def lasts(flags: Bool[Array, "k t"], steps: int) -> Bool[Array, "k t"]:
    """Where flags have been set for more than ``steps`` steps on end."""
    index = np.arange(flags.shape[1])
    last_clear = np.maximum.accumulate(np.where(flags, -1, index), axis=1)
    return flags & (index - last_clear > steps)
