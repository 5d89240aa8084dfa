"""Lateral targets: lanes, nudges, evasions, and paths around obstacles in the route's corridor."""

import math

import numpy as np

from alpamayo_sim.planning.config import PlannerConfig
from alpamayo_sim.planning.frenet_agents import FrenetAgents
from alpamayo_sim.planning.paths import Target
from alpamayo_sim.planning.surroundings import Surroundings

Array = np.ndarray


def make_targets(view: FrenetAgents, table: Surroundings, config: PlannerConfig) -> list[Target]:
    """Make lateral targets with the lengths of the paths to them."""
    v, s, d = max(view.ego_speed, 3.0), view.ego_s, view.ego_d
    targets = [Target(0.0, max(v * t, least)) for t, least in config.route_lane_paths]
    for offset in table.lane_offsets(s + 2.0 * v):
        if abs(offset - d) < 5.5:
            targets += [Target(offset, max(v * t, least)) for t, least in config.other_lane_paths]
    targets += [Target(offset, max(v * config.nudge_s, 13.0)) for offset in config.nudge_offsets_m]
    half = 0.5 * float(view.ego_size[1])
    for step in config.evasion_offsets_m:
        if table.fits(d + step, half, s + v, s + 3.0 * v):
            targets.append(Target(d + step, max(v * config.evasion_s, 8.0)))
    return targets + _paths_around(view, table, v, config)


def waiting_position(view: FrenetAgents, config: PlannerConfig) -> float:
    """Return the arc length (m) at which to wait before an obstacle, with room to swing out; infinite without one."""
    ahead = view.blockers & (view.front > view.ego_s + 0.5 * view.ego_size[0])
    if not ahead.any():
        return math.inf
    return float(view.rear[ahead].min() - config.obstacle_gap_m - 0.5 * view.ego_size[0])


def _paths_around(view: FrenetAgents, table: Surroundings, v: float, config: PlannerConfig) -> list[Target]:
    """Make paths around the next obstacles in the route's corridor, and back behind them."""
    if not view.blockers.any():
        return []
    begin, end, right, left = _hull(view, config)
    length, width = (float(x) for x in view.ego_size)
    distance = max(begin - view.ego_s - 0.5 * length - 1.0, 0.0)
    lengths = sorted({max(9.0, min(v * 3.0, distance)), max(12.0, v * 2.0), max(16.0, v * 3.2)})
    back = end + 0.5 * length + 0.5, max(24.0, 3.0 * v)
    found = []
    for side, sign in ((left + 0.5 * width, 1.0), (right - 0.5 * width, -1.0)):
        for clearance in config.obstacle_clearances_m:
            offset = side + sign * clearance
            if abs(offset) < config.farthest_offset_m and table.fits(offset, 0.5 * width, max(begin, view.ego_s), end):
                found += [Target(offset, each, *back) for each in lengths]
    return found


def _hull(view: FrenetAgents, config: PlannerConfig) -> tuple[float, float, float, float]:
    """Return first and last s, right and left d (m) of the next obstacles and of all agents that belong to them."""
    order = np.flatnonzero(view.blockers)[np.argsort(view.rear[view.blockers])]
    begin, end = float(view.rear[order[0]]), float(view.front[order[0]])
    chain = [order[0]]
    for k in order[1:]:
        if view.rear[k] > end + config.obstacle_spacing_m:
            break
        chain.append(k)
        end = max(end, float(view.front[k]))
    right, left = float(view.low[chain].min()), float(view.high[chain].max())
    need = float(view.ego_size[1]) + config.gap_margin_m
    for _ in range(3):
        # Standing agents belong to the obstacles if there is no room to pass in between.
        adjacent = view.agents.standing & (view.front > begin - 6.0) & (view.rear < end + 8.0)
        adjacent &= (view.low < left + need) & (view.high > right - need)
        left, right = float(view.high[adjacent].max(initial=left)), float(view.low[adjacent].min(initial=right))
        end = float(view.front[adjacent].max(initial=end))
    return begin, end, right, left
