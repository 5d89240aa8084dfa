# mypy: ignore-errors
"""Time to collision of motions that go straight on."""

import math

from alpamayo.validator.kernels.boxes import BIT, NOBODY, box_separation, lowest_bit, place
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FAR = wp.constant(wp.float64(1.0e300))
ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TINY = wp.constant(wp.float64(1.0e-12))
SMALL = wp.constant(wp.float64(1.0e-9))
COS_AHEAD = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(math.radians(150.0))))
AHEAD, BESIDE = wp.constant(1), wp.constant(2)


@wp.struct
class Future:
    """The others at each time and ``last`` steps after it.

    ``boxes`` and ``valid`` [a, t] go on for ``last`` steps. Within them each other is, at step ``t``, at most ``off``
    [t, columns] from where its velocity takes it; infinite for who only appears then, less than nothing for who does
    not. ``rows`` and ``halves`` are ``packed.Columns``, and ``halves`` has a third row: how far a box reaches that
    turns, 0 for the others.
    """

    boxes: wp.array2d[wp.vec4d]
    valid: wp.array2d[wp.uint8]
    rows: wp.array3d[wp.float64]
    halves: wp.array2d[wp.float64]
    off: wp.array2d[wp.float64]
    dt: wp.float64
    spacing: wp.int32
    last: wp.int32


@wp.kernel
def look_ahead(future: Future, slack: wp.float64):
    """Fill in ``off``, with some slack, and the third row of ``halves``."""
    a = wp.tid()
    turns = wp.bool(False)
    for t in range(1, future.boxes.shape[1]):
        if future.valid[a, t - 1] != wp.uint8(0):
            turn = future.boxes[a, t] - future.boxes[a, t - 1]
            turns = turns or turn[2] != ZERO or turn[3] != ZERO or future.valid[a, t] == wp.uint8(0)
    if turns:
        future.halves[2, a] = wp.length(wp.vec2d(future.halves[0, a], future.halves[1, a]))
    for t in range(future.off.shape[0]):
        furthest = wp.float64(-1.0)
        n = wp.int32(future.spacing)
        while n <= future.last:
            if future.valid[a, t + n] != wp.uint8(0):
                way = (wp.float64(n) * future.dt) * wp.vec2d(future.rows[t, 4, a], future.rows[t, 5, a])
                furthest = wp.max(
                    furthest, wp.length_sq(place(future.boxes[a, t + n]) - place(future.boxes[a, t]) - way)
                )
            n += future.spacing
        if future.valid[a, t] != wp.uint8(0):
            future.off[t, a] = wp.sqrt(wp.max(furthest, ZERO)) + slack
        else:
            future.off[t, a] = wp.where(furthest < ZERO, -FAR, FAR)


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


@wp.func_native("""
    const int count = future.rows.shape[2], n = count - first < 64 ? count - first : 64;
    const double *x = wp::address(future.rows, t, 0, first), *y = x + count, *c = y + count, *s = c + count;
    const double *vx = s + count, *vy = vx + count, *off = wp::address(future.off, t, first);
    const double *half_length = wp::address(future.halves, 0, first), *half_width = half_length + count;
    const double* half_turning = half_width + count;
    const double ego_x = ego[0], ego_y = ego[1], ego_c = ego[2], ego_s = ego[3];
    const auto larger = [](double a, double b) { return a > b ? a : b; };
    unsigned long long met = 0;
    #pragma clang loop vectorize(assume_safety) vectorize_width(8) interleave_count(1)
    for (int a = 0; a < n; ++a) {
        const double dx = x[a] - ego_x, dy = y[a] - ego_y;
        const double ahead = ego_c * dx + ego_s * dy, left = ego_c * dy - ego_s * dx;
        const double ahead_then = ahead + horizon * (ego_c * vx[a] + ego_s * vy[a]);
        const double nearest = ahead_then - horizon * fast, furthest = ahead_then - horizon * slow;
        const double left_then = left + horizon * (ego_c * vy[a] - ego_s * vx[a]);
        const double turn_c = fabs(ego_c * c[a] + ego_s * s[a]), turn_s = fabs(ego_c * s[a] - ego_s * c[a]);
        const double length = half_length[a] * turn_c + half_width[a] * turn_s;
        const double width = half_length[a] * turn_s + half_width[a] * turn_c;
        const double reach = half[0] + off[a] + larger(length, half_turning[a]);
        const double side_reach = half[1] + off[a] + larger(width, half_turning[a]);
        const bool far = (larger(-ahead, -nearest) < -reach) | (larger(ahead, furthest) < -reach)
            | (larger(left, left_then) < -side_reach) | (larger(-left, -left_then) < -side_reach);
        met |= (unsigned long long)!far << a;
    }
    return met;
""")
def who_is_met(
    ego: wp.vec4d,
    slow: wp.float64,
    fast: wp.float64,
    half: wp.vec2d,
    future: Future,
    t: wp.int32,
    first: wp.int32,
    horizon: wp.float64,
) -> wp.uint64:
    """A bit for each of at most 64 others: whether it can meet the ego, whose mean speed is between two."""
    ...


@wp.func
def when_below(c: wp.float64, rate: wp.float64, limit: wp.float64, span: wp.vec2d) -> wp.vec2d:
    """The part of a span of time in which c + rate * time is at most a limit; its end is before its begin if none."""
    low = span[0]
    high = span[1]
    over = c + rate * low > limit
    if c + rate * high > limit:
        high = wp.where(over, -ONE, (limit - c) / rate)
    elif over:
        low = (limit - c) / rate
    return wp.vec2d(low, high)


