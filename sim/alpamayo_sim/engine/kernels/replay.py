# mypy: ignore-errors
"""Road users that repeat their recording, always or until they must react to another agent."""

import enum

from alpamayo_sim.engine.kernels.box_contacts import overlap
from alpamayo_sim.engine.kernels.car_following import default_idm, idm, leader_on_path, red_on_path
from alpamayo_sim.engine.kernels.layout import Agent, LogRow, Mode, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import heights_overlap
from alpamayo_sim.engine.kernels.paths import between
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp


class Phase(enum.IntEnum):
    """What a reactive agent does."""

    REPLAYS = 0
    REACTS = 1  # it has left its recording
    KEPT_OUT = 2  # it is absent because another agent is where it would appear


DEVIATION_M = wp.constant(1.0)  # m between an ego and its recorded position that count as a deviation
EXTRA_BRAKING_MPS2 = wp.constant(1.0)  # m/s² of braking beyond the recorded one at which an agent leaves its recording
SPEED_PREVIEW_M = wp.constant(15.0)  # m ahead on the path of which the largest recorded speed is wanted
APPEARING_BRAKING_MPS2 = wp.constant(4.0)  # with which an agent that appears can stop before another one
APPEARING_ROOM_M = wp.constant(1.0)  # behind it that must be free too


@wp.func
def log_of(buffers: ScenarioBuffers, slot: ScenarioSlot, a: wp.int32, step: wp.int32) -> wp.int32:
    """Return the row of an agent's recording at a step."""
    return slot.log_row + buffers.agents[slot.agent_row + a].log_row + step


@wp.func
def logged_at(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
) -> LogRow:
    """Return an agent's recording after some substeps of the present step, interpolated between two rows.

    If one of the two rows is not valid, the nearer row in time counts; after the recording, the last row.
    """
    step = wp.min(state.step[w], slot.steps - 1)
    row = buffers.logs[log_of(buffers, slot, a, step)]
    share = wp.float32(substep) / wp.float32(slot.substeps)
    if step + 1 < slot.steps:
        later = buffers.logs[log_of(buffers, slot, a, step + 1)]
        if substep == slot.substeps:
            return later
        if row.valid != 0 and later.valid != 0 and share > 0.0:
            row.pose = between(row.pose, later.pose, share)
            row.velocity = row.velocity + share * (later.velocity - row.velocity)
            row.s = row.s + share * (later.s - row.s)
            row.elevation = row.elevation + share * (later.elevation - row.elevation)
            row.direction = wp.vec2(wp.cos(row.pose[2]), wp.sin(row.pose[2]))
        elif share >= 0.5:
            row = later
    return row


@wp.func
def logged_controls(buffers: ScenarioBuffers, slot: ScenarioSlot, e: wp.int32, step: wp.int32) -> wp.vec2:
    """Return the acceleration and curvature that led an ego to a step of its recording."""
    return buffers.controls[slot.control_row + buffers.egos[slot.ego_row + e].control_row + step]


@wp.func
def replay_ego(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, substep: wp.int32):
    """Move an ego as recorded; after the recording it stands at the last position."""
    row = logged_at(buffers, state, slot, w, e, substep)
    speed = wp.length(row.velocity)
    controls = logged_controls(buffers, slot, e, wp.min(state.step[w] + 1, slot.steps - 1))
    if state.step[w] + 1 >= slot.steps:
        speed = wp.float32(0.0)
        row.velocity = wp.vec2(0.0, 0.0)
        controls = wp.vec2(0.0, 0.0)
    state.pose[w, e] = row.pose
    state.elevation[w, e] = row.elevation
    state.direction[w, e] = row.direction
    state.velocity[w, e] = row.velocity
    state.speed[w, e] = speed
    state.acceleration[w, e] = controls[0]
    state.curvature[w, e] = controls[1]
    car = buffers.vehicles[slot.vehicle_row]
    state.slip[w, e] = wp.vec2(0.0, speed * controls[1])
    state.actuators[w, e] = wp.vec2(controls[0], wp.atan(car.wheelbase * controls[1]))


@wp.func
def replay_agent(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
):
    """Move an agent as recorded; it is absent where its row is not valid and after the recording."""
    state.valid[w, a] = False
    over = state.step[w] + 1 >= slot.steps and substep > 0
    row = logged_at(buffers, state, slot, w, a, substep)
    if row.valid != 0 and not over:
        state.valid[w, a] = True
        state.pose[w, a] = row.pose
        state.elevation[w, a] = row.elevation
        state.direction[w, a] = row.direction
        state.velocity[w, a] = row.velocity
        state.speed[w, a] = wp.length(row.velocity)


@wp.func
def deviates_from_log(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, b: wp.int32) -> wp.bool:
    """Return whether an agent is not at its recorded position: an ego that deviates, or an agent that reacts to one."""
    mode = buffers.agents[slot.agent_row + b].mode
    if mode == int(Mode.EGO):
        row = logged_at(buffers, state, slot, w, b, 0)
        away = wp.vec2(row.pose[0] - state.pose[w, b][0], row.pose[1] - state.pose[w, b][1])
        return wp.length(away) > DEVIATION_M
    if mode == int(Mode.REACTIVE):
        return state.phase[w, b] == int(Phase.REACTS)
    return mode != int(Mode.REPLAY) and mode != int(Mode.PROP)


