# mypy: ignore-errors
"""Traffic vehicles: the intelligent driver model along the lanes, MOBIL across them.

``consider_lane_change`` (in ``plan_lane_changes``) and ``plan_traffic_vehicle`` (in ``plan_traffic``) decide from the
lane positions of all agents; ``move_traffic_vehicle`` (in ``step_traffic``) moves a vehicle from its own row alone.
"""

from alpamayo_sim.engine.kernels.car_following import IdmParameters, default_idm, idm
from alpamayo_sim.engine.kernels.dynamics import arc_length_of
from alpamayo_sim.engine.kernels.lane_positions import (
    NO_GAP_M,
    follower_on_lanes,
    lane_of,
    leader_on_lanes,
    next_lane,
    s_on_neighbour,
    write_own_lanes,
)
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers, ScenarioSlot, TrafficVehicleRow
from alpamayo_sim.engine.kernels.levels import elevation_at
from alpamayo_sim.engine.kernels.paths import path_at, segment_at
from alpamayo_sim.engine.kernels.right_of_way import STANDSTILL_MPS, register_stop, restrictions_ahead
from alpamayo_sim.engine.kernels.scripts import set_on_path, shift_sideways
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

LANE_CHANGE_S = wp.constant(3.0)  # s; duration of a lane change
DECISION_INTERVAL_S = wp.constant(1.0)  # s between two decisions about a lane change
DECISION_GROUPS = wp.constant(16)  # groups of vehicles that decide at different times
LANE_CHANGE_PAUSE_S = wp.constant(4.0)  # s after the start of a lane change before the next decision
LANE_CHANGE_SPEED_MPS = wp.constant(1.0)  # m/s; slower vehicles do not change lanes
MERGE_BRAKING_MPS2 = wp.constant(3.0)  # m/s²; the largest deceleration for a merge further than ``URGENT_MERGE_M``
URGENT_MERGE_M = wp.constant(10.0)  # m
LANE_END_RANGE_M = wp.constant(200.0)  # m before the end of a lane from which vehicles leave it
TURN_USED_MPS = wp.constant(3.0)  # m/s; a slower vehicle has not used its turn yet
UNSAFE_GAIN_MPS2 = wp.constant(-1.0e6)  # m/s²; the gain of an unsafe lane change


@wp.func
def traffic_vehicle_of(buffers: ScenarioBuffers, slot: ScenarioSlot, a: wp.int32) -> TrafficVehicleRow:
    """Return a traffic vehicle's row."""
    return buffers.traffic_vehicles[slot.traffic_vehicle_row + buffers.agents[slot.agent_row + a].traffic_vehicle]


@wp.func
def idm_parameters_of(row: TrafficVehicleRow) -> IdmParameters:
    """Return a traffic vehicle's parameters of the intelligent driver model."""
    style = IdmParameters()
    style.acceleration = row.acceleration
    style.deceleration = row.deceleration
    style.headway = row.headway
    style.gap = row.gap
    return style


@wp.func
def idm_behind(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    b: wp.int32,
    lane: wp.int32,
    gap: wp.float32,
    ahead: wp.float32,
) -> wp.float32:
    """Return the acceleration of an agent behind a leader; other agents than traffic vehicles want their own speed."""
    speed = wp.max(state.lane_speed[w, b], 0.0)
    style = default_idm()
    wanted = speed
    traffic_vehicle = buffers.agents[slot.agent_row + b].traffic_vehicle
    if traffic_vehicle >= 0:
        row = buffers.traffic_vehicles[slot.traffic_vehicle_row + traffic_vehicle]
        style = idm_parameters_of(row)
        wanted = wp.min(row.wanted_speed, lane_of(buffers, slot, lane).limit)
    return idm(style, speed, wanted, gap, speed - ahead)


