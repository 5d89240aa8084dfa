"""Reference drivers: the expert, which also provides the labels of training data, IDM and constant velocity."""

from alpamayo_sim.drivers.constant_velocity import ConstantVelocity
from alpamayo_sim.drivers.expert import Expert
from alpamayo_sim.drivers.idm import IdmLaneFollower

__all__ = ["ConstantVelocity", "Expert", "IdmLaneFollower"]
