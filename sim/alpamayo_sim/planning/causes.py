"""Agents and signals as the causes that a reasoning names."""

import math

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Motion
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import rotate

STATIC_MPS = 0.3


def object_component(truth: GroundTruth, k: int) -> Component:
    """Describe agent `k` as a cause: category, position in the ego frame (m), motion relative to the ego."""
    agents = truth.agents
    position = _in_ego_frame(agents.pose[k, :2], truth)
    category = Category(int(agents.category[k]))
    return Component(ComponentKind.OBJECT, category, position, motion_of(truth, k), agents.ids[k])


def signal_component(truth: GroundTruth, k: int) -> Component:
    """Describe signal `k` as a cause."""
    signal = truth.scene.signals[k]
    position = _in_ego_frame(signal.position[:2], truth)
    return Component(ComponentKind.TRAFFIC_LIGHT, Category.UNKNOWN, position, Motion.UNKNOWN, signal.id)


def stop_component(truth: GroundTruth, k: int | None) -> Component:
    """Describe a stop line as a cause: by its signal ``k``, or as a stop sign without one."""
    return Component(ComponentKind.YIELD_OR_STOP_CONTROL) if k is None else signal_component(truth, k)


def _in_ego_frame(xy: Float32[np.ndarray, "2"], truth: GroundTruth) -> tuple[float, float]:
    """Return a world position (m) in the ego frame, rounded to a centimetre."""
    offset = (xy - truth.ego_pose[:2]).astype(np.float64)
    x, y = rotate(offset, -float(truth.ego_pose[2]))
    return round(float(x), 2), round(float(y), 2)


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