@wp.func
def mobil_gain(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    side: wp.int32,
    bias: wp.float32,
    must: wp.bool,
) -> wp.float32:
    """Return MOBIL's incentive (m/s²) for a lane, minus threshold and bias; ``UNSAFE_GAIN_MPS2`` if it is not safe.

    Kesting, Treiber and Helbing 2007, equations 2 and 3; a vehicle that must leave its lane only needs safety.
    """
    row = traffic_vehicle_of(buffers, slot, a)
    lane = state.lane[w, a]
    s = state.path_s[w, a]
    speed = state.speed[w, a]
    length = buffers.agents[slot.agent_row + a].length
    there = s_on_neighbour(buffers, slot, lane, s, side)
    leader = leader_on_lanes(buffers, state, slot, w, a, side, there)
    follower = follower_on_lanes(buffers, state, slot, w, a, side, there)
    if leader[0] < 0.0 or follower[0] < 0.0:
        return UNSAFE_GAIN_MPS2
    mine = idm_behind(buffers, state, slot, w, a, side, leader[0], leader[1])
    if mine < -row.safe_deceleration:
        return UNSAFE_GAIN_MPS2
    others = wp.float32(0.0)
    b = wp.int32(follower[1])
    if b >= 0:
        imposed = idm_behind(buffers, state, slot, w, b, side, follower[0], speed)
        if imposed < -row.safe_deceleration:
            return UNSAFE_GAIN_MPS2
        before = idm_behind(buffers, state, slot, w, b, side, leader[0] + length + follower[0], leader[1])
        others += imposed - before
    if must:
        return mine + 2.0 * row.safe_deceleration
    now = leader_on_lanes(buffers, state, slot, w, a, lane, s)
    behind = follower_on_lanes(buffers, state, slot, w, a, lane, s)
    b = wp.int32(behind[1])
    if b >= 0 and row.politeness > 0.0:
        before = idm_behind(buffers, state, slot, w, b, lane, behind[0], speed)
        others += idm_behind(buffers, state, slot, w, b, lane, now[0] + length + behind[0], now[1]) - before
    gain = mine - idm_behind(buffers, state, slot, w, a, lane, now[0], now[1])
    return gain + row.politeness * others - row.threshold - bias


@wp.func
def start_lane_change(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    side: wp.int32,
    time: wp.float32,
):
    """Assign the vehicle to the other lane, and start the lateral shift."""
    lane = state.lane[w, a]
    s = s_on_neighbour(buffers, slot, lane, state.path_s[w, a], side)
    to = lane_of(buffers, slot, side)
    here = state.pose[w, a]
    on = path_at(buffers.lane_paths, slot.lane_path_row + to.path_row, to.points, s)
    across = wp.cos(on[2]) * (here[1] - on[1]) - wp.sin(on[2]) * (here[0] - on[0])
    state.lane[w, a] = side
    state.departed_lane[w, a] = lane
    state.previous_lane[w, a] = -1
    state.path_s[w, a] = s
    state.lane_change_time[w, a] = time
    state.lateral[w, a] = across
    state.shift_start[w, a] = time
    state.shift_duration[w, a] = LANE_CHANGE_S
    state.shift_from[w, a] = across
    state.shift_rate[w, a] = state.lateral_rate[w, a]
    state.shift_to[w, a] = 0.0


@wp.func
def lane_change_gain(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    side: wp.int32,
    bias: wp.float32,
    must: wp.bool,
) -> wp.float32:
    """Return the gain of a lane change; ``UNSAFE_GAIN_MPS2`` without a lane, or if the new lane ends too."""
    if side < 0:
        return UNSAFE_GAIN_MPS2
    if must and lane_of(buffers, slot, side).successors == 0:
        return UNSAFE_GAIN_MPS2
    return mobil_gain(buffers, state, slot, w, a, side, bias, must)


@wp.func
def consider_lane_change(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, time: wp.float32
):
    """Change to the better adjacent lane if the gain is positive; abort a lane change if its target gap is occupied."""
    lane = state.lane[w, a]
    since = time - state.lane_change_time[w, a]
    if state.departed_lane[w, a] >= 0:
        leader = leader_on_lanes(buffers, state, slot, w, a, lane, state.path_s[w, a])
        back = state.departed_lane[w, a]
        if leader[0] < 0.0 and since < 0.5 * LANE_CHANGE_S:
            own = lane_of(buffers, slot, lane)
            if back == own.left or back == own.right:
                start_lane_change(buffers, state, slot, w, a, back, time)
        return
    row = traffic_vehicle_of(buffers, slot, a)
    here = lane_of(buffers, slot, lane)
    if (
        row.changes_lanes == 0 or since < LANE_CHANGE_PAUSE_S or state.speed[w, a] < LANE_CHANGE_SPEED_MPS
    ) and here.ends == 0:
        return
    must = here.ends != 0 and here.length - state.path_s[w, a] < LANE_END_RANGE_M
    to_left = lane_change_gain(buffers, state, slot, w, a, here.left, row.right_bias, must)
    to_right = lane_change_gain(buffers, state, slot, w, a, here.right, -row.right_bias, must)
    if wp.max(to_left, to_right) > 0.0:
        start_lane_change(buffers, state, slot, w, a, wp.where(to_left >= to_right, here.left, here.right), time)


@wp.func
def is_due(turn: wp.int32, time: wp.float32, tick: wp.float32) -> wp.bool:
    """Return whether the traffic vehicles of group ``turn`` modulo ``DECISION_GROUPS`` consider a lane change."""
    phase = wp.float32((turn * 7) % DECISION_GROUPS) / wp.float32(DECISION_GROUPS)
    now = wp.floor(time / DECISION_INTERVAL_S + phase + 1.0e-4)
    return now > wp.floor((time - tick) / DECISION_INTERVAL_S + phase + 1.0e-4)


