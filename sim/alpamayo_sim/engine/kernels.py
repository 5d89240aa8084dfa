# mypy: ignore-errors
"""The engine's step on the device: three launches over [world, agent], and the tracker over [world].

``decide`` reads the state of all at time t and sets what the scripted want; ``advance`` moves each agent from its
own row alone; ``assess`` looks at the result. No thread reads what another writes in the same launch, so the same
scenario gives the same bits in whatever batch and on however many threads.
"""

import math

from alpamayo_sim.engine.layout import HISTORY, MARGIN_RANGE, Fixed, Mode, Slot, State
from alpamayo_sim.scenario import TriggerKind
from alpamayo_sim.scene import SignalState
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

PI = wp.constant(math.pi)
GRAVITY = wp.constant(9.81)
MAX_ACCELERATION = wp.constant(4.0)
MAX_DECELERATION = wp.constant(9.0)
MAX_CURVATURE = wp.constant(0.25)
ARRIVAL_TOLERANCE = wp.constant(0.1)
RANGE = wp.constant(MARGIN_RANGE)
POSES = wp.constant(HISTORY)

IDM_ACCELERATION = wp.constant(1.5)  # Treiber, Hennecke and Helbing 2000
IDM_DECELERATION = wp.constant(2.0)
IDM_HEADWAY = wp.constant(1.5)
IDM_GAP = wp.constant(2.0)
IDM_HARDEST = wp.constant(8.0)
IDM_HORIZON = wp.constant(80.0)
IDM_SIDE = wp.constant(0.2)


@wp.func
def wrapped(angle: wp.float32) -> wp.float32:
    """Angle (rad) in [-pi, pi)."""
    return angle - 2.0 * PI * wp.floor((angle + PI) / (2.0 * PI))


@wp.func
def arc_length_of(speed: wp.float32, acceleration: wp.float32, dt: wp.float32) -> wp.float32:
    """Way (m) of constant acceleration that ends at a standstill."""
    if speed + acceleration * dt < 0.0:
        return -0.5 * speed * speed / acceleration
    return wp.max(speed * dt + 0.5 * acceleration * dt * dt, 0.0)


@wp.func
def along_arc(pose: wp.vec3, way: wp.float32, curvature: wp.float32) -> wp.vec3:
    """Pose after ``way`` (m) on a circle: the exact chord, in the mean heading."""
    half = 0.5 * way * curvature
    chord = way * (1.0 - half * half / 6.0)
    if wp.abs(half) > 0.02:
        chord = way * wp.sin(half) / half
    return wp.vec3(
        pose[0] + chord * wp.cos(pose[2] + half),
        pose[1] + chord * wp.sin(pose[2] + half),
        wrapped(pose[2] + 2.0 * half),
    )


@wp.func
def segment_at(paths: wp.array[wp.vec4], first: wp.int32, points: wp.int32, s: wp.float32) -> wp.int32:
    """Segment of a path that holds arc length ``s``, by bisection."""
    low = wp.int32(0)
    high = wp.int32(points - 1)
    while high - low > 1:
        middle = (low + high) / 2
        if paths[first + middle][3] <= s:
            low = middle
        else:
            high = middle
    return low


@wp.func
def path_at(paths: wp.array[wp.vec4], first: wp.int32, points: wp.int32, s: wp.float32) -> wp.vec3:
    """Pose on a path at arc length ``s``, clamped to its ends; the heading is linear between the points."""
    i = first + segment_at(paths, first, points, s)
    a = paths[i]
    b = paths[i + 1]
    t = wp.clamp((s - a[3]) / (b[3] - a[3]), 0.0, 1.0)
    c = a + t * (b - a)
    return wp.vec3(c[0], c[1], c[2])


