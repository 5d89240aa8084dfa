# mypy: ignore-errors
"""The flat observation: what a small policy needs to know, as numbers in [-1, 1], one row a world.

Everything is in the ego frame (x forward, y left) and clipped. A row holds, in this order:

========  ======================================================================================================
12        ego: speed / 40, acceleration / 9, curvature / 0.25, lateral offset / 10, cos and sin of the heading to
          the route, drivable margin / 4, speed limit / 40 (0: not known), way to the goal / 500, time left / 60 s,
          friction / 1.5, collided
32 x 2    route: points every 4 m from beside the ego on: x, y / 128; past its end the last repeats
K x 7     agents: x, y / 100, cos and sin of the relative heading, speed / 40, length and width / 20
M x 7     map pieces (straight, at most 8 m): x, y of the middle / 100, cos, sin, length / 8, is edge, is painted line
========  ======================================================================================================

The agents are those within 100 m, in the world's order; when there are more than K the nearest ones, told apart by
distance to 1.6 m. The pieces are the nearest ones within 100 m of the middle of the 8 m cell that the ego is in,
nearest first to 1.6 m; M is at most 200. Rows of zeros fill the rest (a row that is there has cos and sin).
"""

from alpamayo_sim.driver import ROUTE_POINTS, ROUTE_SPACING
from alpamayo_sim.engine.assess import RANGE
from alpamayo_sim.engine.dynamics import MAX_CURVATURE, MAX_DECELERATION
from alpamayo_sim.engine.layout import NEARBY, NEARBY_CELL, PIECE, Fixed, Slot, State
from alpamayo_sim.engine.paths import path_at
from alpamayo_sim.map_index import MapLineKind
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

EGO_FEATURES = 12
FEATURES = 7
AGENTS = 63
PIECES = NEARBY

REACH = wp.constant(100.0)
BINS = wp.constant(64)
MOST = wp.constant(NEARBY)
CELL = wp.constant(NEARBY_CELL)
POINTS = wp.constant(ROUTE_POINTS)
SPACING = wp.constant(ROUTE_SPACING)
PIECE_LENGTH = wp.constant(PIECE)
EGO = wp.constant(EGO_FEATURES)
WIDTH = wp.constant(FEATURES)
Histogram = wp.types.vector(length=64, dtype=wp.int32)


def vector_size(agents: int = AGENTS, pieces: int = PIECES) -> int:
    """Numbers in a flat observation of so many agents and map pieces."""
    return EGO_FEATURES + 2 * ROUTE_POINTS + FEATURES * (agents + pieces)


@wp.func
def unit(value: wp.float32) -> wp.float32:
    """Clipped to [-1, 1]."""
    return wp.clamp(value, -1.0, 1.0)


@wp.func
def bin_of(distance: wp.float32) -> wp.int32:
    """Bin of a distance (m) below ``REACH``."""
    return wp.min(wp.int32(distance * wp.float32(BINS) / REACH), BINS - 1)


@wp.func
def last_bin(counts: Histogram, wanted: wp.int32) -> wp.vec2i:
    """The bin in which the ``wanted`` nearest end, and how many of that bin are among them."""
    total = wp.int32(0)
    for k in range(BINS):
        if total + counts[k] > wanted:
            return wp.vec2i(k, wanted - total)
        total += counts[k]
    return wp.vec2i(BINS, 0)


@wp.func
def in_ego(pose: wp.vec3, c: wp.float32, s: wp.float32, point: wp.vec2) -> wp.vec2:
    """A point of the world in the ego frame."""
    dx = point[0] - pose[0]
    dy = point[1] - pose[1]
    return wp.vec2(c * dx + s * dy, c * dy - s * dx)


