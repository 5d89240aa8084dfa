"""Candidate speed profiles: ramps to many accelerations, and following with the Intelligent Driver Model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.paths import Paths, interpolate_rows
from alpamayo_sim.planning.rules import SpeedCap
from alpamayo_sim.prediction.idm import idm_acceleration
from alpamayo_sim.prediction.lane_changes import STEP_S, STEPS

Array = np.ndarray

FREE_GAP_M = 1e3  # to the leader of a free road
PROFILE_STEPS = 97  # now to 9.6 s, every 0.1 s
Profiles = tuple[Float64[Array, "m 97"], Float64[Array, "m 97"], Float64[Array, "m 97"]]
"""Distance (m), speed (m/s) and acceleration (m/s²) of each profile."""


def ramps(
    speed: float, acceleration: float, desired: float, friction_limit: float, stops: list[float], config: PlannerConfig
) -> Profiles:
    """Make ramps: each reaches its acceleration with bounded jerk and holds it until its final speed.

    The final speed is the desired speed, a fraction of the present speed, or standstill.

    Args:
        speed: the present speed (m/s).
        acceleration: the present acceleration (m/s²).
        desired: the desired speed (m/s).
        friction_limit: the greatest deceleration (m/s²).
        stops: distances (m) after which one more ramp each comes to rest.
        config: the thresholds.
    """
    goals, floors = [], []
    for rate in config.ramp_accelerations_mps2:
        goals.append(max(rate, -friction_limit))
        floors.append(0.0 if rate < 0.0 else max(desired, speed) if rate == 0.0 else desired)
    for slower, fraction in config.slowing_ramps:
        goals.append(max(slower, -friction_limit))
        floors.append(fraction * speed)
    for distance in stops:
        # The jerk at the beginning costs some metres.
        goals.append(-min(max(speed**2 / (2.0 * max(distance - 0.2 * speed, 0.5)), 0.3), friction_limit))
        floors.append(0.0)
    goal, floor = np.array(goals), np.array(floors)
    firm = np.where(goal < -1.9, config.firm_jerk_mps3, config.comfortable_jerk_mps3)
    jerk = np.where(goal < -4.0, config.emergency_jerk_mps3, firm)
    v, a = np.full(len(goal), speed), np.full(len(goal), np.clip(acceleration, -friction_limit, 3.0))
    rows = [(np.zeros(len(goal)), v, a)]
    travelled = np.zeros(len(goal))
    is_faster, twice_jerk = goal > 0.0, 2.0 * np.minimum(jerk, config.firm_jerk_mps3)
    for _ in range(PROFILE_STEPS - 1):
        # Ease off before the goal speed so that the acceleration ends there at 0.
        room = np.where(is_faster, floor - v, v - floor)
        ease = np.sqrt(np.maximum(twice_jerk * room, 0.0))
        wanted = np.minimum(np.maximum(goal, -ease), ease)
        wanted = np.where(is_faster & (v > floor + 0.1), -0.8, wanted)
        change = jerk * PLAN_DT
        a = np.minimum(np.maximum(wanted, a - change), a + change)
        after = np.maximum(v + a * PLAN_DT, 0.0)
        a = np.where(after <= 0.0, np.maximum(a, -v / PLAN_DT), a)
        travelled = travelled + 0.5 * (v + after) * PLAN_DT
        v = after
        rows.append((travelled, v, a))
    stacked = np.array(rows)  # [97, 3, m]
    return stacked[:, 0].T, stacked[:, 1].T, stacked[:, 2].T


@dataclass(frozen=True, eq=False)
class Leads:
    """Leaders to keep a distance from, at the times of predictions.

    Attributes:
        s: the arc length (m) on the route at which the ego's centre would touch the leader's rear.
        speed: the leader's speed (m/s) along the route.
        gap: the gap (m) to a standing leader.
        inside: whether the leader is in the corridor of each path.
    """

    s: Float64[Array, "n 49"]
    speed: Float64[Array, "n 49"]
    gap: Float64[Array, " n"]
    inside: Bool[Array, "p n 49"]

    def with_free_road(self, standstill_gap: float) -> "Leads":
        """Return the leaders and one more, which is on no path: the road without a leader."""
        nothing = np.zeros((1, self.s.shape[1]))
        return Leads(
            np.concatenate([self.s, nothing]),
            np.concatenate([self.speed, nothing]),
            np.append(self.gap, standstill_gap),
            np.concatenate(
                [self.inside, np.zeros_like(self.inside, shape=(len(self.inside), 1, nothing.size))], axis=1
            ),
        )


def following(
    paths: Paths,
    speed: float,
    acceleration: float,
    cap: SpeedCap,
    leads: Leads,
    friction_limit: float,
    config: PlannerConfig,
) -> Profiles:
    """Follow the leaders on each path by the Intelligent Driver Model; one profile for each path.

    Args:
        paths: the paths.
        speed: the present speed (m/s).
        acceleration: the present acceleration (m/s²).
        cap: the allowed speed.
        leads: the leaders.
        friction_limit: the greatest deceleration (m/s²).
        config: the thresholds.
    """
    count, model, jerk = len(paths.s), config.following, config.comfortable_jerk_mps3
    v, a, travelled = np.full(count, speed), np.full(count, acceleration), np.zeros(count)
    path = np.arange(count)
    rows = [(travelled, v, a)]
    leads = leads.with_free_road(model.standstill_gap_m)
    for k in range(STEPS - 1):
        s = interpolate_rows(paths.s, paths.at(path, travelled))
        allowed = np.minimum(cap.at(s), cap.at(s + 0.8 * v))
        ahead = leads.s[None, :, k] - s[:, None]
        gap = np.where(leads.inside[:, :, k] & (ahead > -2.0), ahead, FREE_GAP_M)
        wanted = idm_acceleration(v[:, None], allowed[:, None], gap, leads.speed[None, :, k], model, leads.gap[None])
        b = np.maximum(np.asarray(wanted).min(axis=1), -friction_limit)
        lowest = a - np.where(b < -4.0, 3.0 * config.firm_jerk_mps3, jerk) * STEP_S
        a = np.minimum(np.maximum(b, lowest), a + jerk * STEP_S)
        after = np.maximum(v + a * STEP_S, 0.0)
        a = np.where(after <= 0.0, -v / STEP_S, a)
        travelled = travelled + 0.5 * (v + after) * STEP_S
        v = after
        rows.append((travelled, v, a))
    coarse = np.array(rows)  # [49, 3, p]
    fine = np.empty((PROFILE_STEPS, 3, count))
    fine[::2] = coarse
    fine[1::2, 1:] = 0.5 * (coarse[:-1, 1:] + coarse[1:, 1:])
    fine[1::2, 0] = coarse[:-1, 0] + 0.25 * STEP_S * (coarse[:-1, 1] + fine[1::2, 1])
    return fine[:, 0].T, fine[:, 1].T, fine[:, 2].T
