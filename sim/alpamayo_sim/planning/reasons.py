"""The reasoning of a decision: agents, props or signals that ruled out the plan it would drive without them."""

import math

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.datatypes.decision import PLAN_STEPS
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.planning.candidates import PlanningContext
from alpamayo_sim.planning.causes import STATIC_MPS, object_component, stop_component
from alpamayo_sim.planning.config import ReasoningConfig
from alpamayo_sim.planning.paths import Target
from alpamayo_sim.planning.proposals import Proposals
from alpamayo_sim.prediction.visibility import visible

Array = np.ndarray

IN_3_S = 30  # step of a speed profile
PLAN = slice(PLAN_STEPS + 1)  # steps of a speed profile
CROSSING = (Motion.ONCOMING, Motion.CROSSING_FROM_LEFT, Motion.CROSSING_FROM_RIGHT)


Manoeuvre = tuple[Longitudinal, Lateral]
"""The two decisions that a candidate stands for."""


class Explainer:
    """Explains candidates of one step; what their explanations share is computed once."""

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        costs, standing = proposals.costs, proposals.context.agents.standing
        empty = costs.own + costs.signal
        passing = empty + costs.agents[:, standing].sum(axis=1)
        self._without_signal = int(np.argmin(costs.own))
        self._preferred = ((int(np.argmin(empty)), standing | True), (int(np.argmin(passing)), ~standing))
        self._visible: dict[int, bool] = {}
        self._components: dict[int, Component] = {}
        self._laterals: dict[int, Lateral] = {}

    def manoeuvres(self) -> dict[Manoeuvre, int]:
        """Return the best candidate of each manoeuvre that is about as good as the best of all, best first."""
        total = self._proposals.costs.total
        highest = float(total.min()) + self._proposals.context.config.reasoning.acceptable_excess_cost
        found: dict[Manoeuvre, int] = {}
        order = np.argsort(total, kind="stable")
        for k in order[total[order] <= highest]:
            reasoning = self.explain(int(k))
            found.setdefault((reasoning.longitudinal, reasoning.lateral), int(k))
        return found

    def explain(self, chosen: int) -> Reasoning:
        """Give the decision that candidate ``chosen`` stands for, and its causes, all of them in line of sight."""
        proposals = self._proposals
        costs, context, stop_line = proposals.costs, proposals.context, proposals.stop_line
        lateral = self._lateral(chosen)
        rows = self._decisive(chosen)
        components = tuple(self._component(k) for k in rows)
        if stop_line is not None and costs.signal[self._without_signal] > 0.0:
            before = tuple(c for c, k in zip(components, rows, strict=True) if _is_before_stop_line(context, k))
            stop = stop_component(proposals.state, stop_line.signal)
            causes = (*before, stop)[: context.config.reasoning.cause_count]
            return Reasoning(Longitudinal.STOP_STATIC, lateral, causes)
        speed = proposals.candidates.speed[chosen]
        if components:
            return Reasoning(_longitudinal(components, speed, lateral, context), lateral, components)
        slow = self._caution(speed)
        if slow is not None:
            return Reasoning(Longitudinal.SPEED_ADAPTATION, lateral, (slow,))
        bend = context.cap.ahead(context.s, 30.0) < context.desired - 1.5
        if bend and speed[IN_3_S] < context.desired - 1.0:
            return Reasoning(Longitudinal.SPEED_ADAPTATION, lateral, (Component(ComponentKind.LANE),))
        return Reasoning(Longitudinal.SET_SPEED_TRACKING, lateral)

    def _decisive(self, chosen: int) -> list[int]:
        """Return the rows (in ``Agents``) of the agents that made a better candidate worse than the chosen one.

        First come the agents that raise the cost of the candidate that is best without agents. These may be standing
        agents that the ego could pass, so moving agents follow that raise the cost of the best candidate among
        standing agents.
        """
        context, costs, agents = self._proposals.context, self._proposals.costs.agents, self._proposals.state.agents
        config = context.config.reasoning
        found: list[int] = []
        for preferred, among in self._preferred:
            if preferred != chosen and len(among):
                found += _ranked(costs[preferred] - costs[chosen], among, config)
        rows, kinds = [], set()
        for k in dict.fromkeys(int(context.agents.rows[i]) for i in found):
            kind = (int(agents.category[k]), float(np.hypot(*agents.velocity[k])) > STATIC_MPS)
            # One agent of each kind is enough, for instance one of a row of cones.
            if kind not in kinds and self._is_visible(k):
                rows.append(k)
                kinds.add(kind)
        return rows[: config.cause_count]

    def _caution(self, speed: Float64[Array, "97"]) -> Component | None:
        """Return the visible agent of the caution that limits the speed now; None without one."""
        context = self._proposals.context
        cautions = self._proposals.cautions
        near = [c for c in cautions if c.start < context.s + 45.0 and c.speed < context.desired - 0.5]
        if not near or speed[IN_3_S] > context.desired - 0.5:
            return None
        first = min(near, key=lambda c: c.speed + 0.05 * max(c.start - context.s, 0.0))
        if speed[IN_3_S] > first.speed + 2.5:
            return None
        return self._component(first.row) if self._is_visible(first.row) else None

    def _is_visible(self, row: int) -> bool:
        if row not in self._visible:
            self._visible[row] = bool(visible(self._proposals.state, np.array([row], np.int64))[0])
        return self._visible[row]

    def _component(self, row: int) -> Component:
        if row not in self._components:
            self._components[row] = object_component(self._proposals.state, row)
        return self._components[row]

    def _lateral(self, chosen: int) -> Lateral:
        path = int(self._proposals.candidates.path[chosen])
        if path not in self._laterals:
            proposals = self._proposals
            self._laterals[path] = _lateral(proposals.frame, proposals.context, proposals.target(chosen))
        return self._laterals[path]


