"""The driver ``tiny``: it sees, remembers, plans in what it believes, and its words decide."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig, default_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import unknown_name
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_vla_model.belief_model import SHIPPED, load_belief
from alpamayo_vla_model.belief_planner import BeliefPlanner
from alpamayo_vla_model.perception.network import PerceptionNetwork
from alpamayo_vla_model.perception.perception import Perception
from alpamayo_vla_model.reasoner.model import Reasoner
from alpamayo_vla_model.reasoner.speaker import Speaker

IMAGE_SIZE = (96, 160)  # height and width of the images that perception was trained on


class BeliefDriver:
    """Perception, tracks and the road along the route, and the planner of the expert on top.

    It knows nothing that the cameras, the ego's own motion and the route do not show. Its reasons name tracks that it
    has seen, where and as it saw them. With a reasoner its words decide which of the planner's manoeuvres is driven;
    without one the planner decides, and the reasons are the planner's own.

    Args:
        network: a trained perception.
        rig: the cameras; the default rig when None.
        config: the thresholds of the planner; those of ``belief_planner.CONFIG`` when None.
        reasoner: a trained reasoner.
    """

    name = "tiny"
    weights_digest = ""

    def __init__(
        self,
        network: PerceptionNetwork,
        rig: Rig | None = None,
        config: PlannerConfig | None = None,
        reasoner: Reasoner | None = None,
    ) -> None:
        self.network = network
        self.rig = rig or default_rig(IMAGE_SIZE[1], IMAGE_SIZE[0])
        self.needs = Needs(rig=self.rig, frames=1)
        self.reasoner = reasoner
        self._config = config
        self.speaker: Speaker | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """What it has and can drive without."""
        return () if self.reasoner is None else ("words",)

    @property
    def execution(self) -> str:
        """How the words of this episode are computed; empty without a reasoner."""
        return "" if self.speaker is None else self.speaker.execution

    def without(self, part: str) -> "BeliefDriver":
        """Return the driver without its words: the planner chooses, and its reasons are the planner's own.

        Raises:
            InputError: it has no such part.
        """
        if part not in self.parts:
            raise unknown_name("part", part, self.parts)
        other = BeliefDriver(self.network, self.rig, self._config)
        other.weights_digest = self.weights_digest
        return other

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Forget the episode before; nothing is taken from the scene."""
        self.perception = Perception(self.network)
        self.planner = BeliefPlanner(self.rig, self._config)
        self.speaker = None if self.reasoner is None else Speaker(self.reasoner)

    def act(self, observation: Observation) -> Decision:
        """Look, update the belief, plan in it and choose; ``timings`` has the seconds of each.

        Raises:
            InputError: the observation has no cameras.
        """
        clock = [time.perf_counter()]
        self.planner.see(observation, self.perception.look(observation))
        clock.append(time.perf_counter())
        situation = self.planner.propose(observation)
        clock.append(time.perf_counter())
        if self.speaker is None:
            decision = self.planner.commit(situation, situation.proposals.best)
        else:
            decision = self.speaker.decide(self.planner, situation)
        clock.append(time.perf_counter())
        timings = dict(zip(("look", "plan", "choose"), np.diff(clock).tolist(), strict=True))
        return replace(decision, timings=timings, believed=self.planner.belief.agents_around())


def load_driver(checkpoint: Path | None = None) -> BeliefDriver:
    """Return the driver ``tiny`` with the weights of ``checkpoint``, or those that ship with the package.

    Raises:
        InputError: there is no such file, or this version does not read it.
    """
    weights = SHIPPED if checkpoint is None else checkpoint
    model = load_belief(weights)
    driver = BeliefDriver(model.perception, reasoner=model.reasoner)
    driver.weights_digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return driver
