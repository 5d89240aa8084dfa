# mypy: ignore-errors
"""Places along a path: each pose is searched from the place of the pose before it."""

from alpamayo_sim.map import frenet
from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ZERO = wp.constant(wp.float64(0.0))
ONE = wp.constant(wp.float64(1.0))
FAR = wp.constant(wp.float64(1.0e300))
# The window of the next place, for each metre that the pose has moved and in any case.
AHEAD_PER_M, BACK_PER_M = wp.constant(wp.float64(3.0)), wp.constant(wp.float64(1.0))
SLACK_M = wp.constant(wp.float64(1.0))
LOST_M = wp.constant(wp.float64(frenet.LOST_M))
OPPOSITE_COST_M = wp.constant(wp.float64(frenet.OPPOSITE_COST_M))


@wp.func
def foot(
    s: wp.array[wp.float64], xy: wp.array[wp.vec2d], i: wp.int32, point: wp.vec2d, low: wp.float64, high: wp.float64
) -> wp.vec2d:
    """Return the foot of a point on segment i between two arc lengths: arc length, squared distance."""
    length = s[i + 1] - s[i]
    step = xy[i + 1] - xy[i]
    away = point - xy[i]
    part = wp.clamp(wp.dot(away, step) / length, wp.max(low - s[i], ZERO), wp.min(high - s[i], length))
    return wp.vec2d(s[i] + part, wp.length_sq(away - (part / length) * step))


@wp.func
def side(xy: wp.array[wp.vec2d], i: wp.int32, point: wp.vec2d, distance: wp.float64) -> wp.float64:
    """Return the distance of a point from segment i, negative at its right."""
    step = xy[i + 1] - xy[i]
    away = point - xy[i]
    return wp.where(step[0] * away[1] - step[1] * away[0] < ZERO, -distance, distance)


@wp.kernel
def follow_path(
    s: wp.array[wp.float64],
    xy: wp.array[wp.vec2d],
    boxes: wp.array2d[wp.vec4d],
    start: wp.array[wp.float64],
    moved_before: wp.float64,
    place: wp.array2d[wp.float64],
    offset: wp.array2d[wp.float64],
):
    """Write arc length and signed offset of each pose.

    ``start`` is the last place of each motion, and ``moved_before`` (m) the distance driven since then.
    """
    k = wp.tid()
    last = wp.float64(start[k])
    at = wp.int32(0)
    segments = wp.int32(s.shape[0]) - 1
    for t in range(boxes.shape[1]):
        point = wp.vec2d(boxes[k, t][0], boxes[k, t][1])
        before = boxes[k, wp.max(t - 1, 0)]
        moved = wp.length(point - wp.vec2d(before[0], before[1]))
        if t == 0:
            moved = moved_before
        low = last - BACK_PER_M * moved - SLACK_M
        high = last + AHEAD_PER_M * moved + SLACK_M
        best = wp.vec2d(last, FAR)
        while at > 0 and s[at] > low:
            at -= 1
        i = wp.int32(at)
        while i < segments and s[i] <= high:
            if s[i + 1] > s[i] and s[i + 1] >= low:
                found = foot(s, xy, i, point, low, high)
                if found[1] < best[1]:
                    best = found
                    at = wp.int32(i)
            i += 1
        distance = wp.sqrt(best[1])
        if distance > LOST_M:
            least = distance
            for j in range(segments):
                if s[j + 1] > s[j]:
                    found = foot(s, xy, j, point, ZERO, s[segments])
                    along = (xy[j + 1] - xy[j]) / (s[j + 1] - s[j])
                    cosine = along[0] * boxes[k, t][2] + along[1] * boxes[k, t][3]
                    cost = wp.sqrt(found[1]) + OPPOSITE_COST_M * (ONE - cosine)
                    if cost < least:
                        least = cost
                        best = found
                        at = wp.int32(j)
            distance = wp.sqrt(best[1])
        last = best[0]
        place[k, t] = best[0]
        offset[k, t] = side(xy, at, point, distance)
