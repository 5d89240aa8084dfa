# mypy: ignore-errors
"""The flat observation: numbers in [-1, 1] for a small policy, one row per ego.

Everything is in the ego frame (x forward, y left) and clipped. A row holds, in this order:

========  ======================================================================================================
12        ego: speed / 40, acceleration / 9, curvature / 0.25, lateral offset / 10, cos and sin of the heading to
          the route, drivable margin / 4, speed limit of its lane / 40 (0: unknown), distance to goal / 500, time
          left / 60 s, friction / 1.5, collided
4         the ego itself: length and width / 20, height / 5, yaw rate / 1 rad/s
2 x 6     the next stop lines of the route: 1, distance from the front / 100, red, yellow, green, is a stop sign
32 x 2    route: points every 4 m from the ego on: x, y / 128; past its end the last point repeats
K x 7     agents: x, y / 100, cos and sin of the relative heading, speed / 40, length and width / 20
M x 7     map pieces (straight, at most 8 m): x, y of the middle / 100, cos, sin, length / 8, is edge, is painted line
========  ======================================================================================================

The agents are those within 100 m, in the world's order; when there are more than K the nearest ones, told apart by
distance to 1.6 m. The pieces are the nearest ones within 100 m of the middle of the 8 m cell that the ego is in,
nearest first to 1.6 m; M is at most 200. Rows of zeros fill the rest (a row that is there has cos and sin).

Each row of seven is one vector of eight that is turned, clipped and stored at once; its last number is overwritten by
what comes after it. That loop is native code, for CPU and GPU alike: Warp's own indexing would take twice the time.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.observation import ROUTE_POINTS, ROUTE_SPACING
from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.engine.kernels.dynamics import MAX_CURVATURE_PER_M, MAX_DECELERATION_MPS2
from alpamayo_sim.engine.kernels.grids import (
    DISTANCE_BINS,
    MARGIN_RANGE_M,
    MAX_NEARBY,
    OBSERVATION_RANGE_M,
    Histogram,
    bin_of,
    cell_of,
)
from alpamayo_sim.engine.kernels.layout import FEATURE_LENGTH, NEARBY, Features, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import LEVEL_GAP_M
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

EGO_FEATURES = 28
STOP_FEATURES = 6
STOP_LINES = 2
OWN_FEATURES = 12  # of the first features, before the ego itself and the stop lines
FEATURES = 7
AGENTS = 63
PIECES = NEARBY
ALIGNED = 16  # floats; rows begin at multiples of so many

ROUTE_POINT_COUNT = wp.constant(ROUTE_POINTS)
ROUTE_SPACING_M = wp.constant(ROUTE_SPACING)
EGO_FEATURE_COUNT = wp.constant(EGO_FEATURES)
FIRST_OWN_FEATURE = wp.constant(OWN_FEATURES)
STOP_FEATURE_COUNT = wp.constant(STOP_FEATURES)
LENGTH_COLUMN_M, HEIGHT_COLUMN_M = wp.constant(FEATURE_LENGTH), wp.constant(5.0)  # that are 1 in an observation
JUST_PASSED_M = wp.constant(1.0)  # behind a stop line, up to which it is observed


def vector_size(agents: int = AGENTS, pieces: int = PIECES) -> int:
    """Return the size of a flat observation with some agents and map pieces."""
    return EGO_FEATURES + 2 * ROUTE_POINTS + FEATURES * (agents + pieces)


class FeatureRows:
    """Memory for the observations of all egos: as numbers, and from the agents on as overlapping vectors of eight.

    ``present`` is the number of agents in a world, of which ``agents`` are observed.
    """

    def __init__(self, shape: tuple[int, int], present: int, agents: int, pieces: int, device: str) -> None:
        self.size = vector_size(agents, pieces)
        stride = -(-(self.size + 1) // ALIGNED) * ALIGNED
        self.numbers = wp.zeros((*shape, stride), dtype=wp.float32, device=device)
        first = EGO_FEATURES + 2 * ROUTE_POINTS
        self.features = wp.array(
            ptr=self.numbers.ptr + 4 * first,
            dtype=Features,
            shape=(*shape, agents + pieces + 1),
            strides=(4 * stride * shape[1], 4 * stride, 4 * FEATURES),
            device=device,
        )
        self.chosen = wp.zeros((*shape, present), dtype=wp.int32, device=device)
        self.inputs = (agents, pieces, self.numbers, self.features, self.chosen)

    def numpy(self) -> Float32[np.ndarray, "worlds egos n"]:
        """Return the rows; on the CPU a view of the memory."""
        rows: np.ndarray = self.numbers.numpy()[..., : self.size]
        return rows

    def torch(self) -> Any:
        """Return the rows as a tensor [worlds, egos, n] on the device, without a copy."""
        return wp.to_torch(self.numbers)[..., : self.size]


@wp.func
def unit(value: wp.float32) -> wp.float32:
    """Return a number clipped to [-1, 1]."""
    return wp.clamp(value, -1.0, 1.0)


@wp.func
def last_bin(counts: Histogram, wanted: wp.int32) -> wp.vec2i:
    """Return the bin of the last of the ``wanted`` nearest, and the number of that bin's members among them."""
    total = wp.int32(0)
    k = wp.int32(0)
    while k < DISTANCE_BINS:
        if total + counts[k] > wanted:
            return wp.vec2i(k, wanted - total)
        total += counts[k]
        k += 1
    return wp.vec2i(DISTANCE_BINS, 0)


