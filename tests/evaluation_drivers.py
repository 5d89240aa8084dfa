"""User-defined drivers for the tests of evaluation."""

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs


class Fragile:
    """A driver that drives straight ahead for a second, then stops; it raises in every debris scenario."""

    name = "fragile"
    needs = Needs()

    def reset(self, scene, rng):
        if scene.id.startswith("debris"):
            raise RuntimeError("no debris, please")

    def act(self, observation):
        plan = np.zeros((1, 64, 4), np.float32)
        return Decision(plan, np.ones(1, np.float32))
