# mypy: ignore-errors
"""Whom each of many motions meets first, as a guard asks."""

import math

from alpamayo.validator.kernels.boxes import (
    NO_BITS,
    ONE_BIT,
    box_separation,
    centre_bounds,
    lowest_bit,
    near_mask,
    position,
)
from alpamayo.validator.kernels.layout import BLOCK_STEPS
from alpamayo.validator.kernels.time_to_collision import cosine_to
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
SHORT = wp.constant(wp.float64(1.0e-9))
TURN = wp.constant(wp.float64(2.0 * math.pi))
COS_CROSSING = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(math.radians(150.0))))
STEPS_PER_BLOCK = wp.constant(BLOCK_STEPS)
LONG, TIGHT, PAST = wp.constant(wp.uint8(0)), wp.constant(wp.uint8(1)), wp.constant(wp.uint8(2))


@wp.func
def moved_ahead(pose: wp.vec4d, by: wp.float64) -> wp.vec4d:
    """A box moved along its heading."""
    return wp.vec4d(pose[0] + by * pose[2], pose[1] + by * pose[3], pose[2], pose[3])


@wp.func
def moves(others: wp.array2d[wp.vec4d], a: wp.int32, t: wp.int32) -> wp.bool:
    """Whether somebody is elsewhere than at the first step."""
    return t > 0 and wp.length_sq(position(others[a, t]) - position(others[a, 0])) > ZERO


@wp.kernel
def meetings_to_avoid(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    rear: wp.float64,
    sizes: wp.array[wp.vec4d],
    until: wp.float64,
    dt: wp.float64,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    state: wp.array2d[wp.uint8],
    met: wp.array2d[wp.int32],
):
    """First step at which each motion overlaps somebody who is not behind it, and who that is; left as is if never.

    Of ``sizes`` [k] the first is how much longer in front the box of motion k is, the next two by how much the half
    lengths and widths of others are larger; the last is an acceleration, at which those who cross its way may get
    further than they should or less far ``until`` a time. Who overlaps the box itself at the first step does not
    count; against who overlaps all that the box itself counts, as they are. A pair whose first overlap is from behind
    does not count later either. ``rear`` is how far the rear axle, from which directions are seen, is behind the
    centre; ``bounds`` [blocks, 4, a] are upright rectangles around the other's boxes in a block. ``state`` [k, a] is
    room for what is known of a pair, zero at first.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    ahead = HALF * sizes[k][0]
    wider = wp.vec2d(sizes[k][1], sizes[k][2])
    long_half = wp.vec2d(half[0] + ahead, half[1])
    # a circle about the box without its standoff that the longer one is in too
    furthest = HALF * sizes[k][3] * until * until
    radius = wp.length(half) + sizes[k][0] + wp.length(wider) + furthest
    for a in range(others.shape[0]):
        reach = radius + wp.length(halves[a])
        if valid[a, 0] != wp.uint8(0) and wp.length_sq(position(others[a, 0]) - position(ego[k, 0])) < reach * reach:
            if box_separation(ego[k, 0], half, others[a, 0], halves[a]) < ZERO:
                state[k, a] = PAST
            elif box_separation(moved_ahead(ego[k, 0], ahead), long_half, others[a, 0], halves[a] + wider) < ZERO:
                state[k, a] = TIGHT
    block = wp.int32(0)
    found = wp.int32(-1)
    while found < 0 and block < bounds.shape[0]:
        begin = block * STEPS_PER_BLOCK
        end = wp.min(begin + STEPS_PER_BLOCK, steps)
        around = centre_bounds(ego[k], begin, end)
        first = wp.int32(end)
        for word in range((others.shape[0] + 63) // 64):
            near = near_mask(around, radius, bounds, block, 64 * word)
            while near != NO_BITS:
                a = 64 * word + lowest_bit(near)
                near = near & (near - ONE_BIT)
                reach = radius + wp.length(halves[a])
                t = wp.int32(begin)
                while t < end and state[k, a] != PAST:
                    away = position(others[a, t]) - position(ego[k, t])
                    if valid[a, t] != wp.uint8(0) and wp.length_sq(away) < reach * reach:
                        gap = wp.float64(0.0)
                        if state[k, a] == TIGHT:
                            gap = box_separation(ego[k, t], half, others[a, t], halves[a])
                        else:
                            its = halves[a] + wider
                            along = ego[k, t][2] * others[a, t][2] + ego[k, t][3] * others[a, t][3]
                            if wp.abs(along) < COS_CROSSING and moves(others, a, t):
                                time = wp.min(wp.float64(t) * dt, until)
                                its[0] = its[0] + HALF * sizes[k][3] * time * time
                            gap = box_separation(moved_ahead(ego[k, t], ahead), long_half, others[a, t], its)
                        if gap < ZERO:
                            state[k, a] = PAST
                            if t < first and cosine_to(ego[k, t], rear, others[a, t]) >= COS_BEHIND:
                                first = wp.int32(t)
                                found = wp.int32(a)
                    t += 1
        if found >= 0:
            met[0, k] = first
            met[1, k] = found
        block += 1


@wp.kernel
def first_blocked(
    places: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    rear: wp.float64,
    rooms: wp.array[wp.float64],
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    first: wp.array3d[wp.int32],
):
    """First of the places on each path at which a box overlaps somebody at each step; their number if there is none.

    The box is longer at both ends by each of the ``rooms``. Who is behind the first position at the first step does not
    count.
    """
    p, r, t = wp.tid()
    box = wp.vec2d(half[0] + rooms[r], half[1])
    radius = wp.length(box)
    found = wp.int32(places.shape[1])
    around = centre_bounds(places[p], 0, found)
    for word in range((others.shape[0] + 63) // 64):
        near = near_mask(around, radius, bounds, t / STEPS_PER_BLOCK, 64 * word)
        while near != NO_BITS:
            a = 64 * word + lowest_bit(near)
            near = near & (near - ONE_BIT)
            if valid[a, t] != wp.uint8(0) and cosine_to(places[p, 0], rear, others[a, 0]) >= COS_BEHIND:
                reach = radius + wp.length(halves[a])
                for i in range(found):
                    close = wp.length_sq(position(others[a, t]) - position(places[p, i])) < reach * reach
                    if close and box_separation(places[p, i], box, others[a, t], halves[a]) < ZERO:
                        found = wp.int32(i)
                        break
    first[p, r, t] = found


@wp.kernel
def poses_along(
    poses: wp.array2d[wp.vec3d],
    way: wp.array2d[wp.float64],
    s: wp.array2d[wp.float64],
    out: wp.array2d[wp.vec3d],
):
    """Poses at the arc lengths ``s`` of paths whose poses are at the arc lengths ``way``, held at both ends."""
    i = wp.tid()
    at = wp.int32(0)
    last = wp.int32(way.shape[1]) - 2
    for j in range(s.shape[1]):
        while at < last and way[i, at + 1] <= s[i, j]:
            at += 1
        while at > 0 and way[i, at] > s[i, j]:
            at -= 1
        part = wp.clamp((s[i, j] - way[i, at]) / wp.max(way[i, at + 1] - way[i, at], SHORT), ZERO, ONE)
        step = poses[i, at + 1] - poses[i, at]
        step[2] = step[2] - TURN * wp.floor((step[2] + HALF * TURN) / TURN)
        out[i, j] = poses[i, at] + part * step