@wp.func
def write_ego(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32, out: wp.array3d[wp.float32]):
    """The ego's features."""
    ego = fixed.egos[slot.ego_row + e]
    on = path_at(fixed.routes, slot.route_row + ego.route_row, ego.route_points, state.route_s[w, e])
    heading = state.pose[w, e][2] - on[2]
    left = wp.float32(slot.duration_steps - state.step[w]) * slot.dt
    out[w, e, 0] = unit(state.speed[w, e] / 40.0)
    out[w, e, 1] = unit(state.acceleration[w, e] / MAX_DECELERATION)
    out[w, e, 2] = unit(state.curvature[w, e] / MAX_CURVATURE)
    out[w, e, 3] = unit(state.lateral_offset[w, e] / 10.0)
    out[w, e, 4] = wp.cos(heading)
    out[w, e, 5] = wp.sin(heading)
    out[w, e, 6] = unit(state.margin[w, e] / RANGE)
    out[w, e, 7] = unit(fixed.limits[slot.route_row + ego.route_row + state.route_segment[w, e]] / 40.0)
    out[w, e, 8] = unit((ego.goal - state.progress[w, e]) / 500.0)
    out[w, e, 9] = unit(left / 60.0)
    out[w, e, 10] = unit(slot.friction / 1.5)
    out[w, e, 11] = wp.where(state.collided[w, e], 1.0, 0.0)


@wp.func
def write_route(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32, out: wp.array3d[wp.float32]):
    """The route's points."""
    ego = fixed.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    pose = state.pose[w, e]
    c = state.direction[w, e][0]
    s = state.direction[w, e][1]
    i = wp.int32(first + state.route_segment[w, e])
    last = first + ego.route_points - 2
    a = fixed.routes[i]
    b = fixed.routes[i + 1]
    for k in range(POINTS):
        way = state.route_s[w, e] + SPACING * wp.float32(k)
        while i < last and b[3] < way:
            i += 1
            a = b
            b = fixed.routes[i + 1]
        t = wp.clamp((way - a[3]) / (b[3] - a[3]), 0.0, 1.0)
        on = a + t * (b - a)
        at = in_ego(pose, c, s, wp.vec2(on[0], on[1]))
        out[w, e, EGO + 2 * k] = unit(at[0] / 128.0)
        out[w, e, EGO + 2 * k + 1] = unit(at[1] / 128.0)


@wp.func
def write_agents(
    fixed: Fixed,
    state: State,
    slot: Slot,
    w: wp.int32,
    e: wp.int32,
    first: wp.int32,
    rows: wp.int32,
    out: wp.array3d[wp.float32],
):
    """The agents' features."""
    pose = state.pose[w, e]
    c = state.direction[w, e][0]
    s = state.direction[w, e][1]
    last = wp.vec2i(BINS, 0)
    if slot.agents - 1 > rows:
        counts = Histogram()
        for a in range(slot.agents):
            at = state.pose[w, a]
            distance = wp.length(wp.vec2(at[0] - pose[0], at[1] - pose[1]))
            if a != e and state.valid[w, a] and distance < REACH:
                counts[bin_of(distance)] += 1
        last = last_bin(counts, rows)
    spare = last[1]
    column = wp.int32(first)
    for a in range(slot.agents):
        at = state.pose[w, a]
        distance = wp.length(wp.vec2(at[0] - pose[0], at[1] - pose[1]))
        if a != e and state.valid[w, a] and distance < REACH:
            b = bin_of(distance)
            if b < last[0] or (b == last[0] and spare > 0):
                if b == last[0]:
                    spare -= 1
                me = fixed.agents[slot.agent_row + a]
                place = in_ego(pose, c, s, wp.vec2(at[0], at[1]))
                out[w, e, column] = place[0] / REACH
                out[w, e, column + 1] = place[1] / REACH
                turned = state.direction[w, a]
                out[w, e, column + 2] = unit(c * turned[0] + s * turned[1])
                out[w, e, column + 3] = unit(c * turned[1] - s * turned[0])
                out[w, e, column + 4] = unit(wp.length(state.velocity[w, a]) / 40.0)
                out[w, e, column + 5] = unit(me.length / 20.0)
                out[w, e, column + 6] = unit(me.width / 20.0)
                column += WIDTH
    while column < first + WIDTH * rows:
        out[w, e, column] = 0.0
        column += 1


@wp.func
def cell_of(slot: Slot, point: wp.vec2) -> wp.int32:
    """Cell of a point in the grid of nearby pieces; the nearest cell for a point outside."""
    x = wp.clamp(wp.int32(wp.floor((point[0] - slot.nearby_corner[0]) / CELL)), 0, slot.nearby_x - 1)
    y = wp.clamp(wp.int32(wp.floor((point[1] - slot.nearby_corner[1]) / CELL)), 0, slot.nearby_y - 1)
    return y * slot.nearby_x + x


