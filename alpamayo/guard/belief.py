"""The state of the world as a driver believes it: the truth with the road users that the driver believes in."""

from dataclasses import replace

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.errors import DriverError
from alpamayo_sim.geometry import from_frame


def believed_truth(truth: GroundTruth, decision: Decision) -> GroundTruth:
    """Return the truth, but with the road users of ``decision.believed``; map, signals and ego stay.

    Raises:
        DriverError: the driver does not tell what it believes.
    """
    believed = decision.believed
    if believed is None:
        raise DriverError(
            "a guard on belief needs a driver that tells the road users it believes in (Decision.believed)"
        )
    here = truth.ego_pose.astype(np.float64)
    xy = from_frame(believed.pose[:, :2].astype(np.float64), here)
    pose = np.column_stack([xy, believed.pose[:, 2] + here[2]]).astype(np.float32)
    turn = np.array([0.0, 0.0, here[2]])
    velocity = from_frame(believed.velocity.astype(np.float64), turn).astype(np.float32)
    return replace(truth, agents=replace(believed, pose=pose, velocity=velocity))
