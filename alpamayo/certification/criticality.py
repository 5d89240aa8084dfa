"""The time of criticality: until when an ego that keeps its speed can still avoid the contact."""

from typing import NamedTuple

import numpy as np

from alpamayo.metrics.criticality import ttr
from alpamayo.metrics.friction import friction_limit
from alpamayo.motion_replay import replay_motion, steady_motion
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.geometry import box_separation

NEAR_M = 40.0  # of the path of the steady ego, within which other road users are looked at
AFTER_CONTACT_S = 3.0  # that a reaction is followed beyond the contact
ABSENT_M = 1e6  # where a road user is put that is not there


class CriticalTimes(NamedTuple):
    """When (s) a steady ego has its contact, and until when it can still avoid it; None where there is no such time."""

    contact_s: float | None
    critical_s: float | None


def critical_times(scenario: Scenario) -> CriticalTimes:
    """Find when an ego that follows its route at its first speed touches something, and the last time to react.

    It may react by full braking, full throttle or a swerve, at the friction limit and on any ground
    (time to react; Hillenbrand, 2006). The others move as they do about the steady ego.

    Raises:
        InputError: The scenario cannot be simulated.
    """
    scene, motion = scenario.scene, steady_motion(scenario).astype(np.float64)
    found = replay_motion(scenario, motion.astype(np.float32))
    others = np.where(found.valid[..., None], found.pose, ABSENT_M).astype(np.float64)
    ego, sizes = found.ego_size[:2].astype(np.float64), found.size[:, :2].astype(np.float64)
    touches = (box_separation(motion[:, None, :3], ego, others, sizes) < 0.0).any(axis=1)
    if not touches.any():
        return CriticalTimes(None, None)
    contact = int(np.argmax(touches))
    until = contact + 1 + round(AFTER_CONTACT_S / scene.dt)
    apart = np.linalg.norm(others[:until, :, :2] - motion[:until, None, :2], axis=-1)
    near = (apart < NEAR_M).any(axis=0)
    limit = friction_limit(scene.environment.friction, 0.0)
    last = ttr(
        motion[:until, :3],
        motion[:until, 3],
        ego,
        others[:until, near].swapaxes(0, 1),
        sizes[near],
        scene.dt,
        brake=limit,
        lateral=limit,
        kickdown=limit,
    )
    return CriticalTimes(round(contact * scene.dt, 4), round(last, 4) if np.isfinite(last) else None)
