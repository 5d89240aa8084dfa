"""The agents in the route's Frenet frame, now and predicted; obstacles on the route."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.geometry import box_corners
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import RouteStop
from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.memory import AgentMemory
from alpamayo_sim.prediction.lane_changes import MOTOR_VEHICLES, STEP_S, STEPS, AgentPredictions

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class FrenetAgents:
    """The agents and the ego in the route's frame.

    Attributes:
        agents: the predicted agents.
        s: arc lengths (m) of their predicted centres.
        d: offsets (m) of their predicted centres.
        low: the least offset (m) of each box now.
        high: the greatest offset (m) of each box now.
        rear: the least arc length (m) of each box now.
        front: the greatest arc length (m) of each box now.
        blockers: whether the agent stands in the route's corridor and is expected to stay.
        ego_s: the arc length (m) of the ego.
        ego_d: the offset (m) of the ego.
        ego_speed: the speed (m/s) of the ego.
        ego_size: length and width (m) of the ego.
    """

    agents: AgentPredictions
    s: Float64[Array, "n 49"]
    d: Float64[Array, "n 49"]
    low: Float64[Array, " n"]
    high: Float64[Array, " n"]
    rear: Float64[Array, " n"]
    front: Float64[Array, " n"]
    blockers: Bool[Array, " n"]
    ego_s: float
    ego_d: float
    ego_speed: float
    ego_size: Float64[Array, "2"]

    @property
    def rate(self) -> Float64[Array, "n 49"]:
        """Speed (m/s) of each agent along the route at the times of the prediction."""
        return np.gradient(self.s, STEP_S, axis=1) if len(self.s) else np.zeros((0, STEPS))


def to_frenet(
    truth: GroundTruth,
    agents: AgentPredictions,
    frame: RouteFrame,
    ego: tuple[float, float],
    memory: AgentMemory,
    stops: tuple[RouteStop, ...],
    time: float,
    config: PlannerConfig,
) -> FrenetAgents:
    """Express predictions in the route's frame; `ego` is the ego's s and d (m)."""
    known = truth.agents.elevation
    level = None if known is None else known[agents.rows, None].astype(np.float64)
    s, d = frame.project(agents.pose[:, :, :2], ego[0], 260.0, level)
    corner_s, corner_d = frame.project(box_corners(agents.pose[:, 0], agents.size), ego[0], 200.0, level)
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
        waits = stop.signal is None or int(truth.signals[stop.signal]) != SignalState.GREEN
        queue |= waits & (rear < stop.s) & (rear > stop.s - config.queue_m) & np.isin(agents.category, MOTOR_VEHICLES)
    blockers = stays & inside & ~queue
    return FrenetAgents(agents, s, d, low, high, rear, front, blockers, *ego, float(truth.ego_speed), size)
