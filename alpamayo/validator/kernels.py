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
COS_AHEAD = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(math.radians(150.0))))
STEPS_A_BLOCK = wp.constant(BLOCK)
HALF_A_BLOCK = wp.constant(wp.float64(0.5 * BLOCK))

# Fields of rss.Parameters as a vector, in their order.
Parameters = wp.types.vector(length=9, dtype=wp.float64)
RESPONSE_TIME, ACCEL_MAX, BRAKE_MIN, BRAKE_MAX, BRAKE_MIN_CORRECT = (wp.constant(i) for i in range(5))
LATERAL_ACCEL_MAX, LATERAL_BRAKE_MIN, FLUCTUATION, LONGITUDINAL_MINIMUM = (wp.constant(i) for i in range(5, 9))


# --- Boxes


@wp.func
def box_gap(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d) -> wp.float64:
    """Largest gap over the four separating axes, as ``geometry.box_gap``."""
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

    ``bounds`` [a, blocks] are upright rectangles around the other's centres in a block, widened by its radius.
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
                        if dx * dx + dy * dy < reach * reach:
                            if box_gap(ego[k, t], half, others[a, t], halves[a]) < ZERO:
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
                            gap = box_gap(ego[k, t], half, others[a, t], halves[a])
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
def is_behind(x: wp.float64, y: wp.float64, pose: wp.vec4d) -> wp.bool:
    """Whether an offset is more than 150 degrees from the heading."""
    return pose[2] * x + pose[3] * y < COS_BEHIND * wp.sqrt(x * x + y * y)


@wp.func
def is_ahead(x: wp.float64, y: wp.float64, pose: wp.vec4d) -> wp.bool:
    """Whether an offset is less than 30 degrees from the heading."""
    return pose[2] * x + pose[3] * y > COS_AHEAD * wp.sqrt(x * x + y * y)


