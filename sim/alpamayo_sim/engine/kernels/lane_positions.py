# mypy: ignore-errors
# ruff: noqa: SIM102 (in a kernel `and` evaluates both sides)
"""Lane positions on the device: the lanes that each agent is on, its leaders and its followers.

Each agent has a lane position: up to four lanes with the arc length on each, the followed lane first. A traffic
vehicle knows its own (its lane, the lane that it leaves, the lane that its tail is still on); other agents are located
by the grid of the lane graph. ``step_traffic`` and ``sort_along_lanes`` write lane positions,
``plan_lane_changes`` and ``plan_traffic`` read them.
"""

from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine.kernels.layout import LANE_CELL_M, LaneRow, Mode, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import elevation_at, on_level
from alpamayo_sim.engine.kernels.paths import foot_on, segment_at
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

LEADER_RANGE_M = wp.constant(120.0)  # m; agents further ahead are ignored
MAX_SEARCH_LANES = wp.constant(8)  # lanes of a search
LANE_MARGIN_M = wp.constant(1.2)  # half a car and its lateral clearance
CELL_M = wp.constant(LANE_CELL_M)
NO_GAP_M = wp.constant(1.0e6)  # the gap without another agent


@wp.func
def lane_of(buffers: ScenarioBuffers, slot: ScenarioSlot, lane: wp.int32) -> LaneRow:
    """Return a lane's row."""
    return buffers.lanes[slot.lane_row + lane]


@wp.func
def next_lane(buffers: ScenarioBuffers, slot: ScenarioSlot, a: wp.int32, lane: wp.int32) -> wp.int32:
    """Return the lane that an agent takes at the end of a lane: a random turn that its seed decides; -1: none.

    The turn is the same at each call. Agents that are not traffic vehicles have seed 0.
    """
    row = lane_of(buffers, slot, lane)
    if row.successors == 0:
        return -1
    turn = wp.int32(0)
    if row.successors > 1:
        traffic_vehicle = buffers.agents[slot.agent_row + a].traffic_vehicle
        seed = wp.int32(0)
        if traffic_vehicle >= 0:
            seed = buffers.traffic_vehicles[slot.traffic_vehicle_row + traffic_vehicle].seed
        turn = wp.randi(wp.rand_init(seed, lane), 0, row.successors)
    return buffers.lane_links[slot.link_row + row.successor_row + turn]


@wp.func
def s_on_lane(lanes: wp.vec4i, s: wp.vec4, lane: wp.int32) -> wp.float32:
    """Return the arc length of a lane position on a lane; -1e6 if it is not on the lane."""
    if lanes[0] == lane:
        return s[0]
    if lanes[1] == lane:
        return s[1]
    if lanes[2] == lane:
        return s[2]
    if lanes[3] == lane:
        return s[3]
    return -NO_GAP_M


@wp.func
def before(lane: wp.int32, s: wp.float32, b: wp.int32, other_lane: wp.int32, other_s: wp.float32, other: wp.int32):
    """Return whether an agent precedes another one in the order by lane, arc length and number."""
    if lane != other_lane:
        return lane < other_lane
    if s != other_s:
        return s < other_s
    return b < other


@wp.func
def row_of(state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32) -> wp.int32:
    """Return the first row of the order that does not precede an agent at an arc length of a lane."""
    low = state.order_rank[w, a]
    if state.order_lane[w, low] == lane and state.order_s[w, low] == s:
        return low
    low = wp.int32(0)
    high = wp.int32(slot.agents)
    while low < high:
        middle = (low + high) / 2
        if before(state.order_lane[w, middle], state.order_s[w, middle], state.order_agent[w, middle], lane, s, a):
            low = middle + 1
        else:
            high = middle
    return low


