# mypy: ignore-errors
"""Evaluation of each ego: contacts, time to collision, drivable margin, rules, progress, history."""

from alpamayo_sim import geometry
from alpamayo_sim.engine.kernels.box_contacts import record_hit, time_to_overlap
from alpamayo_sim.engine.kernels.ego_rules import count_red_lights, update_lane
from alpamayo_sim.engine.kernels.grids import cell_of, drivable_margin, list_border, list_lanes, list_pieces
from alpamayo_sim.engine.kernels.layout import (
    FEATURE_LENGTH,
    HISTORY,
    TTC_HORIZON,
    Agent,
    Features,
    ScenarioBuffers,
    ScenarioSlot,
)
from alpamayo_sim.engine.kernels.levels import agents_share_height
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.map import frenet
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

ARRIVAL_TOLERANCE_M = wp.constant(0.1)
HISTORY_POSES = wp.constant(HISTORY)
TTC_HORIZON_S = wp.constant(TTC_HORIZON)
LENGTH_COLUMN = wp.constant(FEATURE_LENGTH)
PASS_TOLERANCE_M = wp.constant(geometry.PASS_TOLERANCE_M)
PASS_LENGTH_M = wp.constant(geometry.PASS_LENGTH_M)
OPPOSITE_COST_M = wp.constant(frenet.OPPOSITE_COST_M)


@wp.func
def corner_of(state: State, w: wp.int32, e: wp.int32, length: wp.float32, width: wp.float32, k: wp.int32) -> wp.vec2:
    """Return corner ``k`` of an ego's box: front left, front right, rear left, rear right."""
    pose = state.pose[w, e]
    direction = state.direction[w, e]
    x = wp.where(k < 2, 0.5 * length, -0.5 * length)
    y = wp.where(k % 2 == 0, 0.5 * width, -0.5 * width)
    return wp.vec2(pose[0] + x * direction[0] - y * direction[1], pose[1] + x * direction[1] + y * direction[0])


@wp.kernel
def fill_grid_cells(buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool]):
    """Make the missing lists of the cells that ``evaluate_egos`` and observations will read."""
    w, e = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if e >= slot.egos or not active[w]:
        return
    me = buffers.agents[slot.agent_row + e]
    if slot.borders > 0:
        k = wp.int32(0)
        while k < 4:
            cell = cell_of(slot.border_grid, corner_of(state, w, e, me.length, me.width, k))
            if buffers.cells[slot.border_grid.cell_row + cell] == 0:
                list_border(buffers, slot, cell)
            k += 1
    place = wp.vec2(state.pose[w, e][0], state.pose[w, e][1])
    if slot.centres > 0:
        cell = cell_of(slot.centre_grid, place)
        if buffers.cells[slot.centre_grid.cell_row + cell] == 0:
            list_lanes(buffers, slot, cell)
    if slot.pieces > 0:
        cell = cell_of(slot.piece_grid, place)
        if buffers.cells[slot.piece_grid.cell_row + cell] == 0:
            list_pieces(buffers, slot, cell)


@wp.func
def least_corner_margin(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, me: Agent
) -> wp.float32:
    """Return the least drivable margin (m) of the four corners of an ego's box."""
    least = wp.float32(1.0e6)
    k = wp.int32(0)
    while k < 4:
        least = wp.min(
            least, drivable_margin(buffers, slot, corner_of(state, w, e, me.length, me.width, k), state.elevation[w, e])
        )
        k += 1
    return least


@wp.func
def foot_on_route(buffers: ScenarioBuffers, i: wp.int32, point: wp.vec2) -> wp.vec3:
    """Return the foot of a point on a route segment: arc length, a number with the offset's sign, squared distance."""
    a = buffers.routes[i]
    along = buffers.route_directions[i]
    away = wp.vec2(point[0] - a[0], point[1] - a[1])
    t = wp.clamp(wp.dot(away, along), 0.0, buffers.routes[i + 1][3] - a[3])
    gap = away - t * along
    return wp.vec3(a[3] + t, along[0] * away[1] - along[1] * away[0], wp.dot(gap, gap))


@wp.func
def project_on_route(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    e: wp.int32,
    back: wp.float32,
    ahead: wp.float32,
):
    """Project an ego on its route within a window about the last foot point, which excludes crossing parts."""
    ego = buffers.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    last = first + ego.route_points - 1
    point = wp.vec2(state.pose[w, e][0], state.pose[w, e][1])
    s = state.route_s[w, e]
    i = wp.int32(first + state.route_segment[w, e])
    while i > first and buffers.routes[i][3] > s - back:
        i -= 1
    best = wp.vec3(s, 0.0, 1.0e12)
    found = wp.int32(i)
    while i < last and buffers.routes[i][3] <= s + ahead:
        foot = foot_on_route(buffers, i, point)
        if foot[2] < best[2]:
            best = foot
            found = i
        i += 1
    state.route_s[w, e] = best[0]
    state.route_segment[w, e] = found - first
    state.lateral_offset[w, e] = wp.where(best[1] < 0.0, -wp.sqrt(best[2]), wp.sqrt(best[2]))


@wp.func
def first_place_cost(
    buffers: ScenarioBuffers, state: State, w: wp.int32, e: wp.int32, i: wp.int32, point: wp.vec2
) -> wp.float32:
    """Return the distance (m) from an ego to a route segment; the opposite direction costs up to 10 m more."""
    turned = 1.0 - wp.dot(buffers.route_directions[i], state.direction[w, e])
    return wp.sqrt(foot_on_route(buffers, i, point)[2]) + OPPOSITE_COST_M * turned


