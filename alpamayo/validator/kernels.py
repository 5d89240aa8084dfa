# mypy: ignore-errors
"""The validator's inner loops, compiled by Warp: boxes against boxes, RSS, the nearest segments of a map.

Everything is float64. A box is x, y, cosine, sine of its centre's heading (``vec4d``) and its half length and width.
One thread looks at one motion (or one point) and writes its own row alone, so the same input gives the same bits.

The loops over road users go by blocks of ``BLOCK`` steps: who cannot matter in a whole block, by bounds that
hold whatever happens within it, is not looked at step by step. What is left out never changes a result.
``tests/validator/reference.py`` says the same in plain numpy.
"""

import math

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

BLOCK = 8
FAR = wp.constant(wp.float64(1.0e300))
ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TWO = wp.constant(wp.float64(2.0))
TINY = wp.constant(wp.float64(1.0e-12))
SMALL = wp.constant(wp.float64(1.0e-9))
COS_AHEAD = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(math.radians(150.0))))
AHEAD, BESIDE = wp.constant(1), wp.constant(2)
STEPS_A_BLOCK = wp.constant(BLOCK)
HALF_A_BLOCK = wp.constant(wp.float64(0.5 * BLOCK))

# --- Boxes


@wp.func
def box_separation(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d) -> wp.float64:
    """Largest gap over the four separating axes, as ``geometry.box_separation``."""
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    ahead = a[2] * dx + a[3] * dy
    left = a[2] * dy - a[3] * dx
    c = a[2] * b[2] + a[3] * b[3]
    s = a[2] * b[3] - a[3] * b[2]
    ac = wp.abs(c)
    as_ = wp.abs(s)
    gap = wp.abs(ahead) - half_a[0] - half_b[0] * ac - half_b[1] * as_
    gap = wp.max(gap, wp.abs(left) - half_a[1] - half_b[0] * as_ - half_b[1] * ac)
    gap = wp.max(gap, wp.abs(c * ahead + s * left) - half_b[0] - half_a[0] * ac - half_a[1] * as_)
    return wp.max(gap, wp.abs(c * left - s * ahead) - half_b[1] - half_a[0] * as_ - half_a[1] * ac)


@wp.func
def corner_squared(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d) -> wp.float64:
    """Least squared distance of b's corners to box a."""
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    x = a[2] * dx + a[3] * dy
    y = a[2] * dy - a[3] * dx
    c = a[2] * b[2] + a[3] * b[3]
    s = a[2] * b[3] - a[3] * b[2]
    best = wp.float64(1.0e300)
    for corner in range(4):
        i = wp.where(corner < 2, half_b[0], -half_b[0])
        j = wp.where(corner == 1 or corner == 2, half_b[1], -half_b[1])
        out_x = wp.max(wp.abs(x + i * c - j * s) - half_a[0], ZERO)
        out_y = wp.max(wp.abs(y + i * s + j * c) - half_a[1], ZERO)
        best = wp.min(best, out_x * out_x + out_y * out_y)
    return best


@wp.func
def box_distance(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d, gap: wp.float64) -> wp.float64:
    """Euclidean distance of boxes whose gap is positive, else the gap, as ``geometry.box_distance``."""
    out = wp.float64(gap)
    if gap > ZERO:
        out = wp.sqrt(wp.min(corner_squared(a, half_a, b, half_b), corner_squared(b, half_b, a, half_a)))
    return out


@wp.func
def apart(low: wp.vec2d, high: wp.vec2d, other: wp.vec4d) -> wp.float64:
    """Largest gap over both axes of two upright rectangles; the other's is its low and its high corner."""
    x = wp.max(other[0] - high[0], low[0] - other[2])
    y = wp.max(other[1] - high[1], low[1] - other[3])
    return wp.max(x, y)


