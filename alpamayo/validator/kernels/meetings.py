# mypy: ignore-errors
"""Time to collision of motions that go straight on."""

import math

from alpamayo.validator.kernels.boxes import apart, box_separation
from alpamayo.validator.packed import BLOCK
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TINY = wp.constant(wp.float64(1.0e-12))
SMALL = wp.constant(wp.float64(1.0e-9))
COS_AHEAD = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(math.radians(150.0))))
AHEAD, BESIDE = wp.constant(1), wp.constant(2)
STEPS_A_BLOCK = wp.constant(BLOCK)


@wp.func
def way_in(speed: wp.float64, acceleration: wp.float64, time: wp.float64) -> wp.float64:
    """Way in a time at constant acceleration; whoever brakes ends at rest."""
    lasting = wp.float64(time)
    if acceleration < ZERO and wp.abs(speed) < -acceleration * time:
        lasting = wp.abs(speed) / -acceleration
    sign = wp.where(speed < ZERO, -ONE, ONE)
    return sign * (wp.abs(speed) * lasting + HALF * acceleration * lasting * lasting)


@wp.func
def cosine_to(pose: wp.vec4d, rear: wp.float64, place: wp.vec4d) -> wp.float64:
    """Cosine of the angle from the heading to a place, seen from the rear axle."""
    x = place[0] - pose[0] + rear * pose[2]
    y = place[1] - pose[1] + rear * pose[3]
    return (pose[2] * x + pose[3] * y) / wp.max(wp.sqrt(x * x + y * y), TINY)


@wp.func
def bearing_of(pose: wp.vec4d, rear: wp.float64, then: wp.vec4d, now: wp.vec4d, there: wp.uint8) -> wp.int32:
    """Whether someone is met ahead or beside; 0 where he is behind, then or now."""
    cosine = cosine_to(pose, rear, then)
    kind = wp.where(cosine > COS_AHEAD, AHEAD, wp.where(cosine < COS_BEHIND, 0, BESIDE))
    if there != wp.uint8(0) and cosine_to(pose, rear, now) < COS_BEHIND:
        kind = wp.int32(0)
    return kind


@wp.func
def when_below(c: wp.float64, rate: wp.float64, limit: wp.float64, span: wp.vec2d) -> wp.vec2d:
    """The part of a span of time in which c + rate * time is at most a limit; its end is before its begin if none."""
    low = span[0]
    high = span[1]
    if rate > ZERO:
        high = wp.min(high, (limit - c) / rate)
    elif rate < ZERO:
        low = wp.max(low, (limit - c) / rate)
    elif c > limit:
        high = wp.float64(-1.0)
    return wp.vec2d(low, high)


@wp.func
def may_meet(
    p: wp.vec4d,
    speed: wp.float64,
    acceleration: wp.float64,
    half: wp.vec2d,
    q: wp.vec4d,
    half_q: wp.vec2d,
    v: wp.vec2d,
    off: wp.float64,
    turns: wp.bool,
    horizon: wp.float64,
) -> wp.vec2d:
    """The span of time in which two boxes can overlap along both axes of the ego, who goes straight on.

    ``off`` is by how much the other leaves the line of its velocity ``v``, ``turns`` whether it turns. The ego's way
    in a time lies between that at its first and at its mean speed.
    """
    x = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    y = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    reach_x = half_q[0] * c + half_q[1] * s
    reach_y = half_q[0] * s + half_q[1] * c
    if turns:
        reach_x = wp.length(half_q)
        reach_y = wp.length(half_q)
    reach_x = reach_x + half[0] + off
    reach_y = reach_y + half[1] + off
    side = p[2] * v[1] - p[3] * v[0]
    span = when_below(y, side, reach_y, wp.vec2d(ZERO, horizon))
    span = when_below(-y, -side, reach_y, span)
    if span[0] <= span[1]:
        mean = way_in(speed, acceleration, horizon) / horizon
        front = p[2] * v[0] + p[3] * v[1]
        span = when_below(x, front - wp.max(speed, mean), reach_x, span)
        span = when_below(-x, wp.min(speed, mean) - front, reach_x, span)
    return span


