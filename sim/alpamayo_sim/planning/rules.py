"""Allowed speeds: the limit, bends, visibility, parked cars that may hide a child, and signals."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.constants import GRAVITY_MPS2
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Category, Environment
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import RouteStop
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.frenet_agents import FrenetAgents
from alpamayo_sim.planning.memory import AgentMemory
from alpamayo_sim.planning.stops import StopMemory

Array = np.ndarray

PASSED_LINE_M = 2.0  # the distance behind the place to stop at which a line still counts
CAP_BEHIND_M, CAP_LENGTH_M = 5.0, 300.0  # allowed speeds begin behind the ego and cover this length


@dataclass(frozen=True, eq=False)
class Caution:
    """An allowed speed on a part of the route, because of an agent.

    Attributes:
        start: the arc length (m) where it begins.
        end: the arc length (m) where it ends.
        speed: the allowed speed (m/s).
        row: the row of the agent in ``Agents``.
    """

    start: float
    end: float
    speed: float
    row: int


@dataclass(frozen=True, eq=False)
class SpeedCap:
    """Allowed speeds (m/s), one for every metre of the route from arc length ``start`` (m) on."""

    start: float
    values: Float64[Array, " n"]

    def at(self, s: Array) -> Array:
        """Return the allowed speed (m/s) at arc lengths (m)."""
        return self.values[np.clip((s - self.start).astype(np.int64), 0, len(self.values) - 1)]

    def ahead(self, s: float, distance: float) -> float:
        """Return the lowest allowed speed (m/s) within ``distance`` (m) of ``s``."""
        return float(self.at(s + np.arange(0.0, max(distance, 1.0) + 1.0)).min())


def find_cautions(truth: GroundTruth, view: FrenetAgents, memory: AgentMemory, config: PlannerConfig) -> list[Caution]:
    """Find where to slow down: parked cars that may hide a child, walkers, and cars that may pull out."""
    agents, found = view.agents, []
    half = 0.5 * view.ego_size[1]
    lateral_gap = np.maximum(np.maximum(view.low - half, -half - view.high), 0.0)
    near = (view.front > view.ego_s) & (view.rear < view.ego_s + 70.0) & agents.standing
    vehicles = np.isin(agents.category, (Category.VEHICLE, Category.TRUCK, Category.BUS))
    walkers = np.isin(agents.category, (Category.PEDESTRIAN, Category.ANIMAL))
    for k in np.flatnonzero(near & (lateral_gap > 0.0)):
        row = int(agents.rows[k])
        parked = (
            vehicles[k]
            and truth.agents.size[row, 2] > config.hiding_height_m
            and memory.has_always_stood(truth.agents.ids[row])
        )
        if parked and lateral_gap[k] < config.parked_range_m:
            allowed = config.parked_speed_mps + config.parked_speed_slope_mps_per_m * max(
                float(lateral_gap[k]) - 0.5, 0.0
            )
            found.append(Caution(float(view.rear[k]) - 2.0, float(view.front[k]) + 1.0, allowed, row))
        elif walkers[k] and lateral_gap[k] < config.walker_range_m:
            found.append(Caution(float(view.rear[k]) - 4.0, float(view.front[k]) + 1.0, config.walker_speed_mps, row))
    return found + _held_up_neighbours(view, config)


def _held_up_neighbours(view: FrenetAgents, config: PlannerConfig) -> list[Caution]:
    """Find cars of the next lane that are held up and may pull out."""
    if not len(view.s):
        return []
    s, d, rate = view.s[:, 0], view.d[:, 0], view.rate[:, 0]
    gap = np.abs(d - view.ego_d)
    adjacent = (gap > 2.0) & (gap < 5.0) & (rate > 2.0) & (s > view.ego_s - 3.0) & (s < view.ego_s + 50.0)
    found = []
    for k in np.flatnonzero(adjacent):
        ahead = (s > s[k] + 3.0) & (s < s[k] + 35.0) & (np.abs(d - d[k]) < 1.8)
        if np.any(ahead & (rate > -1.0) & (rate < rate[k] + 1.0)):
            allowed = float(rate[k]) + config.passing_excess_mps
            found.append(Caution(float(s[k]) - 14.0, float(s[k]) + 4.0, allowed, int(view.agents.rows[k])))
    return found


def speed_cap(
    frame: RouteFrame,
    s: float,
    desired: float,
    environment: Environment,
    cautions: list[Caution],
    config: PlannerConfig,
) -> SpeedCap:
    """Compute the allowed speed along the route, low enough to brake towards lower ones ahead."""
    at = s - CAP_BEHIND_M + np.arange(CAP_LENGTH_M)
    bend = np.abs(frame.at(at)[2])
    lateral = min(config.bend_acceleration_mps2, 0.4 * environment.friction * GRAVITY_MPS2)
    cap = np.minimum(desired, np.sqrt(lateral / np.maximum(bend, 1e-4)))
    if environment.visibility is not None:
        cap = np.minimum(cap, math.sqrt(2.0 * config.sight_deceleration_mps2 * max(0.75 * environment.visibility, 5.0)))
    for caution in cautions:
        cap = np.where((at >= caution.start) & (at <= caution.end), np.minimum(cap, caution.speed), cap)
    squared = (
        np.minimum.accumulate((cap**2 + 2.0 * config.approach_deceleration_mps2 * at)[::-1])[::-1]
        - 2.0 * config.approach_deceleration_mps2 * at
    )
    return SpeedCap(float(at[0]), np.sqrt(np.maximum(squared, 0.0)))


def stop_position(truth: GroundTruth, stops: StopMemory, s: float) -> tuple[float, RouteStop | None]:
    """Return the arc length (m) that the ego's front must not pass, infinite if none, and its stop line."""
    due = stops.next(truth, s, PASSED_LINE_M)
    if due is None:
        return math.inf, None
    front = s + 0.5 * float(truth.ego_size[0])
    return max(due.line.s - 0.3, front + 0.05), due.line
