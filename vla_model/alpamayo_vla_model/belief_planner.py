"""From what is seen to what can be done: the belief of one step, and all candidates that are planned in it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.planning.config import CostConfig, PlannerConfig
from alpamayo_sim.planning.planner import PlanningWorld, SamplingPlanner
from alpamayo_sim.planning.proposals import Proposals
from alpamayo_sim.planning.reasons import Explainer, Manoeuvre
from alpamayo_vla_model.belief import Belief
from alpamayo_vla_model.perception.objects import SIGNALS
from alpamayo_vla_model.perception.perception import Answer
from alpamayo_vla_model.perception.road_memory import RoadMemory
from alpamayo_vla_model.perception.tracks import Track

Array = np.ndarray


CONFIG = PlannerConfig(costs=replace(CostConfig(), change_weight=2.0, jerk_weight=0.05))
"""The planner's thresholds, but slower to change a plan: what is believed jitters, and the truth does not."""


@dataclass(frozen=True, eq=False)
class Situation:
    """What is believed at one step, and what the planner proposes.

    Attributes:
        observation: the observation.
        world: the believed world.
        proposals: the candidates in it.
        tracks: the tracks of its agents, in their order.
        signals: the tracks of signals.
        road: the memory of the road.
    """

    observation: Observation
    world: PlanningWorld
    proposals: Proposals
    tracks: tuple[Track, ...]
    signals: tuple[Track, ...]
    road: RoadMemory

    @cached_property
    def manoeuvres(self) -> dict[Manoeuvre, int]:
        """The manoeuvres that can be driven about as well as the best one, each with its best candidate."""
        return Explainer(self.proposals).manoeuvres()


class BeliefPlanner:
    """A belief and a planner that plans in it; keep one for each episode.

    Args:
        rig: the cameras.
        config: the thresholds of the planner; ``CONFIG`` when None.
    """

    def __init__(self, rig: Rig, config: PlannerConfig | None = None) -> None:
        self.belief = Belief(rig)
        self._planner = SamplingPlanner(config or CONFIG)

    def see(self, observation: Observation, answer: Answer) -> None:
        """Take in what perception says of an observation."""
        self.belief.update(observation, answer)

    def propose(self, observation: Observation) -> Situation:
        """Plan in the belief, of which this is the newest observation; ``commit`` drives one candidate."""
        world = self.belief.world(observation)
        self._planner.locate(world.frame, world.state)
        confirmed = {str(track.number): track for track in self.belief.tracks.confirmed()}
        names = world.state.agents.ids
        return Situation(
            observation,
            world,
            self._planner.propose(observation, world),
            tuple(confirmed[name] for name in names),
            tuple(track for name, track in confirmed.items() if track.kind in SIGNALS),
            self.belief.road,
        )

    def commit(self, situation: Situation, chosen: int) -> Decision:
        """Drive a candidate of the newest situation; the reasoning is the planner's own, without ids of tracks."""
        decision = self._planner.commit(situation.proposals, chosen)
        return replace(decision, reasoning=None if decision.reasoning is None else without_ids(decision.reasoning))

    def without(self, situation: Situation, removed: Bool[Array, " n"], stops: bool = True) -> Situation:
        """Return what the newest situation would be without some agents, or without stop lines.

        Args:
            situation: the newest situation.
            removed: which agents of its world are not there.
            stops: whether the stop lines are there.
        """
        world = situation.world
        rest = replace(world, rows=world.rows[~removed[world.rows]])
        proposals = self._planner.propose_without(situation.observation, world, np.flatnonzero(removed), stops)
        return replace(situation, world=rest, proposals=proposals)


def without_ids(reasoning: Reasoning) -> Reasoning:
    """Return a reasoning that names its causes by what and where they are: tracks are not the scene's road users."""
    return replace(reasoning, components=tuple(replace(component, id=None) for component in reasoning.components))