@wp.func
def foot_on(paths: wp.array[wp.vec4], i: wp.int32, point: wp.vec2, low: wp.float32) -> wp.vec3:
    """Foot of a point on segment ``i``, not before arc length ``low``: arc length, signed offset, distance."""
    a = paths[i]
    b = paths[i + 1]
    length = b[3] - a[3]
    along = wp.vec2((b[0] - a[0]) / length, (b[1] - a[1]) / length)
    away = wp.vec2(point[0] - a[0], point[1] - a[1])
    t = wp.clamp(wp.dot(away, along), wp.clamp(low - a[3], 0.0, length), length)
    left = along[0] * away[1] - along[1] * away[0]
    gap = away - t * along
    distance = wp.length(gap)
    return wp.vec3(a[3] + t, wp.where(left < 0.0, -distance, distance), distance)


@wp.func
def overlap(
    a: wp.vec3, length_a: wp.float32, width_a: wp.float32, b: wp.vec3, length_b: wp.float32, width_b: wp.float32
) -> wp.bool:
    """Whether two oriented boxes overlap (separating-axis theorem); touching counts."""
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    reach = 0.5 * (length_a + width_a + length_b + width_b)
    if dx * dx + dy * dy > reach * reach:
        return False
    ca = wp.cos(a[2])
    sa = wp.sin(a[2])
    cb = wp.cos(b[2])
    sb = wp.sin(b[2])
    c = wp.abs(ca * cb + sa * sb)
    s = wp.abs(ca * sb - sa * cb)
    if wp.abs(ca * dx + sa * dy) > 0.5 * (length_a + length_b * c + width_b * s):
        return False
    if wp.abs(ca * dy - sa * dx) > 0.5 * (width_a + length_b * s + width_b * c):
        return False
    if wp.abs(cb * dx + sb * dy) > 0.5 * (length_b + length_a * c + width_a * s):
        return False
    return wp.abs(cb * dy - sb * dx) <= 0.5 * (width_b + length_a * s + width_a * c)


@wp.func
def between(a: wp.vec3, b: wp.vec3, t: wp.float32) -> wp.vec3:
    """Pose at fraction ``t`` of the way from one to the other, the short way round."""
    return wp.vec3(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * wrapped(b[2] - a[2]))


@wp.func
def record_hit(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, time: wp.float32):
    """Find the moment within the step at which two boxes first touch, to a thousandth of it, and keep it."""
    me = fixed.agents[slot.agent_row + a]
    ego = fixed.agents[slot.agent_row]
    low = wp.float32(0.0)
    high = wp.float32(1.0)
    for _ in range(10):
        middle = 0.5 * (low + high)
        mine = between(state.before[w, a], state.pose[w, a], middle)
        egos = between(state.before[w, 0], state.pose[w, 0], middle)
        if overlap(egos, ego.length, ego.width, mine, me.length, me.width):
            high = middle
        else:
            low = middle
    state.hit_time[w, a] = wp.max(time - slot.dt * (1.0 - high), 0.0)
    state.hit_pose[w, a] = between(state.before[w, a], state.pose[w, a], high)
    state.hit_velocity[w, a] = state.velocity[w, a]
    state.hit_ego[w, a] = between(state.before[w, 0], state.pose[w, 0], high)
    state.hit_ego_velocity[w, a] = state.velocity[w, 0]


@wp.func
def drivable_margin(fixed: Fixed, slot: Slot, point: wp.vec2) -> wp.float32:
    """Signed distance (m) to the drivable area's border, clamped to +-4 m; +4 m where no area is known.

    Outside the grid, which reaches 4 m beyond the border, the margin is that of the nearest point of the grid.
    """
    if slot.cells_x == 0:
        return RANGE
    x = wp.clamp(wp.int32(wp.floor((point[0] - slot.corner[0]) / slot.cell_size)), 0, slot.cells_x - 1)
    y = wp.clamp(wp.int32(wp.floor((point[1] - slot.corner[1]) / slot.cell_size)), 0, slot.cells_y - 1)
    cell = fixed.cells[slot.cell_row + y * slot.cells_x + x]
    if cell.count == 0:
        return cell.sign * RANGE
    nearest = wp.float32(1.0e12)
    side = wp.float32(0.0)
    for k in range(cell.count):
        row = fixed.borders[slot.border_row + fixed.lists[slot.list_row + cell.first + k]]
        step = row.end - row.start
        away = point - row.start
        t = wp.dot(away, step) / wp.dot(step, step)
        normal = wp.vec2(-step[1], step[0])
        if t <= 0.0:
            normal = row.normal_start
        if t >= 1.0:
            normal = row.normal_end
        gap = away - wp.clamp(t, 0.0, 1.0) * step
        squared = wp.dot(gap, gap)
        if squared < nearest:
            nearest = squared
            side = wp.dot(gap, normal)
    distance = wp.min(wp.sqrt(nearest), RANGE)
    return wp.where(side < 0.0, -distance, distance)


