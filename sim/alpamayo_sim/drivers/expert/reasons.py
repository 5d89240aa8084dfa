"""The reasoning of the expert: agents, props or signals that ruled out the plan it would drive without them."""

import math
from collections.abc import Sequence

import numpy as np

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.drivers.causes import object_component, signal_component
from alpamayo_sim.drivers.expert.paths import Target
from alpamayo_sim.drivers.expert.rules import Caution
from alpamayo_sim.drivers.expert.scoring import Candidates, Costs, PlanningContext
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.prediction.visibility import visible

Array = np.ndarray

DECISIVE = 4.0  # cost that a cause must have added to the plan that the ego would rather have driven
SECOND = 0.25  # share of the first cause's cost that a second one must have
MOST = 2
SLOWING = 0.8  # m/s within 3 s
IN_LANE, NEXT_LANE = 0.35, 1.15  # m from the lane's middle
TURNING = 0.6  # rad of the route over the next 30 m
CROSSING = (Motion.ONCOMING, Motion.CROSSING_FROM_LEFT, Motion.CROSSING_FROM_RIGHT)


def explain(
    truth: GroundTruth,
    frame: RouteFrame,
    candidates: Candidates,
    costs: Costs,
    context: PlanningContext,
    chosen: int,
    target: Target,
    cautions: Sequence[Caution],
    stop_signal: int | None,
) -> Reasoning:
    """The decision in words and at most two causes, all of them in line of sight."""
    wished = int(np.argmin(costs.own))
    lateral = _lateral(frame, context, target)
    rows = _decisive(truth, costs, context, chosen)
    components = tuple(object_component(truth, int(k)) for k in rows)
    if stop_signal is not None and costs.signal[wished] > 0.0:
        before = tuple(c for c, k in zip(components, rows, strict=True) if _stands_before(context, int(k)))
        causes = (*before, signal_component(truth, stop_signal))[:MOST]
        return Reasoning(Longitudinal.STOP_STATIC, lateral, causes)
    speed = candidates.speed[chosen]
    if components:
        return Reasoning(_longitudinal(components, speed, lateral, context), lateral, components)
    slow = _caution(truth, context, speed, cautions)
    if slow is not None:
        return Reasoning(Longitudinal.SPEED_ADAPTATION, lateral, (slow,))
    bend = context.cap.ahead(context.s, 30.0) < context.desired - 1.5
    if bend and speed[30] < context.desired - 1.0:
        return Reasoning(Longitudinal.SPEED_ADAPTATION, lateral, (Component(ComponentKind.LANE),))
    return Reasoning(Longitudinal.SET_SPEED_TRACKING, lateral)


def _decisive(truth: GroundTruth, costs: Costs, context: PlanningContext, chosen: int) -> Array:
    """Rows (in ``Agents``) of those who ruled out what the ego would rather have driven, at most two.

    First who made the plan that is best in an empty world worse than the chosen one; then, since that may be
    something that stands and could be passed, who moves and rules out the best way past all that stands.
    """
    standing = context.agents.standing
    if not standing.size:
        return np.zeros(0, np.int64)
    empty = costs.own + costs.signal
    past = empty + costs.agents[:, standing].sum(axis=1)
    found: list[int] = []
    for wished, among in ((int(np.argmin(empty)), standing | True), (int(np.argmin(past)), ~standing)):
        if wished != chosen:
            found += _ranked(costs.agents[wished] - costs.agents[chosen], among)
    rows, kinds = [], set()
    for k in dict.fromkeys(int(context.agents.rows[i]) for i in found):
        kind = (int(truth.agents.category[k]), float(np.hypot(*truth.agents.velocity[k])) > 0.3)
        # One cone stands for the row of them.
        if kind not in kinds and visible(truth, np.array([k]))[0]:
            rows.append(k)
            kinds.add(kind)
    return np.array(rows[:MOST], np.int64)


