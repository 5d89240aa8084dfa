# mypy: ignore-errors
"""Time to collision of motions that continue straight on."""

import math

from alpamayo.validator.kernels.boxes import NO_BITS, ONE_BIT, box_separation, lowest_bit, position
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FAR = wp.constant(wp.float64(1.0e300))
ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
TINY = wp.constant(wp.float64(1.0e-12))
SMALL = wp.constant(wp.float64(1.0e-9))
COS_AHEAD = wp.constant(wp.float64(math.cos(math.radians(30.0))))
COS_BEHIND = wp.constant(wp.float64(math.cos(FROM_BEHIND_RAD)))
AHEAD, LATERAL = wp.constant(1), wp.constant(2)


@wp.struct
class AgentFuture:
    """The agents at each time and for ``last`` steps after it.

    ``boxes`` and ``valid`` [a, t] extend ``last`` steps beyond the motions. ``deviation`` [t, columns] bounds, over
    these steps, the distance of an agent from its position at constant velocity; it is infinite for an agent that
    appears later, and minus infinity for an agent that is absent throughout. ``rows`` and ``halves`` are
    ``packed.AgentColumns``; ``halves`` has a third row: the half diagonal of an agent that turns, 0 for the others.
    """

    boxes: wp.array2d[wp.vec4d]
    valid: wp.array2d[wp.uint8]
    rows: wp.array3d[wp.float64]
    halves: wp.array2d[wp.float64]
    deviation: wp.array2d[wp.float64]
    dt: wp.float64
    spacing: wp.int32
    last: wp.int32


@wp.kernel
def bound_deviation(future: AgentFuture, tolerance: wp.float64):
    """Fill in ``deviation``, enlarged by ``tolerance``, and the third row of ``halves``."""
    a = wp.tid()
    turns = wp.bool(False)
    for t in range(1, future.boxes.shape[1]):
        if future.valid[a, t - 1] != wp.uint8(0):
            turn = future.boxes[a, t] - future.boxes[a, t - 1]
            turns = turns or turn[2] != ZERO or turn[3] != ZERO or future.valid[a, t] == wp.uint8(0)
    if turns:
        future.halves[2, a] = wp.length(wp.vec2d(future.halves[0, a], future.halves[1, a]))
    for t in range(future.deviation.shape[0]):
        furthest = wp.float64(-1.0)
        n = wp.int32(future.spacing)
        while n <= future.last:
            if future.valid[a, t + n] != wp.uint8(0):
                travelled = (wp.float64(n) * future.dt) * wp.vec2d(future.rows[t, 4, a], future.rows[t, 5, a])
                furthest = wp.max(
                    furthest, wp.length_sq(position(future.boxes[a, t + n]) - position(future.boxes[a, t]) - travelled)
                )
            n += future.spacing
        if future.valid[a, t] != wp.uint8(0):
            future.deviation[t, a] = wp.sqrt(wp.max(furthest, ZERO)) + tolerance
        else:
            future.deviation[t, a] = wp.where(furthest < ZERO, -FAR, FAR)


@wp.func
def distance_travelled(speed: wp.float64, acceleration: wp.float64, time: wp.float64) -> wp.float64:
    """Compute the signed distance travelled in a time at constant acceleration; braking ends at rest."""
    duration = wp.float64(time)
    if acceleration < ZERO and wp.abs(speed) < -acceleration * time:
        duration = wp.abs(speed) / -acceleration
    sign = wp.where(speed < ZERO, -ONE, ONE)
    return sign * (wp.abs(speed) * duration + HALF * acceleration * duration * duration)


@wp.func
def cosine_to(pose: wp.vec4d, rear_axle: wp.float64, point: wp.vec4d) -> wp.float64:
    """Compute the cosine of the angle from the heading to a point, seen from the rear axle."""
    x = point[0] - pose[0] + rear_axle * pose[2]
    y = point[1] - pose[1] + rear_axle * pose[3]
    return (pose[2] * x + pose[3] * y) / wp.max(wp.sqrt(x * x + y * y), TINY)


@wp.func
def bearing_class(pose: wp.vec4d, rear_axle: wp.float64, then: wp.vec4d, now: wp.vec4d, valid: wp.uint8) -> wp.int32:
    """Classify the bearing of an agent at the overlap: AHEAD, LATERAL, or 0 where it is behind, then or now."""
    cosine = cosine_to(pose, rear_axle, then)
    kind = wp.where(cosine > COS_AHEAD, AHEAD, wp.where(cosine < COS_BEHIND, 0, LATERAL))
    if valid != wp.uint8(0) and cosine_to(pose, rear_axle, now) < COS_BEHIND:
        kind = wp.int32(0)
    return kind