@wp.func
def fired(
    kind: wp.int32,
    value: wp.float32,
    time: wp.float32,
    distance: wp.float32,
    ego_speed: wp.float32,
    ahead: wp.float32,
    beside: wp.float32,
) -> wp.bool:
    """Whether a trigger holds now."""
    if kind == int(TriggerKind.TIME):
        return time >= value - 1.0e-4
    if kind == int(TriggerKind.EGO_DISTANCE):
        return distance <= value
    if kind == int(TriggerKind.EGO_ARRIVAL):
        return distance <= value * wp.max(ego_speed, 0.1)
    if kind == int(TriggerKind.EGO_GAP):
        return ahead >= -value and ahead <= beside
    return True


@wp.func
def idm(speed: wp.float32, wanted: wp.float32, gap: wp.float32, closing: wp.float32) -> wp.float32:
    """Acceleration (m/s²) of the intelligent driver model; ``closing`` is own speed less the leader's."""
    ratio = speed / wp.max(wanted, 0.1)
    desired = IDM_GAP + wp.max(
        speed * IDM_HEADWAY + 0.5 * speed * closing / wp.sqrt(IDM_ACCELERATION * IDM_DECELERATION), 0.0
    )
    near = desired / wp.max(gap, 0.1)
    free = wp.max(1.0 - ratio * ratio * ratio * ratio, -IDM_DECELERATION / IDM_ACCELERATION)
    return wp.clamp(IDM_ACCELERATION * (free - near * near), -IDM_HARDEST, IDM_ACCELERATION)


@wp.func
def bounds_ahead(
    paths: wp.array[wp.vec4], i: wp.int32, last: wp.int32, end: wp.float32, pose: wp.vec3, along: wp.vec2
) -> wp.vec4:
    """Box about a path from segment ``i`` to arc length ``end``, seen from a pose: least and most x, then y."""
    box = wp.vec4(0.0, 0.0, 0.0, 0.0)
    going = wp.bool(True)
    while going:
        dx = paths[i][0] - pose[0]
        dy = paths[i][1] - pose[1]
        x = along[0] * dx + along[1] * dy
        y = along[0] * dy - along[1] * dx
        box = wp.vec4(wp.min(box[0], x), wp.max(box[1], x), wp.min(box[2], y), wp.max(box[3], y))
        going = i < last and paths[i][3] <= end
        i += 1
    return box


@wp.func
def is_near(box: wp.vec4, along: wp.vec2, apart: wp.vec2, reach: wp.float32) -> wp.bool:
    """Whether a point that is ``apart`` from a pose is within ``reach`` of a box seen from that pose."""
    x = along[0] * apart[0] + along[1] * apart[1]
    y = along[0] * apart[1] - along[1] * apart[0]
    return x > box[0] - reach and x < box[1] + reach and y > box[2] - reach and y < box[3] + reach


@wp.func
def nearest_segment(
    paths: wp.array[wp.vec4], first: wp.int32, last: wp.int32, s: wp.float32, point: wp.vec2
) -> wp.int32:
    """The segment of a path, from arc length ``s`` to the horizon, that comes nearest to a point."""
    nearest = wp.int32(first)
    least = wp.float32(1.0e12)
    low = s
    i = wp.int32(first)
    a = paths[first]
    while i < last and a[3] <= s + IDM_HORIZON:
        b = paths[i + 1]
        length = b[3] - a[3]
        step = wp.vec2(b[0] - a[0], b[1] - a[1]) / length
        away = wp.vec2(point[0] - a[0], point[1] - a[1])
        gap = away - wp.clamp(wp.dot(away, step), low - a[3], length) * step
        squared = wp.dot(gap, gap)
        if squared < least:
            least = squared
            nearest = i
        low = b[3]
        a = b
        i += 1
    return nearest