def _stands_before(context: PlanningContext, row: int) -> bool:
    """Whether the agent in that row of ``Agents`` is between the ego and the stop line, in its corridor."""
    view = context.view
    k = int(np.flatnonzero(view.agents.rows == row)[0])
    half = 0.5 * float(view.ego_size[1])
    inside = view.low[k] < view.ego_d + half and view.high[k] > view.ego_d - half
    return bool(inside and view.ego_s < view.rear[k] < context.stop_at)


def _ranked(added: Array, among: Array) -> list[int]:
    """Agents by the cost that they added, without those that matter little."""
    cost = np.where(among, added, -np.inf)
    order = np.argsort(-cost, kind="stable")
    floor = max(DECISIVE, SECOND * float(cost[order[0]]))
    return [int(i) for i in order[:6] if cost[i] > floor]


def _longitudinal(
    causes: tuple[Component, ...], speed: Array, lateral: Lateral, context: PlanningContext
) -> Longitudinal:
    cause = causes[0]
    now = context.view.ego_speed
    slows = speed[30] < now - SLOWING or (now < 0.6 * context.desired and speed[30] < 3.0)
    if cause.motion == Motion.STATIC:
        if slows and any(other.motion in CROSSING for other in causes[1:]):
            return Longitudinal.YIELD
        if speed[:65].min() < 0.5 and speed[64] < 1.0:
            return Longitudinal.STOP_STATIC
        if not slows:
            beside = lateral in (Lateral.OUT_OF_LANE_NUDGE, Lateral.LANE_CHANGE)
            return Longitudinal.PASSING if beside else Longitudinal.SET_SPEED_TRACKING
        return Longitudinal.SPEED_ADAPTATION
    if cause.motion in CROSSING:
        return Longitudinal.YIELD if slows or now < 1.0 else Longitudinal.SET_SPEED_TRACKING
    if lateral in (Lateral.LANE_CHANGE, Lateral.OUT_OF_LANE_NUDGE) and not slows:
        return Longitudinal.PASSING
    in_lane = cause.position is not None and abs(cause.position[1]) < 1.3
    return Longitudinal.LEAD_FOLLOWING if in_lane else Longitudinal.YIELD


def _lateral(frame: RouteFrame, context: PlanningContext, target: Target) -> Lateral:
    offset = target.offset
    if math.isfinite(target.back_at) and context.s < target.back_at:
        return Lateral.OUT_OF_LANE_NUDGE if abs(offset) > 0.8 else Lateral.IN_LANE_NUDGE
    home = 0.0 if math.isfinite(target.back_at) else offset
    lanes = [0.0, *context.surroundings.lane_offsets(context.s + 10.0)]
    goal = min(lanes, key=lambda lane: abs(lane - home))
    start = min(lanes, key=lambda lane: abs(lane - context.d))
    if abs(home - goal) < IN_LANE:
        if goal != start or abs(context.d - goal) > NEXT_LANE:
            return Lateral.LANE_CHANGE
        ahead = frame.at(context.s + np.array([0.0, 30.0]))[1]
        return Lateral.TURN if abs(float(ahead[1] - ahead[0])) > TURNING else Lateral.LANE_KEEPING
    return Lateral.IN_LANE_NUDGE if abs(home - start) < NEXT_LANE else Lateral.OUT_OF_LANE_NUDGE


def _caution(
    truth: GroundTruth, context: PlanningContext, speed: Array, cautions: Sequence[Caution]
) -> Component | None:
    """The hiding place or person that keeps the speed down now."""
    near = [c for c in cautions if c.start < context.s + 45.0 and c.speed < context.desired - 0.5]
    if not near or speed[30] > context.desired - 0.5:
        return None
    first = min(near, key=lambda c: c.speed + 0.05 * max(c.start - context.s, 0.0))
    if speed[30] > first.speed + 2.5:
        return None
    rows = np.array([first.row], np.int64)
    return object_component(truth, first.row) if visible(truth, rows)[0] else None