@wp.func
def first_after(state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32) -> wp.vec2:
    """Return the number (-1: none) and the distance (m) of the nearest agent on a lane at or after ``s``."""
    nearest = wp.int32(-1)
    best = wp.float32(NO_GAP_M)
    k = row_of(state, slot, w, a, lane, s)
    if k < slot.agents:
        k += wp.where(state.order_agent[w, k] == a, 1, 0)
    if k < slot.agents:
        if state.order_lane[w, k] == lane:
            best = state.order_s[w, k] - s
            nearest = state.order_agent[w, k]
    for i in range(state.multi_lane_count[w]):
        b = state.multi_lane_agents[w, i]
        away = s_on_lane(state.lane_indices[w, b], state.lane_s[w, b], lane) - s
        if away >= 0.0 and (away < best or (away == best and b < nearest)) and (away > 0.0 or b > a) and b != a:
            best = away
            nearest = b
    return wp.vec2(wp.float32(nearest), best)


@wp.func
def last_before(state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32) -> wp.vec2:
    """Return the number (-1: none) and the distance (m) of the nearest agent on a lane at or before ``s``."""
    nearest = wp.int32(-1)
    best = wp.float32(NO_GAP_M)
    k = row_of(state, slot, w, a, lane, s) - 1
    if k >= 0:
        k -= wp.where(state.order_agent[w, k] == a, 1, 0)
    if k >= 0:
        if state.order_lane[w, k] == lane:
            best = s - state.order_s[w, k]
            nearest = state.order_agent[w, k]
    for i in range(state.multi_lane_count[w]):
        b = state.multi_lane_agents[w, i]
        away = s - s_on_lane(state.lane_indices[w, b], state.lane_s[w, b], lane)
        if away >= 0.0 and (away < best or (away == best and b > nearest)) and (away > 0.0 or b < a) and b != a:
            best = away
            nearest = b
    return wp.vec2(wp.float32(nearest), best)


@wp.func
def leader_on_lanes(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32
) -> wp.vec3:
    """Return gap (m), speed and number (-1: none) of the nearest box ahead on a lane and its following lanes."""
    row = lane_of(buffers, slot, lane)
    found = first_after(state, slot, w, a, lane, s)
    offset = row.length - s
    at = wp.int32(lane)
    hops = wp.int32(1)
    while found[0] < 0.0 and offset < LEADER_RANGE_M and hops < MAX_SEARCH_LANES and at >= 0:
        at = next_lane(buffers, slot, a, at)
        if at >= 0:
            found = first_after(state, slot, w, a, at, 0.0)
            found = wp.vec2(found[0], found[1] + offset)
            offset += lane_of(buffers, slot, at).length
            hops += 1
    b = wp.int32(found[0])
    if b < 0 or found[1] > LEADER_RANGE_M:
        return wp.vec3(NO_GAP_M, 0.0, -1.0)
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    return wp.vec3(found[1] - half - state.lane_half_length[w, b], state.lane_speed[w, b], found[0])


@wp.func
def distance_to_lane(
    buffers: ScenarioBuffers,
    state: State,
    slot: ScenarioSlot,
    w: wp.int32,
    b: wp.int32,
    lane: wp.int32,
    reach: wp.float32,
) -> wp.float32:
    """Return an agent's distance (m) to the start of a lane on its way, within ``reach``; else ``NO_GAP_M``."""
    at = state.lane_indices[w, b][0]
    if at < 0:
        return NO_GAP_M
    away = lane_of(buffers, slot, at).length - state.lane_s[w, b][0]
    hops = wp.int32(0)
    while away < reach and hops < MAX_SEARCH_LANES:
        at = next_lane(buffers, slot, b, at)
        if at < 0:
            return NO_GAP_M
        if at == lane:
            return away
        away += lane_of(buffers, slot, at).length
        hops += 1
    return NO_GAP_M


@wp.func
def follower_on_lanes(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, lane: wp.int32, s: wp.float32
) -> wp.vec2:
    """Return gap (m) and number (-1: none) of the next agent behind ``s`` on a lane or on the lanes before it."""
    found = last_before(state, slot, w, a, lane, s)
    nearest = wp.int32(found[0])
    best = found[1]
    if nearest < 0 and s < LEADER_RANGE_M and lane_of(buffers, slot, lane).predecessors > 0:
        for b in range(slot.agents):
            if b != a:
                away = s + distance_to_lane(buffers, state, slot, w, b, lane, LEADER_RANGE_M - s)
                if away < best:
                    best = away
                    nearest = b
    if nearest < 0 or best > LEADER_RANGE_M:
        return wp.vec2(NO_GAP_M, -1.0)
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    return wp.vec2(best - half - state.lane_half_length[w, nearest], wp.float32(nearest))


