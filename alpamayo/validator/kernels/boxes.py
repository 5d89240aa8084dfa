# mypy: ignore-errors
"""Boxes against boxes: first contacts and distances."""

from alpamayo.validator.packed import BLOCK
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FAR = wp.constant(wp.float64(1.0e300))
ZERO = wp.constant(wp.float64(0.0))
STEPS_A_BLOCK = wp.constant(BLOCK)
NOBODY = wp.constant(wp.uint64(0))
BIT = wp.constant(wp.uint64(1))


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
    """Least squared distance of a corner of either box to the other box."""
    ...


@wp.func
def box_distance(a: wp.vec4d, half_a: wp.vec2d, b: wp.vec4d, half_b: wp.vec2d, gap: wp.float64) -> wp.float64:
    """Euclidean distance of boxes whose gap is positive, else the gap, as ``geometry.box_distance``."""
    out = wp.float64(gap)
    if gap > ZERO:
        out = wp.sqrt(corner_squared(a, half_a, b, half_b))
    return out


@wp.func
def place(pose: wp.vec4d) -> wp.vec2d:
    """Where a box is."""
    return wp.vec2d(pose[0], pose[1])


@wp.func_native("""
    const int count = bounds.shape[2], n = count - first < 64 ? count - first : 64;
    const double *low_x = wp::address(bounds, block, 0, first), *low_y = low_x + count;
    const double *high_x = low_y + count, *high_y = high_x + count;
    const double from_x = around[0] - reach, from_y = around[1] - reach;
    const double to_x = around[2] + reach, to_y = around[3] + reach;
    unsigned long long near = 0;
    #pragma clang loop vectorize(assume_safety) vectorize_width(8) interleave_count(1)
    for (int a = 0; a < n; ++a) {
        const bool meets = (low_x[a] < to_x) & (low_y[a] < to_y) & (high_x[a] > from_x) & (high_y[a] > from_y);
        near |= (unsigned long long)meets << a;
    }
    return near;
""")
def who_is_near(
    around: wp.vec4d, reach: wp.float64, bounds: wp.array3d[wp.float64], block: wp.int32, first: wp.int32
) -> wp.uint64:
    """A bit for each of at most 64 others: whether its bounds are nearer than that to an upright rectangle."""
    ...


@wp.func
def around_places(boxes: wp.array[wp.vec4d], begin: wp.int32, end: wp.int32) -> wp.vec4d:
    """The upright rectangle around where some boxes are: its low and its high corner."""
    low = place(boxes[begin])
    high = low
    for t in range(begin + 1, end):
        low = wp.min(low, place(boxes[t]))
        high = wp.max(high, place(boxes[t]))
    return wp.vec4d(low[0], low[1], high[0], high[1])


@wp.func_native("return __builtin_ctzll(bits);")
def lowest_bit(bits: wp.uint64) -> wp.int32:
    """Place of the lowest bit that is set, of one or more."""
    ...


@wp.kernel
def bounds_of_blocks(
    boxes: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
):
    """Upright rectangles around each one's boxes in each block of steps; where it is not there, around nothing."""
    block, a = wp.tid()
    low = wp.vec2d(FAR, FAR)
    high = wp.vec2d(-FAR, -FAR)
    for t in range(block * STEPS_A_BLOCK, wp.min((block + 1) * STEPS_A_BLOCK, wp.int32(boxes.shape[1]))):
        if valid[a, t] != wp.uint8(0):
            c = wp.abs(boxes[a, t][2])
            s = wp.abs(boxes[a, t][3])
            reach = wp.vec2d(c * halves[a][0] + s * halves[a][1], s * halves[a][0] + c * halves[a][1])
            low = wp.min(low, place(boxes[a, t]) - reach)
            high = wp.max(high, place(boxes[a, t]) + reach)
    for axis in range(2):
        bounds[block, axis, a] = low[axis]
        bounds[block, 2 + axis, a] = high[axis]


@wp.kernel
def first_contacts(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    first: wp.array2d[wp.int32],
):
    """First step at which the boxes of motion k and other a overlap; what was there before (-1) where they never do.

    ``bounds`` [blocks, 4, a] are upright rectangles around the other's boxes in a block.
    """
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[0]):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        around = around_places(ego[k], begin, end)
        for word in range((others.shape[0] + 63) // 64):
            near = who_is_near(around, radius, bounds, block, 64 * word)
            while near != NOBODY:
                a = 64 * word + lowest_bit(near)
                near = near & (near - BIT)
                reach = radius + wp.length(halves[a])
                for t in range(begin, end):
                    if first[k, a] < 0 and valid[a, t] != wp.uint8(0):
                        away = place(others[a, t]) - place(ego[k, t])
                        near_now = wp.length_sq(away) < reach * reach
                        if near_now and box_separation(ego[k, t], half, others[a, t], halves[a]) < ZERO:
                            first[k, a] = t


@wp.kernel
def clearances(
    ego: wp.array2d[wp.vec4d],
    half: wp.vec2d,
    others: wp.array2d[wp.vec4d],
    halves: wp.array[wp.vec2d],
    valid: wp.array2d[wp.uint8],
    bounds: wp.array3d[wp.float64],
    ignored: wp.array2d[wp.uint8],
    furthest: wp.float64,
    margins: wp.array2d[wp.float64],
):
    """Signed distance to the nearest other who is not ignored, at most ``furthest``."""
    k = wp.tid()
    steps = wp.int32(ego.shape[1])
    radius = wp.length(half)
    for block in range(bounds.shape[0]):
        begin = block * STEPS_A_BLOCK
        end = wp.min(begin + STEPS_A_BLOCK, steps)
        around = around_places(ego[k], begin, end)
        for t in range(begin, end):
            margins[k, t] = furthest
        for word in range((others.shape[0] + 63) // 64):
            near = who_is_near(around, radius + furthest, bounds, block, 64 * word)
            while near != NOBODY:
                a = 64 * word + lowest_bit(near)
                near = near & (near - BIT)
                reach = radius + wp.length(halves[a])
                for t in range(begin, end):
                    if ignored[k, a] == wp.uint8(0) and valid[a, t] != wp.uint8(0):
                        away = place(others[a, t]) - place(ego[k, t])
                        far = reach + wp.max(margins[k, t], ZERO)
                        if wp.length_sq(away) < far * far:
                            gap = box_separation(ego[k, t], half, others[a, t], halves[a])
                            if gap < margins[k, t]:
                                there = box_distance(ego[k, t], half, others[a, t], halves[a], gap)
                                margins[k, t] = wp.min(margins[k, t], there)
