# mypy: ignore-errors
"""Boxes against boxes: first contacts and clearances."""

from alpamayo.validator.kernels.layout import BLOCK_STEPS
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FAR = wp.constant(wp.float64(1.0e300))
ZERO = wp.constant(wp.float64(0.0))
STEPS_PER_BLOCK = wp.constant(BLOCK_STEPS)
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))
QUARTER = wp.constant(wp.float64(0.25))  # of a step; distances are searched at these parts of it
LEAST_ADVANCE = wp.constant(wp.float64(0.004))  # of a step; contacts that last less may be missed
TURN_BOUND = wp.constant(wp.float64(1.6))  # arc over chord of a turn within a step, at most
NO_BITS = wp.constant(wp.uint64(0))
ONE_BIT = wp.constant(wp.uint64(1))


@wp.func
def box_separation(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d) -> wp.float64:
    """Compute the largest gap over the four separating axes, as ``geometry.box_separation``."""
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


@wp.func_native("""
    const double dx = b[0] - a[0], dy = b[1] - a[1];
    const double c = a[2] * b[2] + a[3] * b[3], s = a[2] * b[3] - a[3] * b[2];
    const double along[4] = {1.0, 1.0, -1.0, -1.0}, across[4] = {1.0, -1.0, -1.0, 1.0};
    double squared[8];
    #pragma clang loop vectorize(assume_safety)
    for (int i = 0; i < 4; ++i) {
        const double b_x = half_b[0] * along[i], b_y = half_b[1] * across[i];
        const double a_x = half_a[0] * along[i], a_y = half_a[1] * across[i];
        const double x = fabs(a[2] * dx + a[3] * dy + b_x * c - b_y * s) - half_a[0];
        const double y = fabs(a[2] * dy - a[3] * dx + b_x * s + b_y * c) - half_a[1];
        const double u = fabs(a_x * c + a_y * s - b[2] * dx - b[3] * dy) - half_b[0];
        const double v = fabs(a_y * c - a_x * s + b[3] * dx - b[2] * dy) - half_b[1];
        squared[i] = (x > 0.0 ? x * x : 0.0) + (y > 0.0 ? y * y : 0.0);
        squared[4 + i] = (u > 0.0 ? u * u : 0.0) + (v > 0.0 ? v * v : 0.0);
    }
    for (int i = 1; i < 8; ++i)
        squared[0] = squared[i] < squared[0] ? squared[i] : squared[0];
    return squared[0];
""")
def corner_squared(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d) -> wp.float64:
    """Compute the least squared distance of a corner of either box to the other box."""
    ...


@wp.func
def box_distance(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d, gap: wp.float64) -> wp.float64:
    """Compute the distance of boxes whose gap is positive, else return the gap, as ``geometry.box_distance``."""
    out = wp.float64(gap)
    if gap > ZERO:
        out = wp.sqrt(corner_squared(a, half_a, b, half_b))
    return out


@wp.func
def position(pose: wp.vec4d) -> wp.vec2d:
    """Return the centre of a box."""
    return wp.vec2d(pose[0], pose[1])


@wp.func
def between(start: wp.vec4d, end: wp.vec4d, part: wp.float64) -> wp.vec4d:
    """Interpolate a box that moves straight and turns evenly from one step to the next."""
    mixed = start + part * (end - start)
    length = wp.sqrt(mixed[2] * mixed[2] + mixed[3] * mixed[3])
    if length < HALF:
        mixed = wp.where(part < HALF, start, end)
        length = ONE
    return wp.vec4d(mixed[0], mixed[1], mixed[2] / length, mixed[3] / length)


@wp.func
def approach(
    a: wp.vec4d, a_next: wp.vec4d, radius_a: wp.float64, b: wp.vec4d, b_next: wp.vec4d, radius_b: wp.float64
) -> wp.float64:
    """Bound by how much the gap of two boxes can shrink from one step to the next."""
    step_a = a_next - a
    step_b = b_next - b
    moved = wp.length(wp.vec2d(step_a[0] - step_b[0], step_a[1] - step_b[1]))
    turn_a = wp.abs(step_a[2]) + wp.abs(step_a[3])
    turn_b = wp.abs(step_b[2]) + wp.abs(step_b[3])
    return moved + TURN_BOUND * (turn_a * radius_a + turn_b * radius_b)


