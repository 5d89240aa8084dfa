"""A driver that sees, remembers and plans in what it believes, without the language model."""

import time

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig, default_rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.planner import SamplingPlanner
from alpamayo_vla_model.belief import Belief
from alpamayo_vla_model.perception.network import PerceptionNetwork
from alpamayo_vla_model.perception.perception import Perception

IMAGE_SIZE = (96, 160)  # height and width of the images that perception was trained on


class BeliefDriver:
    """Perception, tracks and the road along the route, and the planner of the expert on top.

    It knows nothing that the cameras, the ego's own motion and the route do not show. Its reasons name tracks that it
    has seen, where and as it saw them.

    Args:
        network: a trained perception.
        rig: the cameras; the default rig when None.
        config: the thresholds of the planner.
    """

    name = "belief"
    weights_digest = ""

    def __init__(self, network: PerceptionNetwork, rig: Rig | None = None, config: PlannerConfig | None = None) -> None:
        self.network = network
        self.rig = rig or default_rig(IMAGE_SIZE[1], IMAGE_SIZE[0])
        self.needs = Needs(rig=self.rig, frames=1)
        self._config = config

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Forget the episode before; nothing is taken from the scene."""
        self.perception = Perception(self.network)
        self.belief = Belief(self.rig)
        self.planner = SamplingPlanner(self._config)

    def act(self, observation: Observation) -> Decision:
        """Look, update the belief and plan in it; ``timings`` has the seconds of ``look`` and of ``plan``.

        Raises:
            InputError: the observation has no cameras.
        """
        begin = time.perf_counter()
        self.belief.update(observation, self.perception.look(observation))
        looked = time.perf_counter()
        world = self.belief.world(observation)
        self.planner.locate(world.frame, world.state)
        decision = self.planner.plan(observation, world)
        timings = {"look": looked - begin, "plan": time.perf_counter() - looked}
        return Decision(decision.plans, decision.weights, decision.chosen, decision.reasoning, timings)
