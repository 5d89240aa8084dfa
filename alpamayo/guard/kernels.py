# mypy: ignore-errors
"""Warp kernels of the guard: first contacts of many motions, blocked poses of paths, poses along paths."""

import math

from alpamayo.validator.kernels.boxes import (
    NO_BITS,
    ONE_BIT,
    box_separation,
    centre_bounds,
    lowest_bit,
    near_mask,
    position,
    touches_between,
)
from alpamayo.validator.kernels.layout import BLOCK_STEPS
from alpamayo.validator.kernels.time_to_collision import COS_BEHIND, cosine_to
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
MIN_LENGTH_M = wp.constant(wp.float64(1.0e-9))
FULL_TURN_RAD = wp.constant(wp.float64(2.0 * math.pi))
COS_CROSSING = wp.constant(wp.float64(math.cos(math.radians(30.0))))
STEPS_PER_BLOCK = wp.constant(BLOCK_STEPS)
# What is known of a pair: apart at first, within the margins at first, or no longer relevant.
APART, WITHIN_MARGINS, SETTLED = wp.constant(wp.uint8(0)), wp.constant(wp.uint8(1)), wp.constant(wp.uint8(2))


@wp.func
def moved_ahead(pose: wp.vec4d, by: wp.float64) -> wp.vec4d:
    """Move a box along its heading."""
    return wp.vec4d(pose[0] + by * pose[2], pose[1] + by * pose[3], pose[2], pose[3])


@wp.func
def has_moved(others: wp.array2d[wp.vec4d], a: wp.int32, t: wp.int32) -> wp.bool:
    """Return whether an agent has left its first position."""
    return t > 0 and wp.length_sq(position(others[a, t]) - position(others[a, 0])) > ZERO