@wp.func
def may_meet(
    p: wp.vec4d,
    slow: wp.float64,
    fast: wp.float64,
    half: wp.vec2d,
    future: Future,
    t: wp.int32,
    a: wp.int32,
    horizon: wp.float64,
) -> wp.vec2d:
    """The span of time in which two boxes can overlap along both axes of the ego, who goes straight on.

    The ego's way in a time lies between that at its slow and that at its fast speed.
    """
    q = wp.vec4d(future.boxes[a, t])
    x = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    y = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    reach = wp.max(future.halves[0, a] * c + future.halves[1, a] * s, future.halves[2, a]) + half[0] + future.off[t, a]
    side_reach = (
        wp.max(future.halves[0, a] * s + future.halves[1, a] * c, future.halves[2, a]) + half[1] + future.off[t, a]
    )
    front = p[2] * future.rows[t, 4, a] + p[3] * future.rows[t, 5, a]
    side = p[2] * future.rows[t, 5, a] - p[3] * future.rows[t, 4, a]
    span = when_below(x, front - fast, reach, wp.vec2d(ZERO, horizon))
    if span[0] <= span[1]:
        span = when_below(-x, slow - front, reach, span)
    if span[0] <= span[1]:
        span = when_below(y, side, side_reach, span)
    if span[0] <= span[1]:
        span = when_below(-y, -side, side_reach, span)
    return span


@wp.func
def mean_speed(speed: wp.float64, acceleration: wp.float64, horizon: wp.float64) -> wp.float64:
    """Mean speed over a time; that over a part of it lies between this and the speed."""
    return way_in(speed, acceleration, horizon) / horizon


@wp.kernel
def candidates(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    future: Future,
    stands: wp.float64,
    who: wp.array3d[wp.uint64],
):
    """Who may be met by an ego that goes straight on, from each time: a bit for each, in words of 64.

    That holds for accelerations from none to that given. An ego that stands meets nobody.
    """
    k = wp.tid()
    horizon = wp.float64(future.last) * future.dt
    for t in range(ego.shape[1]):
        v = wp.float64(speed[k, t])
        mean = mean_speed(v, acceleration[k, t], horizon)
        slow = wp.min(v, mean)
        fast = wp.max(v, mean)
        for word in range(who.shape[2]):
            who[k, t, word] = NOBODY
            if wp.abs(v) >= stands:
                who[k, t, word] = who_is_met(ego[k, t], slow, fast, half, future, t, 64 * word, horizon)


@wp.func
def meet(
    p: wp.vec4d,
    speed: wp.float64,
    acceleration: wp.float64,
    half: wp.vec2d,
    future: Future,
    t: wp.int32,
    a: wp.int32,
    span: wp.vec2d,
) -> wp.int32:
    """Steps until the boxes overlap, looked for in a span of time; -1 where they do not."""
    stride = wp.float64(future.spacing) * future.dt
    n = wp.int32(wp.ceil(span[0] / stride - SMALL)) * future.spacing
    until = wp.int32(wp.floor(span[1] / stride + SMALL)) * future.spacing
    half_a = wp.vec2d(future.halves[0, a], future.halves[1, a])
    reach = wp.length(half) + wp.length(half_a)
    met = wp.int32(-1)
    while n <= until:
        if future.valid[a, t + n] != wp.uint8(0):
            way = way_in(speed, acceleration, wp.float64(n) * future.dt)
            moved = wp.vec4d(p[0] + way * p[2], p[1] + way * p[3], p[2], p[3])
            near = wp.length_sq(place(future.boxes[a, t + n]) - place(moved)) < reach * reach
            if near and box_separation(moved, half, future.boxes[a, t + n], half_a) < ZERO:
                met = n
                until = n
        n += future.spacing
    return met


@wp.kernel
def times_to_collision(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    rear: wp.float64,
    future: Future,
    who: wp.array3d[wp.uint64],
    until: wp.array2d[wp.int32],
    ahead: wp.array2d[wp.float64],
    ahead_whom: wp.array2d[wp.int32],
    beside: wp.array2d[wp.float64],
    beside_whom: wp.array2d[wp.int32],
):
    """First overlap when the ego goes straight on from each time: with someone ahead, and beside; what was there else.

    ``rear`` is how far the rear axle is behind the centre, ``who`` the candidates, ``until`` [k, a] the step from which
    on a pair does not count any more.
    """
    k = wp.tid()
    horizon = wp.float64(future.last) * future.dt
    for t in range(ego.shape[1]):
        for word in range(who.shape[2]):
            left = wp.uint64(who[k, t, word])
            p = wp.vec4d(ego[k, t])
            v = wp.float64(speed[k, t])
            mean = mean_speed(v, acceleration[k, t], horizon)
            while left != NOBODY:
                a = 64 * word + lowest_bit(left)
                left = left & (left - BIT)
                span = wp.vec2d(ONE, ZERO)
                if t < until[k, a]:
                    span = may_meet(p, wp.min(v, mean), wp.max(v, mean), half, future, t, a, horizon)
                span[1] = wp.min(span[1], ahead[k, t])
                if span[0] <= span[1]:
                    n = meet(p, v, acceleration[k, t], half, future, t, a, span)
                    after = wp.float64(n) * future.dt
                    if n >= 0 and after < ahead[k, t]:
                        kind = bearing_of(p, rear, future.boxes[a, t + n], future.boxes[a, t], future.valid[a, t])
                        if kind == AHEAD:
                            ahead[k, t] = after
                            ahead_whom[k, t] = a
                        elif kind == BESIDE and after < beside[k, t]:
                            beside[k, t] = after
                            beside_whom[k, t] = a