@wp.func
def leader_on_path(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32) -> wp.vec2:
    """Gap (m) to the nearest box ahead within the agent's swept width, and that box' speed along the path."""
    me = fixed.agents[slot.agent_row + a]
    first = slot.path_row + me.path_row
    s = state.path_s[w, a]
    start = segment_at(fixed.paths, first, me.path_points, s)
    here = state.pose[w, a]
    along_me = state.direction[w, a]
    corridor = bounds_ahead(fixed.paths, first + start, first + me.path_points - 1, s + IDM_HORIZON, here, along_me)
    best = wp.vec2(1.0e6, 0.0)
    for b in range(slot.agents):
        pose = state.pose[w, b]
        other = fixed.agents[slot.agent_row + b]
        reach = 0.5 * (me.width + other.length + other.width) + wp.abs(state.lateral[w, a]) + IDM_SIDE
        far = best[0] + 0.5 * (me.length + other.length + other.width) + reach + wp.abs(state.lateral[w, a])
        apart = wp.vec2(pose[0] - here[0], pose[1] - here[1])
        could = b != a and state.valid[w, b] and wp.dot(apart, apart) < far * far
        if could and is_near(corridor, along_me, apart, reach):
            point = wp.vec2(pose[0], pose[1])
            found = nearest_segment(fixed.paths, first + start, first + me.path_points - 1, s, point)
            foot = foot_on(fixed.paths, found, point, s)
            step = fixed.paths[found + 1] - fixed.paths[found]
            length = fixed.paths[found + 1][3] - fixed.paths[found][3]
            along = wp.vec2(step[0] / length, step[1] / length)
            turned = state.direction[w, b]
            c = wp.abs(turned[0] * along[0] + turned[1] * along[1])
            n = wp.abs(turned[1] * along[0] - turned[0] * along[1])
            side = 0.5 * (me.width + other.length * n + other.width * c) + IDM_SIDE
            gap = foot[0] - s - 0.5 * (me.length + other.length * c + other.width * n)
            beside = wp.abs(foot[1] - state.lateral[w, a])
            if foot[0] > s and beside < side and gap < best[0]:
                best = wp.vec2(gap, wp.dot(state.velocity[w, b], along))
    return best


@wp.func
def red_on_path(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32) -> wp.float32:
    """Gap (m) to the nearest stop line ahead whose signal shows red, or yellow that can still be obeyed."""
    me = fixed.agents[slot.agent_row + a]
    front = state.path_s[w, a] + 0.5 * me.length
    step = wp.min(state.step[w], slot.signal_steps - 1)
    best = wp.float32(1.0e6)
    for k in range(me.stops):
        stop = fixed.stops[slot.stop_row + me.stop_row + k]
        shown = fixed.signals[slot.signal_row + stop.signal * slot.signal_steps + step]
        gap = stop.s - front
        braking = state.speed[w, a] * state.speed[w, a] / (2.0 * wp.max(gap, 0.1))
        obeyed = shown == int(SignalState.RED) or (shown == int(SignalState.YELLOW) and braking < 3.0)
        if obeyed and gap > -0.5 and gap < best:
            best = gap
    return best


