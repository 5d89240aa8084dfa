"""A driver at constant velocity: the baseline that all others must beat."""

import numpy as np

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal, Reasoning
from alpamayo_sim.datatypes.scene import Scene


class ConstantVelocity:
    """Keeps its speed and heading."""

    name = "constant-velocity"
    needs = Needs()

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Do nothing."""

    def act(self, observation: Observation) -> Decision:
        """Make one plan: straight on."""
        plan = np.zeros((PLAN_STEPS, 4), np.float32)
        plan[:, 0] = observation.speed * PLAN_DT * np.arange(1, PLAN_STEPS + 1)
        plan[:, 3] = observation.speed
        reasoning = Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.NONE)
        return Decision(plans=plan[None], weights=np.ones(1, np.float32), reasoning=reasoning)