@wp.kernel
def times_to_collision(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    rear: wp.float64,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    fastest: wp.array[wp.float64],
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
    count any more; ``fastest`` [a] bounds the other's speed; ``bounds`` [a, blocks] are around all that the other
    does in a block and ``last`` steps after it. It goes on from one offset to the next that can matter, which
    follows from the distance and the most that both can close it by.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    horizon = wp.float64(last) * dt
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
                reach = radius + wp.length(halves[a])
                for t in range(begin, wp.min(end, until[k, a])):
                    v = wp.float64(speed[k, t])
                    p = wp.vec4d(ego[k, t])
                    back_x = p[0] - rear * p[2]
                    back_y = p[1] - rear * p[3]
                    now = others[a, t]
                    looks = wp.abs(v) >= stands
                    if looks and valid[a, t] != wp.uint8(0):
                        looks = not is_behind(now[0] - back_x, now[1] - back_y, p)
                    n = wp.int32(last + 1)
                    if looks:
                        n = wp.int32(0)
                    top = wp.abs(v) + wp.max(acceleration[k, t], ZERO) * horizon
                    closing = (top + fastest[a]) * dt
                    while n <= last and wp.float64(n) * dt < ahead[k, t]:
                        advance = wp.int32(spacing)
                        if valid[a, t + n] != wp.uint8(0):
                            way = way_in(v, acceleration[k, t], wp.float64(n) * dt)
                            moved = wp.vec4d(p[0] + way * p[2], p[1] + way * p[3], p[2], p[3])
                            then = wp.vec4d(others[a, t + n])
                            dx = then[0] - moved[0]
                            dy = then[1] - moved[1]
                            free = wp.sqrt(dx * dx + dy * dy) - reach
                            if free >= ZERO:
                                steps_free = wp.min(free / wp.max(closing, TINY), wp.float64(last + 1))
                                advance = wp.max(spacing, wp.int32(steps_free) // spacing * spacing)
                            elif box_gap(moved, half, then, halves[a]) < ZERO:
                                x = then[0] - back_x
                                y = then[1] - back_y
                                if is_ahead(x, y, p):
                                    ahead[k, t] = wp.float64(n) * dt
                                    ahead_whom[k, t] = a
                                elif wp.float64(n) * dt < beside[k, t] and not is_behind(x, y, p):
                                    beside[k, t] = wp.float64(n) * dt
                                    beside_whom[k, t] = a
                                advance = wp.int32(last + 1)
                        n += advance


# --- RSS


@wp.func
def stopping(v: wp.float64, rho: wp.float64, a: wp.float64, b: wp.float64) -> wp.float64:
    """``rss.stopping_distance`` of one who is not going backwards."""
    top = v + rho * a
    return v * rho + HALF * a * rho * rho + top * top / (TWO * b)


@wp.func
def towards(v: wp.float64, rho: wp.float64, a: wp.float64, b: wp.float64) -> wp.float64:
    """Way towards the other until nobody moves that way any more."""
    top = v + rho * a
    return v * rho + HALF * a * rho * rho + wp.where(top > ZERO, top * top / (TWO * b), ZERO)


@wp.func
def safe_along(v_ego: wp.float64, v_other: wp.float64, ego_behind: wp.bool, e: Parameters, o: Parameters) -> wp.float64:
    """Safe longitudinal distance of ``rss.assess``."""
    safe = wp.float64(0.0)
    if ego_behind and v_other < ZERO:
        accel = wp.max(e[ACCEL_MAX], o[ACCEL_MAX])
        safe = stopping(v_ego, e[RESPONSE_TIME], accel, e[BRAKE_MIN_CORRECT])
        safe = safe + stopping(-v_other, o[RESPONSE_TIME], accel, o[BRAKE_MIN])
    elif ego_behind:
        safe = stopping(v_ego, e[RESPONSE_TIME], e[ACCEL_MAX], e[BRAKE_MIN])
        safe = wp.max(safe - v_other * v_other / (TWO * o[BRAKE_MAX]), ZERO)
    else:
        safe = stopping(wp.max(v_other, ZERO), o[RESPONSE_TIME], o[ACCEL_MAX], o[BRAKE_MIN])
        safe = wp.max(safe - v_ego * v_ego / (TWO * e[BRAKE_MAX]), ZERO)
    return safe + wp.max(e[LONGITUDINAL_MINIMUM], o[LONGITUDINAL_MINIMUM])


@wp.func
def safe_across(side_other: wp.float64, ego_left: wp.bool, e: Parameters, o: Parameters) -> wp.float64:
    """Safe lateral distance of ``rss.assess`` to an other with that speed to the right; the ego has none."""
    accel = wp.max(e[LATERAL_ACCEL_MAX], o[LATERAL_ACCEL_MAX])
    brake = wp.min(e[LATERAL_BRAKE_MIN], o[LATERAL_BRAKE_MIN])
    own = towards(ZERO, e[RESPONSE_TIME], accel, brake)
    theirs = towards(wp.where(ego_left, -side_other, side_other), o[RESPONSE_TIME], accel, brake)
    return wp.max(own + theirs + HALF * (e[FLUCTUATION] + o[FLUCTUATION]), ZERO)


@wp.func
def across(
    p: wp.vec4d, half: wp.vec2d, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d, stands: wp.float64, still: wp.float64,
    e: Parameters, o: Parameters,
) -> wp.float64:  # fmt: skip
    """Lateral gap over the safe one; someone who stands does not move sideways."""
    left = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(left) - half[1] - half_q[0] * s - half_q[1] * c
    safe = wp.float64(still)
    if v[0] * v[0] + v[1] * v[1] > stands * stands:
        safe = safe_across(p[3] * v[0] - p[2] * v[1], left < ZERO, e, o)
    return gap - safe


@wp.func
def along(
    p: wp.vec4d, half: wp.vec2d, v_ego: wp.float64, q: wp.vec4d, half_q: wp.vec2d, v: wp.vec2d,
    e: Parameters, o: Parameters,
) -> wp.float64:  # fmt: skip
    """Longitudinal gap over the safe one."""
    ahead = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    gap = wp.abs(ahead) - half[0] - half_q[0] * c - half_q[1] * s
    return gap - safe_along(wp.abs(v_ego), p[2] * v[0] + p[3] * v[1], ahead > ZERO, e, o)


@wp.func
def is_before(p: wp.vec4d, q: wp.vec4d) -> wp.bool:
    """Whether a place is before the ego, along its heading."""
    return p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1]) > ZERO


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
    fastest: wp.array2d[wp.float64],
    e: Parameters,
    o: Parameters,
    still: wp.float64,
    stands: wp.float64,
    furthest: wp.float64,
    dt: wp.float64,
    margins: wp.array2d[wp.float64],
    asked: wp.array2d[wp.float64],
):
    """RSS of each motion: least of the larger margins to anybody, and the most that may be accelerated.

    ``fastest`` [a, 2] bounds the speed at which the other's place changes and the one that it reports. A step matters
    where both margins are under ``furthest``. Of steps that do not, only the last before one that does is looked
    at: not both gaps are lost then, so which was lost first is known.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    top = wp.float64(0.0)
    moves = wp.float64(0.0)
    for t in range(steps):
        margins[k, t] = furthest
        asked[k, t] = e[ACCEL_MAX]
        top = wp.max(top, wp.abs(speed[k, t]))
        if t > 0:
            dx = ego[k, t][0] - ego[k, t - 1][0]
            dy = ego[k, t][1] - ego[k, t - 1][1]
            moves = wp.max(moves, dx * dx + dy * dy)
    moves = wp.sqrt(moves) / dt
    blocks = (steps + STEPS_A_BLOCK - 1) // STEPS_A_BLOCK
    rho = wp.max(e[RESPONSE_TIME], o[RESPONSE_TIME])
    accel = wp.max(e[ACCEL_MAX], o[ACCEL_MAX])
    weakest = wp.min(wp.min(e[BRAKE_MIN], o[BRAKE_MIN]), wp.min(e[BRAKE_MIN_CORRECT], o[BRAKE_MIN_CORRECT]))
    side_accel = wp.max(e[LATERAL_ACCEL_MAX], o[LATERAL_ACCEL_MAX])
    side_brake = wp.min(e[LATERAL_BRAKE_MIN], o[LATERAL_BRAKE_MIN])
    for a in range(others.shape[0]):
        size = wp.length(halves[a])
        need_along = stopping(top, rho, accel, weakest) + stopping(fastest[a, 1], rho, accel, weakest)
        need_along = need_along + wp.max(e[LONGITUDINAL_MINIMUM], o[LONGITUDINAL_MINIMUM]) + half[0] + size + furthest
        need_across = towards(ZERO, rho, side_accel, side_brake) + towards(fastest[a, 1], rho, side_accel, side_brake)
        need_across = need_across + wp.max(e[FLUCTUATION], o[FLUCTUATION]) + still + half[1] + size + furthest
        lost_along = wp.int32(-1)
        lost_across = wp.int32(-1)
        known = wp.int32(-1)
        for block in range(blocks):
            begin = block * STEPS_A_BLOCK
            end = wp.min(begin + STEPS_A_BLOCK, steps)
            matters = wp.bool(True)
            middle = wp.min(begin + STEPS_A_BLOCK // 2, end - 1)
            if valid[a, middle] != wp.uint8(0):
                p = wp.vec4d(ego[k, middle])
                x = others[a, middle][0] - p[0]
                y = others[a, middle][1] - p[1]
                ahead = wp.abs(p[2] * x + p[3] * y)
                left = wp.abs(p[2] * y - p[3] * x)
                turn = wp.float64(0.0)
                for t in range(begin, end):
                    dc = ego[k, t][2] - p[2]
                    ds = ego[k, t][3] - p[3]
                    turn = wp.max(turn, dc * dc + ds * ds)
                slack = (moves + fastest[a, 0]) * HALF_A_BLOCK * dt
                slack = slack + wp.sqrt((x * x + y * y) * turn)
                matters = ahead - slack < need_along and left - slack < need_across
            if matters:
                for t in range(begin, end):
                    if valid[a, t] != wp.uint8(0):
                        side = across(
                            ego[k, t], half, others[a, t], halves[a], velocity[a, t], stands, still, e, o
                        )
                        if side < furthest:
                            if known != t - 1:
                                lost_along = wp.int32(-1)
                                lost_across = wp.int32(-1)
                                if t > 0:
                                    if valid[a, t - 1] != wp.uint8(0):
                                        before = along(
                                            ego[k, t - 1], half, speed[k, t - 1], others[a, t - 1], halves[a],
                                            velocity[a, t - 1], e, o,
                                        )  # fmt: skip
                                        if before <= ZERO:
                                            lost_along = t - 1
                                        before = across(
                                            ego[k, t - 1], half, others[a, t - 1], halves[a], velocity[a, t - 1],
                                            stands, still, e, o,
                                        )  # fmt: skip
                                        if before <= ZERO:
                                            lost_across = t - 1
                            ahead_margin = along(
                                ego[k, t], half, speed[k, t], others[a, t], halves[a], velocity[a, t], e, o
                            )
                            lost_along = wp.where(ahead_margin > ZERO, -1, wp.where(lost_along < 0, t, lost_along))
                            lost_across = wp.where(side > ZERO, -1, wp.where(lost_across < 0, t, lost_across))
                            margins[k, t] = wp.min(margins[k, t], wp.max(ahead_margin, side))
                            known = t
                            if lost_along >= 0 and lost_across >= 0 and lost_along >= lost_across:
                                if is_before(ego[k, t], others[a, t]):
                                    facing = goes_against(ego[k, t], velocity[a, t])
                                    brake = wp.where(facing, e[BRAKE_MIN_CORRECT], e[BRAKE_MIN])
                                    asked[k, t] = wp.min(asked[k, t], -brake)


# --- The nearest segments of a map


@wp.struct
class Grid:
    """Cells of a map: ``count`` of the segments that can be nearest somewhere in a cell, -1 where not yet known."""

    low: wp.vec2d
    cell: wp.float64
    columns: wp.int32
    rows: wp.int32
    first: wp.array[wp.int32]
    count: wp.array[wp.int32]
    candidates: wp.array[wp.int32]
    start: wp.array[wp.vec2d]
    step: wp.array[wp.vec2d]
    inverse: wp.array[wp.float64]


OUTSIDE = -2
UNKNOWN = -1


@wp.func
def cell_of(grid: Grid, x: wp.float64, y: wp.float64) -> wp.int32:
    """Number of the cell of a point, -2 outside of the grid."""
    column = wp.int32(wp.floor((x - grid.low[0]) / grid.cell))
    row = wp.int32(wp.floor((y - grid.low[1]) / grid.cell))
    inside = column >= 0 and row >= 0 and column < grid.columns and row < grid.rows
    return wp.where(inside, column * grid.rows + row, -2)


@wp.func
def part_of(grid: Grid, segment: wp.int32, x: wp.float64, y: wp.float64) -> wp.float64:
    """Which part of a segment is nearest to a point."""
    step = grid.step[segment]
    start = grid.start[segment]
    part = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) * grid.inverse[segment]
    return wp.clamp(part, ZERO, ONE)


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
        for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
            segment = grid.candidates[j]
            part = part_of(grid, segment, x, y)
            dx = x - grid.start[segment][0] - part * grid.step[segment][0]
            dy = y - grid.start[segment][1] - part * grid.step[segment][1]
            price = wp.sqrt(dx * dx + dy * dy)
            price = price + cost * (ONE - wp.dot(headings[i], ways[segment]))
            if price < least:
                least = wp.float64(price)
                best[i] = segment
                parts[i] = part
                left = ways[segment][0] * (y - grid.start[segment][1]) - ways[segment][1] * (x - grid.start[segment][0])
                offsets[i] = wp.sign(left) * wp.sqrt(dx * dx + dy * dy)
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
    grid: Grid, normal_start: wp.array[wp.vec2d], normal_end: wp.array[wp.vec2d], cell: wp.int32, x: wp.float64,
    y: wp.float64,
) -> wp.float64:  # fmt: skip
    """Distance to the nearest border segment, positive at its left; NaN in a corner whose normal is not known."""
    least = wp.float64(1.0e300)
    sure = wp.float64(-1.0)
    side = wp.float64(0.0)
    for j in range(grid.first[cell], grid.first[cell] + grid.count[cell]):
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
    if cell >= 0:
        if grid.count[cell] >= 0:
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
        if cell < 0:
            known = wp.bool(False)
        elif grid.count[cell] < 0:
            known = wp.bool(False)
        else:
            margin = border_margin(grid, normal_start, normal_end, cell, x, y)
            known = known and not wp.isnan(margin)
            least = wp.min(least, margin)
    margins[i] = wp.where(known, least, wp.float64(wp.nan))