@wp.func
def plan_reactive(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
):
    """Leave the recording when an agent that deviates from its own makes this one brake; then drive by IDM.

    An agent that has left its recording wants the largest speed recorded over the next metres, and does not reach
    a position earlier than recorded. It counts as deviating (``phase``) from its next move on.
    """
    style = default_idm()
    speed = state.speed[w, a]
    step = wp.min(state.step[w], slot.steps - 1)
    leader = leader_on_path(buffers, state, slot, w, a)
    b = wp.int32(leader[2])
    if state.phase[w, a] == int(Phase.REPLAYS) and b >= 0 and step + 1 < slot.steps:
        later = buffers.logs[log_of(buffers, slot, a, step + 1)]
        logged = (wp.length(later.velocity) - speed) / slot.dt
        needed = idm(style, speed, wp.max(speed, 1.0), leader[0], speed - leader[1])
        if needed < wp.min(logged, 0.0) - EXTRA_BRAKING_MPS2 and deviates_from_log(buffers, state, slot, w, b):
            state.next_manoeuvre[w, a] = 1
    if state.next_manoeuvre[w, a] == 1:
        wanted = wp.float32(2.0)
        own = buffers.logs[log_of(buffers, slot, a, step)]
        ahead = state.path_s[w, a] + SPEED_PREVIEW_M
        for k in range(slot.steps):
            row = buffers.logs[log_of(buffers, slot, a, k)]
            if row.valid != 0 and row.s >= state.path_s[w, a] and row.s <= ahead:
                wanted = wp.max(wanted, wp.length(row.velocity))
        wants = idm(style, speed, wanted, leader[0], speed - leader[1])
        wants = wp.min(wants, idm(style, speed, wanted, red_on_path(buffers, state, slot, w, a), speed))
        if own.valid != 0 and own.s < state.path_s[w, a] + 0.1:
            wants = wp.min(wants, (wp.length(own.velocity) - speed) / slot.dt)
        state.commanded_acceleration[w, a] = wants


@wp.func
def box_with_room(pose: wp.vec3, direction: wp.vec2, length: wp.float32, ahead: wp.float32, behind: wp.float32):
    """Return the centre pose and the length of a box with room (m) before and behind it."""
    shift = 0.5 * (ahead - behind)
    centre = wp.vec3(pose[0] + shift * direction[0], pose[1] + shift * direction[1], pose[2])
    return centre, length + ahead + behind


@wp.func
def stopping_distance(closing: wp.float32) -> wp.float32:
    """Return the distance (m) over which a closing speed (m/s) is taken off."""
    return wp.max(closing, 0.0) * wp.max(closing, 0.0) / (2.0 * APPEARING_BRAKING_MPS2)


@wp.func
def overlaps_off_log(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    b: wp.int32,
    row: LogRow,
    me: Agent,
    substep: wp.int32,
) -> wp.bool:
    """Return whether an ego, however near to its recorded place, will overlap a box that it does not overlap there."""
    other = buffers.agents[slot.agent_row + b]
    if other.mode != int(Mode.EGO):
        return False
    own = logged_at(buffers, state, slot, w, b, substep + 1)
    pose = state.pose[w, b]
    moved = slot.substep_dt * state.velocity[w, b]
    soon = wp.vec3(pose[0] + moved[0], pose[1] + moved[1], pose[2])
    meets = overlap(row.pose, me.length, me.width, soon, other.length, other.width)
    return meets and not overlap(row.pose, me.length, me.width, own.pose, other.length, other.width)


@wp.func
def cannot_appear(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
) -> wp.bool:
    """Return whether another agent is where an absent agent would appear, or so near that one could not stop.

    Only agents count that are not where their own recording has them; those that repeat it were there already.
    """
    row = logged_at(buffers, state, slot, w, a, substep + 1)
    if row.valid == 0:
        return False
    me = buffers.agents[slot.agent_row + a]
    way = stopping_distance(wp.length(row.velocity))
    place, needed = box_with_room(row.pose, row.direction, me.length, way, APPEARING_ROOM_M)
    for b in range(slot.agents):
        other = buffers.agents[slot.agent_row + b]
        level = heights_overlap(row.elevation, me.height, state.elevation[w, b], other.height)
        if b != a and state.valid[w, b] and level:
            if deviates_from_log(buffers, state, slot, w, b):
                soon = state.speed[w, b] * slot.dt
                ahead = soon + stopping_distance(wp.dot(state.velocity[w, b] - row.velocity, state.direction[w, b]))
                others, length = box_with_room(state.pose[w, b], state.direction[w, b], other.length, ahead, soon)
                if overlap(place, needed, me.width, others, length, other.width):
                    return True
            elif overlaps_off_log(buffers, state, slot, w, b, row, me, substep):
                return True
    return False


@wp.func
def replay_reactive(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
):
    """As ``replay_agent``, and keep the arc length on the path; an agent that cannot appear stays absent."""
    waits = state.phase[w, a] == int(Phase.KEPT_OUT) and not state.valid[w, a]
    if not waits:
        replay_agent(buffers, state, slot, w, a, substep)
    state.path_s[w, a] = logged_at(buffers, state, slot, w, a, substep).s
