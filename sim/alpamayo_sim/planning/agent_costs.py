"""The cost of each candidate due to each agent: collisions, clearance, headway, and near collisions.

Arrays of pairs have one entry for each triple of candidate ``k``, sample ``t`` and agent ``a``.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import box_separation
from alpamayo_sim.planning.candidates import DURATIONS, PREDICTION_SAMPLES, TIMES, Candidates, PlanningContext
from alpamayo_sim.planning.config import CostConfig

Array = np.ndarray
Pairs = tuple[Int64[Array, " m"], Int64[Array, " m"], Int64[Array, " m"]]
"""Indices of candidates, samples and agents."""

STATIC = (Category.CONE, Category.BARRIER, Category.DEBRIS, Category.BUILDING)
LOOK_AHEAD_S = (0.5, 0.9)  # of near collisions
NEAR_COLLISION_GAP_M = 0.1


def agent_costs(c: Candidates, context: PlanningContext) -> Float64[Array, "k n"]:
    """Compute the costs of all candidates due to all agents."""
    cost = _clearance_cost(c, context)
    cost += _headway_cost(c, context) + _near_collision_cost(c, context)
    return cost


def _clearance_cost(c: Candidates, context: PlanningContext) -> Float64[Array, "k n"]:
    """Compute the cost of collisions and of small gaps."""
    agents, config = context.agents, context.config.costs
    cost = np.zeros((len(c.path), len(agents.rows)))
    if not len(agents.rows):
        return cost
    other = agents.pose[:, PREDICTION_SAMPLES]  # [n, t, 3]
    k, t, a = pairs = _near_pairs(c.pose, context, other, config.agent_gap_range_m)
    if not len(k):
        return cost
    size = np.broadcast_to(context.size, (len(k), 2))
    gap = box_separation(c.pose[k, t], size, other[a, t], _uncertain_sizes(c, context, pairs, other))
    gap = np.where(_comes_from_behind(c, context, pairs), config.agent_gap_range_m, gap)
    standing = agents.standing[a]
    # Agents that are near from the start need no greater gap than now.
    hard = config.safety_gap_m + np.where(standing, 0.0, config.safety_gap_growth_mps * np.minimum(TIMES[t], 4.0))
    hard = np.minimum(hard, np.maximum(_present_gaps(context)[a] - 0.05, 0.02))
    touching = np.flatnonzero(gap < hard)
    if touching.size:
        k_hit, t_hit, a_hit = hits = k[touching], t[touching], a[touching]
        true_gap = box_separation(c.pose[k_hit, t_hit], size[touching], other[a_hit, t_hit], agents.size[a_hit])
        _add_collisions(cost, c, context, hits, true_gap < hard[touching] - 0.12)
    soft = _desired_gaps(agents.category, config)[a]
    lack = np.clip((soft - gap) / np.maximum(soft - hard, 0.05), 0.0, 1.0)
    pace = 0.3 + c.v[k, t] / 7.0
    certainty = np.where(standing, 1.0, _certainty(TIMES[t], 1.2, 5.0, 0.1))
    np.add.at(cost, (k, a), config.clearance_weight * lack**2 * pace * certainty * DURATIONS[t])
    return cost


def _near_collision_cost(c: Candidates, context: PlanningContext) -> Float64[Array, "k n"]:
    """Compute the cost of samples from which ego and agent collide if both go straight on (as NAVSIM's TTC)."""
    agents = context.agents
    cost = np.zeros((len(c.path), len(agents.rows)))
    if not len(agents.rows):
        return cost
    tested = np.flatnonzero(TIMES < 4.5)[1::2]
    now = agents.pose[:, PREDICTION_SAMPLES[tested]]
    speed = agents.speed[:, PREDICTION_SAMPLES[tested]]
    for after in LOOK_AHEAD_S:
        pose = _moved(c.pose[:, tested], c.v[:, tested], after)
        other = _moved(now, speed, after)
        k, t, a = _near_pairs(pose, context, other, NEAR_COLLISION_GAP_M)
        if len(k):
            sample = tested[t]
            size = np.broadcast_to(context.size, (len(k), 2))
            hit = box_separation(pose[k, t], size, other[a, t], agents.size[a]) < NEAR_COLLISION_GAP_M
            hit &= ~_comes_from_behind(c, context, (k, sample, a)) & (c.v[k, sample] > 0.5)
            certainty = _certainty(TIMES[sample], 1.2, 5.0, 0.2)
            np.add.at(cost, (k[hit], a[hit]), context.config.costs.near_collision_cost * certainty[hit])
    return cost


def _headway_cost(c: Candidates, context: PlanningContext) -> Float64[Array, "k n"]:
    """Compute the cost of short and of closing gaps to agents ahead in the candidate's corridor."""
    agents, config = context.agents, context.config.costs
    cost = np.zeros((len(c.path), len(agents.rows)))
    tested = np.arange(2, len(TIMES) - 6, 3)
    width = 0.5 * (context.size[1] + agents.size[:, 1]) + 0.15
    ahead = np.flatnonzero((context.agent_s[:, 0] > context.s) & ~agents.standing)
    needed = config.short_headway_s * c.v[:, tested] + 1.5
    for a in ahead:
        s, d = context.agent_s[a, tested], context.agent_d[a, tested]
        gap = s - c.s[:, tested] - 0.5 * (context.size[0] + agents.size[a, 0])
        inside = (np.abs(c.d[:, tested] - d) < width[a]) & (gap > -1.0) & (gap < 40.0)
        if not inside.any():
            continue
        rate = np.gradient(context.agent_s[a])[tested] / np.gradient(TIMES)[tested]
        closing = np.maximum(c.v[:, tested] - rate, 0.0)
        short = np.clip((needed - gap) / needed, 0.0, 1.0)
        urgent = np.clip(closing / np.maximum(gap, 0.5) - 0.4, 0.0, 1.5)
        weighted = (short**2 + urgent**2) * inside * _certainty(TIMES[tested], 1.2, 6.0, 0.1)
        cost[:, a] = config.headway_weight * weighted.sum(axis=1) * 0.6
    return cost


def _add_collisions(
    cost: Float64[Array, "k n"], c: Candidates, context: PlanningContext, pairs: Pairs, is_deep: Bool[Array, " m"]
) -> None:
    """Raise costs to that of the worst collision of each candidate with each agent: early and hard ones are worse.

    ``is_deep`` is False where only the safety gap or the enlarged box of a crossing agent is touched.
    """
    (k, t, a), agents, config = pairs, context.agents, context.config.costs
    heading = c.pose[k, t, 2]
    speed, course = agents.speed[a, PREDICTION_SAMPLES[t]], agents.pose[a, PREDICTION_SAMPLES[t], 2]
    dx = c.v[k, t] * np.cos(heading) - speed * np.cos(course)
    dy = c.v[k, t] * np.sin(heading) - speed * np.sin(course)
    # The ego's own speed counts twice, since braking can still lower it.
    severity = 0.3 + np.hypot(dx, dy) / 15.0 + c.v[k, t] / 12.0
    static, moving = _certainty(TIMES[t], 1.25, 9.0, 0.2), _certainty(TIMES[t], 1.3, 6.0, 0.05)
    certainty = np.where(agents.standing[a], static, moving) * np.where(is_deep, 1.0, config.margin_collision_factor)
    # Agents next to the ego's rear half are expected to yield.
    is_rear_side = (context.agent_s[a, 0] + 0.5 * agents.size[a, 0] < context.s) & (np.abs(c.d[k, t] - context.d) < 1.0)
    factor = np.where(is_rear_side, config.rear_side_collision_factor, 1.0)
    np.maximum.at(cost, (k, a), config.collision_cost * severity * certainty * factor)


def _certainty(time: Float64[Array, " m"], start: float, decay_s: float, least: float) -> Float64[Array, " m"]:
    """Discount predictions linearly with time (s)."""
    return np.clip(start - time / decay_s, least, 1.0)


def _moved(pose: Float64[Array, "n t 3"], speed: Float64[Array, "n t"], time: float) -> Float64[Array, "n t 3"]:
    """Move poses straight on for a time (s)."""
    distance = speed * time
    x, y = distance * np.cos(pose[..., 2]), distance * np.sin(pose[..., 2])
    return pose + np.stack([x, y, 0.0 * distance], axis=-1)


def _near_pairs(
    pose: Float64[Array, "k t 3"], context: PlanningContext, other: Float64[Array, "n t 3"], gap: float
) -> Pairs:
    """Find pairs for which circles around the boxes are within ``gap`` (m) of each other."""
    size = context.agents.size
    reach = 0.5 * np.hypot(*context.size) + 0.5 * np.hypot(size[:, 0], size[:, 1]) + gap
    low = pose[:, :, :2].min(axis=0)
    high = pose[:, :, :2].max(axis=0)
    apart = np.maximum(np.maximum(low[None] - other[..., :2], other[..., :2] - high[None]), 0.0)
    rows = np.flatnonzero(np.any(np.hypot(apart[..., 0], apart[..., 1]) < reach[:, None], axis=1))
    if not rows.size:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    ego = pose[:, :, :2].astype(np.float32)
    near = other[rows, :, :2].astype(np.float32)
    squared = (ego[:, :, None, 0] - near[None, :, :, 0].transpose(0, 2, 1)) ** 2
    squared += (ego[:, :, None, 1] - near[None, :, :, 1].transpose(0, 2, 1)) ** 2
    k, t, a = np.nonzero(squared < (reach[rows] ** 2).astype(np.float32))
    return k, t, rows[a]


def _uncertain_sizes(
    c: Candidates, context: PlanningContext, pairs: Pairs, other: Float64[Array, "n t 3"]
) -> Float64[Array, "m 2"]:
    """Return the sizes (m) of agents; crossing agents grow in length with time, as they may come earlier or later."""
    (k, t, a), agents = pairs, context.agents
    size = agents.size[a].copy()
    crosses = np.abs(np.sin(other[a, t, 2] - c.pose[k, t, 2])) > 0.5
    speed = agents.speed[a, PREDICTION_SAMPLES[t]]
    growth = context.config.costs.crossing_time_error * speed * np.minimum(TIMES[t], 3.0)
    size[:, 0] += np.where(crosses, np.minimum(growth, 4.0), 0.0)
    return size


def _comes_from_behind(c: Candidates, context: PlanningContext, pairs: Pairs) -> Bool[Array, " m"]:
    """Return whether an agent that starts behind the ego would run into an ego that keeps its lateral position.

    Such an agent is expected to brake, unless the settings say otherwise.
    """
    (k, t, a), agents = pairs, context.agents
    if not context.config.costs.followers_brake:
        return np.zeros(len(k), bool)
    behind = context.agent_s[:, 0] + 0.5 * agents.size[:, 0] < context.s - 0.5 * context.size[0] + 0.5
    aligned = np.abs(context.agent_d[:, 0] - context.d) < 0.5 * (context.size[1] + agents.size[:, 1])
    moved = np.abs(c.d[k, t] - context.d) > 1.0
    return behind[a] & (aligned[a] | ~moved)


def _present_gaps(context: PlanningContext) -> Float64[Array, " n"]:
    """Compute the gap (m) between the ego and each agent now."""
    now = context.agents.pose[:, 0]
    ego = np.broadcast_to(context.pose, (len(now), 3))
    return box_separation(ego, np.broadcast_to(context.size, (len(now), 2)), now, context.agents.size)


def _desired_gaps(category: Int64[Array, " n"], config: CostConfig) -> Float64[Array, " n"]:
    """Return the desired gap (m) to each agent by its category."""
    gaps = np.where(np.isin(category, STATIC), config.static_gap_m, config.other_gap_m)
    by_category = {
        Category.PEDESTRIAN: config.pedestrian_gap_m,
        Category.CYCLIST: config.cyclist_gap_m,
        Category.MOTORCYCLE: config.motorcycle_gap_m,
        Category.ANIMAL: config.animal_gap_m,
    }
    for each, gap in by_category.items():
        gaps = np.where(category == each, gap, gaps)
    return gaps
