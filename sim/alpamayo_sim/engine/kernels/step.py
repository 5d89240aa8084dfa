# mypy: ignore-errors
"""The engine's step on the device: launches over [world, agent].

``change_lanes``, ``steer`` and ``decide`` read the state of all at time t and set what the simulated want; ``drive``,
``move`` and ``advance`` move each agent from its own row alone; ``assess`` (in ``assess.py``) looks at the result. Rare
and long work has launches of its own, so that the others stay short, and on a CPU a thread runs over all agents of
its world, since its start costs more than an agent does. No thread reads what another writes in the same
launch, so the same scenario gives the same bits in whatever batch and on however many threads.
"""

from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.kernels.assess import POSES, start_on_route
from alpamayo_sim.engine.kernels.dynamics import drive_ego
from alpamayo_sim.engine.kernels.layout import Features, Fixed, Mode, Slot, State
from alpamayo_sim.engine.kernels.paths import along_arc
from alpamayo_sim.engine.kernels.pedestrians import step_out
from alpamayo_sim.engine.kernels.replay import (
    log_of,
    react,
    recorded_controls,
    replay_agent,
    replay_ego,
    replay_reactive,
)
from alpamayo_sim.engine.kernels.scripts import begin_manoeuvres, follow_script, place_on_path, wanted_acceleration
from alpamayo_sim.engine.kernels.traffic_vehicles import (
    TURNS,
    is_turn,
    move_traffic_vehicle,
    start_traffic_vehicle,
    steer_traffic_vehicle,
    think_of_changing,
)
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

NOWHERE = wp.constant(layout.NOWHERE)
SPEEDS = wp.constant(layout.SEEN_SPEED)
LENGTHS = wp.constant(layout.SEEN_LENGTH)


@wp.func
def time_at(state: State, slot: Slot, w: wp.int32, substep: wp.int32) -> wp.float32:
    """Time (s) at the start of a substep of the step that has begun; of the one after the last, its end."""
    if substep == slot.substeps:
        return wp.float32(state.step[w] + 1) * slot.dt
    return wp.float32(state.step[w]) * slot.dt + wp.float32(substep) * slot.tick


@wp.func
def show(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32):
    """What others look at of an agent, in one row; one that is not there is far away."""
    me = fixed.agents[slot.agent_row + a]
    place = wp.vec2(NOWHERE, NOWHERE)
    if state.valid[w, a]:
        place = wp.vec2(state.pose[w, a][0], state.pose[w, a][1])
    turned = state.direction[w, a]
    speed = wp.length(state.velocity[w, a]) / SPEEDS
    radius = 0.5 * wp.sqrt(me.length * me.length + me.width * me.width)
    state.seen[w, a] = Features(
        place[0], place[1], turned[0], turned[1], speed, me.length / LENGTHS, me.width / LENGTHS, radius
    )


@wp.func
def drives(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32) -> wp.bool:
    """Whether an agent is a traffic vehicle that is there."""
    return fixed.agents[slot.agent_row + a].mode == int(Mode.TRAFFIC_VEHICLE) and state.valid[w, a]


@wp.kernel
def change_lanes(fixed: Fixed, state: State, active: wp.array[wp.bool], substep: wp.int32):
    """Traffic vehicles whose turn it is may begin to change lanes; one thread for the vehicles that share a turn."""
    w, turn = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    time = time_at(state, slot, w, substep)
    if not is_turn(turn, time, slot.tick):
        return
    for a in range(turn, slot.agents, TURNS):
        if drives(fixed, state, slot, w, a):
            think_of_changing(fixed, state, slot, w, a, time)


@wp.kernel
def steer(fixed: Fixed, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32):
    """Decide for each traffic vehicle from the state of all at the start of the substep; one thread per strand."""
    w, a = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    while a < slot.agents:
        if drives(fixed, state, slot, w, a):
            steer_traffic_vehicle(fixed, state, slot, w, a)
        a += strands


@wp.kernel
def move(fixed: Fixed, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32):
    """Move each traffic vehicle over one substep, from its own row alone; a thread does a strand."""
    w, a = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    time = time_at(state, slot, w, substep + 1)
    while a < slot.agents:
        if fixed.agents[slot.agent_row + a].mode == int(Mode.TRAFFIC_VEHICLE):
            if state.valid[w, a]:
                if substep == 0:
                    state.before[w, a] = state.pose[w, a]
                move_traffic_vehicle(fixed, state, slot, w, a, time)
            if substep + 1 == slot.substeps:
                show(fixed, state, slot, w, a)
        a += strands