@wp.kernel
def first_contacts(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array2d[wp.vec4d],
    first: wp.array2d[wp.int32],
):
    """First step at which the boxes of motion k and other a overlap; what was there before (-1) where they never do.

    ``bounds`` [a, blocks] are upright rectangles around the other's boxes in a block.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[1]):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        low = wp.vec2d(ego[k, begin][0], ego[k, begin][1])
        high = low
        for t in range(begin + 1, end):
            here = wp.vec2d(ego[k, t][0], ego[k, t][1])
            low = wp.min(low, here)
            high = wp.max(high, here)
        for a in range(others.shape[0]):
            if first[k, a] < 0 and apart(low, high, bounds[a, block]) < radius:
                reach = radius + wp.length(halves[a])
                for t in range(begin, end):
                    if first[k, a] < 0 and valid[a, t] != wp.uint8(0):
                        dx = others[a, t][0] - ego[k, t][0]
                        dy = others[a, t][1] - ego[k, t][1]
                        near = dx * dx + dy * dy < reach * reach
                        if near and box_separation(ego[k, t], half, others[a, t], halves[a]) < ZERO:
                            first[k, a] = t


@wp.kernel
def clearances(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array2d[wp.vec4d],
    ignored: wp.array2d[wp.uint8],
    furthest: wp.float64,
    margins: wp.array2d[wp.float64],
):
    """Signed distance to the nearest other who is not ignored, at most ``furthest``."""
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[1]):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        low = wp.vec2d(ego[k, begin][0], ego[k, begin][1])
        high = low
        for t in range(begin, end):
            here = wp.vec2d(ego[k, t][0], ego[k, t][1])
            low = wp.min(low, here)
            high = wp.max(high, here)
            margins[k, t] = furthest
        for a in range(others.shape[0]):
            if ignored[k, a] == wp.uint8(0) and apart(low, high, bounds[a, block]) < radius + furthest:
                reach = radius + wp.length(halves[a])
                for t in range(begin, end):
                    if valid[a, t] != wp.uint8(0):
                        dx = others[a, t][0] - ego[k, t][0]
                        dy = others[a, t][1] - ego[k, t][1]
                        far = reach + wp.max(margins[k, t], ZERO)
                        if dx * dx + dy * dy < far * far:
                            gap = box_separation(ego[k, t], half, others[a, t], halves[a])
                            if gap < margins[k, t]:
                                there = box_distance(ego[k, t], half, others[a, t], halves[a], gap)
                                margins[k, t] = wp.min(margins[k, t], there)


# --- Time to collision


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


# --- RSS


@wp.struct
class Rules:
    """What ``rss.assess`` takes for granted of the ego and of an other, ready for use: brakes as 1 / (2 brake)."""

    rho_ego: wp.float64
    rho_other: wp.float64
    accel_ego: wp.float64
    accel_other: wp.float64
    accel_facing: wp.float64
    brake_ego: wp.float64
    brake_ego_correct: wp.float64
    brake_other: wp.float64
    hardest_ego: wp.float64
    hardest_other: wp.float64
    least: wp.float64
    side_accel: wp.float64
    side_brake: wp.float64
    side_own: wp.float64
    still: wp.float64
    ask: wp.float64
    ask_facing: wp.float64
    free: wp.float64


@wp.func
def stopping(v: wp.float64, rho: wp.float64, a: wp.float64, brake: wp.float64) -> wp.float64:
    """``rss.stopping_distance`` of one who is not going backwards."""
    top = v + rho * a
    return v * rho + HALF * a * rho * rho + top * top * brake


@wp.func
def safe_along(v_ego: wp.float64, v_other: wp.float64, ego_behind: wp.bool, r: Rules) -> wp.float64:
    """Safe longitudinal distance of ``rss.assess``."""
    safe = wp.float64(0.0)
    if ego_behind and v_other < ZERO:
        safe = stopping(v_ego, r.rho_ego, r.accel_facing, r.brake_ego_correct)
        safe = safe + stopping(-v_other, r.rho_other, r.accel_facing, r.brake_other)
    elif ego_behind:
        safe = stopping(v_ego, r.rho_ego, r.accel_ego, r.brake_ego) - v_other * v_other * r.hardest_other
    else:
        safe = stopping(wp.max(v_other, ZERO), r.rho_other, r.accel_other, r.brake_other)
        safe = safe - v_ego * v_ego * r.hardest_ego
    return wp.max(safe, ZERO) + r.least


@wp.func
def safe_across(towards: wp.float64, r: Rules) -> wp.float64:
    """Safe lateral distance of ``rss.assess`` to an other who comes nearer at that speed; the ego goes straight."""
    top = towards + r.rho_other * r.side_accel
    way = towards * r.rho_other + HALF * r.side_accel * r.rho_other * r.rho_other
    return wp.max(r.side_own + way + wp.where(top > ZERO, top * top * r.side_brake, ZERO), ZERO)


@wp.func
def most_along(top: wp.float64, low: wp.float64, high: wp.float64, r: Rules) -> wp.float64:
    """Upper bound of ``safe_along`` for an ego of at most ``top`` and an other between ``low`` and ``high``."""
    out = stopping(top, r.rho_ego, wp.max(r.accel_ego, r.accel_facing), wp.max(r.brake_ego, r.brake_ego_correct))
    if low < ZERO:
        out = out + stopping(-low, r.rho_other, r.accel_facing, r.brake_other)
    return wp.max(out, stopping(wp.max(high, ZERO), r.rho_other, r.accel_other, r.brake_other)) + r.least


@wp.func
def across(
    p: wp.vec4d, half: wp.vec2d, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d, stands: wp.float64, r: Rules
) -> wp.float64:
    """Lateral gap over the safe one; someone who stands does not move sideways."""
    left = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(left) - half[1] - half_q[0] * s - half_q[1] * c
    safe = wp.float64(r.still)
    if v[0] * v[0] + v[1] * v[1] > stands * stands:
        right = p[3] * v[0] - p[2] * v[1]
        safe = safe_across(wp.where(left < ZERO, -right, right), r)
    return gap - safe


@wp.func
def along(
    p: wp.vec4d, half: wp.vec2d, v_ego: wp.float64, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d, r: Rules
) -> wp.float64:
    """Longitudinal gap over the safe one."""
    ahead = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(ahead) - half[0] - half_q[0] * c - half_q[1] * s
    return gap - safe_along(wp.abs(v_ego), p[2] * v[0] + p[3] * v[1], ahead > ZERO, r)


@wp.func
def is_before(p: wp.vec4d, q: wp.vec4d) -> wp.bool:
    """Whether a place is before the ego, along its heading."""
    return p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1]) > ZERO


@wp.func
def is_within(p: wp.vec4d, q: wp.vec4d, far: wp.float64, wide: wp.float64) -> wp.bool:
    """Whether a place is nearer than that along and across the ego's heading."""
    dx = q[0] - p[0]
    dy = q[1] - p[1]
    return wp.abs(p[2] * dx + p[3] * dy) < far and wp.abs(p[2] * dy - p[3] * dx) < wide


