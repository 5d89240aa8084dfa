"""Minimal-risk manoeuvres: planned stops on a path (a quadratic programme over the jerk), braking and evasions."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import sparse

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.outcomes import arc_lengths, braked
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.geometry import wrap_angle

Array = np.ndarray
STEPS = PLAN_STEPS // 2
STEP_S = 2.0 * PLAN_DT  # the jerk changes at every other step of a plan
STEP_TIMES = STEP_S * np.arange(1, STEPS + 1)
SPEED_WEIGHT, JERK_WEIGHT, ACCELERATION_WEIGHT = 0.02, 0.02, 1.0  # of v², jerk² and a² in the cost
BOUND_TOLERANCE = 0.05  # m, m/s and m/s²; the error of the solver that is accepted
STANDING_MPS = 0.05  # below this speed the ego stays where it is
STANDING_DECELERATION_MPS2 = 4.0  # of an ego that stands at once
AT_REST_MPS = 0.02
CATCH_UP_S = 0.5  # in which a limited plan makes up for its lag
CURVATURE_STEPS = 5  # of a path that a curvature is computed over
LEAST_CURVE_M = 1.0  # shorter parts of a path count as this long
SOLVER_SETTINGS = {
    "verbose": False,
    "eps_abs": 1e-3,
    "eps_rel": 1e-4,
    "max_iter": 300,
    "check_termination": 10,
    "adaptive_rho_interval": 50,  # counted in iterations, not in seconds: equal inputs give equal plans
    "polishing": False,
    "warm_starting": True,
}


@dataclass(frozen=True, eq=False)
class Stop:
    """A stop along a path at the 65 times of a plan: distance (m), speed (m/s), greatest deceleration (m/s²)."""

    distance: Float64[Array, "65"]
    speed: Float64[Array, "65"]
    greatest_deceleration: float


class StopPlanner:
    """Plans stops along a path.

    Each solution is the starting point of the next, so each drive has a planner of its own. The cost is a², jerk²
    and, with a small weight, v² over 6.4 s, subject to the exact dynamics of piecewise constant jerk, bounded jerk
    and deceleration, no reversing, standstill at the end, and a limit of the distance at each time.

    A slow ego stands at once: a car that creeps hardly follows a path, and has nothing to gain from it.

    Args:
        deceleration_limit: the greatest deceleration (m/s²).
        jerk_limit: the greatest jerk (m/s³).
        stand_at_once_mps: the speed up to which the ego stands at once.
    """

    def __init__(self, deceleration_limit: float, jerk_limit: float, stand_at_once_mps: float) -> None:
        self._deceleration, self._jerk, self._stand_at_once = deceleration_limit, jerk_limit, stand_at_once_mps
        self._solver.update(q=np.zeros(STEPS))  # set it up now, not at the first emergency

    def plan(self, speed: float, acceleration: float, limit: Float64[Array, "65"]) -> Stop | None:
        """Plan a stop.

        Args:
            speed: the present speed (m/s).
            acceleration: the present acceleration (m/s²).
            limit: the greatest distance (m) along the path at each time; infinite where the path is free.

        Returns:
            The stop; None if there is none within the bounds.
        """
        if speed < self._stand_at_once:
            return self._standing(speed, limit)
        a = float(np.clip(acceleration, -self._deceleration, self._deceleration))
        if np.any(_shortest(speed, a, self._deceleration, self._jerk) > limit[2::2] + 1e-6):
            return None
        free = _coasting(speed, a)
        low, high = self._bounds(a, free, limit)
        if np.any(low > high):
            return None
        cost = 2.0 * (SPEED_WEIGHT * free[1] @ self._response[1] + ACCELERATION_WEIGHT * free[2] @ self._response[2])
        self._solver.update(q=cost, l=low, u=high)
        jerk = self._solver.solve(raise_error=False).x
        if jerk is None or not np.isfinite(jerk).all():
            return None
        stop = _integrated(jerk, speed, a, self._jerk)
        # accepted by its result, whether or not the solver reports convergence
        ends = np.all(stop.distance <= limit + BOUND_TOLERANCE) and stop.speed[-1] <= BOUND_TOLERANCE
        return stop if ends and stop.greatest_deceleration <= self._deceleration + BOUND_TOLERANCE else None

    def _standing(self, speed: float, limit: Float64[Array, "65"]) -> Stop | None:
        """Stop as soon as possible; None if even that is too far."""
        deceleration = min(STANDING_DECELERATION_MPS2, self._deceleration) if speed >= STANDING_MPS else np.inf
        t = np.minimum(PLAN_DT * np.arange(PLAN_STEPS + 1), speed / deceleration)
        braking = 0.0 if np.isinf(deceleration) else deceleration
        stop = Stop(speed * t - 0.5 * braking * t**2, speed - braking * t, braking)
        if speed < STANDING_MPS:
            stop = replace(stop, speed=np.zeros(PLAN_STEPS + 1))
        return stop if np.all(stop.distance <= limit + BOUND_TOLERANCE) else None

    def _bounds(self, acceleration: float, free: tuple[Array, Array, Array], limit: Array) -> tuple[Array, Array]:
        """Return the bounds of what the jerk adds to distance, speed and acceleration, and of the jerk."""
        none, jerk = np.full(STEPS, np.inf), np.full(STEPS, self._jerk)
        rest = np.where(STEP_TIMES[-1] > STEP_TIMES, np.inf, 0.0)
        rising = np.maximum(acceleration - self._jerk * STEP_TIMES, 0.0)
        low = [-none, -free[1], -self._deceleration - free[2], -jerk]
        high = [limit[2::2] - free[0], rest - free[1], rising - free[2], jerk]
        return np.concatenate(low), np.concatenate(high)

    @cached_property
    def _response(self) -> tuple[Array, Array, Array]:
        """Distance, speed and acceleration at each time due to a jerk of 1 in each interval; exact."""
        begin = STEP_TIMES - STEP_S
        since_begin = np.clip(STEP_TIMES[:, None] - begin, 0.0, None)
        since_end = np.clip(STEP_TIMES[:, None] - STEP_TIMES, 0.0, None)
        return (since_begin**3 - since_end**3) / 6.0, (since_begin**2 - since_end**2) / 2.0, since_begin - since_end

    @cached_property
    def _solver(self) -> Any:
        """The quadratic programme in the jerks of 32 intervals."""
        import osqp

        _, speed, acceleration = self._response
        cost = SPEED_WEIGHT * speed.T @ speed + ACCELERATION_WEIGHT * acceleration.T @ acceleration
        cost = cost + JERK_WEIGHT * np.eye(STEPS)
        rows = sparse.csc_matrix(np.concatenate([*self._response, np.eye(STEPS)]))
        unbounded = np.full(rows.shape[0], np.inf)
        solver = osqp.OSQP()
        triangle = sparse.triu(2.0 * cost, format="csc")
        solver.setup(triangle, np.zeros(STEPS), rows, -unbounded, unbounded, **SOLVER_SETTINGS)
        return solver


@lru_cache(maxsize=1)
def _coasting(speed: float, acceleration: float) -> tuple[Array, Array, Array]:
    """Compute distance, speed and acceleration at each time without jerk."""
    t = STEP_TIMES
    return speed * t + 0.5 * acceleration * t**2, speed + acceleration * t, np.full(STEPS, acceleration)


@lru_cache(maxsize=1)
def _shortest(speed: float, acceleration: float, deceleration: float, jerk: float) -> Float64[Array, "32"]:
    """Compute the least distance (m) at each time, braking as soon and as hard as allowed; infinite without rest."""
    t = STEP_TIMES
    onset = (acceleration + deceleration) / jerk
    rising = np.minimum(t, onset)
    v = speed + acceleration * rising - 0.5 * jerk * rising**2 - deceleration * (t - rising)
    if v[-1] > 0.0:
        return np.full(STEPS, np.inf)
    distance = speed * rising + 0.5 * acceleration * rising**2 - jerk * rising**3 / 6.0
    after_onset = speed + acceleration * rising - 0.5 * jerk * rising**2
    distance += after_onset * (t - rising) - 0.5 * deceleration * (t - rising) ** 2
    return np.maximum.accumulate(np.maximum(distance, 0.0))


def _integrated(jerk: Array, speed: float, acceleration: float, jerk_limit: float) -> Stop:
    """Integrate jerks over the steps of a plan; the ego stays where it comes to rest."""
    u = np.repeat(np.clip(jerk, -jerk_limit, jerk_limit), 2)
    a = acceleration + PLAN_DT * np.concatenate([[0.0], np.cumsum(u)])
    v = speed + np.concatenate([[0.0], np.cumsum(a[:-1] * PLAN_DT + 0.5 * u * PLAN_DT**2)])
    ahead = v[:-1] * PLAN_DT + 0.5 * a[:-1] * PLAN_DT**2 + u * PLAN_DT**3 / 6.0
    distance = np.concatenate([[0.0], np.cumsum(np.maximum(ahead, 0.0))])
    rests = v[1:] <= AT_REST_MPS
    last = int(np.argmax(rests)) if rests.any() else PLAN_STEPS
    v[last + 1 :], distance[last + 1 :] = 0.0, distance[min(last + 1, PLAN_STEPS)]
    return Stop(distance, v, max(0.0, -float(a[: last + 1].min())))


@dataclass(frozen=True, eq=False)
class BrakingPlans:
    """Plans that brake at a ``deceleration`` (m/s²) to standstill: poses and speeds at the 65 times of a plan."""

    pose: Float64[Array, "n 65 3"]
    speed: Float64[Array, "n 65"]
    deceleration: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class EvasivePlans(BrakingPlans):
    """Braking plans that move to a lateral ``offset`` (m, positive to the left) of a path; the mildest come first."""

    offset: Float64[Array, " n"]


def braking_plans(
    paths: Float64[Array, "p 65 3"],
    speed: float,
    deceleration_limit: float,
    config: GuardConfig,
    greatest_acceleration: float = math.inf,
) -> BrakingPlans:
    """Make plans that brake along each path from ``speed`` (m/s), gentle ones first.

    In a bend the ``greatest_acceleration`` (m/s²) that friction allows leaves less for braking.
    """
    levels = sorted({min(level, deceleration_limit) for level in config.braking_levels_mps2})
    pose = np.tile(paths, (len(levels), 1, 1))
    lateral = np.minimum(greatest_curvatures(paths) * speed**2, config.greatest_lateral_part * deceleration_limit)
    left = np.sqrt(greatest_acceleration**2 - lateral**2)
    deceleration = np.minimum(np.repeat(levels, len(paths)), np.tile(left, len(levels)))
    speeds = np.full(pose.shape[:2], speed)
    return BrakingPlans(*braked(pose, speeds, deceleration, 0.0), deceleration)


def greatest_curvatures(paths: Float64[Array, "p 65 3"]) -> Float64[Array, " p"]:
    """Compute the greatest curvature (1/m) of each path over a few steps."""
    turned = np.abs(wrap_angle(paths[:, CURVATURE_STEPS:, 2] - paths[:, :-CURVATURE_STEPS, 2]))
    driven = arc_lengths(paths)
    length = driven[:, CURVATURE_STEPS:] - driven[:, :-CURVATURE_STEPS]
    return np.asarray((turned / np.maximum(length, LEAST_CURVE_M)).max(axis=1))


def limited_profile(
    distance: Float64[Array, "65"], speed: float, limits: tuple[float, float]
) -> tuple[Float64[Array, "65"], Float64[Array, "65"]]:
    """Follow the distances (m) of a plan from ``speed`` (m/s) within a greatest acceleration and deceleration (m/s²).

    Returns:
        The distances (m) and speeds (m/s) at the 65 times of a plan.
    """
    mean = np.diff(distance) / PLAN_DT
    wanted = 0.5 * (mean + np.concatenate([mean[1:], mean[-1:]]))  # at the end of each step
    v, s, driven, speeds = speed, 0.0, [0.0], [speed]
    for there, aim in zip(distance[:-1].tolist(), wanted.tolist(), strict=True):
        target = aim + (there - s) / CATCH_UP_S
        slower = min(max(target, v - limits[1] * PLAN_DT, 0.0), v + limits[0] * PLAN_DT)
        s, v = s + 0.5 * PLAN_DT * (v + slower), slower
        driven.append(s)
        speeds.append(v)
    return np.minimum(driven, distance[-1]), np.where(np.array(driven) > distance[-1], 0.0, speeds)


def evasive_plans(
    path: Float64[Array, "65 3"], speed: float, deceleration_limit: float, config: GuardConfig, delay: int = 0
) -> EvasivePlans:
    """Make plans that leave a path to either side, brake at the same time, and stay at their offset.

    The offset is a quintic of the distance. Its greatest lateral acceleration (5.77 v² / length² for each metre) is
    that of ``config`` or half of the friction limit, its greatest curvature that of ``config``.

    Args:
        path: poses driven at ``speed``.
        speed: the present speed (m/s).
        deceleration_limit: the acceleration (m/s²) that friction allows.
        config: the thresholds.
        delay: the number of steps after which the evasion begins.
    """
    lateral = min(config.evasion_lateral_acceleration_mps2, 0.5 * deceleration_limit)
    longitudinal = math.sqrt(deceleration_limit**2 - lateral**2)
    offsets = [side * offset for offset in config.evasion_offsets_m for side in (1.0, -1.0)]
    grid = np.meshgrid(offsets, config.evasion_decelerations_mps2, indexing="ij")
    end, deceleration = (values.ravel() for values in grid)
    deceleration = np.minimum(deceleration, longitudinal)
    curvature = min(config.evasion_curvature_per_m, lateral / max(speed, 0.1) ** 2)
    length = np.sqrt(10.0 / math.sqrt(3.0) * np.abs(end) / curvature)[:, None]
    driven = arc_lengths(path[None])
    u = np.clip((driven - driven[:, delay : delay + 1]) / length, 0.0, 1.0)
    offset = end[:, None] * u**3 * (10.0 - 15.0 * u + 6.0 * u**2)
    slope = end[:, None] * 30.0 * u**2 * (1.0 - u) ** 2 / length
    c, s = np.cos(path[:, 2]), np.sin(path[:, 2])
    pose = np.stack([path[:, 0] - offset * s, path[:, 1] + offset * c, path[:, 2] + np.arctan(slope)], axis=-1)
    speeds = np.full(offset.shape, speed)
    return EvasivePlans(*braked(pose, speeds, deceleration, delay * PLAN_DT), deceleration, end)
