"""The driver ``log``: repeats the recorded drive of the ego."""

import numpy as np

from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import to_frame, wrap_angle


class LogDriver:
    """Plans the recorded future of the ego. The closed loop moves the ego along its recorded track exactly."""

    name = "log"
    needs = Needs(truth=True, replays_recording=True)

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Prepare nothing."""

    def act(self, observation: Observation) -> Decision:
        """Return the recorded future in the ego frame; beyond the end of the recording the last pose is held.

        Raises:
            InputError: the observation has no ground truth.
        """
        truth = observation.truth
        if truth is None:
            raise InputError("the log driver needs the ground truth")
        track = truth.scene.ego
        rows = np.minimum(truth.step + 1 + np.arange(PLAN_STEPS), len(track.valid) - 1)
        plan = np.empty((PLAN_STEPS, 4), np.float32)
        plan[:, :2] = to_frame(track.position[rows, :2], truth.ego_pose)
        plan[:, 2] = wrap_angle(track.heading[rows] - truth.ego_pose[2])
        plan[:, 3] = np.linalg.norm(track.velocity[rows], axis=1)
        return Decision(plans=plan[None], weights=np.ones(1, np.float32))