@wp.kernel
def times_to_collision(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    rear: wp.float64,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    velocity: wp.array2d[wp.vec2d],
    off: wp.array2d[wp.float64],
    turns: wp.array[wp.uint8],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array2d[wp.vec4d],
    until: wp.array2d[wp.int32],
    dt: wp.float64,
    spacing: wp.int32,
    last: wp.int32,
    stands: wp.float64,
    ahead: wp.array2d[wp.float64],
    ahead_whom: wp.array2d[wp.int32],
    beside: wp.array2d[wp.float64],
    beside_whom: wp.array2d[wp.int32],
):
    """First overlap when the ego goes straight on from each time: with someone ahead, and beside; what was there else.

    ``rear`` is how far the rear axle is behind the centre; ``until`` [k, a] the step from which on a pair does not
    count any more. Within ``last`` steps the other is at most ``off`` [a, t] away from where its velocity takes it,
    and turns only if ``turns`` says so. ``bounds`` [a, blocks] are around all that it does in a block and ``last``
    steps after it.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    horizon = wp.float64(last) * dt
    stride = wp.float64(spacing) * dt
    for block in range(bounds.shape[1]):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        low = wp.vec2d(ego[k, begin][0], ego[k, begin][1])
        high = low
        for t in range(begin, end):
            p = wp.vec4d(ego[k, t])
            way = way_in(speed[k, t], acceleration[k, t], horizon)
            here = wp.vec2d(p[0], p[1])
            there = wp.vec2d(p[0] + way * p[2], p[1] + way * p[3])
            low = wp.min(low, wp.min(here, there))
            high = wp.max(high, wp.max(here, there))
        for a in range(others.shape[0]):
            if begin < until[k, a] and apart(low, high, bounds[a, block]) < radius:
                for t in range(begin, wp.min(end, until[k, a])):
                    v = wp.float64(speed[k, t])
                    p = wp.vec4d(ego[k, t])
                    span = wp.vec2d(ZERO, horizon)
                    if valid[a, t] != wp.uint8(0):
                        span = may_meet(
                            p,
                            v,
                            acceleration[k, t],
                            half,
                            others[a, t],
                            halves[a],
                            velocity[a, t],
                            off[a, t] + TINY,
                            turns[a] != wp.uint8(0),
                            horizon,
                        )
                    if wp.abs(v) < stands:
                        span = wp.vec2d(ONE, ZERO)
                    span[1] = wp.min(span[1], ahead[k, t])
                    n = wp.int32(0)
                    until_n = wp.int32(-1)
                    if span[0] <= span[1]:  # else its ends may be too large for integers
                        n = wp.int32(wp.ceil(span[0] / stride - SMALL)) * spacing
                        until_n = wp.min(wp.int32(wp.floor(span[1] / stride + SMALL)) * spacing, last)
                    while n <= until_n:
                        if valid[a, t + n] != wp.uint8(0) and wp.float64(n) * dt < ahead[k, t]:
                            q = wp.vec4d(others[a, t + n])
                            way = way_in(v, acceleration[k, t], wp.float64(n) * dt)
                            moved = wp.vec4d(p[0] + way * p[2], p[1] + way * p[3], p[2], p[3])
                            if box_separation(moved, half, q, halves[a]) < ZERO:
                                kind = bearing_of(p, rear, q, others[a, t], valid[a, t])
                                if kind == AHEAD:
                                    ahead[k, t] = wp.float64(n) * dt
                                    ahead_whom[k, t] = a
                                elif kind == BESIDE and wp.float64(n) * dt < beside[k, t]:
                                    beside[k, t] = wp.float64(n) * dt
                                    beside_whom[k, t] = a
                                n = wp.int32(until_n)
                        n += spacing