@wp.func
def begin_manoeuvres(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32):
    """Start the manoeuvres whose turn it is and whose trigger holds."""
    me = fixed.agents[slot.agent_row + a]
    pose = state.pose[w, a]
    ego = state.pose[w, 0]
    time = wp.float32(state.step[w]) * slot.dt
    ahead = wp.cos(pose[2]) * (ego[0] - pose[0]) + wp.sin(pose[2]) * (ego[1] - pose[1])
    beside = 0.5 * (me.length + fixed.agents[slot.agent_row].length)
    turn = state.next_manoeuvre[w, a]
    waiting = wp.bool(True)
    while turn < me.manoeuvres and waiting:
        row = fixed.manoeuvres[slot.manoeuvre_row + me.manoeuvre_row + turn]
        distance = wp.length(wp.vec2(ego[0], ego[1]) - row.point)
        if fired(row.kind, row.value, time, distance, state.speed[w, 0], ahead, beside):
            if row.has_speed != 0:
                state.target_speed[w, a] = row.speed
                state.target_rate[w, a] = row.acceleration
            if row.has_lateral != 0:
                state.shift_start[w, a] = time
                state.shift_duration[w, a] = row.duration
                state.shift_from[w, a] = state.lateral[w, a]
                state.shift_rate[w, a] = state.lateral_rate[w, a]
                state.shift_to[w, a] = row.lateral
            turn += 1
        else:
            waiting = False
    state.next_manoeuvre[w, a] = turn


@wp.func
def wanted_acceleration(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32) -> wp.float32:
    """Towards the target speed at the manoeuvre's rate; a follower also keeps its distance."""
    speed = state.speed[w, a]
    target = state.target_speed[w, a]
    rate = state.target_rate[w, a]
    told = wp.clamp((target - speed) / slot.dt, -rate, rate)
    if fixed.agents[slot.agent_row + a].mode == int(Mode.SCRIPT):
        return told
    leader = leader_on_path(fixed, state, slot, w, a)
    followed = wp.min(
        idm(speed, target, leader[0], speed - leader[1]),
        idm(speed, target, red_on_path(fixed, state, slot, w, a), speed),
    )
    if target < speed:
        return wp.min(followed, told)
    return followed


@wp.kernel
def decide(fixed: Fixed, state: State, active: wp.array[wp.bool]):
    """What each scripted agent does in the coming step, from the state of all at its start."""
    w, a = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if a == 0 or a >= slot.agents or not active[w] or not state.valid[w, a]:
        return
    mode = fixed.agents[slot.agent_row + a].mode
    if mode == int(Mode.SCRIPT) or mode == int(Mode.FOLLOW):
        begin_manoeuvres(fixed, state, slot, w, a)
        state.command[w, a] = wanted_acceleration(fixed, state, slot, w, a)


@wp.func
def log_of(fixed: Fixed, slot: Slot, a: wp.int32, step: wp.int32) -> wp.int32:
    """Row of an agent's recording."""
    return slot.log_row + fixed.agents[slot.agent_row + a].log_row + step


@wp.func
def drive_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, control: wp.vec2):
    """Bicycle model about the box centre: constant acceleration and curvature over the step, integrated exactly."""
    speed = state.speed[w, 0]
    grip = slot.friction * GRAVITY
    acceleration = wp.clamp(control[0], -wp.min(MAX_DECELERATION, grip), wp.min(MAX_ACCELERATION, grip))
    fastest = wp.max(speed, speed + acceleration * slot.dt)
    tightest = wp.min(MAX_CURVATURE, grip / wp.max(fastest * fastest, 1.0e-3))
    curvature = wp.clamp(control[1], -tightest, tightest)
    way = arc_length_of(speed, acceleration, slot.dt)
    pose = along_arc(state.pose[w, 0], way, curvature)
    reached = wp.max(speed + acceleration * slot.dt, 0.0)
    direction = wp.vec2(wp.cos(pose[2]), wp.sin(pose[2]))
    state.pose[w, 0] = pose
    state.direction[w, 0] = direction
    state.velocity[w, 0] = reached * direction
    state.speed[w, 0] = reached
    state.acceleration[w] = (reached - speed) / slot.dt
    state.curvature[w] = curvature


