# mypy: ignore-errors
"""Traffic rules of an ego: lane, direction, speed limit, red lights."""

from alpamayo_sim.datatypes.scene import SignalState
from alpamayo_sim.engine.kernels.grids import from_lane, lane_at
from alpamayo_sim.engine.kernels.layout import GateRow, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.levels import LEVEL_GAP_M
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.map.stop_lines import LINE_END_TOLERANCE_M, MIN_DIRECTION_COSINE
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

BEYOND_ENDS_M = wp.constant(LINE_END_TOLERANCE_M)
MIN_CROSSING_COSINE = wp.constant(MIN_DIRECTION_COSINE)


@wp.func
def update_lane(buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32):
    """Update the lane of an ego, its speed limit, and whether the ego drives against its direction."""
    pose = state.pose[w, e]
    direction = state.direction[w, e]
    point = wp.vec2(pose[0], pose[1])
    segment = lane_at(buffers, slot, point, direction, state.elevation[w, e])
    lane = wp.int32(-1)
    offset = wp.float32(0.0)
    limit = wp.float32(0.0)
    elevation = state.elevation[w, e]
    wrong = wp.bool(False)
    if segment >= 0:
        row = buffers.centres[slot.centre_row + segment]
        lane = row.lane
        foot = from_lane(row, point)
        offset = foot[0]
        elevation = row.elevation[0] + foot[1] / row.length * (row.elevation[1] - row.elevation[0])
        limit = row.limit
        wrong = wp.abs(offset) <= row.half_width and wp.dot(row.along, direction) < 0.0
    state.ego_lane[w, e] = lane
    state.lane_offset[w, e] = offset
    state.lane_elevation[w, e] = elevation
    state.speed_limit[w, e] = limit
    state.wrong_way[w, e] = wrong


@wp.func
def crosses(gate: GateRow, before: wp.vec2, now: wp.vec2, direction: wp.vec2) -> wp.bool:
    """Return whether the front crosses a line in the line's direction from one step to the next."""
    if wp.dot(before - gate.start, gate.direction) >= 0.0 or wp.dot(now - gate.start, gate.direction) < 0.0:
        return False
    place = wp.dot(now - gate.start, gate.along)
    return (
        place > -BEYOND_ENDS_M
        and place < gate.length + BEYOND_ENDS_M
        and wp.dot(direction, gate.direction) > MIN_CROSSING_COSINE
    )


@wp.func
def count_red_lights(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, length: wp.float32
):
    """Count the red lights at which the front bumper crosses the line in the step that ends now."""
    step = wp.min(state.next_step[w], slot.signal_steps - 1)
    pose = state.pose[w, e]
    direction = state.direction[w, e]
    past = state.previous_pose[w, e]
    turned = wp.vec2(wp.cos(past[2]), wp.sin(past[2]))
    before = wp.vec2(past[0], past[1]) + 0.5 * length * turned
    now = wp.vec2(pose[0], pose[1]) + 0.5 * length * direction
    i = wp.int32(0)
    while i < slot.gates:
        gate = buffers.gates[slot.gate_row + i]
        shown = buffers.signals[slot.signal_row + gate.signal * slot.signal_steps + step]
        level = wp.abs(gate.elevation - state.elevation[w, e]) < LEVEL_GAP_M or slot.has_levels == 0
        if shown == int(SignalState.RED) and level and crosses(gate, before, now, direction):
            state.red_lights[w, e] = state.red_lights[w, e] + 1
        i += 1
