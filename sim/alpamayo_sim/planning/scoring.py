"""The cost of each candidate: drivable area, lanes, speed, comfort, stop lines and agents."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.planning.agent_costs import agent_costs
from alpamayo_sim.planning.candidates import DURATIONS, IN_PLAN, PLAN_END_S, TIMES, Candidates, PlanningContext

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Costs:
    """The cost of each candidate.

    Attributes:
        own: without agents and signals.
        agents: of each agent.
        signal: of the stop line.
        total: the sum.
    """

    own: Float64[Array, " k"]
    agents: Float64[Array, "k n"]
    signal: Float64[Array, " k"]
    total: Float64[Array, " k"]


def score(candidates: Candidates, context: PlanningContext) -> Costs:
    """Compute all costs; lower is better."""
    own = (
        _area_and_lane_cost(candidates, context) + _speed_cost(candidates, context) + _comfort_cost(candidates, context)
    )
    agents = agent_costs(candidates, context)
    signal = _stop_line_cost(candidates, context)
    return Costs(own, agents, signal, own + agents.sum(axis=1) + signal)


def _stop_line_cost(c: Candidates, context: PlanningContext) -> Float64[Array, " k"]:
    """Compute the cost of passing the stop line, or of stopping there harder than easily."""
    config = context.config.costs
    left = context.stop_at - (c.s + 0.5 * context.size[0])
    passed = np.maximum(-left.min(axis=1), 0.0)
    needed = np.where(c.v > 0.5, c.v**2 / (2.0 * np.maximum(left, 0.5)), 0.0).max(axis=1)
    late = np.maximum(needed - max(config.easy_braking_mps2, float(needed.min())), 0.0)
    late_cost = config.late_braking_weight * np.minimum(late, config.late_braking_limit_mps2)
    return np.where(passed > 0.0, config.stop_line_cost + 20.0 * passed, late_cost)


def _area_and_lane_cost(c: Candidates, context: PlanningContext) -> Float64[Array, " k"]:
    """Compute the cost of leaving the drivable area, the lane's centre, or the own side of the road."""
    config, table = context.config.costs, context.surroundings
    half_length, half_width = 0.5 * context.size[0], 0.5 * context.size[1]
    row = table.row(c.s)
    slope = np.gradient(c.d, axis=1) / np.maximum(np.gradient(c.s, axis=1), 0.3)
    slope = np.clip(slope, -0.6, 0.6)
    reach = half_width + half_length * np.abs(slope)
    gap = np.minimum(table.left[row] - (c.d + reach), (c.d - reach) - table.right[row])
    # An ego that is outside already must only not go further out.
    beyond = np.maximum(np.minimum(gap[:, :1], config.border_gap_m) - gap, 0.0)
    urgency = np.where(TIMES < 5.0, 1.0, 0.3)
    cost = config.off_road_cost * np.max(np.where(beyond > 0.0, urgency * (0.4 + beyond), 0.0), axis=1)
    cost += config.border_weight * np.sum(np.clip(0.3 - gap, 0.0, 0.5) * DURATIONS, axis=1)
    against = (
        table.opposite[row, table.column(c.d + half_width - 0.2)]
        | table.opposite[row, table.column(c.d - half_width + 0.2)]
    )
    opposite_time = np.sum(against * DURATIONS * IN_PLAN, axis=1) + 2.0 * against[:, IN_PLAN][:, -1]
    cost += config.opposite_lane_weight * opposite_time / (1.0 + context.waited)
    centre = table.centre[row, table.column(c.d)]
    outside = np.where(against, config.opposite_offset_m, config.outside_offset_m * (np.abs(c.d) > 0.5))
    lane_offset = np.where(np.isfinite(centre), np.abs(c.d - centre), outside)
    sides = [table.centre[row, table.column(c.d + side * (half_width - 0.15))] for side in (-1.0, 1.0)]
    leaves = (np.isnan(sides[0]) | np.isnan(sides[1])) & np.isfinite(centre) & ~against
    lane_offset = lane_offset + 0.4 * config.outside_offset_m * leaves
    offset = config.route_offset_weight * np.minimum(np.abs(c.d), 2.0) + config.lane_offset_weight * lane_offset
    return cost + np.sum(offset * DURATIONS * IN_PLAN, axis=1)


def _speed_cost(c: Candidates, context: PlanningContext) -> Float64[Array, " k"]:
    """Compute the cost of exceeding allowed speeds and of missing progress."""
    config = context.config.costs
    excess = np.maximum(c.v - context.cap.at(c.s) - config.allowed_excess_mps, 0.0)
    cost = config.speeding_weight * np.sum(excess**2 * DURATIONS * IN_PLAN, axis=1) / 3.0
    end_s, end_d, end_v = (x[:, IN_PLAN][:, -1] for x in (c.s, c.d, c.v))
    missing = context.desired * PLAN_END_S - (end_s - context.s)
    # In its own lane the ego waits where there is room to swing out around an obstacle.
    too_near = np.maximum(end_s - max(context.wait_at, context.s), 0.0) * (np.abs(end_d) < 1.0) * (end_v < 1.0)
    return (
        cost
        + config.progress_weight * np.maximum(missing, 0.0)
        + config.obstacle_approach_weight * np.minimum(too_near, 10.0)
    )


def _comfort_cost(c: Candidates, context: PlanningContext) -> Float64[Array, " k"]:
    """Compute the cost of accelerations, friction, curvature, and of deviations from the previous plan."""
    config = context.config.costs
    effort = config.acceleration_weight * c.a**2 * np.where(c.a > 0.0, 0.5, 1.0)
    lateral = config.lateral_acceleration_weight * c.lateral**2
    cost = np.sum((effort + lateral) * (DURATIONS * IN_PLAN), axis=1)
    early = TIMES < 4.0
    hardest = -c.a[:, early].min(axis=1)
    cost += config.hard_braking_weight * np.maximum(hardest - config.hard_braking_mps2, 0.0)
    cost += config.jerk_weight * (c.acceleration[:, 10] - c.acceleration[:, 0]) ** 2 * 10.0
    used = np.hypot(c.a, c.lateral) / context.friction_limit
    slips = np.max(np.maximum(used - config.usable_friction_fraction, 0.0) * early, axis=1)
    cost += config.infeasible_cost * slips
    too_curved = np.maximum(np.abs(c.curvature) - config.curvature_limit_per_m, 0.0) * (c.v > 0.2)
    cost += config.infeasible_cost * 5.0 * np.max(too_curved, axis=1)
    if context.previous is not None:
        apart = np.hypot(*(c.pose[:, :, :2] - context.previous).transpose(2, 0, 1))
        near = (TIMES > 0.9) & (TIMES < 3.3)
        # The longer the ego has waited, the less a plan to wait on is worth keeping.
        cost += config.change_weight * np.minimum(apart[:, near].mean(axis=1), 4.0) / (1.0 + context.waited)
    return cost
