"""The agents in the route's Frenet frame, now and predicted; obstacles on the route."""

from dataclasses import dataclass

import numpy as np

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.drivers.expert.config import ExpertConfig
from alpamayo_sim.drivers.expert.memory import AgentMemory
from alpamayo_sim.geometry import box_corners
from alpamayo_sim.map.frenet import RouteFrame, SignalStop
from alpamayo_sim.prediction.lane_changes import MOTOR_VEHICLES, STEP_S, STEPS, AgentPredictions

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class FrenetAgents:
    """The agents in the route's frame; distances in m.

    ``s`` and ``d`` [n, 49] are of their predicted centres, ``low`` and ``high`` the lateral, ``rear`` and ``front``
    the longitudinal extent of their boxes now. ``blockers`` stand in the route's own corridor and are expected to stay.
    """

    agents: AgentPredictions
    s: Array
    d: Array
    low: Array
    high: Array
    rear: Array
    front: Array
    blockers: Array
    ego_s: float
    ego_d: float
    ego_speed: float
    ego_size: Array

    @property
    def rate(self) -> Array:
        """Speed of each agent along the route (m/s) at the times of the prediction, [n, 49]."""
        return np.gradient(self.s, STEP_S, axis=1) if len(self.s) else np.zeros((0, STEPS))


def to_frenet(
    truth: GroundTruth,
    agents: AgentPredictions,
    frame: RouteFrame,
    ego: tuple[float, float],
    memory: AgentMemory,
    stops: tuple[SignalStop, ...],
    time: float,
    config: ExpertConfig,
) -> FrenetAgents:
    """Express predictions in the route's frame; `ego` is the ego's s and d (m)."""
    s, d = frame.project(agents.pose[:, :, :2], ego[0], 260.0)
    corner_s, corner_d = frame.project(box_corners(agents.pose[:, 0], agents.size), ego[0], 200.0)
    low, high = corner_d.min(axis=1, initial=np.inf), corner_d.max(axis=1, initial=-np.inf)
    rear, front = corner_s.min(axis=1, initial=np.inf), corner_s.max(axis=1, initial=-np.inf)
    size = truth.ego_size[:2].astype(np.float64)
    half = 0.5 * size[1] + config.corridor_margin_m
    inside = (low < half) & (high > -half) & (front > ego[0] - 3.0) & (rear < ego[0] + config.obstacle_range_m)
    stays = np.array(
        [memory.standing_time(truth.agents.ids[k], time) > config.parked_after_s for k in agents.rows], bool
    )
    queue = np.zeros(len(stays), bool)
    for stop in stops:
        waits = int(truth.signals[stop.signal]) != SignalState.GREEN
        queue |= waits & (rear < stop.s) & (rear > stop.s - config.queue_m) & np.isin(agents.category, MOTOR_VEHICLES)
    blockers = stays & inside & ~queue
    return FrenetAgents(agents, s, d, low, high, rear, front, blockers, *ego, float(truth.ego_speed), size)
