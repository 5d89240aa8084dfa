"""A driver of your own: it follows its route at a set speed and sees no other road user. Change what you like."""

import numpy as np

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.geometry import arc_length, interpolate, polyline_headings

ACCELERATION_MPS2 = 1.0


class RouteFollower:
    """Follows the route at a set speed, or at the speed limit where that is lower.

    Args:
        speed: the set speed in m/s; ``--driver-args speed=8.5`` gives another.
    """

    name = "route-follower"
    # For cameras: Needs(rig=default_rig()) of alpamayo_sim.datatypes.rig; observation.cameras.rgb has their images.
    # For the true state of the other road users: Needs(truth=True); it is in observation.truth.agents.
    needs = Needs()

    def __init__(self, speed: float = 10.0) -> None:
        """Keep the arguments; load weights here."""
        self.speed = speed

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode; take all randomness from ``rng``."""

    def act(self, observation: Observation) -> Decision:
        """Return one plan: x, y, heading and speed at 0.1 s to 6.4 s, in the frame of the ego: x forward, y left."""
        target = min(self.speed, observation.speed_limit or self.speed)
        time = PLAN_DT * np.arange(1, PLAN_STEPS + 1)
        change = np.clip(target - observation.speed, -ACCELERATION_MPS2 * time, ACCELERATION_MPS2 * time)
        speed = observation.speed + change
        route = observation.route.astype(np.float64)
        along = np.clip(np.cumsum(speed) * PLAN_DT, 0.0, arc_length(route)[-1])
        plan = np.zeros((1, PLAN_STEPS, 4), np.float32)
        plan[0, :, :2] = interpolate(route, along)
        plan[0, :, 2] = np.interp(along, arc_length(route), np.unwrap(polyline_headings(route)))
        plan[0, :, 3] = speed
        return Decision(plans=plan, weights=np.ones(1, np.float32))