@wp.func
def decide_one(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, substep: wp.int32):
    """What one agent that has a script, goes on foot or reacts does in the coming substep."""
    mode = fixed.agents[slot.agent_row + a].mode
    if mode == int(Mode.SCRIPT) or mode == int(Mode.FOLLOW):
        begin_manoeuvres(fixed, state, slot, w, a, time_at(state, slot, w, substep))
        state.command[w, a] = wanted_acceleration(fixed, state, slot, w, a)
    elif mode == int(Mode.WALKER):
        step_out(fixed, state, slot, w, a)
    elif mode == int(Mode.REACTIVE):
        react(fixed, state, slot, w, a, substep)


@wp.kernel
def decide(fixed: Fixed, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32):
    """What all others do in the coming substep, from the state of all at its start; a thread does a strand."""
    w, first = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if not active[w] or substep >= slot.substeps:
        return
    a = slot.egos + first
    while a < slot.agents:
        if state.valid[w, a]:
            decide_one(fixed, state, slot, w, a, substep)
        a += strands


@wp.kernel
def drive(
    fixed: Fixed,
    state: State,
    controls: wp.array2d[wp.vec2],
    replayed: wp.array2d[wp.bool],
    active: wp.array[wp.bool],
    substep: wp.int32,
):
    """Move each ego over one substep, from its own row alone."""
    w, e = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if e >= slot.egos or not active[w] or substep >= slot.substeps:
        return
    if substep == 0:
        state.before[w, e] = state.pose[w, e]
        if e == 0:
            state.now[w] = state.step[w] + 1
    if replayed[w, e]:
        replay_ego(fixed, state, slot, w, e, substep + 1)
    else:
        drive_ego(fixed, state, slot, w, e, controls[w, e])
    if substep + 1 == slot.substeps:
        show(fixed, state, slot, w, e)


@wp.func
def advance_one(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, mode: wp.int32, substep: wp.int32):
    """Move one agent that is neither ego nor traffic vehicle over one substep."""
    there = state.valid[w, a]
    if substep == 0:
        state.before[w, a] = state.pose[w, a]
    if mode == int(Mode.REPLAY):
        replay_agent(fixed, state, slot, w, a, substep + 1)
    elif mode == int(Mode.REACTIVE) and state.next_manoeuvre[w, a] == 0:
        replay_reactive(fixed, state, slot, w, a, substep + 1)
    elif mode != int(Mode.PROP) and there:
        follow_script(fixed, state, slot, w, a, time_at(state, slot, w, substep + 1))
    if mode == int(Mode.REACTIVE):
        state.phase[w, a] = state.next_manoeuvre[w, a]
    if not there:
        state.before[w, a] = state.pose[w, a]
    if substep + 1 == slot.substeps:
        show(fixed, state, slot, w, a)


@wp.kernel
def advance(fixed: Fixed, state: State, active: wp.array[wp.bool], substep: wp.int32, strands: wp.int32):
    """Move all others over one substep, each from its own row alone; a thread does a strand."""
    w, first = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if not active[w] or substep >= slot.substeps:
        return
    a = slot.egos + first
    while a < slot.agents:
        mode = fixed.agents[slot.agent_row + a].mode
        if mode != int(Mode.TRAFFIC_VEHICLE):
            advance_one(fixed, state, slot, w, a, mode, substep)
        a += strands


@wp.func
def start_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32):
    """An ego at step 0 as recorded, with a past at constant speed and curvature."""
    row = fixed.logs[log_of(fixed, slot, e, 0)]
    controls = recorded_controls(fixed, slot, e, 0)
    car = fixed.vehicles[slot.vehicle_row]
    speed = wp.length(row.velocity)
    state.valid[w, e] = True
    state.pose[w, e] = row.pose
    state.direction[w, e] = row.direction
    state.velocity[w, e] = row.velocity
    state.speed[w, e] = speed
    state.acceleration[w, e] = controls[0]
    state.curvature[w, e] = controls[1]
    state.actuators[w, e] = wp.vec2(controls[0], wp.atan(car.wheelbase * controls[1]))
    state.slip[w, e] = wp.vec2(0.0, speed * controls[1])
    for k in range(1, POSES):
        past = along_arc(row.pose, -speed * slot.dt * wp.float32(k), controls[1])
        state.history[w, e, POSES - k] = wp.vec4(past[0], past[1], past[2], speed)
    start_on_route(fixed, state, slot, w, e)