@wp.func
def write_ego(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, out: wp.array3d[wp.float32]
):
    """Write the ego's features."""
    ego = buffers.egos[slot.ego_row + e]
    along = buffers.route_directions[slot.route_row + ego.route_row + state.route_segment[w, e]]
    c = state.direction[w, e][0]
    s = state.direction[w, e][1]
    left = wp.float32(slot.duration_steps - state.step[w]) * slot.dt
    out[w, e, 0] = unit(state.speed[w, e] / 40.0)
    out[w, e, 1] = unit(state.acceleration[w, e] / MAX_DECELERATION_MPS2)
    out[w, e, 2] = unit(state.curvature[w, e] / MAX_CURVATURE_PER_M)
    out[w, e, 3] = unit(state.lateral_offset[w, e] / 10.0)
    out[w, e, 4] = unit(along[0] * c + along[1] * s)
    out[w, e, 5] = unit(along[0] * s - along[1] * c)
    out[w, e, 6] = unit(state.drivable_margin[w, e] / MARGIN_RANGE_M)
    out[w, e, 7] = unit(state.speed_limit[w, e] / 40.0)
    out[w, e, 8] = unit((ego.goal - state.progress[w, e]) / 500.0)
    out[w, e, 9] = unit(left / 60.0)
    out[w, e, 10] = unit(slot.friction / 1.5)
    out[w, e, 11] = wp.where(state.collided[w, e], 1.0, 0.0)


@wp.func
def write_own(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, out: wp.array3d[wp.float32]
):
    """Write the ego's size and yaw rate, and the next stop lines of its route with their lights."""
    me = buffers.agents[slot.agent_row + e]
    out[w, e, FIRST_OWN_FEATURE] = unit(me.length / LENGTH_COLUMN_M)
    out[w, e, FIRST_OWN_FEATURE + 1] = unit(me.width / LENGTH_COLUMN_M)
    out[w, e, FIRST_OWN_FEATURE + 2] = unit(me.height / HEIGHT_COLUMN_M)
    out[w, e, FIRST_OWN_FEATURE + 3] = unit(state.slip[w, e][1])
    front = state.route_s[w, e] + 0.5 * me.length
    step = wp.min(state.step[w], slot.signal_steps - 1)
    at = wp.int32(FIRST_OWN_FEATURE + 4)
    k = wp.int32(0)
    while at < EGO_FEATURE_COUNT:
        while k < me.stops and buffers.stops[slot.stop_row + me.stop_row + k].s < front - JUST_PASSED_M:
            k += 1
        for i in range(STOP_FEATURE_COUNT):
            out[w, e, at + i] = 0.0
        if k < me.stops:
            stop = buffers.stops[slot.stop_row + me.stop_row + k]
            shown = wp.int32(-1)
            if stop.signal >= 0:
                shown = buffers.signals[slot.signal_row + stop.signal * slot.signal_steps + step]
            out[w, e, at] = 1.0
            out[w, e, at + 1] = unit((stop.s - front) / OBSERVATION_RANGE_M)
            out[w, e, at + 2] = wp.where(shown == int(SignalState.RED), 1.0, 0.0)
            out[w, e, at + 3] = wp.where(shown == int(SignalState.YELLOW), 1.0, 0.0)
            out[w, e, at + 4] = wp.where(shown == int(SignalState.GREEN), 1.0, 0.0)
            out[w, e, at + 5] = wp.where(stop.signal < 0, 1.0, 0.0)
        k += 1
        at += STOP_FEATURE_COUNT