@wp.func
def replay_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, step: wp.int32):
    """The ego as recorded; beyond the recording it stands where that ends."""
    row = fixed.logs[log_of(fixed, slot, 0, wp.min(step, slot.steps - 1))]
    state.pose[w, 0] = row.pose
    state.direction[w, 0] = row.direction
    if step < slot.steps:
        controls = fixed.ego_controls[slot.ego_row + step]
        state.velocity[w, 0] = row.velocity
        state.speed[w, 0] = wp.length(row.velocity)
        state.acceleration[w] = controls[0]
        state.curvature[w] = controls[1]
    else:
        state.velocity[w, 0] = wp.vec2(0.0, 0.0)
        state.speed[w, 0] = 0.0
        state.acceleration[w] = 0.0
        state.curvature[w] = 0.0


@wp.func
def shift_sideways(state: State, w: wp.int32, a: wp.int32, time: wp.float32):
    """Lateral offset and its rate: the quintic that starts at the present rate and ends at rest."""
    duration = state.shift_duration[w, a]
    if duration <= 0.0:
        return
    x = wp.clamp((time - state.shift_start[w, a]) / duration, 0.0, 1.0)
    v = state.shift_rate[w, a] * duration
    d = state.shift_to[w, a] - state.shift_from[w, a] - v
    c3 = 10.0 * d + 4.0 * v
    c4 = -15.0 * d - 7.0 * v
    c5 = 6.0 * d + 3.0 * v
    state.lateral[w, a] = state.shift_from[w, a] + x * (v + x * x * (c3 + x * (c4 + x * c5)))
    state.lateral_rate[w, a] = (v + x * x * (3.0 * c3 + x * (4.0 * c4 + x * 5.0 * c5))) / duration


@wp.func
def place_on_path(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32):
    """Pose and velocity from arc length, speed and lateral offset; the heading follows the motion."""
    me = fixed.agents[slot.agent_row + a]
    on = path_at(fixed.paths, slot.path_row + me.path_row, me.path_points, state.path_s[w, a])
    c = wp.cos(on[2])
    s = wp.sin(on[2])
    speed = state.speed[w, a]
    rate = state.lateral_rate[w, a]
    lateral = state.lateral[w, a]
    turn = wp.atan2(rate, wp.max(speed, 1.0))
    heading = wrapped(on[2] + turn)
    state.pose[w, a] = wp.vec3(on[0] - lateral * s, on[1] + lateral * c, heading)
    state.direction[w, a] = wp.vec2(wp.cos(heading), wp.sin(heading))
    state.velocity[w, a] = wp.vec2(speed * c - rate * s, speed * s + rate * c)


@wp.func
def follow_script(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, time: wp.float32):
    """One step along the path; whoever drives past its end is gone, whoever stops there stays."""
    me = fixed.agents[slot.agent_row + a]
    speed = state.speed[w, a]
    acceleration = state.command[w, a]
    s = state.path_s[w, a] + arc_length_of(speed, acceleration, slot.dt)
    speed = wp.max(speed + acceleration * slot.dt, 0.0)
    end = fixed.paths[slot.path_row + me.path_row + me.path_points - 1][3]
    if s > end and speed > 0.0:
        state.valid[w, a] = False
    state.speed[w, a] = speed
    state.path_s[w, a] = wp.min(s, end)
    shift_sideways(state, w, a, time)
    place_on_path(fixed, state, slot, w, a)


@wp.func
def replay_agent(fixed: Fixed, state: State, slot: Slot, w: wp.int32, a: wp.int32, step: wp.int32):
    """An agent as recorded; it is absent where its row is not valid and beyond the recording."""
    state.valid[w, a] = False
    if step < slot.steps:
        row = fixed.logs[log_of(fixed, slot, a, step)]
        if row.valid != 0:
            state.valid[w, a] = True
            state.pose[w, a] = row.pose
            state.direction[w, a] = row.direction
            state.velocity[w, a] = row.velocity
            state.speed[w, a] = wp.length(row.velocity)