@wp.func
def project_first_on_route(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32):
    """Project an ego on the whole route for the first time; of equal places the first one along the route counts."""
    ego = buffers.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    pose = state.pose[w, e]
    point = wp.vec2(pose[0], pose[1])
    best = wp.vec3(0.0, 0.0, 0.0)
    least = wp.float32(1.0e6)
    i = wp.int32(0)
    while i < ego.route_points - 1:
        least = wp.min(least, first_place_cost(buffers, state, w, e, first + i, point))
        i += 1
    found = wp.int32(0)
    enough = least + PASS_TOLERANCE_M
    end = wp.float32(1.0e6)
    least = wp.float32(1.0e6)
    i = wp.int32(0)
    while i < ego.route_points - 1 and buffers.routes[first + i][3] < end:
        cost = first_place_cost(buffers, state, w, e, first + i, point)
        if cost <= enough and end == 1.0e6:
            end = buffers.routes[first + i + 1][3] + PASS_LENGTH_M + wp.sqrt(2.0 * enough)
        if cost < least and cost <= enough:
            least = cost
            best = foot_on_route(buffers, first + i, point)
            found = i
        i += 1
    state.route_s[w, e] = best[0]
    state.route_segment[w, e] = found
    state.lateral_offset[w, e] = wp.where(best[1] < 0.0, -wp.sqrt(best[2]), wp.sqrt(best[2]))
    state.progress[w, e] = best[0]


@wp.func
def check_contact(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, a: wp.int32
) -> wp.float32:
    """Return the time (s) to the collision of an ego with an agent; record a contact."""
    if not agents_share_height(buffers, state, slot, w, e, a):
        return TTC_HORIZON_S
    me = state.features[w, e]
    other = state.features[w, a]
    time = time_to_overlap(
        wp.vec2(other[0] - me[0], other[1] - me[1]),
        state.velocity[w, a] - state.velocity[w, e],
        wp.vec2(me[2], me[3]),
        LENGTH_COLUMN * wp.vec2(me[5], me[6]),
        wp.vec2(other[2], other[3]),
        LENGTH_COLUMN * wp.vec2(other[5], other[6]),
    )
    if time == 0.0:
        now = state.next_step[w]
        state.collided[w, e] = True
        state.last_contact_step[w, e, a] = now
        if state.contact_time[w, e, a] < 0.0:
            record_hit(buffers, state, slot, w, e, a, wp.float32(now) * slot.dt)
    return time


@wp.func_native("""
    const float* other = (const float*)wp::address(seen, first);
    const float* its = (const float*)wp::address(velocities, first);
    unsigned int near = 0;
    for (int k = 0; k < count; ++k) {
        const float dx = other[8 * k] - me[0], dy = other[8 * k + 1] - me[1];
        const float vx = its[2 * k] - velocity[0], vy = its[2 * k + 1] - velocity[1];
        const float reach = me[7] + other[8 * k + 7], squared = vx * vx + vy * vy;
        const float closing = dx * vx + dy * vy, passing = dx * vy - dy * vx, margin = reach * sqrtf(squared);
        const bool now = dx * dx + dy * dy <= reach * reach;
        const bool later = (closing < 0.0f) & (passing <= margin) & (-passing <= margin)
            & (-closing - margin < within * squared);
        near |= (unsigned int)(now | later) << k;
    }
    return near;
""")
def circles_near(
    me: Features,
    velocity: wp.vec2,
    seen: wp.array[Features],
    velocities: wp.array[wp.vec2],
    first: wp.int32,
    count: wp.int32,
    within: wp.float32,
) -> wp.uint32:
    """Return a bit for each of at most 32 agents: whether its circle overlaps the ego's circle ``within`` (s)."""
    ...


@wp.func
def update_contacts(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32):
    """Update the contacts of an ego, and the time to its first collision at constant velocities.

    Two boxes are checked if the circles about them overlap now, or will before the first collision known so far.
    """
    least = wp.float32(TTC_HORIZON_S)
    state.collided[w, e] = False
    first = wp.int32(0)
    while first < slot.agents:
        count = wp.min(slot.agents - first, 32)
        near = circles_near(
            state.features[w, e], state.velocity[w, e], state.features[w], state.velocity[w], first, count, least
        )
        a = wp.int32(first)
        while near != wp.uint32(0):
            if (near & wp.uint32(1)) != wp.uint32(0) and a != e:
                least = wp.min(least, check_contact(buffers, state, slot, w, e, a))
            near = near >> wp.uint32(1)
            a += 1
        first += count
    state.time_to_collision[w, e] = least


@wp.kernel
def evaluate_egos(buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool]):
    """Evaluate the state for each ego: contacts, lane, history, drivable margin, red lights, progress."""
    w, e = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if e >= slot.egos or not active[w]:
        return
    me = buffers.agents[slot.agent_row + e]
    pose = state.pose[w, e]
    now = state.next_step[w]
    if e == 0:
        state.step[w] = now
    update_contacts(buffers, state, slot, w, e)
    update_lane(buffers, state, slot, w, e)
    state.history[w, e, now % HISTORY_POSES] = wp.vec4(pose[0], pose[1], pose[2], state.speed[w, e])
    state.drivable_margin[w, e] = least_corner_margin(buffers, state, slot, w, e, me)
    if now > 0:
        count_red_lights(buffers, state, slot, w, e, me.length)
        project_on_route(buffers, state, slot, w, e, 10.0, 20.0 + 2.0 * state.speed[w, e] * slot.dt)
    progress = wp.max(state.progress[w, e], state.route_s[w, e])
    state.progress[w, e] = progress
    state.arrived[w, e] = progress >= buffers.egos[slot.ego_row + e].goal - ARRIVAL_TOLERANCE_M