@wp.func
def touches_between(
    a: wp.vec4d, a_next: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, b_next: wp.vec4d, half_b: wp.vec2d, gap: wp.float64
) -> wp.bool:
    """Return whether two boxes that are apart at both ends of a step overlap within it; ``gap`` is that at its end.

    Conservative advancement: the boxes cannot meet before the bound of their approach has used up their gap.
    """
    bound = approach(a, a_next, wp.length(half_a), b, b_next, wp.length(half_b))
    part = wp.float64(0.0)
    touches = wp.bool(False)
    if gap < bound:
        while part < ONE:
            here = box_separation(between(a, a_next, part), half_a, between(b, b_next, part), half_b)
            if here < ZERO:
                touches = wp.bool(True)
                part = ONE
            elif here > (ONE - part) * bound:
                part = ONE
            else:
                part += wp.max(here / bound, LEAST_ADVANCE)
    return touches


@wp.func
def least_between(
    a: wp.vec4d, a_next: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, b_next: wp.vec4d, half_b: wp.vec2d, least: wp.float64
) -> wp.float64:
    """Return the least distance of two boxes at the quarters of a step, or ``least`` if that is less."""
    found = wp.float64(least)
    for quarter in range(1, 4):
        part = QUARTER * wp.float64(quarter)
        one = between(a, a_next, part)
        other = between(b, b_next, part)
        gap = box_separation(one, half_a, other, half_b)
        if gap < found:
            found = wp.min(found, box_distance(one, half_a, other, half_b, gap))
    return found


@wp.func_native("""
    const int count = bounds.shape[2], n = count - first < 64 ? count - first : 64;
    const double *low_x = wp::address(bounds, block, 0, first), *low_y = low_x + count;
    const double *high_x = low_y + count, *high_y = high_x + count;
    const double from_x = region[0] - reach, from_y = region[1] - reach;
    const double to_x = region[2] + reach, to_y = region[3] + reach;
    unsigned long long near = 0;
    #pragma clang loop vectorize(assume_safety) vectorize_width(8) interleave_count(1)
    for (int a = 0; a < n; ++a) {
        const bool overlaps = (low_x[a] < to_x) & (low_y[a] < to_y) & (high_x[a] > from_x) & (high_y[a] > from_y);
        near |= (unsigned long long)overlaps << a;
    }
    return near;
""")
def near_mask(
    region: wp.vec4d, reach: wp.float64, bounds: wp.array3d[wp.float64], block: wp.int32, first: wp.int32
) -> wp.uint64:
    """Set a bit for each of at most 64 agents whose bounds are within ``reach`` of an axis-aligned rectangle."""
    ...


@wp.func
def centre_bounds(boxes: wp.array[wp.vec4d], begin: wp.int32, end: wp.int32) -> wp.vec4d:
    """Compute the axis-aligned bounds of the centres of boxes: low corner, high corner."""
    low = position(boxes[begin])
    high = low
    for t in range(begin + 1, end):
        low = wp.min(low, position(boxes[t]))
        high = wp.max(high, position(boxes[t]))
    return wp.vec4d(low[0], low[1], high[0], high[1])


@wp.func_native("return __builtin_ctzll(bits);")
def lowest_bit(bits: wp.uint64) -> wp.int32:
    """Return the index of the lowest set bit; at least one bit must be set."""
    ...


@wp.kernel
def bounds_of_blocks(
    boxes: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
):
    """Compute axis-aligned bounds of each agent's boxes in each block of steps and the step before; empty if absent."""
    block, a = wp.tid()
    low = wp.vec2d(FAR, FAR)
    high = wp.vec2d(-FAR, -FAR)
    for t in range(
        wp.max(block * STEPS_PER_BLOCK - 1, 0), wp.min((block + 1) * STEPS_PER_BLOCK, wp.int32(boxes.shape[1]))
    ):
        if valid[a, t] != wp.uint8(0):
            c = wp.abs(boxes[a, t][2])
            s = wp.abs(boxes[a, t][3])
            reach = wp.vec2d(c * halves[a][0] + s * halves[a][1], s * halves[a][0] + c * halves[a][1])
            low = wp.min(low, position(boxes[a, t]) - reach)
            high = wp.max(high, position(boxes[a, t]) + reach)
    for axis in range(2):
        bounds[block, axis, a] = low[axis]
        bounds[block, 2 + axis, a] = high[axis]


