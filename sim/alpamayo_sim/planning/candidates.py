"""Candidates of the planner at sampled times, and the context that they are scored in."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.frenet_agents import FrenetAgents
from alpamayo_sim.planning.paths import Paths, interpolate_rows
from alpamayo_sim.planning.rules import SpeedCap
from alpamayo_sim.planning.surroundings import Surroundings
from alpamayo_sim.prediction.lane_changes import AgentPredictions

Array = np.ndarray

SAMPLES = np.concatenate([np.arange(2, 33, 2), np.arange(36, 65, 4), np.arange(72, 97, 8)])  # steps of the profiles
PREDICTION_SAMPLES = SAMPLES // 2  # steps of the predictions at the same times
TIMES = PLAN_DT * SAMPLES  # s
DURATIONS = np.diff(np.concatenate([[0.0], TIMES]))  # s, which each sample stands for
PLAN_END_S = PLAN_DT * PLAN_STEPS
IN_PLAN = TIMES <= PLAN_END_S + 0.5 * PLAN_DT


@dataclass(frozen=True, eq=False)
class Candidates:
    """All combinations of paths and speed profiles.

    Attributes:
        path: the path of each candidate.
        distance: distances (m) along the path, every 0.1 s.
        speed: speeds (m/s), every 0.1 s.
        acceleration: accelerations (m/s²), every 0.1 s.
        pose: poses at ``TIMES`` in world coordinates.
        s: arc lengths (m) on the route at ``TIMES``.
        d: offsets (m) from the route at ``TIMES``.
        v: speeds (m/s) at ``TIMES``.
        a: accelerations (m/s²) at ``TIMES``.
        lateral: lateral accelerations (m/s²) at ``TIMES``.
        curvature: curvatures (1/m) at ``TIMES``.
    """

    path: Int64[Array, " k"]
    distance: Float64[Array, "k 97"]
    speed: Float64[Array, "k 97"]
    acceleration: Float64[Array, "k 97"]
    pose: Float64[Array, "k t 3"]
    s: Float64[Array, "k t"]
    d: Float64[Array, "k t"]
    v: Float64[Array, "k t"]
    a: Float64[Array, "k t"]
    lateral: Float64[Array, "k t"]
    curvature: Float64[Array, "k t"]

    @classmethod
    def of(
        cls,
        paths: Paths,
        distance: Float64[Array, "p m 97"],
        speed: Float64[Array, "p m 97"],
        acceleration: Float64[Array, "p m 97"],
    ) -> "Candidates":
        """Combine paths with profiles; candidate k has path k // m."""
        p, m, n = distance.shape
        path = np.repeat(np.arange(p), m)
        distance, speed, acceleration = (x.reshape(p * m, n) for x in (distance, speed, acceleration))
        at = paths.at(path[:, None], distance[:, SAMPLES])
        columns = (paths.xy[..., 0], paths.xy[..., 1], paths.heading)
        curvature = interpolate_rows(paths.curvature, at)
        v = speed[:, SAMPLES]
        return cls(
            path,
            distance,
            speed,
            acceleration,
            pose=np.stack([interpolate_rows(x, at) for x in columns], axis=-1),
            s=interpolate_rows(paths.s, at),
            d=interpolate_rows(paths.d, at),
            v=v,
            a=acceleration[:, SAMPLES],
            lateral=v**2 * curvature,
            curvature=curvature,
        )


@dataclass(frozen=True, eq=False)
class PlanningContext:
    """The situation in which candidates are scored.

    Attributes:
        config: the thresholds.
        view: the agents and the ego in the route's frame.
        pose: the ego's pose in world coordinates.
        surroundings: the map along the route.
        cap: the allowed speed.
        desired: the desired speed (m/s).
        stop_at: the arc length (m) that the ego's front must not pass; infinite without a stop.
        friction_limit: the greatest acceleration (m/s²).
        waited: the time (s) for which the ego has waited before an obstacle.
        wait_at: the arc length (m) at which to wait before an obstacle; infinite without one.
        previous: positions (m) of the previous plan at ``TIMES`` in world coordinates; None at the first step.
    """

    config: PlannerConfig
    view: FrenetAgents
    pose: Float64[Array, "3"]
    surroundings: Surroundings
    cap: SpeedCap
    desired: float
    stop_at: float
    friction_limit: float
    waited: float
    wait_at: float
    previous: Float64[Array, "t 2"] | None

    @property
    def agents(self) -> AgentPredictions:
        """The predicted agents."""
        return self.view.agents

    @property
    def size(self) -> Float64[Array, "2"]:
        """Length and width (m) of the ego."""
        return self.view.ego_size

    @property
    def s(self) -> float:
        """Arc length (m) of the ego."""
        return self.view.ego_s

    @property
    def d(self) -> float:
        """Offset (m) of the ego."""
        return self.view.ego_d

    @cached_property
    def agent_s(self) -> Float64[Array, "n t"]:
        """Arc lengths (m) of the agents at ``TIMES``."""
        return self.view.s[:, PREDICTION_SAMPLES]

    @cached_property
    def agent_d(self) -> Float64[Array, "n t"]:
        """Offsets (m) of the agents at ``TIMES``."""
        return self.view.d[:, PREDICTION_SAMPLES]