@wp.func
def write_route(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, out: wp.array3d[wp.float32]
):
    """Write the route's points."""
    ego = buffers.egos[slot.ego_row + e]
    first = slot.route_row + ego.route_row
    last = first + ego.route_points - 2
    pose = state.pose[w, e]
    c = state.direction[w, e][0] / 128.0
    s = state.direction[w, e][1] / 128.0
    i = wp.int32(first + state.route_segment[w, e])
    end = buffers.routes[last + 1][3]
    s_ahead = wp.float32(state.route_s[w, e])
    k = wp.int32(0)
    while k < ROUTE_POINT_COUNT:
        while i < last and buffers.routes[i + 1][3] < s_ahead:
            i += 1
        a = buffers.routes[i]
        along = buffers.route_directions[i]
        ahead = wp.min(s_ahead, end) - a[3]
        dx = a[0] + ahead * along[0] - pose[0]
        dy = a[1] + ahead * along[1] - pose[1]
        out[w, e, EGO_FEATURE_COUNT + 2 * k] = unit(c * dx + s * dy)
        out[w, e, EGO_FEATURE_COUNT + 2 * k + 1] = unit(c * dy - s * dx)
        s_ahead += ROUTE_SPACING_M
        k += 1


@wp.func_native("""
    float* to = (float*)wp::address(out, first);
    const float* from = (const float*)wp::address(rows, base);
    const int* row = wp::address(chosen, listed);
    for (int k = 0; k < count; ++k, to += 7) {
        const float* here = from + 8 * row[k];
        const float crossed[4] = {here[1], here[0], here[3], here[2]};
        float seen[8];
        for (int i = 0; i < 4; ++i)
            seen[i] = along[i] * here[i] + across[i] * crossed[i] + shift[i];
        for (int i = 4; i < 8; ++i)
            seen[i] = here[i];
        for (int i = 0; i < 8; ++i)
            seen[i] = seen[i] < 1.0f ? seen[i] : 1.0f;
        for (int i = 0; i < 8; ++i)
            to[i] = seen[i] > -1.0f ? seen[i] : -1.0f;
    }
    for (int i = 0; i < 7 * (wanted - count); ++i)
        to[i] = 0.0f;
""")
def write_rows(
    rows: wp.array[Features],
    base: wp.int32,
    chosen: wp.array[wp.int32],
    listed: wp.int32,
    count: wp.int32,
    wanted: wp.int32,
    along: wp.vec4,
    across: wp.vec4,
    shift: wp.vec4,
    out: wp.array[Features],
    first: wp.int32,
):
    """Write the chosen rows as an ego sees them, then zeros up to ``wanted`` rows.

    Place and direction, the first four numbers, are turned, scaled and shifted; all are clipped.
    """
    ...


@wp.func
def distance_bin(state: State, w: wp.int32, e: wp.int32, a: wp.int32) -> wp.int32:
    """Return the bin of an agent's distance from an ego; ``DISTANCE_BINS`` out of range and for the ego itself."""
    me = state.features[w, e]
    other = state.features[w, a]
    dx = other[0] - me[0]
    dy = other[1] - me[1]
    squared = dx * dx + dy * dy
    if squared >= OBSERVATION_RANGE_M * OBSERVATION_RANGE_M or a == e:
        return DISTANCE_BINS
    return bin_of(wp.sqrt(squared))


