# mypy: ignore-errors
"""Heights on the device: what shares a height can meet; grounds that are far apart are different levels."""

from alpamayo_sim import constants
from alpamayo_sim.engine.kernels.layout import ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

LEVEL_GAP_M = wp.constant(constants.LEVEL_GAP_M)


@wp.func
def heights_overlap(ground_a: wp.float32, height_a: wp.float32, ground_b: wp.float32, height_b: wp.float32) -> wp.bool:
    """Return whether two upright boxes share a height: the device's ``geometry.heights_overlap``."""
    return not (ground_a + height_a <= ground_b or ground_b + height_b <= ground_a)


@wp.func
def agents_share_height(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, a: wp.int32, b: wp.int32
) -> wp.bool:
    """Return whether two agents share a height."""
    mine = buffers.agents[slot.agent_row + a].height
    others = buffers.agents[slot.agent_row + b].height
    return heights_overlap(state.elevation[w, a], mine, state.elevation[w, b], others)


@wp.func
def on_level(slot: ScenarioSlot, elevation: wp.float32, low: wp.float32, high: wp.float32) -> wp.bool:
    """Return whether a part of the map, from ``low`` to ``high`` (m), is on the level of a ground.

    A map without levels is one level, whatever its heights are.
    """
    return slot.has_levels == 0 or (elevation > low - LEVEL_GAP_M and elevation < high + LEVEL_GAP_M)


@wp.func
def elevation_at(paths: wp.array[wp.vec4], elevations: wp.array[wp.float32], i: wp.int32, s: wp.float32) -> wp.float32:
    """Return the z (m) at arc length ``s`` on segment ``i`` of a path."""
    length = paths[i + 1][3] - paths[i][3]
    share = wp.clamp((s - paths[i][3]) / length, 0.0, 1.0)
    return elevations[i] + share * (elevations[i + 1] - elevations[i])
