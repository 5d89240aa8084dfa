"""Polylines as rows of x, y, heading and arc length for the kernels."""

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length

Array = np.ndarray
CORNER = 1.5  # m; a path turns within this much of its corners


def path_rows(points: Float32[Array, "n 3"], what: str) -> Float32[Array, "m 4"]:
    """Return a polyline as x, y, heading, arc length, without repeated points; headings are continuous (not wrapped).

    The heading of an inner point is the mean of its two segments', of an end that of its only one. Long segments
    get a point near each end, so that a heading that is linear between the points turns within ``CORNER`` metres.

    Raises:
        InputError: the polyline has no length.
    """
    steps = np.linalg.norm(np.diff(points[:, :2].astype(np.float64), axis=0), axis=1)
    kept = points[np.concatenate([[True], steps > 1e-3])].astype(np.float64)
    if len(kept) < 2:
        raise InputError(f"{what} has no length: all its points are the same")
    kept = _near_corners(kept[:, :2])
    step = np.diff(kept, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    vertex = np.concatenate([heading[:1], 0.5 * (heading[:-1] + heading[1:]), heading[-1:]])
    return np.column_stack([kept, vertex, arc_length(kept)]).astype(np.float32)


def elevations(points: Float32[Array, "n 3"], rows: Float32[Array, "m 4"]) -> Float32[Array, " m"]:
    """Return the z (m) of a polyline at each of its ``path_rows``."""
    knots = arc_length(points)
    share = rows[:, 3].astype(np.float64) / float(rows[-1, 3])
    return np.interp(share * knots[-1], knots, points[:, 2]).astype(np.float32)


def _near_corners(xy: Float64[Array, "n 2"]) -> Float64[Array, "m 2"]:
    """Return the line with further points ``CORNER`` metres from both ends of its long segments."""
    step = np.diff(xy, axis=0)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    near = xy[:-1] + step * (CORNER / length)
    far = xy[1:] - step * (CORNER / length)
    long = length[:, 0] > 3.0 * CORNER
    inner = np.stack([xy[:-1], near, far], axis=1)
    kept = np.stack([np.ones_like(long), long, long], axis=1)
    return np.concatenate([inner[kept], xy[-1:]])