@wp.func_native("""
    const int count = future.rows.shape[2], n = count - first < 64 ? count - first : 64;
    const double *x = wp::address(future.rows, t, 0, first), *y = x + count, *c = y + count, *s = c + count;
    const double *vx = s + count, *vy = vx + count, *deviation = wp::address(future.deviation, t, first);
    const double *half_length = wp::address(future.halves, 0, first), *half_width = half_length + count;
    const double* half_turning = half_width + count;
    const double ego_x = ego[0], ego_y = ego[1], ego_c = ego[2], ego_s = ego[3];
    const auto larger = [](double a, double b) { return a > b ? a : b; };
    unsigned long long reachable = 0;
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
        const double reach = half[0] + deviation[a] + larger(length, half_turning[a]);
        const double side_reach = half[1] + deviation[a] + larger(width, half_turning[a]);
        const bool apart = (larger(-ahead, -nearest) < -reach) | (larger(ahead, furthest) < -reach)
            | (larger(left, left_then) < -side_reach) | (larger(-left, -left_then) < -side_reach);
        reachable |= (unsigned long long)!apart << a;
    }
    return reachable;
""")
def reachable_mask(
    ego: wp.vec4d,
    slow: wp.float64,
    fast: wp.float64,
    half: wp.vec2d,
    future: AgentFuture,
    t: wp.int32,
    first: wp.int32,
    horizon: wp.float64,
) -> wp.uint64:
    """Set a bit for each of at most 64 agents that the ego can reach at a mean speed between ``slow`` and ``fast``."""
    ...


@wp.func
def window_below(c: wp.float64, rate: wp.float64, limit: wp.float64, window: wp.vec2d) -> wp.vec2d:
    """Return the part of a time window in which c + rate * time is at most a limit; end before begin if none."""
    low = window[0]
    high = window[1]
    over = c + rate * low > limit
    if c + rate * high > limit:
        high = wp.where(over, -ONE, (limit - c) / rate)
    elif over:
        low = (limit - c) / rate
    return wp.vec2d(low, high)


@wp.func
def overlap_window(
    p: wp.vec4d,
    slow: wp.float64,
    fast: wp.float64,
    half: wp.vec2d,
    future: AgentFuture,
    t: wp.int32,
    a: wp.int32,
    horizon: wp.float64,
) -> wp.vec2d:
    """Bound the time window in which the boxes can overlap along both axes of an ego that drives straight on.

    The distance travelled by the ego lies between those at its slow and at its fast speed.
    """
    q = wp.vec4d(future.boxes[a, t])
    x = p[2] * (q[0] - p[0]) + p[3] * (q[1] - p[1])
    y = p[2] * (q[1] - p[1]) - p[3] * (q[0] - p[0])
    c = wp.abs(p[2] * q[2] + p[3] * q[3])
    s = wp.abs(p[2] * q[3] - p[3] * q[2])
    reach = (
        wp.max(future.halves[0, a] * c + future.halves[1, a] * s, future.halves[2, a])
        + half[0]
        + future.deviation[t, a]
    )
    side_reach = (
        wp.max(future.halves[0, a] * s + future.halves[1, a] * c, future.halves[2, a])
        + half[1]
        + future.deviation[t, a]
    )
    front = p[2] * future.rows[t, 4, a] + p[3] * future.rows[t, 5, a]
    side = p[2] * future.rows[t, 5, a] - p[3] * future.rows[t, 4, a]
    window = window_below(x, front - fast, reach, wp.vec2d(ZERO, horizon))
    if window[0] <= window[1]:
        window = window_below(-x, slow - front, reach, window)
    if window[0] <= window[1]:
        window = window_below(y, side, side_reach, window)
    if window[0] <= window[1]:
        window = window_below(-y, -side, side_reach, window)
    return window


@wp.func
def mean_speed(speed: wp.float64, acceleration: wp.float64, horizon: wp.float64) -> wp.float64:
    """Compute the mean speed over a time; the mean over a part of it lies between this and the present speed."""
    return distance_travelled(speed, acceleration, horizon) / horizon


