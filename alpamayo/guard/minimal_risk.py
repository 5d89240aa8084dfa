"""Minimal-risk manoeuvres: a stop on a given path, by a small quadratic programme over the jerk, and ways around."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import sparse

from alpamayo.guard.outcomes import arc_lengths, braked
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS

Array = np.ndarray
STEPS = PLAN_STEPS // 2
H = 2.0 * PLAN_DT  # s; the jerk changes every other step of a plan
T = H * np.arange(1, STEPS + 1)
JERK = 12.65  # m/s³; of the careful and competent driver of UN R157
TIME, SMOOTH, GENTLE = 0.02, 0.02, 1.0  # weights of v², jerk² and a²
SLACK = 0.05  # m, m/s, m/s²
AT_REST = 0.02  # m/s
ASIDE = (1.0, 2.0, 3.0, 4.0)  # m
ASIDE_RATES = (1.0, 3.0, 5.0)  # m/s²
ASIDE_ACCELERATION = 3.0  # m/s²; across
BEND = 0.16  # 1/m; of the tightest turn
SETTINGS = {
    "verbose": False,
    "eps_abs": 1e-3,
    "eps_rel": 1e-4,
    "max_iter": 300,
    "check_termination": 10,
    "adaptive_rho_interval": 50,  # by count, not by the clock: the same input gives the same plan
    "polishing": False,
    "warm_starting": True,
}


@dataclass(frozen=True, eq=False)
class Stop:
    """Way (m) and speed (m/s) along the path at the 65 times of a plan, and the hardest deceleration (m/s²)."""

    way: Float64[Array, "65"]
    speed: Float64[Array, "65"]
    hardest: float


class StopPlanner:
    """Plans stops; one a drive, since each solution is where the next one starts from.

    Minimised are a², jerk² and, a little, v² over 6.4 s, with exact dynamics of piecewise constant jerk, |jerk| up
    to 12.65 m/s³, -``grip`` <= a, no reverse, rest at the end, and a way that stays before a limit at each time.
    """

    def __init__(self, grip: float) -> None:
        self._grip = grip
        self._solver.update(q=np.zeros(STEPS))  # set up now, not at the first emergency

    def plan(self, speed: float, acceleration: float, limit: Float64[Array, "65"]) -> Stop | None:
        """A stop from a speed (m/s) and acceleration (m/s²); None where there is none within the bounds.

        ``limit`` is how far (m) along the path one may be at each time; infinite where nobody is in the way.
        """
        if speed < 0.05:
            return Stop(np.zeros(PLAN_STEPS + 1), np.zeros(PLAN_STEPS + 1), 0.0)
        a = float(np.clip(acceleration, -self._grip, self._grip))
        if np.any(_shortest(speed, a, self._grip) > limit[2::2] + 1e-6):
            return None
        free = _coasting(speed, a)
        low, high = self._bounds(a, free, limit)
        if np.any(low > high):
            return None
        cost = 2.0 * (TIME * free[1] @ self._reach[1] + GENTLE * free[2] @ self._reach[2])
        self._solver.update(q=cost, l=low, u=high)
        jerk = self._solver.solve(raise_error=False).x
        if jerk is None or not np.isfinite(jerk).all():
            return None
        stop = _driven(jerk, speed, a)
        # judged by what comes of it, whether or not the solver calls itself done
        fits = np.all(stop.way <= limit + SLACK) and stop.speed[-1] <= SLACK and stop.hardest <= self._grip + SLACK
        return stop if fits else None

    def _bounds(self, acceleration: float, free: tuple[Array, Array, Array], limit: Array) -> tuple[Array, Array]:
        """Bounds of what the jerk has to add to the way, the speed and the acceleration, and of the jerk itself."""
        none, jerk = np.full(STEPS, np.inf), np.full(STEPS, JERK)
        rest = np.where(T[-1] > T, np.inf, 0.0)
        rising = np.maximum(acceleration - JERK * T, 0.0)
        low = [-none, -free[1], -self._grip - free[2], -jerk]
        high = [limit[2::2] - free[0], rest - free[1], rising - free[2], jerk]
        return np.concatenate(low), np.concatenate(high)

    @cached_property
    def _reach(self) -> tuple[Array, Array, Array]:
        """What a jerk of 1 in each interval adds to way, speed and acceleration at each time; exact."""
        begin = T - H
        whole = np.clip(T[:, None] - begin, 0.0, None)  # time since the interval began
        after = np.clip(T[:, None] - T, 0.0, None)  # time since it ended
        return (whole**3 - after**3) / 6.0, (whole**2 - after**2) / 2.0, whole - after

    @cached_property
    def _solver(self) -> Any:
        """The programme in the jerks of 32 intervals."""
        import osqp

        _, speed, acceleration = self._reach
        cost = TIME * speed.T @ speed + GENTLE * acceleration.T @ acceleration + SMOOTH * np.eye(STEPS)
        rows = sparse.csc_matrix(np.concatenate([*self._reach, np.eye(STEPS)]))
        wide = np.full(rows.shape[0], np.inf)
        solver = osqp.OSQP()
        solver.setup(sparse.triu(2.0 * cost, format="csc"), np.zeros(STEPS), rows, -wide, wide, **SETTINGS)
        return solver


@lru_cache(maxsize=1)
def _coasting(speed: float, acceleration: float) -> tuple[Array, Array, Array]:
    """Way, speed and acceleration at each time without any jerk."""
    return speed * T + 0.5 * acceleration * T**2, speed + acceleration * T, np.full(STEPS, acceleration)


@lru_cache(maxsize=1)
def _shortest(speed: float, acceleration: float, grip: float) -> Float64[Array, "32"]:
    """The least way (m) at each time, the brakes on as fast and as hard as may be; infinite without rest."""
    onset = (acceleration + grip) / JERK
    rising = np.minimum(T, onset)
    v = speed + acceleration * rising - 0.5 * JERK * rising**2 - grip * (T - rising)
    if v[-1] > 0.0:
        return np.full(STEPS, np.inf)
    way = speed * rising + 0.5 * acceleration * rising**2 - JERK * rising**3 / 6.0
    then = speed + acceleration * rising - 0.5 * JERK * rising**2
    way += then * (T - rising) - 0.5 * grip * (T - rising) ** 2
    return np.maximum.accumulate(np.maximum(way, 0.0))


def _driven(jerk: Array, speed: float, acceleration: float) -> Stop:
    """What comes of jerks in each step of a plan; rest is rest."""
    u = np.repeat(np.clip(jerk, -JERK, JERK), 2)
    a = acceleration + PLAN_DT * np.concatenate([[0.0], np.cumsum(u)])
    v = speed + np.concatenate([[0.0], np.cumsum(a[:-1] * PLAN_DT + 0.5 * u * PLAN_DT**2)])
    ahead = v[:-1] * PLAN_DT + 0.5 * a[:-1] * PLAN_DT**2 + u * PLAN_DT**3 / 6.0
    way = np.concatenate([[0.0], np.cumsum(np.maximum(ahead, 0.0))])
    rests = v[1:] <= AT_REST
    last = int(np.argmax(rests)) if rests.any() else PLAN_STEPS
    v[last + 1 :], way[last + 1 :] = 0.0, way[min(last + 1, PLAN_STEPS)]
    return Stop(way, v, max(0.0, -float(a[: last + 1].min())))


@dataclass(frozen=True, eq=False)
class Slowed:
    """Plans that brake at a ``rate`` (m/s²) down to rest: poses and speeds at the 65 times of a plan."""

    pose: Float64[Array, "n 65 3"]
    speed: Float64[Array, "n 65"]
    rate: Float64[Array, " n"]


@dataclass(frozen=True, eq=False)
class Swerves(Slowed):
    """Such plans that go ``aside`` (m, positive to the left) of a path; the mildest come first."""

    aside: Float64[Array, " n"]


def swerves(path: Float64[Array, "65 3"], speed: float, grip: float) -> Swerves:
    """Ways that leave a path by up to 4 m to either side, braking as they go, and stay beside it.

    ``path`` are poses that are driven at ``speed`` (m/s); ``grip`` (m/s²) is what the road allows. The offset is
    a quintic of the way whose greatest acceleration across (5.77 v² / length² a metre) is 3 m/s² or half of the
    grip, and whose greatest curvature is 0.16 1/m.
    """
    across = min(ASIDE_ACCELERATION, 0.5 * grip)
    along = math.sqrt(grip**2 - across**2)
    aside, rate = (
        x.ravel() for x in np.meshgrid([s * y for y in ASIDE for s in (1.0, -1.0)], ASIDE_RATES, indexing="ij")
    )
    rate = np.minimum(rate, along)
    bend = min(BEND, across / max(speed, 0.1) ** 2)
    length = np.sqrt(10.0 / math.sqrt(3.0) * np.abs(aside) / bend)[:, None]
    way = arc_lengths(path[None])
    u = np.clip(way / length, 0.0, 1.0)
    offset = aside[:, None] * u**3 * (10.0 - 15.0 * u + 6.0 * u**2)
    slope = aside[:, None] * 30.0 * u**2 * (1.0 - u) ** 2 / length
    c, s = np.cos(path[:, 2]), np.sin(path[:, 2])
    pose = np.stack([path[:, 0] - offset * s, path[:, 1] + offset * c, path[:, 2] + np.arctan(slope)], axis=-1)
    return Swerves(*braked(pose, np.full(offset.shape, speed), rate, 0.0), rate, aside)
