"""Agents and signals as the causes that a reasoning names."""

import math

import numpy as np

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Motion
from alpamayo_sim.datatypes.scene import Category

STATIC_MPS = 0.3


def object_component(truth: GroundTruth, k: int) -> Component:
    """Describe agent `k` as a cause: category, position in the ego frame (m), motion relative to the ego."""
    agents = truth.agents
    c, s = math.cos(truth.ego_pose[2]), math.sin(truth.ego_pose[2])
    dx, dy = (float(v) for v in agents.pose[k, :2] - truth.ego_pose[:2])
    position = (round(c * dx + s * dy, 2), round(-s * dx + c * dy, 2))
    category = Category(int(agents.category[k]))
    return Component(ComponentKind.OBJECT, category, position, motion_of(truth, k), agents.ids[k])


def signal_component(truth: GroundTruth, k: int) -> Component:
    """Describe signal `k` as a cause."""
    signal = truth.scene.signals[k]
    c, s = math.cos(truth.ego_pose[2]), math.sin(truth.ego_pose[2])
    dx, dy = (float(v) for v in signal.position[:2] - truth.ego_pose[:2])
    position = (round(c * dx + s * dy, 2), round(-s * dx + c * dy, 2))
    return Component(ComponentKind.TRAFFIC_LIGHT, Category.UNKNOWN, position, Motion.UNKNOWN, signal.id)


def motion_of(truth: GroundTruth, k: int) -> Motion:
    """Classify the motion of an agent relative to the ego's heading: static below 0.3 m/s, else by quadrant."""
    velocity = truth.agents.velocity[k]
    if float(np.hypot(*velocity)) < STATIC_MPS:
        return Motion.STATIC
    relative = math.remainder(math.atan2(velocity[1], velocity[0]) - float(truth.ego_pose[2]), 2.0 * math.pi)
    if abs(relative) < 0.25 * math.pi:
        return Motion.SAME_DIRECTION
    if abs(relative) > 0.75 * math.pi:
        return Motion.ONCOMING
    return Motion.CROSSING_FROM_LEFT if relative < 0 else Motion.CROSSING_FROM_RIGHT