@wp.kernel
def first_contacts(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    agents: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    first: wp.array2d[wp.int32],
):
    """Write the first step until which the boxes of motion k and agent a overlap; leave the entry (-1) without one.

    An overlap between two steps counts for the later one. ``bounds`` [blocks, 4, a] are axis-aligned bounds of each
    agent's boxes over a block of steps and the step before it.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[0]):
        begin = block * STEPS_PER_BLOCK
        end = wp.min(begin + STEPS_PER_BLOCK, steps)
        before = wp.max(begin - 1, 0)
        region = centre_bounds(ego[k], before, end)
        for word in range((agents.shape[0] + 63) // 64):
            near = near_mask(region, radius, bounds, block, 64 * word)
            while near != NO_BITS:
                a = 64 * word + lowest_bit(near)
                near = near & (near - ONE_BIT)
                reach = radius + wp.length(halves[a])
                was = position(agents[a, before]) - position(ego[k, before])
                for t in range(begin, end):
                    offset = position(agents[a, t]) - position(ego[k, t])
                    if first[k, a] < 0 and valid[a, t] != wp.uint8(0):
                        moved = wp.length(offset - was)
                        within = reach + moved
                        if wp.length_sq(offset) < within * within:
                            last = wp.max(t - 1, 0)
                            gap = box_separation(ego[k, t], half, agents[a, t], halves[a])
                            touches = gap < ZERO
                            if not touches and last < t and valid[a, last] != wp.uint8(0):
                                touches = touches_between(
                                    ego[k, last], ego[k, t], half, agents[a, last], agents[a, t], halves[a], gap
                                )
                            if touches:
                                first[k, a] = t
                    was = offset


@wp.kernel
def clearances(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    agents: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    ignored: wp.array2d[wp.uint8],
    limit: wp.float64,
    margins: wp.array2d[wp.float64],
):
    """Compute the signed distance to the nearest agent that is not ignored, at most ``limit``.

    The distance of a step is the least since the step before, whose quarters count too: boxes that pass each other in
    between are nearest there.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[0]):
        begin = block * STEPS_PER_BLOCK
        end = wp.min(begin + STEPS_PER_BLOCK, steps)
        region = centre_bounds(ego[k], wp.max(begin - 1, 0), end)
        for t in range(begin, end):
            margins[k, t] = limit
        for word in range((agents.shape[0] + 63) // 64):
            near = near_mask(region, radius + limit, bounds, block, 64 * word)
            while near != NO_BITS:
                a = 64 * word + lowest_bit(near)
                near = near & (near - ONE_BIT)
                reach = radius + wp.length(halves[a])
                known = wp.bool(False)  # whether the agent was there at the step before, at least ``before`` away
                before = wp.float64(0.0)
                for t in range(wp.max(begin - 1, 0), end):
                    here = wp.float64(0.0)
                    there = ignored[k, a] == wp.uint8(0) and valid[a, t] != wp.uint8(0)
                    if there:
                        least = margins[k, t]
                        distance = wp.length(position(agents[a, t]) - position(ego[k, t]))
                        here = distance - reach
                        if here < wp.max(least, ZERO):
                            here = box_separation(ego[k, t], half, agents[a, t], halves[a])
                            if here < least and t >= begin:
                                here = box_distance(ego[k, t], half, agents[a, t], halves[a], here)
                                least = wp.min(least, here)
                        if known:
                            last = t - 1
                            bound = approach(
                                ego[k, last], ego[k, t], radius, agents[a, last], agents[a, t], reach - radius
                            )
                            if HALF * (before + here - bound) < least:
                                least = least_between(
                                    ego[k, last], ego[k, t], half, agents[a, last], agents[a, t], halves[a], least
                                )
                        if t >= begin:
                            margins[k, t] = least
                    known = there
                    before = here