@wp.kernel
def candidate_agents(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    future: AgentFuture,
    stopped: wp.float64,
    candidates: wp.array3d[wp.uint64],
):
    """Find the agents that an ego driving straight on may reach from each time: one bit each, in words of 64.

    The set is valid for accelerations from zero to the given one. It is empty for a stopped ego.
    """
    k = wp.tid()
    horizon = wp.float64(future.last) * future.dt
    for t in range(ego.shape[1]):
        v = wp.float64(speed[k, t])
        mean = mean_speed(v, acceleration[k, t], horizon)
        slow = wp.min(v, mean)
        fast = wp.max(v, mean)
        for word in range(candidates.shape[2]):
            candidates[k, t, word] = NO_BITS
            if wp.abs(v) >= stopped:
                candidates[k, t, word] = reachable_mask(ego[k, t], slow, fast, half, future, t, 64 * word, horizon)


@wp.func
def first_overlap_step(
    p: wp.vec4d,
    speed: wp.float64,
    acceleration: wp.float64,
    half: wp.vec2d,
    future: AgentFuture,
    t: wp.int32,
    a: wp.int32,
    window: wp.vec2d,
) -> wp.int32:
    """Return the steps until the boxes overlap, searched in a time window; -1 where they do not."""
    stride = wp.float64(future.spacing) * future.dt
    n = wp.int32(wp.ceil(window[0] / stride - SMALL)) * future.spacing
    until = wp.int32(wp.floor(window[1] / stride + SMALL)) * future.spacing
    half_a = wp.vec2d(future.halves[0, a], future.halves[1, a])
    reach = wp.length(half) + wp.length(half_a)
    found = wp.int32(-1)
    while n <= until:
        if future.valid[a, t + n] != wp.uint8(0):
            travelled = distance_travelled(speed, acceleration, wp.float64(n) * future.dt)
            moved = wp.vec4d(p[0] + travelled * p[2], p[1] + travelled * p[3], p[2], p[3])
            near = wp.length_sq(position(future.boxes[a, t + n]) - position(moved)) < reach * reach
            if near and box_separation(moved, half, future.boxes[a, t + n], half_a) < ZERO:
                found = n
                until = n
        n += future.spacing
    return found


@wp.kernel
def times_to_collision(
    ego: wp.array2d[wp.vec4d],
    speed: wp.array2d[wp.float64],
    acceleration: wp.array2d[wp.float64],
    half: wp.vec2d,
    rear_axle: wp.float64,
    future: AgentFuture,
    candidates: wp.array3d[wp.uint64],
    until: wp.array2d[wp.int32],
    ahead: wp.array2d[wp.float64],
    ahead_agent: wp.array2d[wp.int32],
    lateral: wp.array2d[wp.float64],
    lateral_agent: wp.array2d[wp.int32],
):
    """Write the time and agent of the first overlap of an ego that drives straight on from each time.

    Agents ahead and agents to the side are kept apart; entries without an overlap stay as they are. ``rear_axle`` is
    the distance of the rear axle behind the centre, ``candidates`` are the bits of ``candidate_agents``. ``until``
    [k, a] is the step from which a pair no longer counts.
    """
    k = wp.tid()
    horizon = wp.float64(future.last) * future.dt
    for t in range(ego.shape[1]):
        for word in range(candidates.shape[2]):
            remaining = wp.uint64(candidates[k, t, word])
            p = wp.vec4d(ego[k, t])
            v = wp.float64(speed[k, t])
            mean = mean_speed(v, acceleration[k, t], horizon)
            while remaining != NO_BITS:
                a = 64 * word + lowest_bit(remaining)
                remaining = remaining & (remaining - ONE_BIT)
                window = wp.vec2d(ONE, ZERO)
                if t < until[k, a]:
                    window = overlap_window(p, wp.min(v, mean), wp.max(v, mean), half, future, t, a, horizon)
                window[1] = wp.min(window[1], ahead[k, t])
                if window[0] <= window[1]:
                    n = first_overlap_step(p, v, acceleration[k, t], half, future, t, a, window)
                    after = wp.float64(n) * future.dt
                    if n >= 0 and after < ahead[k, t]:
                        kind = bearing_class(
                            p, rear_axle, future.boxes[a, t + n], future.boxes[a, t], future.valid[a, t]
                        )
                        if kind == AHEAD:
                            ahead[k, t] = after
                            ahead_agent[k, t] = a
                        elif kind == LATERAL and after < lateral[k, t]:
                            lateral[k, t] = after
                            lateral_agent[k, t] = a