@wp.func
def forget_ego(state: State, w: wp.int32, e: wp.int32):
    """What is known of an ego that is not there."""
    state.acceleration[w, e] = 0.0
    state.curvature[w, e] = 0.0
    state.slip[w, e] = wp.vec2(0.0, 0.0)
    state.actuators[w, e] = wp.vec2(0.0, 0.0)
    state.progress[w, e] = 0.0
    state.route_s[w, e] = 0.0
    state.route_segment[w, e] = 0
    state.lateral_offset[w, e] = 0.0
    state.margin[w, e] = 0.0
    state.collided[w, e] = False
    state.arrived[w, e] = False
    state.time_to_collision[w, e] = 0.0
    state.ego_lane[w, e] = -1
    state.lane_offset[w, e] = 0.0
    state.speed_limit[w, e] = 0.0
    state.wrong_way[w, e] = False
    state.red_lights[w, e] = 0


@wp.func
def forget_contact(state: State, w: wp.int32, e: wp.int32, a: wp.int32):
    """No contact of an ego with an agent yet."""
    state.touched[w, e, a] = -1
    state.hit_time[w, e, a] = -1.0
    state.hit_pose[w, e, a] = wp.vec3(0.0, 0.0, 0.0)
    state.hit_velocity[w, e, a] = wp.vec2(0.0, 0.0)
    state.hit_ego[w, e, a] = wp.vec3(0.0, 0.0, 0.0)
    state.hit_ego_velocity[w, e, a] = wp.vec2(0.0, 0.0)


@wp.func
def forget_lanes(state: State, w: wp.int32, a: wp.int32):
    """On no lane, and not changing."""
    state.lane[w, a] = -1
    state.lane_from[w, a] = -1
    state.lane_behind[w, a] = -1
    state.changed_at[w, a] = -1.0e3
    state.waiting[w, a] = 0.0
    state.stopped_at[w, a] = -1
    state.spot_lanes[w, a] = wp.vec4i(-1, -1, -1, -1)
    state.spot_s[w, a] = wp.vec4(0.0, 0.0, 0.0, 0.0)
    state.spot_half[w, a] = 0.0
    state.spot_speed[w, a] = 0.0
    state.row_agent[w, a] = a
    state.row_lane[w, a] = -1
    state.row_s[w, a] = 0.0
    state.rank[w, a] = a
    state.on_crosswalk[w, a] = -1


@wp.kernel
def begin(fixed: Fixed, state: State, active: wp.array[wp.bool]):
    """Everybody at step 0."""
    w, a = wp.tid()
    if not active[w]:
        return
    slot = fixed.slots[fixed.slot_of[w]]
    if a == 0:
        state.step[w] = 0
        state.now[w] = 0
    for e in range(state.touched.shape[1]):
        forget_contact(state, w, e, a)
    if a < state.progress.shape[1]:
        forget_ego(state, w, a)
    state.valid[w, a] = False
    state.pose[w, a] = wp.vec3(0.0, 0.0, 0.0)
    state.direction[w, a] = wp.vec2(1.0, 0.0)
    state.velocity[w, a] = wp.vec2(0.0, 0.0)
    state.speed[w, a] = 0.0
    state.command[w, a] = 0.0
    state.path_s[w, a] = 0.0
    state.next_manoeuvre[w, a] = 0
    state.manoeuvre_at[w, a] = 0.0
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
    forget_lanes(state, w, a)
    if a >= slot.agents:
        return
    me = fixed.agents[slot.agent_row + a]
    state.path_row[w, a] = me.path_row
    state.path_points[w, a] = me.path_points
    if me.mode == int(Mode.EGO):
        start_ego(fixed, state, slot, w, a)
    elif me.mode == int(Mode.REPLAY):
        replay_agent(fixed, state, slot, w, a, 0)
    elif me.mode == int(Mode.REACTIVE):
        replay_reactive(fixed, state, slot, w, a, 0)
    elif me.mode == int(Mode.PROP):
        state.valid[w, a] = True
        state.pose[w, a] = wp.vec3(me.x, me.y, me.heading)
        state.direction[w, a] = wp.vec2(wp.cos(me.heading), wp.sin(me.heading))
    elif me.mode == int(Mode.TRAFFIC_VEHICLE):
        start_traffic_vehicle(fixed, state, slot, w, a)
    else:
        state.valid[w, a] = True
        state.speed[w, a] = me.speed
        state.target_speed[w, a] = me.speed
        place_on_path(fixed, state, slot, w, a)
    state.before[w, a] = state.pose[w, a]
    show(fixed, state, slot, w, a)
