# mypy: ignore-errors
"""The engine's step on the device: launches over [world, agent].

The ``plan_*`` kernels read the state of all agents at time t and write what each simulated agent intends. The
``step_*`` kernels move each agent from its own row alone. ``evaluate_egos`` (``ego_evaluation.py``) then rates the
result. Rare and long work has its own launches, so that the other launches stay short. On a CPU one thread loops over
all agents of a world, because starting a thread costs more than an agent. No thread reads what another thread writes
in the same launch: the same scenario gives the same bits in any batch and with any number of threads.
"""

from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.kernels.dynamics import step_ego
from alpamayo_sim.engine.kernels.ego_evaluation import HISTORY_POSES, project_first_on_route
from alpamayo_sim.engine.kernels.layout import Features, Mode, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import elevation_at
from alpamayo_sim.engine.kernels.paths import along_arc, segment_at
from alpamayo_sim.engine.kernels.pedestrians import plan_walker
from alpamayo_sim.engine.kernels.replay import (
    Phase,
    cannot_appear,
    log_of,
    logged_controls,
    plan_reactive,
    replay_agent,
    replay_ego,
    replay_reactive,
)
from alpamayo_sim.engine.kernels.scripts import (
    follow_script,
    place_on_path,
    scripted_acceleration,
    start_triggered_manoeuvres,
)
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.engine.kernels.traffic_vehicles import (
    DECISION_GROUPS,
    consider_lane_change,
    is_due,
    move_traffic_vehicle,
    plan_traffic_vehicle,
    start_traffic_vehicle,
)
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

ABSENT_POSITION_M = wp.constant(layout.ABSENT_POSITION_M)
BESIDE_ROUTE_M = wp.constant(8.0)  # further away the ground is not that of the route
SPEED_COLUMN = wp.constant(layout.FEATURE_SPEED)
LENGTH_COLUMN = wp.constant(layout.FEATURE_LENGTH)


@wp.func
def time_at(state: State, slot: ScenarioSlot, w: wp.int32, substep: wp.int32) -> wp.float32:
    """Return the time (s) at the start of a substep of the present step; after the last substep, at the step's end."""
    if substep == slot.substeps:
        return wp.float32(state.step[w] + 1) * slot.dt
    return wp.float32(state.step[w]) * slot.dt + wp.float32(substep) * slot.substep_dt


