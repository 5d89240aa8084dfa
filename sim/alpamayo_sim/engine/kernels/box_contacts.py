# mypy: ignore-errors
"""Oriented boxes: overlap of two boxes, moment of their first touch in a step, time to their overlap."""

from alpamayo_sim.engine.kernels.layout import TTC_HORIZON, ScenarioBuffers, ScenarioSlot
from alpamayo_sim.engine.kernels.paths import between
from alpamayo_sim.engine.kernels.state import State
from alpamayo_sim.warp_runtime import wp

TTC_HORIZON_S = wp.constant(TTC_HORIZON)
STANDSTILL_MPS = wp.constant(1.0e-6)  # m/s


@wp.func
def overlap(
    a: wp.vec3, length_a: wp.float32, width_a: wp.float32, b: wp.vec3, length_b: wp.float32, width_b: wp.float32
) -> wp.bool:
    """Return whether two oriented boxes overlap (separating-axis theorem); touching counts."""
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
def record_hit(
    buffers: ScenarioBuffers, state: State, slot: ScenarioSlot, w: wp.int32, e: wp.int32, a: wp.int32, time: wp.float32
):
    """Find the moment within the step at which two boxes first touch, to a thousandth of a step, and record it."""
    me = buffers.agents[slot.agent_row + a]
    ego = buffers.agents[slot.agent_row + e]
    low = wp.float32(0.0)
    high = wp.float32(1.0)
    halvings = wp.int32(0)
    while halvings < 10:
        halvings += 1
        middle = 0.5 * (low + high)
        mine = between(state.previous_pose[w, a], state.pose[w, a], middle)
        egos = between(state.previous_pose[w, e], state.pose[w, e], middle)
        if overlap(egos, ego.length, ego.width, mine, me.length, me.width):
            high = middle
        else:
            low = middle
    state.contact_time[w, e, a] = wp.max(time - slot.dt * (1.0 - high), 0.0)
    state.contact_pose[w, e, a] = between(state.previous_pose[w, a], state.pose[w, a], high)
    state.contact_velocity[w, e, a] = state.velocity[w, a]
    state.contact_ego_pose[w, e, a] = between(state.previous_pose[w, e], state.pose[w, e], high)
    state.contact_ego_velocity[w, e, a] = state.velocity[w, e]


@wp.func
def moving(rate: wp.float32) -> wp.float32:
    """Return a rate (m/s) that is safe to divide by."""
    return wp.where(wp.abs(rate) < STANDSTILL_MPS, STANDSTILL_MPS, rate)


@wp.func
def time_to_overlap(
    apart: wp.vec2, closing: wp.vec2, one: wp.vec2, one_size: wp.vec2, two: wp.vec2, two_size: wp.vec2
) -> wp.float32:
    """Return the time (s) until two boxes overlap at constant velocity and heading; 0 now, ``TTC_HORIZON`` if later.

    ``apart`` (m) and ``closing`` (m/s) are of the second seen by the first, ``one`` and ``two`` their directions. The
    boxes overlap while their projections do on all four axes (separating-axis theorem): one interval of time.
    """
    c = wp.abs(wp.dot(one, two))
    s = wp.abs(one[0] * two[1] - one[1] * two[0])
    reach = 0.5 * wp.vec4(
        one_size[0] + two_size[0] * c + two_size[1] * s,
        one_size[1] + two_size[0] * s + two_size[1] * c,
        two_size[0] + one_size[0] * c + one_size[1] * s,
        two_size[1] + one_size[0] * s + one_size[1] * c,
    )
    left = wp.vec2(-one[1], one[0])
    aside = wp.vec2(-two[1], two[0])
    gap = wp.vec4(wp.dot(apart, one), wp.dot(apart, left), wp.dot(apart, two), wp.dot(apart, aside))
    per_rate = wp.vec4(
        1.0 / moving(wp.dot(closing, one)),
        1.0 / moving(wp.dot(closing, left)),
        1.0 / moving(wp.dot(closing, two)),
        1.0 / moving(wp.dot(closing, aside)),
    )
    a = wp.cw_mul(-reach - gap, per_rate)
    b = wp.cw_mul(reach - gap, per_rate)
    begins = wp.max(wp.max(wp.min(a, b)), 0.0)
    ends = wp.min(wp.min(wp.max(a, b)), TTC_HORIZON_S)
    return wp.where(begins <= ends, begins, TTC_HORIZON_S)
