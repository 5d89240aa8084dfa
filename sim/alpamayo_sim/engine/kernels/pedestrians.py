# mypy: ignore-errors
"""Pedestrians: point masses that wait at the kerb, cross, hesitate and run (``scenario.Walker``)."""

import enum

from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers, ScenarioSlot, WalkerRow
from alpamayo_sim.engine.kernels.levels import agents_share_height
from alpamayo_sim.engine.kernels.paths import path_at
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

STANDSTILL_MPS = wp.constant(0.5)  # m/s; a slower vehicle lets a walker pass
CLEARANCE_M = wp.constant(0.6)  # lateral distance from a vehicle's box that is too near
ENTRY_TIME_GAP_S = wp.constant(1.0)  # s before a vehicle's arrival in which a walker does not enter its path
REACTION_HORIZON_S = wp.constant(6.0)  # s to a vehicle's arrival within which a walker reacts


class Phase(enum.IntEnum):
    """Activity of a walker."""

    WALKS = 0
    WAITS = 1
    CROSSES = 2


@wp.func
def is_vehicle(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, b: wp.int32
) -> wp.bool:
    """Return whether another agent is present, has wheels, and shares a height with a walker."""
    category = buffers.agents[slot.agent_row + b].category
    here = state.valid[w, b] and agents_share_height(buffers, state, slot, w, a, b)
    return here and category >= int(Category.VEHICLE) and category <= int(Category.CYCLIST)


@wp.func
def in_frame_of(state: State, w: wp.int32, b: wp.int32, point: wp.vec2) -> wp.vec2:
    """Return a point (m) in the frame of an agent: forward, left."""
    away = wp.vec2(point[0] - state.pose[w, b][0], point[1] - state.pose[w, b][1])
    along = state.direction[w, b]
    return wp.vec2(wp.dot(along, away), along[0] * away[1] - along[1] * away[0])


@wp.func
def gap_is_acceptable(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    row: WalkerRow,
    middle: wp.vec2,
) -> wp.bool:
    """Return whether no vehicle comes over the crossing within the critical gap."""
    critical = row.width / row.speed + row.start_up
    for b in range(slot.agents):
        if b != a and is_vehicle(buffers, state, slot, w, a, b):
            at = in_frame_of(state, w, b, middle)
            half = 0.5 * buffers.agents[slot.agent_row + b].length
            on_way = wp.abs(at[1]) < 0.5 * row.width + 1.0 and at[0] > -half
            if on_way and state.speed[w, b] > STANDSTILL_MPS and at[0] - half < critical * state.speed[w, b]:
                return False
            if on_way and at[0] < half + CLEARANCE_M:
                return False
    return True


@wp.func
def conflicts_of_walker(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, row: WalkerRow, along: wp.vec2
) -> wp.vec2:
    """Return whether a walker is in the path of an arriving vehicle (first), or would step into it (second)."""
    run = wp.float32(0.0)
    stay = wp.float32(0.0)
    here = wp.vec2(state.pose[w, a][0], state.pose[w, a][1])
    own = 0.5 * buffers.agents[slot.agent_row + a].width
    for b in range(slot.agents):
        if b != a and is_vehicle(buffers, state, slot, w, a, b) and state.speed[w, b] > STANDSTILL_MPS:
            at = in_frame_of(state, w, b, here)
            turned = state.direction[w, b]
            sideways = turned[0] * along[1] - turned[1] * along[0]
            half = 0.5 * buffers.agents[slot.agent_row + b].width + own + CLEARANCE_M
            arrives = (at[0] - 0.5 * buffers.agents[slot.agent_row + b].length - own) / state.speed[w, b]
            pace = wp.abs(sideways) * row.speed
            ahead = at[0] > 0.0 and arrives < REACTION_HORIZON_S and pace > 0.1
            to_enter = (-wp.sign(sideways) * at[1] - half) / wp.max(pace, 0.1)
            to_leave = (-wp.sign(sideways) * at[1] + half) / wp.max(pace, 0.1)
            if ahead and wp.abs(at[1]) < half and to_leave > arrives:
                run = wp.float32(1.0)
            soon = to_enter >= 0.0 and to_enter < 1.0
            if ahead and soon and to_enter < arrives + ENTRY_TIME_GAP_S and to_leave > arrives - ENTRY_TIME_GAP_S:
                stay = wp.float32(1.0)
    return wp.vec2(run, stay)


@wp.func
def plan_walker(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write the phase and the acceleration of a walker for the coming substep."""
    row = buffers.walkers[slot.walker_row + buffers.agents[slot.agent_row + a].walker]
    first = slot.path_row + state.path_row[w, a]
    s = state.path_s[w, a]
    wanted = row.speed
    if row.kerb >= 0.0 and state.next_manoeuvre[w, a] == 0:
        left = wp.max(row.kerb - s, 0.0)
        state.phase[w, a] = wp.where(left < 0.05, int(Phase.WAITS), int(Phase.WALKS))
        on = path_at(buffers.paths, first, state.path_points[w, a], row.kerb + 0.5 * row.width)
        wanted = wp.min(row.speed, wp.sqrt(row.acceleration * left))
        if left < 1.0 and gap_is_acceptable(buffers, state, slot, w, a, row, wp.vec2(on[0], on[1])):
            wanted = row.speed
            state.next_manoeuvre[w, a] = 1
    elif row.kerb >= 0.0 and s < row.kerb + row.width:
        state.phase[w, a] = int(Phase.CROSSES)
        on = path_at(buffers.paths, first, state.path_points[w, a], s)
        danger = conflicts_of_walker(buffers, state, slot, w, a, row, wp.vec2(wp.cos(on[2]), wp.sin(on[2])))
        if danger[0] > 0.0:
            wanted = row.run_speed
        elif danger[1] > 0.0 and row.hesitates != 0:
            wanted = wp.float32(0.0)
    else:
        state.phase[w, a] = int(Phase.WALKS)
    change = (wanted - state.speed[w, a]) / slot.substep_dt
    state.commanded_acceleration[w, a] = wp.clamp(change, -row.acceleration, row.acceleration)