def _is_before_stop_line(context: PlanningContext, row: int) -> bool:
    """Return whether an agent, a row of ``Agents``, is between the ego and the stop line in the ego's corridor."""
    view = context.view
    k = int(np.flatnonzero(view.agents.rows == row)[0])
    half = 0.5 * float(view.ego_size[1])
    inside = view.low[k] < view.ego_d + half and view.high[k] > view.ego_d - half
    return bool(inside and view.ego_s < view.rear[k] < context.stop_at)


def _ranked(added: Float64[Array, " n"], among: Bool[Array, " n"], config: ReasoningConfig) -> list[int]:
    """Sort agents by the cost that they added, without those that matter little."""
    cost = np.where(among, added, -np.inf)
    order = np.argsort(-cost, kind="stable")
    least = max(config.decisive_cost, config.second_cause_fraction * float(cost[order[0]]))
    return [int(i) for i in order[:6] if cost[i] > least]


def _longitudinal(
    causes: tuple[Component, ...], speed: Float64[Array, "97"], lateral: Lateral, context: PlanningContext
) -> Longitudinal:
    """Name the longitudinal decision from its first cause and the chosen speeds (m/s)."""
    cause = causes[0]
    now = context.view.ego_speed
    slows = speed[IN_3_S] < now - context.config.reasoning.slowing_mps or (
        now < 0.6 * context.desired and speed[IN_3_S] < 3.0
    )
    if cause.motion == Motion.STATIC:
        if slows and any(other.motion in CROSSING for other in causes[1:]):
            return Longitudinal.YIELD
        if speed[PLAN].min() < 0.5 and speed[PLAN_STEPS] < 1.0:
            return Longitudinal.STOP_STATIC
        if not slows:
            passes = lateral in (Lateral.OUT_OF_LANE_NUDGE, Lateral.LANE_CHANGE)
            return Longitudinal.PASSING if passes else Longitudinal.SET_SPEED_TRACKING
        return Longitudinal.SPEED_ADAPTATION
    if cause.motion in CROSSING:
        return Longitudinal.YIELD if slows or now < 1.0 else Longitudinal.SET_SPEED_TRACKING
    if lateral in (Lateral.LANE_CHANGE, Lateral.OUT_OF_LANE_NUDGE) and not slows:
        return Longitudinal.PASSING
    in_lane = cause.position is not None and abs(cause.position[1]) < 1.3
    return Longitudinal.LEAD_FOLLOWING if in_lane else Longitudinal.YIELD


def _lateral(frame: RouteFrame, context: PlanningContext, target: Target) -> Lateral:
    """Name the lateral decision from the target of the chosen path."""
    config, offset = context.config.reasoning, target.offset
    if math.isfinite(target.back_at) and context.s < target.back_at:
        return Lateral.OUT_OF_LANE_NUDGE if abs(offset) > 0.8 else Lateral.IN_LANE_NUDGE
    home = 0.0 if math.isfinite(target.back_at) else offset
    lanes = [0.0, *context.surroundings.lane_offsets(context.s + 10.0)]
    goal = min(lanes, key=lambda lane: abs(lane - home))
    start = min(lanes, key=lambda lane: abs(lane - context.d))
    if abs(home - goal) < config.in_lane_m:
        if goal != start or abs(context.d - goal) > config.lane_change_m:
            return Lateral.LANE_CHANGE
        ahead = frame.at(context.s + np.array([0.0, 30.0]))[1]
        return Lateral.TURN if abs(float(ahead[1] - ahead[0])) > config.turn_rad else Lateral.LANE_KEEPING
    return Lateral.IN_LANE_NUDGE if abs(home - start) < config.lane_change_m else Lateral.OUT_OF_LANE_NUDGE
