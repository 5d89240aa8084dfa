# mypy: ignore-errors
"""Oriented boxes: whether two overlap, and when within a step they first touch."""

from alpamayo_sim.engine.layout import Fixed, Slot, State
from alpamayo_sim.engine.paths import between
from alpamayo_sim.warp_runtime import wp


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
def record_hit(fixed: Fixed, state: State, slot: Slot, w: wp.int32, e: wp.int32, a: wp.int32, time: wp.float32):
    """Find the moment within the step at which two boxes first touch, to a thousandth of it, and keep it."""
    me = fixed.agents[slot.agent_row + a]
    ego = fixed.agents[slot.agent_row + e]
    low = wp.float32(0.0)
    high = wp.float32(1.0)
    for _ in range(10):
        middle = 0.5 * (low + high)
        mine = between(state.before[w, a], state.pose[w, a], middle)
        egos = between(state.before[w, e], state.pose[w, e], middle)
        if overlap(egos, ego.length, ego.width, mine, me.length, me.width):
            high = middle
        else:
            low = middle
    state.hit_time[w, e, a] = wp.max(time - slot.dt * (1.0 - high), 0.0)
    state.hit_pose[w, e, a] = between(state.before[w, a], state.pose[w, a], high)
    state.hit_velocity[w, e, a] = state.velocity[w, a]
    state.hit_ego[w, e, a] = between(state.before[w, e], state.pose[w, e], high)
    state.hit_ego_velocity[w, e, a] = state.velocity[w, e]