@wp.kernel
def first_avoidable_contacts(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    rear: wp.float64,
    margins: wp.array[wp.vec4d],
    until: wp.float64,
    dt: wp.float64,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    state: wp.array2d[wp.uint8],
    met: wp.array2d[wp.int32],
):
    """Find the first step and the agent of each motion's first contact that is not from behind.

    A contact between two steps counts for the later one.

    Pairs of boxes that overlap at the first step are ignored. Pairs that overlap at the first step only because of
    the margins are tested without margins. A pair is ignored after a first overlap from behind.

    Args:
        ego: boxes of the motions, [k, t].
        half: half length and width of the ego.
        rear: distance of the rear axle, from which directions are measured, behind the centre.
        margins: for each motion the length added in front of the ego, the half length and half width added to
            agents, and the acceleration by which crossing agents may deviate from their prediction.
        until: the time for which that deviation grows.
        dt: the time step.
        others: boxes of the agents, [a, t].
        halves: their half lengths and widths.
        valid: whether each agent is present.
        bounds: rectangles around each agent's boxes in a block of steps, [blocks, 4, a].
        state: scratch memory of the pairs, [k, a]; zero at first.
        met: the steps and agents found; unchanged for motions without a contact.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    ahead = HALF * margins[k][0]
    wider = wp.vec2d(margins[k][1], margins[k][2])
    long_half = wp.vec2d(half[0] + ahead, half[1])
    # a circle around the box without the front clearance that contains the longer box too
    deviation = HALF * margins[k][3] * until * until
    radius = wp.length(half) + margins[k][0] + wp.length(wider) + deviation
    for a in range(others.shape[0]):
        reach = radius + wp.length(halves[a])
        if valid[a, 0] != wp.uint8(0) and wp.length_sq(position(others[a, 0]) - position(ego[k, 0])) < reach * reach:
            if box_separation(ego[k, 0], half, others[a, 0], halves[a]) < ZERO:
                state[k, a] = SETTLED
            elif box_separation(moved_ahead(ego[k, 0], ahead), long_half, others[a, 0], halves[a] + wider) < ZERO:
                state[k, a] = WITHIN_MARGINS
    block = wp.int32(0)
    found = wp.int32(-1)
    while found < 0 and block < bounds.shape[0]:
        begin = block * STEPS_PER_BLOCK
        end = wp.min(begin + STEPS_PER_BLOCK, steps)
        around = centre_bounds(ego[k], wp.max(begin - 1, 0), end)
        first = wp.int32(end)
        for word in range((others.shape[0] + 63) // 64):
            near = near_mask(around, radius, bounds, block, 64 * word)
            while near != NO_BITS:
                a = 64 * word + lowest_bit(near)
                near = near & (near - ONE_BIT)
                reach = radius + wp.length(halves[a])
                t = wp.int32(begin)
                while t < end and state[k, a] != SETTLED:
                    last = wp.max(t - 1, 0)
                    away = position(others[a, t]) - position(ego[k, t])
                    was = position(others[a, last]) - position(ego[k, last])
                    within = reach + wp.length(away - was)
                    if valid[a, t] != wp.uint8(0) and wp.length_sq(away) < within * within:
                        box = wp.vec4d(ego[k, t])
                        box_last = wp.vec4d(ego[k, last])
                        half_ego = wp.vec2d(half)
                        half_a = wp.vec2d(halves[a])
                        if state[k, a] != WITHIN_MARGINS:
                            box = moved_ahead(box, ahead)
                            box_last = moved_ahead(box_last, ahead)
                            half_ego = long_half
                            half_a = half_a + wider
                            along = ego[k, t][2] * others[a, t][2] + ego[k, t][3] * others[a, t][3]
                            if wp.abs(along) < COS_CROSSING and has_moved(others, a, t):
                                time = wp.min(wp.float64(t) * dt, until)
                                half_a[0] = half_a[0] + HALF * margins[k][3] * time * time
                        gap = box_separation(box, half_ego, others[a, t], half_a)
                        touches = gap < ZERO
                        if not touches and last < t and valid[a, last] != wp.uint8(0):
                            touches = touches_between(
                                box_last, box, half_ego, others[a, last], others[a, t], half_a, gap
                            )
                        if touches:
                            state[k, a] = SETTLED
                            if t < first and cosine_to(ego[k, t], rear, others[a, t]) >= COS_BEHIND:
                                first = wp.int32(t)
                                found = wp.int32(a)
                    t += 1
        if found >= 0:
            met[0, k] = first
            met[1, k] = found
        block += 1


@wp.kernel
def first_blocked_poses(
    path: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    rear: wp.float64,
    clearances: wp.array[wp.float64],
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    first: wp.array3d[wp.int32],
):
    """Find the first pose of each path at which a box overlaps an agent at each step; the path's length if none.

    The box is longer at both ends by each of the ``clearances``. Agents behind the first pose at the first step are
    ignored.
    """
    p, r, t = wp.tid()
    box = wp.vec2d(half[0] + clearances[r], half[1])
    radius = wp.length(box)
    found = wp.int32(path.shape[1])
    around = centre_bounds(path[p], 0, found)
    for word in range((others.shape[0] + 63) // 64):
        near = near_mask(around, radius, bounds, t / STEPS_PER_BLOCK, 64 * word)
        while near != NO_BITS:
            a = 64 * word + lowest_bit(near)
            near = near & (near - ONE_BIT)
            if valid[a, t] != wp.uint8(0) and cosine_to(path[p, 0], rear, others[a, 0]) >= COS_BEHIND:
                reach = radius + wp.length(halves[a])
                for i in range(found):
                    close = wp.length_sq(position(others[a, t]) - position(path[p, i])) < reach * reach
                    if close and box_separation(path[p, i], box, others[a, t], halves[a]) < ZERO:
                        found = wp.int32(i)
                        break
    first[p, r, t] = found


@wp.kernel
def poses_along(
    poses: wp.array2d[wp.vec3d],
    distance: wp.array2d[wp.float64],
    s: wp.array2d[wp.float64],
    out: wp.array2d[wp.vec3d],
):
    """Interpolate poses at arc lengths ``s`` of paths with poses at ``distance``; clamp at both ends."""
    i = wp.tid()
    at = wp.int32(0)
    last = wp.int32(distance.shape[1]) - 2
    for j in range(s.shape[1]):
        while at < last and distance[i, at + 1] <= s[i, j]:
            at += 1
        while at > 0 and distance[i, at] > s[i, j]:
            at -= 1
        part = wp.clamp(
            (s[i, j] - distance[i, at]) / wp.max(distance[i, at + 1] - distance[i, at], MIN_LENGTH_M), ZERO, ONE
        )
        step = poses[i, at + 1] - poses[i, at]
        step[2] = step[2] - FULL_TURN_RAD * wp.floor((step[2] + HALF * FULL_TURN_RAD) / FULL_TURN_RAD)
        out[i, j] = poses[i, at] + part * step
