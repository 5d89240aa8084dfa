"""Candidate speed profiles: ramps to many accelerations, and following with the Intelligent Driver Model."""

from dataclasses import dataclass

import numpy as np

from alpamayo_sim.drivers.expert.paths import Paths, interpolate_rows
from alpamayo_sim.drivers.expert.rules import SpeedCap
from alpamayo_sim.prediction.idm import IdmParameters, idm_acceleration
from alpamayo_sim.prediction.lane_changes import STEP_S, STEPS

Array = np.ndarray

FINE = 0.1  # s
FINE_STEPS = 97  # now to 9.6 s
JERK, FIRM_JERK, EMERGENCY_JERK = 3.5, 4.0, 40.0  # m/s³
ACCELERATIONS = (1.6, 0.8, 0.0, -0.6, -1.2, -2.0, -3.0, -3.9, -5.5, -8.0)  # m/s²
SLOWER = ((-1.5, 0.8), (-1.5, 0.6), (-2.0, 0.35), (-3.0, 0.75), (-3.0, 0.5), (-3.9, 0.4), (-5.5, 0.6))
"""Acceleration (m/s²), and the share of the speed that it ends at."""


def ramps(
    speed: float, acceleration: float, desired: float, grip: float, stops: list[float]
) -> tuple[Array, Array, Array]:
    """Way (m), speed (m/s) and acceleration at 0 to 9.6 s every 0.1 s, for each ramp: [m, 97].

    Each goes from the present acceleration to its own with bounded jerk and holds it until the desired speed, some
    lower speed or standstill is reached; one more for each of the distances (m) of ``stops`` to come to rest there.
    """
    goals, floors = [], []
    for rate in ACCELERATIONS:
        goals.append(max(rate, -grip))
        floors.append(0.0 if rate < 0.0 else max(desired, speed) if rate == 0.0 else desired)
    for slower, share in SLOWER:
        goals.append(max(slower, -grip))
        floors.append(share * speed)
    for distance in stops:
        # The jerk at the beginning costs some metres.
        goals.append(-min(max(speed**2 / (2.0 * max(distance - 0.2 * speed, 0.5)), 0.3), grip))
        floors.append(0.0)
    goal, floor = np.array(goals), np.array(floors)
    jerk = np.where(goal < -4.0, EMERGENCY_JERK, np.where(goal < -1.9, FIRM_JERK, JERK))
    v, a = np.full(len(goal), speed), np.full(len(goal), np.clip(acceleration, -grip, 3.0))
    rows = [(np.zeros(len(goal)), v, a)]
    way = np.zeros(len(goal))
    for _ in range(FINE_STEPS - 1):
        # Ease off before the goal speed so that the acceleration ends there at 0.
        room = np.where(goal > 0.0, floor - v, v - floor)
        ease = np.sqrt(np.maximum(2.0 * np.minimum(jerk, FIRM_JERK) * room, 0.0))
        wanted = np.clip(goal, -ease, ease)
        wanted = np.where((goal > 0.0) & (v > floor + 0.1), -0.8, wanted)
        a = np.clip(wanted, a - jerk * FINE, a + jerk * FINE)
        after = np.maximum(v + a * FINE, 0.0)
        a = np.where(after <= 0.0, np.maximum(a, -v / FINE), a)
        way = way + 0.5 * (v + after) * FINE
        v = after
        rows.append((way, v, a))
    stacked = np.array(rows)  # [97, 3, m]
    return stacked[:, 0].T, stacked[:, 1].T, stacked[:, 2].T


@dataclass(frozen=True, eq=False)
class Leads:
    """Leaders to keep a distance from.

    ``s`` [n, 49] is where the ego's centre would touch their rear (m along the route), ``speed`` [n, 49] theirs
    along the route (m/s), ``gap`` [n] what to keep (m), ``inside`` [p, n, 49] whether they are in path p's corridor.
    """

    s: Array
    speed: Array
    gap: Array
    inside: Array


def following(
    paths: Paths, speed: float, acceleration: float, cap: SpeedCap, leads: Leads, grip: float, model: IdmParameters
) -> tuple[Array, Array, Array]:
    """IDM along each path, behind its leaders: distance, speed, acceleration [p, 97]."""
    count = len(paths.s)
    v, a, way = np.full(count, speed), np.full(count, acceleration), np.zeros(count)
    path = np.arange(count)
    rows = [(way, v, a)]
    for k in range(STEPS - 1):
        s = interpolate_rows(paths.s, paths.at(path, way))
        allowed = np.minimum(cap.at(s), cap.at(s + 0.8 * v))
        ahead = leads.s[None, :, k] - s[:, None]
        gap = np.where(leads.inside[:, :, k] & (ahead > -2.0), ahead, 1e3)
        wanted = idm_acceleration(v[:, None], allowed[:, None], gap, leads.speed[None, :, k], model, leads.gap[None])
        b = np.minimum(np.asarray(wanted).min(axis=1, initial=10.0), idm_acceleration(v, allowed, 1e3, 0.0, model))
        b = np.maximum(b, -grip)
        a = np.clip(b, a - np.where(b < -4.0, 3.0 * FIRM_JERK, JERK) * STEP_S, a + JERK * STEP_S)
        after = np.maximum(v + a * STEP_S, 0.0)
        a = np.where(after <= 0.0, -v / STEP_S, a)
        way = way + 0.5 * (v + after) * STEP_S
        v = after
        rows.append((way, v, a))
    coarse = np.array(rows)  # [49, 3, p]
    fine = np.empty((FINE_STEPS, 3, count))
    fine[::2] = coarse
    fine[1::2, 1:] = 0.5 * (coarse[:-1, 1:] + coarse[1:, 1:])
    fine[1::2, 0] = coarse[:-1, 0] + 0.25 * STEP_S * (coarse[:-1, 1] + fine[1::2, 1])
    return fine[:, 0].T, fine[:, 1].T, fine[:, 2].T
