# mypy: ignore-errors
"""Line simplification: drop the points of polylines that lie on the line without them."""

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

MAX_SEGMENT_POINTS = wp.constant(64)  # points that one segment can stand for


@wp.func
def is_flat(points: wp.array[wp.vec2d], first: wp.int32, last: wp.int32, tolerance: wp.float64) -> wp.bool:
    """Return whether all points between two points lie within ``tolerance`` (m) of their segment."""
    a = points[first]
    step = points[last] - a
    squared = wp.max(wp.dot(step, step), wp.float64(1.0e-18))
    flat = wp.bool(True)
    k = wp.int32(first + 1)
    while k < last and flat:
        away = points[k] - a
        t = wp.clamp(wp.dot(away, step) / squared, wp.float64(0.0), wp.float64(1.0))
        gap = away - t * step
        flat = wp.dot(gap, gap) <= tolerance * tolerance
        k += 1
    return flat


@wp.kernel
def thin(points: wp.array[wp.vec2d], starts: wp.array[wp.int32], tolerance: wp.float64, kept: wp.array[wp.bool]):
    """Keep the points of each line that are needed: from each one kept as far on as the line stays flat."""
    line = wp.tid()
    last = starts[line + 1] - 1
    here = wp.int32(starts[line])
    kept[here] = True
    while here < last:
        ahead = wp.int32(here + 1)
        while ahead < last and ahead - here < MAX_SEGMENT_POINTS and is_flat(points, here, ahead + 1, tolerance):
            ahead += 1
        here = ahead
        kept[here] = True