@wp.kernel
def advance(
    fixed: Fixed, state: State, controls: wp.array[wp.vec2], replayed: wp.array[wp.bool], active: wp.array[wp.bool]
):
    """Move each agent over one step, from its own row alone."""
    w, a = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if a >= slot.agents or not active[w]:
        return
    step = state.step[w] + 1
    mode = fixed.agents[slot.agent_row + a].mode
    there = state.valid[w, a]
    state.before[w, a] = state.pose[w, a]
    if mode == int(Mode.EGO):
        state.collided[w] = 0
        state.time[w] = wp.float32(step) * slot.dt
        if replayed[w]:
            replay_ego(fixed, state, slot, w, step)
        else:
            drive_ego(fixed, state, slot, w, controls[w])
    elif mode == int(Mode.REPLAY):
        replay_agent(fixed, state, slot, w, a, step)
    elif mode != int(Mode.PROP) and state.valid[w, a]:
        follow_script(fixed, state, slot, w, a, wp.float32(step) * slot.dt)
    if not there:
        state.before[w, a] = state.pose[w, a]


@wp.func
def project_on_route(fixed: Fixed, state: State, slot: Slot, w: wp.int32, back: wp.float32, ahead: wp.float32):
    """Foot of the ego on its route within a window about the last one, so that crossing parts do not attract it."""
    pose = state.pose[w, 0]
    point = wp.vec2(pose[0], pose[1])
    s = state.route_s[w]
    i = state.route_segment[w]
    while i > 0 and fixed.routes[slot.route_row + i][3] > s - back:
        i -= 1
    best = wp.vec3(s, 0.0, 1.0e6)
    found = wp.int32(i)
    while i < slot.route_points - 1:
        foot = foot_on(fixed.routes, slot.route_row + i, point, 0.0)
        if foot[2] < best[2]:
            best = foot
            found = i
        i += 1
        if fixed.routes[slot.route_row + i][3] > s + ahead:
            i = slot.route_points
    state.route_s[w] = best[0]
    state.route_segment[w] = found
    state.lateral_offset[w] = best[1]


@wp.func
def worst_corner(fixed: Fixed, slot: Slot, pose: wp.vec3, length: wp.float32, width: wp.float32) -> wp.float32:
    """Least drivable margin (m) of the four corners of a box."""
    forward = wp.vec2(0.5 * length * wp.cos(pose[2]), 0.5 * length * wp.sin(pose[2]))
    left = wp.vec2(-0.5 * width * wp.sin(pose[2]), 0.5 * width * wp.cos(pose[2]))
    centre = wp.vec2(pose[0], pose[1])
    front = wp.min(
        drivable_margin(fixed, slot, centre + forward + left), drivable_margin(fixed, slot, centre + forward - left)
    )
    rear = wp.min(
        drivable_margin(fixed, slot, centre - forward + left), drivable_margin(fixed, slot, centre - forward - left)
    )
    return wp.min(front, rear)


@wp.kernel
def assess(fixed: Fixed, state: State, active: wp.array[wp.bool], steps: wp.int32):
    """What the state means after ``steps`` (0 or 1) more steps: contacts, margin, progress, arrival, history."""
    w, a = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if a >= slot.agents or not active[w]:
        return
    me = fixed.agents[slot.agent_row + a]
    ego = fixed.agents[slot.agent_row]
    pose = state.pose[w, 0]
    if a > 0:
        touching = wp.bool(False)
        if state.valid[w, a]:
            touching = overlap(pose, ego.length, ego.width, state.pose[w, a], me.length, me.width)
        state.contact[w, a] = touching
        if touching:
            wp.atomic_max(state.collided, w, 1)
            if state.hit_time[w, a] < 0.0:
                record_hit(fixed, state, slot, w, a, state.time[w])
        return
    step = state.step[w] + steps
    state.step[w] = step
    state.history[w, step % POSES] = wp.vec4(pose[0], pose[1], pose[2], state.speed[w, 0])
    state.margin[w] = worst_corner(fixed, slot, pose, ego.length, ego.width)
    if steps > 0:
        project_on_route(fixed, state, slot, w, 10.0, 20.0 + 2.0 * state.speed[w, 0] * slot.dt)
    progress = wp.max(state.progress[w], state.route_s[w])
    state.progress[w] = progress
    state.arrived[w] = progress >= slot.goal - ARRIVAL_TOLERANCE