@wp.func
def goes_against(p: wp.vec4d, v: wp.vec2d) -> wp.bool:
    """Whether a velocity is against the ego's heading."""
    return p[2] * v[0] + p[3] * v[1] < ZERO


@wp.kernel
def responsibilities(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    velocity: wp.array2d[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    fastest: wp.array[wp.float64],
    changes: wp.array2d[wp.float64],
    r: Rules,
    stands: wp.float64,
    furthest: wp.float64,
    dt: wp.float64,
    turns: wp.array2d[wp.float64],
    margins: wp.array2d[wp.float64],
    asked: wp.array2d[wp.float64],
):
    """RSS of each motion: least of the larger margins to anybody, and the most that may be accelerated.

    ``fastest`` [a] bounds the speed at which the other's place changes, ``changes`` [a, blocks] how far its velocity
    is from that in the middle of a block; ``turns`` [k, blocks] is room for the same of the ego's direction. A step
    matters where both margins are under ``furthest``. Of steps that do not, only the last before one that does is
    looked at: not both gaps are lost then, so which was lost first is known.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    top = wp.float64(0.0)
    moves = wp.float64(0.0)
    for t in range(steps):
        margins[k, t] = furthest
        asked[k, t] = r.free
        top = wp.max(top, wp.abs(speed[k, t]))
        if t > 0:
            dx = ego[k, t][0] - ego[k, t - 1][0]
            dy = ego[k, t][1] - ego[k, t - 1][1]
            moves = wp.max(moves, dx * dx + dy * dy)
    moves = wp.sqrt(moves) / dt
    blocks = (steps + STEPS_A_BLOCK - 1) // STEPS_A_BLOCK
    for block in range(blocks):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        middle = wp.min(begin + STEPS_A_BLOCK // 2, end - 1)
        turns[k, block] = ZERO
        for t in range(begin, end):
            dc = ego[k, t][2] - ego[k, middle][2]
            ds = ego[k, t][3] - ego[k, middle][3]
            turns[k, block] = wp.max(turns[k, block], wp.sqrt(dc * dc + ds * ds))
    for a in range(others.shape[0]):
        size = wp.length(halves[a])
        lost_along = wp.int32(-1)
        lost_across = wp.int32(-1)
        known = wp.int32(-1)
        for block in range(blocks):
            begin = block * STEPS_A_BLOCK
            end = wp.min(begin + STEPS_A_BLOCK, steps)
            matters = wp.bool(True)
            far = wp.float64(1.0e300)
            wide = wp.float64(1.0e300)
            middle = wp.min(begin + STEPS_A_BLOCK // 2, end - 1)
            if valid[a, middle] != wp.uint8(0):
                p = wp.vec4d(ego[k, middle])
                x = others[a, middle][0] - p[0]
                y = others[a, middle][1] - p[1]
                ahead = wp.abs(p[2] * x + p[3] * y)
                left = wp.abs(p[2] * y - p[3] * x)
                slack = (moves + fastest[a]) * HALF_A_BLOCK * dt + wp.sqrt(x * x + y * y) * turns[k, block]
                v = wp.vec2d(velocity[a, middle])
                vary = changes[a, block] + wp.length(v) * turns[k, block]
                along_v = p[2] * v[0] + p[3] * v[1]
                across_v = wp.abs(p[2] * v[1] - p[3] * v[0])
                far = most_along(top, along_v - vary, along_v + vary, r) + size + half[0] + furthest
                wide = wp.max(safe_across(across_v + vary, r), r.still) + size + half[1] + furthest
                matters = ahead < far + slack and left < wide + slack
            if matters:
                for t in range(begin, end):
                    if valid[a, t] != wp.uint8(0) and is_within(ego[k, t], others[a, t], far, wide):
                        side = across(ego[k, t], half, others[a, t], halves[a], velocity[a, t], stands, r)
                        if side < furthest:
                            if known != t - 1:
                                lost_along = wp.int32(-1)
                                lost_across = wp.int32(-1)
                                if t > 0 and valid[a, t - 1] != wp.uint8(0):
                                    before = along(
                                        ego[k, t - 1],
                                        half,
                                        speed[k, t - 1],
                                        others[a, t - 1],
                                        halves[a],
                                        velocity[a, t - 1],
                                        r,
                                    )
                                    if before <= ZERO:
                                        lost_along = t - 1
                                    before = across(
                                        ego[k, t - 1],
                                        half,
                                        others[a, t - 1],
                                        halves[a],
                                        velocity[a, t - 1],
                                        stands,
                                        r,
                                    )
                                    if before <= ZERO:
                                        lost_across = t - 1
                            ahead_margin = along(
                                ego[k, t], half, speed[k, t], others[a, t], halves[a], velocity[a, t], r
                            )
                            lost_along = wp.where(ahead_margin > ZERO, -1, wp.where(lost_along < 0, t, lost_along))
                            lost_across = wp.where(side > ZERO, -1, wp.where(lost_across < 0, t, lost_across))
                            margins[k, t] = wp.min(margins[k, t], wp.max(ahead_margin, side))
                            known = t
                            last = lost_along >= 0 and lost_across >= 0 and lost_along >= lost_across
                            if last and is_before(ego[k, t], others[a, t]):
                                facing = goes_against(ego[k, t], velocity[a, t])
                                asked[k, t] = wp.min(asked[k, t], wp.where(facing, r.ask_facing, r.ask))


# --- The nearest segments of a map


@wp.struct
class Grid:
    """Cells of a map: ``count`` of the segments that can be nearest somewhere in a cell, -1 where not yet known.

    Those of a cell are in the order of their distance to its middle, ``away``.
    """

    low: wp.vec2d
    cell: wp.float64
    columns: wp.int32
    rows: wp.int32
    first: wp.array[wp.int32]
    count: wp.array[wp.int32]
    candidates: wp.array[wp.int32]
    away: wp.array[wp.float64]
    start: wp.array[wp.vec2d]
    step: wp.array[wp.vec2d]
    inverse: wp.array[wp.float64]


OUTSIDE = -2
UNKNOWN = -1


@wp.func
def cell_of(grid: Grid, x: wp.float64, y: wp.float64) -> wp.int32:
    """Number of the cell of a point, -2 outside of the grid."""
    column = wp.floor((x - grid.low[0]) / grid.cell)
    row = wp.floor((y - grid.low[1]) / grid.cell)
    cell = wp.int32(-2)
    # a far place is told from a near one before anything becomes an integer
    if column >= ZERO and row >= ZERO and column < wp.float64(grid.columns) and row < wp.float64(grid.rows):
        cell = wp.int32(column) * grid.rows + wp.int32(row)
    return cell


@wp.func
def off_middle(grid: Grid, cell: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point from the middle of its cell."""
    column = wp.float64(cell // grid.rows)
    row = wp.float64(cell % grid.rows)
    dx = x - grid.low[0] - (column + HALF) * grid.cell
    dy = y - grid.low[1] - (row + HALF) * grid.cell
    return wp.sqrt(dx * dx + dy * dy)


@wp.func
def part_of(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Which part of a segment is nearest to a point."""
    step = grid.step[segment]
    start = grid.start[segment]
    part = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) * grid.inverse[segment]
    return wp.clamp(part, ZERO, ONE)


@wp.func
def distance_to(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Distance of a point to a segment."""
    part = part_of(grid, segment, x, y)
    dx = x - grid.start[segment][0] - part * grid.step[segment][0]
    dy = y - grid.start[segment][1] - part * grid.step[segment][1]
    return wp.sqrt(dx * dx + dy * dy)


@wp.kernel
def cell_candidates(
    grid: Grid,
    ways: wp.array[wp.vec2d],
    group: wp.array[wp.int32],
    cells: wp.array[wp.int32],
    list_first: wp.array[wp.int32],
    list_count: wp.array[wp.int32],
    listed: wp.array[wp.int32],
    slack: wp.float64,
    turn_cost: wp.float64,
    first: wp.array[wp.int32],
    counts: wp.array[wp.int32],
    candidates: wp.array[wp.int32],
    away: wp.array[wp.float64],
):
    """Which of the listed segments can be the cheapest somewhere in a cell; with ``first`` not negative, written there.

    Left out is one that is further from the cell's middle, by more than ``slack`` and what the turn between both
    can cost, than the nearest of all or the nearest of its group. A cell's list has each group on end.
    """
    i = wp.tid()
    x = grid.low[0] + (wp.float64(cells[i] // grid.rows) + HALF) * grid.cell
    y = grid.low[1] + (wp.float64(cells[i] % grid.rows) + HALF) * grid.cell
    begin = list_first[i]
    end = begin + list_count[i]
    nearest = wp.int32(listed[begin])
    least = distance_to(grid, nearest, x, y)
    for j in range(begin, end):
        d = distance_to(grid, listed[j], x, y)
        if d < least:
            least = wp.float64(d)
            nearest = wp.int32(listed[j])
    kept = wp.int32(0)
    j = wp.int32(begin)
    while j < end:
        best = wp.int32(listed[j])
        least_of_group = distance_to(grid, best, x, y)
        after = wp.int32(j)
        for m in range(j, end):
            if group[listed[m]] != group[best]:
                break
            d = distance_to(grid, listed[m], x, y)
            if d < least_of_group:
                least_of_group = wp.float64(d)
                best = wp.int32(listed[m])
            after = m + 1
        for m in range(j, after):
            segment = listed[m]
            d = distance_to(grid, segment, x, y)
            cheap = d - least <= slack + turn_cost * wp.length(ways[segment] - ways[nearest])
            cheap = cheap and d - least_of_group <= slack + turn_cost * wp.length(ways[segment] - ways[best])
            if cheap:
                if first[i] >= 0:
                    place = wp.int32(first[i] + kept)
                    while place > first[i] and away[wp.max(place - 1, 0)] > d:
                        away[place] = away[place - 1]
                        candidates[place] = candidates[place - 1]
                        place -= 1
                    away[place] = d
                    candidates[place] = segment
                kept += 1
        j = wp.int32(after)
    counts[i] = kept


@wp.kernel
def nearest_segments(
    grid: Grid,
    ways: wp.array[wp.vec2d],
    points: wp.array[wp.vec2d],
    headings: wp.array[wp.vec2d],
    cost: wp.float64,
    best: wp.array[wp.int32],
    parts: wp.array[wp.float64],
    offsets: wp.array[wp.float64],
    distances: wp.array[wp.float64],
):
    """Cheapest segment of each point: its distance plus ``cost`` times (1 - cosine of the turn to it); -1, -2 none.

    ``ways`` are the segments' directions, ``headings`` the points' as cosine and sine.
    """
    i = wp.tid()
    x = points[i][0]
    y = points[i][1]
    cell = cell_of(grid, x, y)
    if cell < 0:
        best[i] = cell
    elif grid.count[cell] < 0:
        best[i] = UNKNOWN
    else:
        least = wp.float64(1.0e300)
        middle = off_middle(grid, cell, x, y) + TINY
        for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
            if grid.away[j] - middle > least:
                break
            segment = grid.candidates[j]
            part = part_of(grid, segment, x, y)
            dx = x - grid.start[segment][0] - part * grid.step[segment][0]
            dy = y - grid.start[segment][1] - part * grid.step[segment][1]
            price = wp.sqrt(dx * dx + dy * dy)
            price = price + cost * (ONE - wp.dot(headings[i], ways[segment]))
            if price < least or (price == least and segment < best[i]):
                least = wp.float64(price)
                best[i] = segment
                parts[i] = part
                left = ways[segment][0] * (y - grid.start[segment][1]) - ways[segment][1] * (x - grid.start[segment][0])
                distances[i] = wp.sqrt(dx * dx + dy * dy)
                offsets[i] = wp.sign(left) * distances[i]
                if left == ZERO:
                    offsets[i] = ZERO


@wp.func
def normal_of(
    grid: Grid, normal_start: wp.array[wp.vec2d], normal_end: wp.array[wp.vec2d], segment: wp.int32, part: wp.float64
) -> wp.vec2d:
    """Normal of a border at the foot of a point: a segment's own, or the sum of both in a corner."""
    out = wp.vec2d(-grid.step[segment][1], grid.step[segment][0])
    if part <= ZERO:
        out = wp.vec2d(normal_start[segment])
    elif part >= ONE:
        out = wp.vec2d(normal_end[segment])
    return out


@wp.func
def border_margin(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    cell: wp.int32,
    x: wp.float64,
    y: wp.float64,
) -> wp.float64:
    """Distance to the nearest border segment, positive at its left; NaN in a corner whose normal is not known."""
    least = wp.float64(1.0e300)
    sure = wp.float64(-1.0)
    side = wp.float64(0.0)
    middle = off_middle(grid, cell, x, y) + TINY
    for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
        nearest = wp.max(grid.away[j] - middle, ZERO)
        if nearest * nearest > least:
            break
        segment = grid.candidates[j]
        part = part_of(grid, segment, x, y)
        step = grid.step[segment]
        dx = x - grid.start[segment][0] - part * step[0]
        dy = y - grid.start[segment][1] - part * step[1]
        squared = dx * dx + dy * dy
        if squared <= least:
            normal = normal_of(grid, normal_start, normal_end, segment, part)
            inside = (dx * normal[0] + dy * normal[1]) / wp.length(normal)
            if squared < least or wp.abs(inside) > sure:
                sure = wp.abs(inside)
                side = wp.float64(inside)
            least = wp.float64(squared)
    out = wp.where(side < ZERO, -wp.sqrt(least), wp.sqrt(least))
    return wp.where(wp.isnan(side), side, out)


@wp.kernel
def border_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    points: wp.array[wp.vec2d],
    margins: wp.array[wp.float64],
):
    """Signed distance of each point to the border; NaN where its cell or the side is not known, or off the grid."""
    i = wp.tid()
    cell = cell_of(grid, points[i][0], points[i][1])
    margins[i] = wp.float64(wp.nan)
    if cell >= 0 and grid.count[cell] >= 0:
        margins[i] = border_margin(grid, normal_start, normal_end, cell, points[i][0], points[i][1])


@wp.kernel
def box_margins(
    grid: Grid,
    normal_start: wp.array[wp.vec2d],
    normal_end: wp.array[wp.vec2d],
    poses: wp.array[wp.vec4d],
    half: wp.vec2d,
    furthest: wp.float64,
    margins: wp.array[wp.float64],
):
    """Least signed distance of a box's corners to the border, at most ``furthest``; NaN as ``border_margins``."""
    i = wp.tid()
    p = poses[i]
    least = wp.float64(furthest)
    known = wp.bool(True)
    for corner in range(4):
        ahead = wp.where(corner < 2, half[0], -half[0])
        left = wp.where(corner == 0 or corner == 3, half[1], -half[1])
        x = p[0] + p[2] * ahead - p[3] * left
        y = p[1] + p[3] * ahead + p[2] * left
        cell = cell_of(grid, x, y)
        if cell < 0 or grid.count[cell] < 0:
            known = wp.bool(False)
        else:
            margin = border_margin(grid, normal_start, normal_end, cell, x, y)
            known = known and not wp.isnan(margin)
            least = wp.min(least, margin)
    margins[i] = wp.where(known, least, wp.float64(wp.nan))