@wp.func
def s_on_neighbour(
    buffers: ScenarioBuffers, slot: ScenarioSlot, lane: wp.int32, s: wp.float32, other: wp.int32
) -> wp.float32:
    """Return the arc length on a neighbouring lane that is level with ``s`` on a lane."""
    row = lane_of(buffers, slot, lane)
    to = lane_of(buffers, slot, other)
    first = slot.lane_path_row + row.path_row
    i = first + segment_at(buffers.lane_paths, first, row.points, s)
    a = buffers.lane_paths[i]
    b = buffers.lane_paths[i + 1]
    on = a + (b - a) * ((s - a[3]) / (b[3] - a[3]))
    point = wp.vec2(on[0], on[1])
    best = wp.vec3(0.0, 0.0, NO_GAP_M)
    for k in range(to.points - 1):
        foot = foot_on(buffers.lane_paths, slot.lane_path_row + to.path_row + k, point, 0.0)
        if foot[2] < best[2]:
            best = foot
    return best[0]


@wp.func
def write_own_lanes(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write the lane position of a traffic vehicle from its own lanes."""
    lane = state.lane[w, a]
    s = state.path_s[w, a]
    half = 0.5 * buffers.agents[slot.agent_row + a].length
    lanes = wp.vec4i(lane, state.departed_lane[w, a], -1, -1)
    places = wp.vec4(s, s, 0.0, 0.0)
    if lanes[1] >= 0:
        share = lane_of(buffers, slot, lanes[1]).length / lane_of(buffers, slot, lane).length
        places = wp.vec4(s, s * share, 0.0, 0.0)
    behind = state.previous_lane[w, a]
    if behind >= 0 and s < half:
        lanes = wp.vec4i(lanes[0], lanes[1], behind, -1)
        places = wp.vec4(places[0], places[1], s + lane_of(buffers, slot, behind).length, 0.0)
    state.lane_indices[w, a] = lanes
    state.lane_s[w, a] = places
    state.lane_half_length[w, a] = half
    state.lane_speed[w, a] = state.speed[w, a]


@wp.func
def with_lane(lanes: wp.vec4i, places: wp.vec4, costs: wp.vec4, lane: wp.int32, s: wp.float32, cost: wp.float32):
    """Return a lane position with one more lane, in order of cost; the fifth lane is dropped."""
    for k in range(4):
        if cost < costs[k]:
            dropped = lanes[k]
            place = places[k]
            dear = costs[k]
            lanes[k] = lane
            places[k] = s
            costs[k] = cost
            lane = dropped
            s = place
            cost = dear
    return lanes, places, costs


@wp.func
def locate_on_lanes(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32):
    """Write the lane position of another agent: the lanes that its box reaches into, by distance and direction."""
    me = buffers.agents[slot.agent_row + a]
    pose = state.pose[w, a]
    lanes = wp.vec4i(-1, -1, -1, -1)
    places = wp.vec4(0.0, 0.0, 0.0, 0.0)
    costs = wp.vec4(NO_GAP_M, NO_GAP_M, NO_GAP_M, NO_GAP_M)
    x = wp.int32(wp.floor((pose[0] - slot.lane_corner[0]) / CELL_M))
    y = wp.int32(wp.floor((pose[1] - slot.lane_corner[1]) / CELL_M))
    half = 0.5 * me.length
    speed = state.speed[w, a]
    if state.valid[w, a] and x >= 0 and y >= 0 and x < slot.lane_cells_x and y < slot.lane_cells_y:
        cell = buffers.lane_cells[slot.lane_cell_row + y * slot.lane_cells_x + x]
        k = wp.int32(0)
        while k < cell.count:
            entry = buffers.lane_lists[slot.lane_list_row + cell.first + k]
            lane = entry[0]
            first = slot.lane_path_row + lane_of(buffers, slot, lane).path_row
            best = wp.vec3(0.0, 0.0, NO_GAP_M)
            nearest = wp.int32(first)
            going = wp.bool(True)
            while going:
                foot = foot_on(buffers.lane_paths, first + entry[1], wp.vec2(pose[0], pose[1]), 0.0)
                if foot[2] < best[2]:
                    best = foot
                    nearest = first + entry[1]
                k += 1
                going = k < cell.count
                if going:
                    entry = buffers.lane_lists[slot.lane_list_row + cell.first + k]
                    going = entry[0] == lane
            step = buffers.lane_paths[nearest + 1] - buffers.lane_paths[nearest]
            along = wp.normalize(wp.vec2(step[0], step[1]))
            c = wp.dot(state.direction[w, a], along)
            n = wp.sqrt(wp.max(1.0 - c * c, 0.0))
            ground = elevation_at(buffers.lane_paths, buffers.lane_elevations, nearest, best[0])
            level = on_level(slot, state.elevation[w, a], ground, ground)
            if level and best[2] < 0.5 * (me.length * n + me.width * wp.abs(c)) + LANE_MARGIN_M:
                cost = best[2] + 2.0 * (1.0 - c)
                if cost < costs[0]:
                    half = 0.5 * (me.length * wp.abs(c) + me.width * n)
                    speed = wp.dot(state.velocity[w, a], along)
                lanes, places, costs = with_lane(lanes, places, costs, lane, best[0], cost)
    state.lane_indices[w, a] = lanes
    state.lane_s[w, a] = places
    state.lane_half_length[w, a] = half
    state.lane_speed[w, a] = speed
    state.on_crosswalk[w, a] = -1
    if state.valid[w, a] and (me.category == int(Category.PEDESTRIAN) or me.category == int(Category.CYCLIST)):
        state.on_crosswalk[w, a] = crosswalk_of(buffers, state, slot, w, a)


@wp.func
def crosswalk_of(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32) -> wp.int32:
    """Return the crosswalk that an agent is on, will be on within a second, or waits at; -1: none."""
    here = wp.vec2(state.pose[w, a][0], state.pose[w, a][1])
    for k in range(slot.crosswalks):
        row = buffers.crosswalks[slot.crosswalk_row + k]
        for soon in range(2):
            away = here + wp.float32(soon) * state.velocity[w, a] - row.middle
            along = wp.dot(away, row.along)
            across = row.along[0] * away[1] - row.along[1] * away[0]
            if wp.abs(along) < row.half_length + 0.5 and wp.abs(across) < row.half_width:
                return k
    return -1


@wp.kernel
def sort_along_lanes(buffers: ScenarioBuffers, state: State, active: wp.array[wp.bool], substep: wp.int32):
    """Locate all agents but the traffic vehicles on the lanes, then sort all agents along the lanes.

    The order hardly changes from one substep to the next, so that insertion sort is fast.
    """
    w = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if slot.lanes == 0 or not active[w] or substep >= slot.substeps:
        return
    for a in range(slot.agents):
        if buffers.agents[slot.agent_row + a].mode != int(Mode.TRAFFIC_VEHICLE) or not state.valid[w, a]:
            locate_on_lanes(buffers, state, slot, w, a)
    straddling = wp.int32(0)
    for k in range(slot.agents):
        b = state.order_agent[w, k]
        lanes = state.lane_indices[w, b]
        lane = lanes[0]
        s = state.lane_s[w, b][0]
        i = wp.int32(k)
        going = wp.bool(k > 0)
        while going:
            going = before(lane, s, b, state.order_lane[w, i - 1], state.order_s[w, i - 1], state.order_agent[w, i - 1])
            if going:
                state.order_lane[w, i] = state.order_lane[w, i - 1]
                state.order_s[w, i] = state.order_s[w, i - 1]
                state.order_agent[w, i] = state.order_agent[w, i - 1]
                i -= 1
                going = i > 0
        state.order_lane[w, i] = lane
        state.order_s[w, i] = s
        state.order_agent[w, i] = b
    for k in range(slot.agents):
        b = state.order_agent[w, k]
        state.order_rank[w, b] = k
        if state.lane_indices[w, b][1] >= 0 or state.lane_indices[w, b][2] >= 0:
            state.multi_lane_agents[w, straddling] = b
            straddling += 1
    state.multi_lane_count[w] = straddling