@wp.func
def list_nearby(fixed: Fixed, slot: Slot, cell: wp.int32):
    """Make a cell's list: the pieces nearest to its middle by a counting sort of their distances."""
    x = wp.float32(cell % slot.nearby_x) + 0.5
    y = wp.float32(cell / slot.nearby_x) + 0.5
    middle = slot.nearby_corner + CELL * wp.vec2(x, y)
    counts = Histogram()
    for k in range(slot.pieces):
        distance = wp.length(fixed.pieces[slot.piece_row + k].middle - middle)
        if distance < REACH:
            counts[bin_of(distance)] += 1
    starts = Histogram()
    total = wp.int32(0)
    for k in range(BINS):
        starts[k] = total
        total += counts[k]
    first = slot.nearby_list_row + cell * MOST
    for k in range(slot.pieces):
        distance = wp.length(fixed.pieces[slot.piece_row + k].middle - middle)
        if distance < REACH:
            b = bin_of(distance)
            place = starts[b]
            starts[b] = place + 1
            if place < MOST:
                fixed.nearby_lists[first + place] = wp.uint16(k)
    fixed.nearby[slot.nearby_row + cell] = 1 + wp.min(total, MOST)


@wp.func
def write_pieces(
    fixed: Fixed,
    state: State,
    slot: Slot,
    w: wp.int32,
    e: wp.int32,
    first: wp.int32,
    rows: wp.int32,
    out: wp.array3d[wp.float32],
):
    """The map pieces' features."""
    pose = state.pose[w, e]
    c = state.direction[w, e][0]
    s = state.direction[w, e][1]
    column = wp.int32(first)
    if slot.pieces > 0:
        cell = cell_of(slot, wp.vec2(pose[0], pose[1]))
        count = wp.min(fixed.nearby[slot.nearby_row + cell] - 1, rows)
        for k in range(count):
            number = wp.int32(fixed.nearby_lists[slot.nearby_list_row + cell * MOST + k])
            piece = fixed.pieces[slot.piece_row + number]
            place = in_ego(pose, c, s, piece.middle)
            out[w, e, column] = unit(place[0] / REACH)
            out[w, e, column + 1] = unit(place[1] / REACH)
            out[w, e, column + 2] = unit(c * piece.along[0] + s * piece.along[1])
            out[w, e, column + 3] = unit(c * piece.along[1] - s * piece.along[0])
            out[w, e, column + 4] = unit(piece.length / PIECE_LENGTH)
            out[w, e, column + 5] = wp.where(piece.kind == int(MapLineKind.EDGE), 1.0, 0.0)
            out[w, e, column + 6] = wp.where(piece.kind == int(MapLineKind.LINE), 1.0, 0.0)
            column += WIDTH
    while column < first + WIDTH * rows:
        out[w, e, column] = 0.0
        column += 1


@wp.kernel
def prepare(fixed: Fixed, state: State):
    """Make the lists of nearby pieces that are needed now and are not there yet.

    Worlds that share a map may make the same list twice at once: both write the same.
    """
    w, e = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if slot.pieces == 0 or e >= slot.egos:
        return
    pose = state.pose[w, e]
    cell = cell_of(slot, wp.vec2(pose[0], pose[1]))
    if fixed.nearby[slot.nearby_row + cell] == 0:
        list_nearby(fixed, slot, cell)


@wp.kernel
def describe(fixed: Fixed, state: State, agents: wp.int32, pieces: wp.int32, out: wp.array3d[wp.float32]):
    """Write each ego's row."""
    w, e = wp.tid()
    slot = fixed.slots[fixed.slot_of[w]]
    if e >= slot.egos:
        return
    write_ego(fixed, state, slot, w, e, out)
    write_route(fixed, state, slot, w, e, out)
    first = EGO + 2 * POINTS
    write_agents(fixed, state, slot, w, e, first, agents, out)
    write_pieces(fixed, state, slot, w, e, first + WIDTH * agents, pieces, out)
