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
