# mypy: ignore-errors
"""Boxes against boxes: first contacts and distances."""

from alpamayo.validator.packed import BLOCK
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
STEPS_A_BLOCK = wp.constant(BLOCK)


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