@wp.func
def write_features(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write the row of features of an agent that others read; an absent agent is far away."""
    me = buffers.agents[slot.agent_row + a]
    place = wp.vec2(ABSENT_POSITION_M, ABSENT_POSITION_M)
    if state.valid[w, a]:
        place = wp.vec2(state.pose[w, a][0], state.pose[w, a][1])
    turned = state.direction[w, a]
    speed = wp.length(state.velocity[w, a]) / SPEED_COLUMN
    radius = 0.5 * wp.sqrt(me.length * me.length + me.width * me.width)
    state.features[w, a] = Features(
        place[0], place[1], turned[0], turned[1], speed, me.length / LENGTH_COLUMN, me.width / LENGTH_COLUMN, radius
    )


@wp.func
def is_traffic_vehicle(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32) -> wp.bool:
    """Return whether an agent is a traffic vehicle and present."""
    return buffers.agents[slot.agent_row + a].mode == int(Mode.TRAFFIC_VEHICLE) and state.valid[w, a]


@wp.kernel
def plan_lane_changes(buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32):
    """Let the traffic vehicles that are due start lane changes; one thread for the vehicles that share a turn."""
    w, turn = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    time = time_at(state, slot, w, substep)
    if not is_due(turn, time, slot.substep_dt):
        return
    for a in range(turn, slot.agents, DECISION_GROUPS):
        if is_traffic_vehicle(buffers, state, slot, w, a):
            consider_lane_change(buffers, state, slot, w, a, time)


@wp.kernel
def plan_traffic(
    buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32
):
    """Plan each traffic vehicle from the state of all agents at the start of the substep; one thread per strand."""
    w, a = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    while a < slot.agents:
        if is_traffic_vehicle(buffers, state, slot, w, a):
            plan_traffic_vehicle(buffers, state, slot, w, a)
        a += strands


@wp.kernel
def step_traffic(
    buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32
):
    """Move each traffic vehicle over one substep, from its own row alone; one thread per strand."""
    w, a = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    time = time_at(state, slot, w, substep + 1)
    while a < slot.agents:
        if buffers.agents[slot.agent_row + a].mode == int(Mode.TRAFFIC_VEHICLE):
            if state.valid[w, a]:
                if substep == 0:
                    state.previous_pose[w, a] = state.pose[w, a]
                move_traffic_vehicle(buffers, state, slot, w, a, time)
            if substep + 1 == slot.substeps:
                write_features(buffers, state, slot, w, a)
        a += strands


@wp.func
def plan_one_scripted(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, substep: wp.int32
):
    """Plan the coming substep of an agent with a script, a walker, or a reactive agent."""
    mode = buffers.agents[slot.agent_row + a].mode
    if mode == int(Mode.SCRIPT) or mode == int(Mode.FOLLOW):
        start_triggered_manoeuvres(buffers, state, slot, w, a, time_at(state, slot, w, substep))
        state.commanded_acceleration[w, a] = scripted_acceleration(buffers, state, slot, w, a)
    elif mode == int(Mode.WALKER):
        plan_walker(buffers, state, slot, w, a)
    elif mode == int(Mode.REACTIVE) and state.path_points[w, a] > 0:
        plan_reactive(buffers, state, slot, w, a, substep)


@wp.kernel
def plan_scripted(
    buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32
):
    """Plan the coming substep of all other agents from the state of all at its start; one thread per strand."""
    w, first = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if not active[w] or substep >= slot.substeps:
        return
    a = slot.egos + first
    while a < slot.agents:
        if state.valid[w, a]:
            plan_one_scripted(buffers, state, slot, w, a, substep)
        elif buffers.agents[slot.agent_row + a].mode == int(Mode.REACTIVE) and state.next_manoeuvre[w, a] == 0:
            out = cannot_appear(buffers, state, slot, w, a, substep)
            state.phase[w, a] = wp.where(out, int(Phase.KEPT_OUT), int(Phase.REPLAYS))
        a += strands


@wp.func
def ego_elevation(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32) -> wp.float32:
    """Return the z (m) of the ground under an ego: that of its route near it, else that of its lane."""
    if wp.abs(state.lateral_offset[w, e]) > BESIDE_ROUTE_M:
        return state.lane_elevation[w, e]
    ego = buffers.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    s = state.route_s[w, e] + state.speed[w, e] * slot.dt
    i = first + segment_at(buffers.routes, first, ego.route_points, s)
    return elevation_at(buffers.routes, buffers.route_elevations, i, s)


@wp.kernel
def step_egos(
    buffers: ScenarioBuffers,
    state: State,
    controls: wp.array2d[wp.vec2],
    replayed: wp.array2d[wp.bool],
    active: wp.array[wp.bool],
    substep: wp.int32,
):
    """Move each ego over one substep, from its own row alone."""
    w, e = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if e >= slot.egos or not active[w] or substep >= slot.substeps:
        return
    if substep == 0:
        state.previous_pose[w, e] = state.pose[w, e]
        if e == 0:
            state.next_step[w] = state.step[w] + 1
    if replayed[w, e]:
        replay_ego(buffers, state, slot, w, e, substep + 1)
    else:
        step_ego(buffers, state, slot, w, e, controls[w, e])
        state.elevation[w, e] = ego_elevation(buffers, state, slot, w, e)
    if substep + 1 == slot.substeps:
        write_features(buffers, state, slot, w, e)


@wp.func
def step_one_scripted(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    a: wp.int32,
    mode: wp.int32,
    substep: wp.int32,
):
    """Move one agent that is neither ego nor traffic vehicle over one substep."""
    there = state.valid[w, a]
    if substep == 0:
        state.previous_pose[w, a] = state.pose[w, a]
    if mode == int(Mode.REPLAY):
        replay_agent(buffers, state, slot, w, a, substep + 1)
    elif mode == int(Mode.REACTIVE) and state.next_manoeuvre[w, a] == 0:
        replay_reactive(buffers, state, slot, w, a, substep + 1)
    elif mode != int(Mode.PROP) and there:
        follow_script(buffers, state, slot, w, a, time_at(state, slot, w, substep + 1))
    if mode == int(Mode.REACTIVE) and state.next_manoeuvre[w, a] == 1:
        state.phase[w, a] = int(Phase.REACTS)
    if not there:
        state.previous_pose[w, a] = state.pose[w, a]
    if substep + 1 == slot.substeps:
        write_features(buffers, state, slot, w, a)


@wp.kernel
def step_scripted(
    buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32
):
    """Move all other agents over one substep, each from its own row alone; one thread per strand."""
    w, first = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if not active[w] or substep >= slot.substeps:
        return
    a = slot.egos + first
    while a < slot.agents:
        mode = buffers.agents[slot.agent_row + a].mode
        if mode != int(Mode.TRAFFIC_VEHICLE):
            step_one_scripted(buffers, state, slot, w, a, mode, substep)
        a += strands


@wp.func
def start_ego(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32):
    """Place an ego at step 0 as recorded, with a history of constant speed and curvature."""
    row = buffers.logs[log_of(buffers, slot, e, 0)]
    controls = logged_controls(buffers, slot, e, 0)
    car = buffers.vehicles[slot.vehicle_row]
    speed = wp.length(row.velocity)
    state.valid[w, e] = True
    state.pose[w, e] = row.pose
    state.elevation[w, e] = row.elevation
    state.lane_elevation[w, e] = row.elevation
    state.direction[w, e] = row.direction
    state.velocity[w, e] = row.velocity
    state.speed[w, e] = speed
    state.acceleration[w, e] = controls[0]
    state.curvature[w, e] = controls[1]
    state.actuators[w, e] = wp.vec2(controls[0], wp.atan(car.wheelbase * controls[1]))
    state.slip[w, e] = wp.vec2(0.0, speed * controls[1])
    for k in range(1, HISTORY_POSES):
        past = along_arc(row.pose, -speed * slot.dt * wp.float32(k), controls[1])
        state.history[w, e, HISTORY_POSES - k] = wp.vec4(past[0], past[1], past[2], speed)
    project_first_on_route(buffers, state, slot, w, e)


@wp.func
def clear_ego(state: State, w: wp.int32, e: wp.int32):
    """Reset the values of an ego."""
    state.acceleration[w, e] = 0.0
    state.curvature[w, e] = 0.0
    state.slip[w, e] = wp.vec2(0.0, 0.0)
    state.actuators[w, e] = wp.vec2(0.0, 0.0)
    state.progress[w, e] = 0.0
    state.route_s[w, e] = 0.0
    state.route_segment[w, e] = 0
    state.lateral_offset[w, e] = 0.0
    state.drivable_margin[w, e] = 0.0
    state.collided[w, e] = False
    state.arrived[w, e] = False
    state.time_to_collision[w, e] = 0.0
    state.ego_lane[w, e] = -1
    state.lane_offset[w, e] = 0.0
    state.lane_elevation[w, e] = 0.0
    state.speed_limit[w, e] = 0.0
    state.wrong_way[w, e] = False
    state.red_lights[w, e] = 0


@wp.func
def clear_contact(state: State, w: wp.int32, e: wp.int32, a: wp.int32):
    """Reset the contacts of an ego with an agent."""
    state.last_contact_step[w, e, a] = -1
    state.contact_time[w, e, a] = -1.0
    state.contact_pose[w, e, a] = wp.vec3(0.0, 0.0, 0.0)
    state.contact_velocity[w, e, a] = wp.vec2(0.0, 0.0)
    state.contact_ego_pose[w, e, a] = wp.vec3(0.0, 0.0, 0.0)
    state.contact_ego_velocity[w, e, a] = wp.vec2(0.0, 0.0)


@wp.func
def clear_lanes(state: State, w: wp.int32, a: wp.int32):
    """Reset the lane position of an agent."""
    state.lane[w, a] = -1
    state.departed_lane[w, a] = -1
    state.previous_lane[w, a] = -1
    state.lane_change_time[w, a] = -1.0e3
    state.waiting_time[w, a] = 0.0
    state.stopped_lane[w, a] = -1
    state.lane_indices[w, a] = wp.vec4i(-1, -1, -1, -1)
    state.lane_s[w, a] = wp.vec4(0.0, 0.0, 0.0, 0.0)
    state.lane_half_length[w, a] = 0.0
    state.lane_speed[w, a] = 0.0
    state.order_agent[w, a] = a
    state.order_lane[w, a] = -1
    state.order_s[w, a] = 0.0
    state.order_rank[w, a] = a
    state.on_crosswalk[w, a] = -1


@wp.func
def reset_agent(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Put an agent, or a row without one, to step 0."""
    for e in range(state.last_contact_step.shape[1]):
        clear_contact(state, w, e, a)
    if a < state.progress.shape[1]:
        clear_ego(state, w, a)
    state.valid[w, a] = False
    state.pose[w, a] = wp.vec3(0.0, 0.0, 0.0)
    state.elevation[w, a] = 0.0
    state.direction[w, a] = wp.vec2(1.0, 0.0)
    state.velocity[w, a] = wp.vec2(0.0, 0.0)
    state.speed[w, a] = 0.0
    state.commanded_acceleration[w, a] = 0.0
    state.path_s[w, a] = 0.0
    state.next_manoeuvre[w, a] = 0
    state.manoeuvre_time[w, a] = 0.0
    state.phase[w, a] = 0
    state.path_row[w, a] = 0
    state.path_points[w, a] = 0
    state.target_speed[w, a] = 0.0
    state.target_rate[w, a] = 2.0
    state.lateral[w, a] = 0.0
    state.lateral_rate[w, a] = 0.0
    state.shift_start[w, a] = 0.0
    state.shift_duration[w, a] = 0.0
    state.shift_from[w, a] = 0.0
    state.shift_rate[w, a] = 0.0
    state.shift_to[w, a] = 0.0
    clear_lanes(state, w, a)
    if a >= slot.agents:
        return
    me = buffers.agents[slot.agent_row + a]
    state.path_row[w, a] = me.path_row
    state.path_points[w, a] = me.path_points
    if me.mode == int(Mode.EGO):
        start_ego(buffers, state, slot, w, a)
    elif me.mode == int(Mode.REPLAY):
        replay_agent(buffers, state, slot, w, a, 0)
    elif me.mode == int(Mode.REACTIVE):
        replay_reactive(buffers, state, slot, w, a, 0)
    elif me.mode == int(Mode.PROP):
        state.valid[w, a] = True
        state.pose[w, a] = wp.vec3(me.x, me.y, me.heading)
        state.elevation[w, a] = me.elevation
        state.direction[w, a] = wp.vec2(wp.cos(me.heading), wp.sin(me.heading))
    elif me.mode == int(Mode.TRAFFIC_VEHICLE):
        start_traffic_vehicle(buffers, state, slot, w, a)
    else:
        state.valid[w, a] = True
        state.speed[w, a] = me.speed
        state.target_speed[w, a] = me.speed
        place_on_path(buffers, state, slot, w, a)
    state.previous_pose[w, a] = state.pose[w, a]
    write_features(buffers, state, slot, w, a)


@wp.kernel
def reset_agents(buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], strands: wp.int32):
    """Put all agents of the active worlds to step 0; one thread per strand."""
    w, a = wp.tid()
    if not active[w]:
        return
    if a == 0:
        state.step[w] = 0
        state.next_step[w] = 0
    slot = buffers.slots[buffers.slot_of[w]]
    while a < state.pose.shape[1]:
        reset_agent(buffers, state, slot, w, a)
        a += strands