@wp.func
def keep_nearest(state: State, w: wp.int32, e: wp.int32, chosen: wp.array[wp.int32], count: wp.int32, wanted: wp.int32):
    """Leave the ``wanted`` nearest of the chosen agents, in their order."""
    counts = Histogram()
    k = wp.int32(0)
    while k < count:
        counts[distance_bin(state, w, e, chosen[k])] += 1
        k += 1
    last = last_bin(counts, wanted)
    spare = last[1]
    kept = wp.int32(0)
    k = wp.int32(0)
    while k < count:
        b = distance_bin(state, w, e, chosen[k])
        if b == last[0]:
            spare -= 1
        if b < last[0] or (b == last[0] and spare >= 0):
            chosen[kept] = chosen[k]
            kept += 1
        k += 1


@wp.func_native("""
    const float* other = (const float*)wp::address(seen, 0);
    const float x = other[8 * ego], y = other[8 * ego + 1];
    int* row = wp::address(chosen, 0);
    int count = 0;
    for (int a = 0; a < agents; ++a) {
        const float dx = other[8 * a] - x, dy = other[8 * a + 1] - y;
        row[count] = a;
        count += (dx * dx + dy * dy < reach * reach) & (a != ego);
    }
    return count;
""")
def agents_in_reach(
    seen: wp.array[Features], agents: wp.int32, ego: wp.int32, reach: wp.float32, chosen: wp.array[wp.int32]
) -> wp.int32:
    """List the agents within ``reach`` (m) of an ego, in the world's order, and return their number."""
    ...


@wp.func
def choose_agents(
    state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, wanted: wp.int32, chosen: wp.array[wp.int32]
) -> wp.int32:
    """List the ``wanted`` nearest agents in range, in the world's order, and return their number.

    On a map with levels those on other levels are left out.
    """
    count = agents_in_reach(state.features[w], slot.agents, e, OBSERVATION_RANGE_M, chosen)
    if slot.has_levels != 0:
        kept = wp.int32(0)
        k = wp.int32(0)
        while k < count:
            if wp.abs(state.elevation[w, chosen[k]] - state.elevation[w, e]) < LEVEL_GAP_M:
                chosen[kept] = chosen[k]
                kept += 1
            k += 1
        count = kept
    if count > wanted:
        keep_nearest(state, w, e, chosen, count, wanted)
    return wp.min(count, wanted)


@wp.kernel
def write_observations(
    buffers: ScenarioBuffers,
    state: State,
    agents: wp.int32,
    pieces: wp.int32,
    out: wp.array3d[wp.float32],
    features: wp.array3d[Features],
    chosen: wp.array3d[wp.int32],
):
    """Write each ego's row."""
    w, e = wp.tid()
    slot = buffers.slots[buffers.slot_of[w]]
    if e >= slot.egos:
        return
    write_ego(buffers, state, slot, w, e, out)
    write_own(buffers, state, slot, w, e, out)
    write_route(buffers, state, slot, w, e, out)
    pose = state.pose[w, e]
    c = state.direction[w, e][0]
    s = state.direction[w, e][1]
    x = (c * pose[0] + s * pose[1]) / OBSERVATION_RANGE_M
    y = (c * pose[1] - s * pose[0]) / OBSERVATION_RANGE_M
    along = wp.vec4(c / OBSERVATION_RANGE_M, c / OBSERVATION_RANGE_M, c, c)
    across = wp.vec4(s / OBSERVATION_RANGE_M, -s / OBSERVATION_RANGE_M, s, -s)
    shift = wp.vec4(-x, -y, 0.0, 0.0)
    count = choose_agents(state, slot, w, e, agents, chosen[w, e])
    write_rows(state.features[w], 0, chosen[w, e], 0, count, agents, along, across, shift, features[w, e], 0)
    count = wp.int32(0)
    listed = wp.int32(0)
    if slot.pieces > 0:
        cell = cell_of(slot.piece_grid, wp.vec2(pose[0], pose[1]))
        listed = slot.piece_grid.list_row + cell * MAX_NEARBY
        count = wp.min(buffers.cells[slot.piece_grid.cell_row + cell] - 1, pieces)
    base = slot.piece_row
    write_rows(buffers.pieces, base, buffers.lists, listed, count, pieces, along, across, shift, features[w, e], agents)
