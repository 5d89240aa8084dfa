# mypy: ignore-errors
"""Scripted agents: triggers, manoeuvres, and motion along a path with a lateral offset."""

from alpamayo_sim.datatypes.scenario import TriggerKind
from alpamayo_sim.engine.kernels.car_following import default_idm, idm, leader_on_path, red_on_path
from alpamayo_sim.engine.kernels.dynamics import arc_length_of
from alpamayo_sim.engine.kernels.layout import ManoeuvreRow, Mode, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import elevation_at
from alpamayo_sim.engine.kernels.paths import foot_on, path_at, segment_at, wrapped
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp


@wp.func
def is_triggered(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    row: ManoeuvreRow,
    time: wp.float32,
) -> wp.bool:
    """Return whether a manoeuvre's trigger holds now."""
    pose = state.pose[w, a]
    ego = state.pose[w, 0]
    to_ego = wp.vec2(ego[0] - pose[0], ego[1] - pose[1])
    away = wp.vec2(ego[0], ego[1]) - row.point
    lengths = 0.5 * (buffers.agents[slot.agent_row + a].length + buffers.agents[slot.agent_row].length)
    if row.kind == int(TriggerKind.TIME):
        return time >= row.value - 1.0e-4
    if row.kind == int(TriggerKind.AFTER):
        return time >= state.manoeuvre_time[w, a] + row.value - 1.0e-4
    if row.kind == int(TriggerKind.EGO_DISTANCE):
        return wp.length(away) <= row.value
    if row.kind == int(TriggerKind.EGO_ARRIVAL):
        return wp.length(away) <= row.value * wp.max(state.speed[w, 0], 0.1)
    if row.kind == int(TriggerKind.EGO_GAP):
        ahead = wp.cos(pose[2]) * to_ego[0] + wp.sin(pose[2]) * to_ego[1]
        return ahead >= -row.value and ahead <= lengths
    if row.kind == int(TriggerKind.EGO_FASTER):
        return state.speed[w, 0] >= row.value
    if row.kind == int(TriggerKind.EGO_SLOWER):
        return state.speed[w, 0] <= row.value
    if row.kind == int(TriggerKind.TIME_TO_COLLISION):
        distance = wp.length(to_ego)
        closing = wp.dot(to_ego, state.velocity[w, a] - state.velocity[w, 0]) / wp.max(distance, 1.0e-3)
        return closing > 0.0 and distance - lengths <= row.value * closing
    if row.kind == int(TriggerKind.EGO_IN_REGION):
        along = wp.cos(row.value) * away[0] + wp.sin(row.value) * away[1]
        across = wp.cos(row.value) * away[1] - wp.sin(row.value) * away[0]
        return wp.abs(along) <= 0.5 * row.size[0] and wp.abs(across) <= 0.5 * row.size[1]
    return True


@wp.func
def shift_to(state: State, w: wp.int32, a: wp.int32, time: wp.float32, duration: wp.float32, lateral: wp.float32):
    """Begin a smooth shift from the present offset to another one."""
    state.shift_start[w, a] = time
    state.shift_duration[w, a] = duration
    state.shift_from[w, a] = state.lateral[w, a]
    state.shift_rate[w, a] = state.lateral_rate[w, a]
    state.shift_to[w, a] = lateral


@wp.func
def switch_path(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, row: ManoeuvreRow
):
    """Take another path from the place on it that is nearest, with the offset that it now has from there."""
    pose = state.pose[w, a]
    first = slot.path_row + row.path_row
    best = wp.vec3(0.0, 0.0, 1.0e6)
    for i in range(row.path_points - 1):
        foot = foot_on(buffers.paths, first + i, wp.vec2(pose[0], pose[1]), 0.0)
        if foot[2] < best[2]:
            best = foot
    on = path_at(buffers.paths, first, row.path_points, best[0])
    v = state.velocity[w, a]
    state.path_row[w, a] = row.path_row
    state.path_points[w, a] = row.path_points
    state.path_s[w, a] = best[0]
    state.lateral[w, a] = wp.cos(on[2]) * (pose[1] - on[1]) - wp.sin(on[2]) * (pose[0] - on[0])
    state.lateral_rate[w, a] = wp.cos(on[2]) * v[1] - wp.sin(on[2]) * v[0]


