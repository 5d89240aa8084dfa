# mypy: ignore-errors
"""Lines with fewer points, compiled: many times as fast as a general library on a map's thousands of points."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.warp_runtime import wp

wp.set_module_options({"enable_backward": False})

Array = np.ndarray
WINDOW = wp.constant(64)  # points that one segment can stand for


@wp.func
def is_flat(points: wp.array[wp.vec2d], first: wp.int32, last: wp.int32, tolerance: wp.float64) -> wp.bool:
    """Whether all points between two lie within ``tolerance`` (m) of the segment between these."""
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
        while ahead < last and ahead - here < WINDOW and is_flat(points, here, ahead + 1, tolerance):
            ahead += 1
        here = ahead
        kept[here] = True


def thinned(lines: Sequence[Float64[Array, "_ 2"]], tolerance: float) -> list[Float64[Array, "_ 2"]]:
    """The lines without points that lie within ``tolerance`` (m) of the line without them; ends are kept."""
    if not lines:
        return []
    points = np.concatenate(lines)
    starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int32)
    kept = wp.zeros(len(points), dtype=wp.bool, device="cpu")
    inputs = [wp.array(points, dtype=wp.vec2d, device="cpu"), wp.array(starts, dtype=wp.int32, device="cpu")]
    wp.launch(thin, dim=len(lines), inputs=[*inputs, wp.float64(tolerance), kept], device="cpu")
    chosen = kept.numpy()
    return np.split(points[chosen], np.cumsum(chosen)[starts[1:-1] - 1])