@wp.func
def start_on_route(fixed: Fixed, state: State, slot: Slot, w: wp.int32):
    """First projection: the nearest part of the whole route, where going the other way costs up to 10 m."""
    pose = state.pose[w, 0]
    best = wp.vec3(0.0, 0.0, 0.0)
    least = wp.float32(1.0e6)
    found = wp.int32(0)
    for i in range(slot.route_points - 1):
        foot = foot_on(fixed.routes, slot.route_row + i, wp.vec2(pose[0], pose[1]), 0.0)
        step = fixed.routes[slot.route_row + i + 1] - fixed.routes[slot.route_row + i]
        cost = foot[2] + 5.0 * (1.0 - wp.cos(wp.atan2(step[1], step[0]) - pose[2]))
        if cost < least:
            least = cost
            best = foot
            found = i
    state.route_s[w] = best[0]
    state.route_segment[w] = found
    state.lateral_offset[w] = best[1]
    state.progress[w] = best[0]


@wp.func
def start_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32):
    """The ego at step 0 as recorded, with a past at constant speed and curvature."""
    row = fixed.logs[log_of(fixed, slot, 0, 0)]
    controls = fixed.ego_controls[slot.ego_row]
    speed = wp.length(row.velocity)
    state.step[w] = 0
    state.time[w] = 0.0
    state.collided[w] = 0
    state.valid[w, 0] = True
    state.pose[w, 0] = row.pose
    state.direction[w, 0] = row.direction
    state.velocity[w, 0] = row.velocity
    state.speed[w, 0] = speed
    state.acceleration[w] = controls[0]
    state.curvature[w] = controls[1]
    for k in range(1, POSES):
        past = along_arc(row.pose, -speed * slot.dt * wp.float32(k), controls[1])
        state.history[w, POSES - k] = wp.vec4(past[0], past[1], past[2], speed)
    start_on_route(fixed, state, slot, w)


@wp.kernel
def begin(fixed: Fixed, state: State, active: wp.array[wp.bool]):
    """Everybody at step 0."""
    w, a = wp.tid()
    if not active[w]:
        return
    slot = fixed.slots[fixed.slot_of[w]]
    state.valid[w, a] = False
    state.contact[w, a] = False
    state.hit_time[w, a] = -1.0
    state.pose[w, a] = wp.vec3(0.0, 0.0, 0.0)
    state.direction[w, a] = wp.vec2(1.0, 0.0)
    state.velocity[w, a] = wp.vec2(0.0, 0.0)
    state.speed[w, a] = 0.0
    state.command[w, a] = 0.0
    state.path_s[w, a] = 0.0
    state.next_manoeuvre[w, a] = 0
    state.target_speed[w, a] = 0.0
    state.target_rate[w, a] = 2.0
    state.lateral[w, a] = 0.0
    state.lateral_rate[w, a] = 0.0
    state.shift_start[w, a] = 0.0
    state.shift_duration[w, a] = 0.0
    state.shift_from[w, a] = 0.0
    state.shift_rate[w, a] = 0.0
    state.shift_to[w, a] = 0.0
    if a >= slot.agents:
        return
    me = fixed.agents[slot.agent_row + a]
    if me.mode == int(Mode.EGO):
        start_ego(fixed, state, slot, w)
    elif me.mode == int(Mode.REPLAY):
        replay_agent(fixed, state, slot, w, a, 0)
    elif me.mode == int(Mode.PROP):
        state.valid[w, a] = True
        state.pose[w, a] = wp.vec3(me.x, me.y, me.heading)
        state.direction[w, a] = wp.vec2(wp.cos(me.heading), wp.sin(me.heading))
    else:
        state.valid[w, a] = True
        state.speed[w, a] = me.speed
        state.target_speed[w, a] = me.speed
        place_on_path(fixed, state, slot, w, a)
    state.before[w, a] = state.pose[w, a]