@wp.func
def start_triggered_manoeuvres(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, time: wp.float32
):
    """Start the manoeuvres whose turn it is and whose trigger holds."""
    me = buffers.agents[slot.agent_row + a]
    turn = state.next_manoeuvre[w, a]
    waiting = wp.bool(True)
    while turn < me.manoeuvres and waiting:
        row = buffers.manoeuvres[slot.manoeuvre_row + me.manoeuvre_row + turn]
        if is_triggered(buffers, state, slot, w, a, row, time):
            state.manoeuvre_time[w, a] = time
            if row.has_speed != 0:
                state.target_speed[w, a] = row.speed
                state.target_rate[w, a] = row.acceleration
            if row.path_points > 0:
                switch_path(buffers, state, slot, w, a, row)
                shift_to(state, w, a, time, row.duration, 0.0)
            if row.has_lateral != 0:
                shift_to(state, w, a, time, row.duration, row.lateral)
            turn += 1
        else:
            waiting = False
    state.next_manoeuvre[w, a] = turn


@wp.func
def scripted_acceleration(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32
) -> wp.float32:
    """Return the acceleration towards the target speed at the manoeuvre's rate; a follower also keeps its distance."""
    speed = state.speed[w, a]
    target = state.target_speed[w, a]
    rate = state.target_rate[w, a]
    commanded = wp.clamp((target - speed) / slot.substep_dt, -rate, rate)
    if buffers.agents[slot.agent_row + a].mode == int(Mode.SCRIPT):
        return commanded
    style = default_idm()
    leader = leader_on_path(buffers, state, slot, w, a)
    followed = wp.min(
        idm(style, speed, target, leader[0], speed - leader[1]),
        idm(style, speed, target, red_on_path(buffers, state, slot, w, a), speed),
    )
    if target < speed:
        return wp.min(followed, commanded)
    return followed


@wp.func
def shift_sideways(state: State, w: wp.int32, a: wp.int32, time: wp.float32):
    """Update the lateral offset and its rate: a quintic that starts at the present rate and ends at rest."""
    duration = state.shift_duration[w, a]
    if duration <= 0.0:
        return
    x = wp.max((time - state.shift_start[w, a]) / duration, 0.0)
    if x >= 1.0:
        state.lateral[w, a] = state.shift_to[w, a]
        state.lateral_rate[w, a] = 0.0
        state.shift_duration[w, a] = 0.0
        return
    v = state.shift_rate[w, a] * duration
    d = state.shift_to[w, a] - state.shift_from[w, a] - v
    c3 = 10.0 * d + 4.0 * v
    c4 = -15.0 * d - 7.0 * v
    c5 = 6.0 * d + 3.0 * v
    state.lateral[w, a] = state.shift_from[w, a] + x * (v + x * x * (c3 + x * (c4 + x * c5)))
    state.lateral_rate[w, a] = (v + x * x * (3.0 * c3 + x * (4.0 * c4 + x * 5.0 * c5))) / duration


@wp.func
def set_on_path(state: State, w: wp.int32, a: wp.int32, on: wp.vec3):
    """Write pose and velocity at a lateral offset from a pose of the path; the heading follows the motion."""
    c = wp.cos(on[2])
    s = wp.sin(on[2])
    speed = state.speed[w, a]
    rate = state.lateral_rate[w, a]
    lateral = state.lateral[w, a]
    heading = wrapped(on[2])
    direction = wp.vec2(c, s)
    if rate != 0.0 or heading != on[2]:
        heading = wrapped(on[2] + wp.atan2(rate, wp.max(speed, 1.0)))
        direction = wp.vec2(wp.cos(heading), wp.sin(heading))
    state.pose[w, a] = wp.vec3(on[0] - lateral * s, on[1] + lateral * c, heading)
    state.direction[w, a] = direction
    state.velocity[w, a] = wp.vec2(speed * c - rate * s, speed * s + rate * c)


@wp.func
def place_on_path(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Place a scripted agent at its arc length."""
    first = slot.path_row + state.path_row[w, a]
    s = state.path_s[w, a]
    i = first + segment_at(buffers.paths, first, state.path_points[w, a], s)
    set_on_path(state, w, a, path_at(buffers.paths, first, state.path_points[w, a], s))
    state.elevation[w, a] = elevation_at(buffers.paths, buffers.path_elevations, i, s)


@wp.func
def follow_script(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, time: wp.float32
):
    """Move an agent along its path; it vanishes when it passes the end, and stays if it stops there."""
    speed = state.speed[w, a]
    acceleration = state.commanded_acceleration[w, a]
    s = state.path_s[w, a] + arc_length_of(speed, acceleration, slot.substep_dt)
    speed = wp.max(speed + acceleration * slot.substep_dt, 0.0)
    end = buffers.paths[slot.path_row + state.path_row[w, a] + state.path_points[w, a] - 1][3]
    if s > end and speed > 0.0:
        state.valid[w, a] = False
    state.speed[w, a] = speed
    state.path_s[w, a] = wp.min(s, end)
    shift_sideways(state, w, a, time)
    place_on_path(buffers, state, slot, w, a)
