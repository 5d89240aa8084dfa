"""RSS as a rule: every dangerous situation gets the proper response."""

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.metrics import rss
from alpamayo.validator.contacts import STOPPED_MPS
from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.packed import agent_boxes, agent_columns, ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.rules.kinematics import motion_quantities
from alpamayo.validator.verdict import VIOLATION_MARGIN, Reasons, RuleResult, first_time
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
RSS_MARGIN_LIMIT_M = 5.0
"""Margins are computed up to this."""
RESPONSE_TOLERANCE_MPS2 = 0.5
"""Braking may be this much weaker than the proper response."""


def rss_response(motions: MotionBatch) -> RuleResult:
    """Judge whether the ego gives the proper response to every dangerous situation: 1, else 0.

    The road runs along the ego's heading. A situation is dangerous where neither the longitudinal nor the lateral gap
    is safe; a stopped agent does not move sideways. One response time after the start of the danger the ego, if it is
    the one behind, has to brake at ``brake_min`` (less 0.5 m/s²) or be stopped. The margin (m) is the larger of both
    gaps over its safe distance, for the worst agent; a danger with the proper response is no violation.
    """
    margins, allowed = gaps_and_response(motions)
    late = exceeds_duration(allowed < 0.0, round(rss.EGO.response_time / motions.dt))
    acceleration = motions.cached(motion_quantities)[0]
    unanswered = late & (acceleration > allowed + RESPONSE_TOLERANCE_MPS2) & (np.abs(motions.speed) > STOPPED_MPS)
    when = first_time(unanswered, motions.times)
    value = np.isnan(when).astype(np.float64)
    safe = np.where(unanswered, np.minimum(margins, -VIOLATION_MARGIN), np.maximum(margins, 0.0))
    least, worst = margins.min(axis=1), margins.argmin(axis=1)

    def describe(k: int) -> str:
        if np.isfinite(when[k]):
            t = round(float(when[k]) / motions.dt)
            return f"no proper response to a dangerous situation with {_worst_agent(motions, k, t)} at {when[k]:.1f} s"
        if least[k] <= 0.0:
            agent = _worst_agent(motions, k, int(worst[k]))
            return f"proper response to all dangerous situations, the worst with {agent}"
        return f"safe by {least[k]:.1f} m or more"

    return RuleResult(
        value, safe.min(axis=1), np.ones(motions.count, bool), when, Reasons(motions.count, describe), safe
    )


def gaps_and_response(motions: MotionBatch) -> tuple[Float64[Array, "k t"], Float64[Array, "k t"]]:
    """Compute the RSS margin (m) of the worst agent and the largest acceleration (m/s²) that RSS allows.

    Margins are at most ``RSS_MARGIN_LIMIT_M``.
    """
    from alpamayo.validator.kernels.rss import rss_margins

    shape, agents = motions.pose.shape[:2], motions.cached(agent_columns)
    margins, allowed = np.empty(shape), np.empty(shape)
    inputs = [
        *(motions.cached(ego_boxes), np.ascontiguousarray(motions.speed), wp.vec2d(*(0.5 * motions.size))),
        *(agents.rows, agents.halves, _kernel_constants(rss.EGO, rss.OTHER)),
        *(np.ones((shape[0], agents.halves.shape[1])), margins, allowed),
    ]
    wp.launch(rss_margins, dim=motions.count, inputs=inputs, device="cpu")
    return margins, allowed


@lru_cache(maxsize=8)
def _kernel_constants(ego: rss.Parameters, other: rss.Parameters) -> object:
    """Return the parameters as the compiled loop takes them."""
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
    constants.still = lateral_travel(ego) + ego.fluctuation
    constants.response, constants.response_facing = -ego.brake_min, -ego.brake_min_correct
    constants.unrestricted, constants.facing_inverse = ego.accel_max, 1.0 / rss.FACING_SPEED_MPS
    constants.stopped, constants.margin_limit = STOPPED_MPS, RSS_MARGIN_LIMIT_M
    return constants


def _worst_agent(motions: MotionBatch, k: int, t: int) -> str:
    """Return the id of the agent that demands most of the ego at one time; of several the one with the least margin."""
    margins, allowed = agent_gaps_and_response(motions, k)
    a = np.lexsort((margins[:, t], allowed[:, t]))[0]
    return repr(motions.traffic.ids[a])


def agent_gaps_and_response(motions: MotionBatch, k: int) -> tuple[Float64[Array, "a t"], Float64[Array, "a t"]]:
    """Compute the results of ``gaps_and_response`` for one motion and each agent on its own."""
    ego, agents, v = motions.cached(ego_boxes)[k], motions.cached(agent_boxes), np.abs(motions.speed[k])
    velocity = motions.traffic.velocity[:, : len(v)]
    c, s = ego[:, 2], ego[:, 3]
    dx, dy = agents.boxes[..., 0] - ego[:, 0], agents.boxes[..., 1] - ego[:, 1]
    ahead, left = c * dx + s * dy, c * dy - s * dx
    along, right = c * velocity[..., 0] + s * velocity[..., 1], s * velocity[..., 0] - c * velocity[..., 1]
    cosine = np.abs(c * agents.boxes[..., 2] + s * agents.boxes[..., 3])
    sine = np.abs(c * agents.boxes[..., 3] - s * agents.boxes[..., 2])
    length, width = agents.halves[:, :1], agents.halves[:, 1:]
    gap = np.abs(ahead) - 0.5 * motions.size[0] - length * cosine - width * sine
    side_gap = np.abs(left) - 0.5 * motions.size[1] - length * sine - width * cosine
    ego_behind, ego_left = ahead > 0.0, left < 0.0
    margins = rss.assess(gap, side_gap, v, along, np.zeros_like(gap), right, ego_behind, ego_left)
    stopped = np.hypot(velocity[..., 0], velocity[..., 1]) <= STOPPED_MPS
    beside_stopped = side_gap - lateral_travel(rss.EGO) - rss.EGO.fluctuation
    lateral = np.where(stopped, beside_stopped, margins.lateral)
    margins = rss.RssMargins(*(np.where(agents.valid, margin, np.inf) for margin in (margins.longitudinal, lateral)))
    facing = rss.facing_part(along) * ego_behind
    response = rss.proper_response(margins, ego_left=ego_left, facing=facing, ego_behind=ego_behind)
    return margins.margin, response.longitudinal_max


def lateral_travel(parameters: rss.Parameters) -> float:
    """Compute the distance (m) that one road user may travel sideways before its sideways motion ends."""
    rho, a, b = parameters.response_time, parameters.lateral_accel_max, parameters.lateral_brake_min
    return 0.5 * a * rho**2 + (a * rho) ** 2 / (2.0 * b)


def exceeds_duration(flags: Bool[Array, "k t"], steps: int) -> Bool[Array, "k t"]:
    """Return whether flags have been set for more than ``steps`` steps without a break, at each time."""
    index = np.arange(flags.shape[1])
    last_clear = np.maximum.accumulate(np.where(flags, -1, index), axis=1)
    return flags & (index - last_clear > steps)


RULES = (
    Rule(
        name="rss",
        unit="m",
        summary="The ego gives the proper response to every dangerous situation.",
        source="Shalev-Shwartz et al. 2017, ad-rss-lib",
        evaluate=rss_response,
    ),
)
