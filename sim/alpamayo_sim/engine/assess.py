# mypy: ignore-errors
"""What the state means: contacts, drivable margin, progress along the route, arrival, history."""

from alpamayo_sim.engine.boxes import overlap, record_hit
from alpamayo_sim.engine.layout import HISTORY, MARGIN_RANGE, Fixed, Slot, State
from alpamayo_sim.engine.paths import foot_on
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

ARRIVAL_TOLERANCE = wp.constant(0.1)
RANGE = wp.constant(MARGIN_RANGE)
POSES = wp.constant(HISTORY)


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


@wp.func
def project_on_route(
    fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32, back: wp.float32, ahead: wp.float32
):
    """Foot of an ego on its route within a window about the last one, so that crossing parts do not attract it."""
    ego = fixed.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    last = first + ego.route_points - 1
    point = wp.vec2(state.pose[w, e][0], state.pose[w, e][1])
    s = state.route_s[w, e]
    i = wp.int32(first + state.route_segment[w, e])
    while i > first and fixed.routes[i][3] > s - back:
        i -= 1
    best = wp.vec3(s, 0.0, 1.0e6)
    found = wp.int32(i)
    while i < last:
        foot = foot_on(fixed.routes, i, point, 0.0)
        if foot[2] < best[2]:
            best = foot
            found = i
        i += 1
        if fixed.routes[i][3] > s + ahead:
            i = last
    state.route_s[w, e] = best[0]
    state.route_segment[w, e] = found - first
    state.lateral_offset[w, e] = best[1]


@wp.func
def start_on_route(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32):
    """First projection: the nearest part of the whole route, where going the other way costs up to 10 m."""
    ego = fixed.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    pose = state.pose[w, e]
    best = wp.vec3(0.0, 0.0, 0.0)
    least = wp.float32(1.0e6)
    found = wp.int32(0)
    for i in range(ego.route_points - 1):
        foot = foot_on(fixed.routes, first + i, wp.vec2(pose[0], pose[1]), 0.0)
        step = fixed.routes[first + i + 1] - fixed.routes[first + i]
        cost = foot[2] + 5.0 * (1.0 - wp.cos(wp.atan2(step[1], step[0]) - pose[2]))
        if cost < least:
            least = cost
            best = foot
            found = i
    state.route_s[w, e] = best[0]
    state.route_segment[w, e] = found
    state.lateral_offset[w, e] = best[1]
    state.progress[w, e] = best[0]


@wp.func
def find_contacts(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32):
    """Which agents an ego's box overlaps now, and how it came to the first contact with each."""
    me = fixed.agents[slot.agent_row + e]
    pose = state.pose[w, e]
    now = state.now[w]
    collided = wp.bool(False)
    for a in range(slot.agents):
        if a != e and state.valid[w, a]:
            other = fixed.agents[slot.agent_row + a]
            if overlap(pose, me.length, me.width, state.pose[w, a], other.length, other.width):
                collided = True
                state.touched[w, e, a] = now
                if state.hit_time[w, e, a] < 0.0:
                    record_hit(fixed, state, slot, w, e, a, wp.float32(now) * slot.dt)
    state.collided[w, e] = collided


@wp.kernel
def assess(fixed: Fixed, state: State, active: wp.array[wp.bool]):
    """What the state means for each ego: contacts, margin, progress, arrival, history."""
    w, e = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if e >= slot.egos or not active[w]:
        return
    me = fixed.agents[slot.agent_row + e]
    pose = state.pose[w, e]
    now = state.now[w]
    if e == 0:
        state.step[w] = now
    find_contacts(fixed, state, slot, w, e)
    state.history[w, e, now % POSES] = wp.vec4(pose[0], pose[1], pose[2], state.speed[w, e])
    state.margin[w, e] = worst_corner(fixed, slot, pose, me.length, me.width)
    if now > 0:
        project_on_route(fixed, state, slot, w, e, 10.0, 20.0 + 2.0 * state.speed[w, e] * slot.dt)
    progress = wp.max(state.progress[w, e], state.route_s[w, e])
    state.progress[w, e] = progress
    state.arrived[w, e] = progress >= fixed.egos[slot.ego_row + e].goal - ARRIVAL_TOLERANCE