@wp.func
def plan_traffic_vehicle(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write the acceleration for the coming substep."""
    row = traffic_vehicle_of(buffers, slot, a)
    lane = state.lane[w, a]
    s = state.path_s[w, a]
    speed = state.speed[w, a]
    style = idm_parameters_of(row)
    wanted = wp.min(row.wanted_speed, lane_of(buffers, slot, lane).limit)
    leader = leader_on_lanes(buffers, state, slot, w, a, lane, s)
    wants = idm(style, speed, wanted, leader[0], speed - leader[1])
    leaving = state.departed_lane[w, a]
    if leaving >= 0:
        old = leader_on_lanes(buffers, state, slot, w, a, leaving, s_on_neighbour(buffers, slot, lane, s, leaving))
        wants = wp.min(wants, idm(style, speed, wanted, old[0], speed - old[1]))
    ahead = restrictions_ahead(buffers, state, slot, w, a)
    if ahead.stop < NO_GAP_M:
        held = idm(style, speed, wanted, ahead.stop + style.gap - 1.0, speed)
        if ahead.stop < 2.0 and speed < 0.5:
            held = -speed / slot.substep_dt
        wants = wp.min(wants, held)
    if ahead.merge[0] < NO_GAP_M:
        merging = idm(style, speed, wanted, ahead.merge[0], speed - ahead.merge[1])
        if ahead.merge[2] > URGENT_MERGE_M:
            merging = wp.max(merging, -MERGE_BRAKING_MPS2)
        wants = wp.min(wants, merging)
    if ahead.acceleration < -0.5 * style.deceleration:
        wants = wp.min(wants, ahead.acceleration)
    state.commanded_acceleration[w, a] = wants


@wp.func
def set_traffic_vehicle(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write pose and velocity from the position on the lane."""
    row = lane_of(buffers, slot, state.lane[w, a])
    first = slot.lane_path_row + row.path_row
    s = state.path_s[w, a]
    i = first + segment_at(buffers.lane_paths, first, row.points, s)
    set_on_path(state, w, a, path_at(buffers.lane_paths, first, row.points, s))
    state.elevation[w, a] = elevation_at(buffers.lane_paths, buffers.lane_elevations, i, s)


@wp.func
def move_traffic_vehicle(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, time: wp.float32
):
    """Move a vehicle along its lane and on to the next lane; it vanishes at the end of the map."""
    speed = state.speed[w, a]
    acceleration = state.commanded_acceleration[w, a]
    s = state.path_s[w, a] + arc_length_of(speed, acceleration, slot.substep_dt)
    speed = wp.max(speed + acceleration * slot.substep_dt, 0.0)
    lane = state.lane[w, a]
    length = lane_of(buffers, slot, lane).length
    while lane >= 0 and s > length:
        s -= length
        state.previous_lane[w, a] = lane
        lane = next_lane(buffers, slot, a, lane)
        if state.departed_lane[w, a] >= 0:
            state.departed_lane[w, a] = next_lane(buffers, slot, a, state.departed_lane[w, a])
        if lane >= 0:
            length = lane_of(buffers, slot, lane).length
    if lane < 0:
        state.valid[w, a] = False
        return
    if time >= state.lane_change_time[w, a] + LANE_CHANGE_S:
        state.departed_lane[w, a] = -1
    state.lane[w, a] = lane
    state.path_s[w, a] = s
    state.speed[w, a] = speed
    if speed > TURN_USED_MPS:
        state.waiting_time[w, a] = 0.0
    elif speed < STANDSTILL_MPS or state.waiting_time[w, a] > 0.0:
        state.waiting_time[w, a] += slot.substep_dt
    register_stop(buffers, state, slot, w, a, lane, s)
    shift_sideways(state, w, a, time)
    set_traffic_vehicle(buffers, state, slot, w, a)
    write_own_lanes(buffers, state, slot, w, a)


@wp.func
def start_traffic_vehicle(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Place a traffic vehicle where its track starts, with a shift to the middle of its lane."""
    row = traffic_vehicle_of(buffers, slot, a)
    state.valid[w, a] = True
    state.lane[w, a] = row.lane
    state.path_s[w, a] = row.s
    state.speed[w, a] = buffers.agents[slot.agent_row + a].speed
    state.lateral[w, a] = row.lateral
    state.shift_from[w, a] = row.lateral
    state.shift_duration[w, a] = LANE_CHANGE_S
    set_traffic_vehicle(buffers, state, slot, w, a)
    write_own_lanes(buffers, state, slot, w, a)
