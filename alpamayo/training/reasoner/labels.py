"""Labels of the reasoner: the planner's decision, and the causes without which it would have chosen another plan.

A cause is a thing, or a row of standing things such as cones and the truck behind them, whose removal from the believed
world changes the plan that is chosen. Its label is the nearest of the row; every member of the row is right.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int8, Int64

from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.reasoning import ComponentKind
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.planning.causes import STATIC_MPS
from alpamayo_sim.planning.reasons import Explainer
from alpamayo_vla_model.belief_planner import BeliefPlanner, Situation
from alpamayo_vla_model.reasoner.inputs import MAX_TRACKS, on_route, relevant_agents
from alpamayo_vla_model.reasoner.language import LANE_WORD, POINTERS, SIGNAL_WORD, Utterance
from alpamayo_vla_model.reasoning_text import MAX_COMPONENTS

Array = np.ndarray


@dataclass(frozen=True)
class CauseConfig:
    """When a thing counts as a cause.

    Attributes:
        moved_m: the mean distance of the plans with and without it.
        slowed_mps: the difference of their speeds, which counts as well.
        slowed_at_s: the time of that difference.
        row_gap_m: the distance along the route within which standing things are one row.
        row_width_m: the distance across it within which they are.
        least_cost: the cost that it must add to some candidate to be tested at all.
        near_m: the distance along the route within which things in the ego's corridor are always tested.
        corridor_m: half the width of that corridor.
        tested: the number of groups that are tested.
    """

    moved_m: float = 1.0
    slowed_mps: float = 0.5
    slowed_at_s: float = 3.0
    row_gap_m: float = 12.0
    row_width_m: float = 2.5
    least_cost: float = 1.0
    near_m: float = 60.0
    corridor_m: float = 2.5
    tested: int = 4


CONFIG = CauseConfig()
ALONE = (Category.PEDESTRIAN, Category.CYCLIST, Category.MOTORCYCLE, Category.ANIMAL)  # also where they stand


@dataclass(frozen=True, eq=False)
class Label:
    """The right answer for one step.

    Attributes:
        utterance: the decision and its causes.
        groups: the row of standing things that each slot belongs to, from 1 on; 0 for slots without a track.
        without: the same step in worlds that lack one tested group: samples whose decision is known, too.
    """

    utterance: Utterance
    groups: Int8[Array, "16"]
    without: tuple[Situation, ...]


def label(planner: BeliefPlanner, situation: Situation) -> Label:
    """Label the step that the planner has just proposed candidates for."""
    slots, groups = relevant_agents(situation), grouped(situation)
    without = {group: planner.without(situation, groups == group) for group in _testable(situation, slots, groups)}
    own = Explainer(situation.proposals).explain(situation.proposals.best)
    causes = _causes(planner, situation, {_nearest(slots, groups, group): each for group, each in without.items()})
    if not causes and any(component.kind == ComponentKind.LANE for component in own.components):
        causes = [LANE_WORD]
    of_slots = np.zeros(MAX_TRACKS, np.int8)
    of_slots[: len(slots)] = np.unique(groups[slots], return_inverse=True)[1] + 1
    utterance = Utterance(own.longitudinal, own.lateral, tuple(causes[:MAX_COMPONENTS]))
    return Label(utterance, of_slots, tuple(without.values()))


def _nearest(slots: Array, groups: Array, group: int) -> str:
    return POINTERS[int(np.flatnonzero(groups[slots] == group)[0])]


def _causes(planner: BeliefPlanner, situation: Situation, without: Mapping[str, Situation]) -> list[str]:
    """Return the words of what changes the plan when it is removed, the most decisive first."""
    other = {word: each.proposals for word, each in without.items()}
    if situation.proposals.stop_line is not None:
        nothing = np.zeros(len(situation.world.state.agents.ids), bool)
        other[SIGNAL_WORD] = planner.without(situation, nothing, stops=False).proposals
    plan = situation.proposals.plan(situation.proposals.best)
    effects = {word: changed(plan, each.plan(each.best)) for word, each in other.items()}
    return [word for word in sorted(effects, key=lambda word: -effects[word]) if effects[word] >= 1.0]


def grouped(situation: Situation) -> Int64[Array, " n"]:
    """Return the number of the row of standing things that each agent of the world belongs to; others are alone."""
    agents = situation.world.state.agents
    along, offset = on_route(situation, agents.pose[:, :2])
    stands = np.hypot(agents.velocity[:, 0], agents.velocity[:, 1]) < STATIC_MPS
    stands &= ~np.isin(agents.category, ALONE)
    near = np.abs(along[:, None] - along[None]) < CONFIG.row_gap_m
    near &= np.abs(offset[:, None] - offset[None]) < CONFIG.row_width_m
    return _components(near & stands[:, None] & stands[None] | np.eye(len(stands), dtype=bool))


def _components(linked: Bool[Array, "n n"]) -> Int64[Array, " n"]:
    """Number the connected components of a symmetric relation."""
    number = np.arange(len(linked))
    for _ in range(len(linked)):
        least = np.where(linked, number[None], len(linked)).min(axis=1, initial=len(linked))
        if np.array_equal(least, number):
            break
        number = least
    return number


def _testable(situation: Situation, slots: Array, groups: Array) -> list[int]:
    """Return the groups, of those that the reasoner sees, that may matter, those that cost most first."""
    proposals = situation.proposals
    view, costs = proposals.context.view, proposals.costs.agents
    weight = np.zeros(len(groups))
    if len(view.agents.rows):
        np.maximum.at(weight, view.agents.rows, costs.max(axis=0))
        ahead = view.s[:, 0] - view.ego_s
        near = (ahead > 0.0) & (ahead < CONFIG.near_m) & (np.abs(view.d[:, 0] - view.ego_d) < CONFIG.corridor_m)
        weight[view.agents.rows[near | view.blockers]] += CONFIG.least_cost
    weight[[caution.row for caution in proposals.cautions]] += CONFIG.least_cost
    seen = dict.fromkeys(int(groups[row]) for row in slots)
    heaviest = {group: float(weight[groups == group].max()) for group in seen}
    tested = [group for group in seen if heaviest[group] >= CONFIG.least_cost]
    return sorted(tested, key=lambda group: -heaviest[group])[: CONFIG.tested]


def changed(plan: Float64[Array, "64 4"], other: Float64[Array, "64 4"]) -> float:
    """Return how different two plans are: 1 at ``moved_m`` of mean distance or ``slowed_mps`` after 3 s."""
    moved = float(np.hypot(*(plan[:, :2] - other[:, :2]).T).mean())
    at = round(CONFIG.slowed_at_s / PLAN_DT) - 1
    return max(moved / CONFIG.moved_m, abs(float(plan[at, 3] - other[at, 3])) / CONFIG.slowed_mps)
