"""Signed distances of oriented boxes, exact: what every contact, clearance and time to collision rests on."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def box_gap(
    pose_a: Float[Array, "... 3"],
    size_a: Float[Array, "... 2"],
    pose_b: Float[Array, "... 3"],
    size_b: Float[Array, "... 2"],
) -> Float[Array, "..."]:
    """Largest gap (m) over the four separating axes of two boxes; negative is the depth of their overlap.

    For disjoint boxes it is a lower bound of their distance. The sign is exact: the boxes share area if and only
    if it is negative. Poses are x, y, heading of the centres (m, rad), sizes length and width (m).
    """
    return _gap(*_relative(pose_a, size_a, pose_b, size_b))


def box_distance(
    pose_a: Float[Array, "... 3"],
    size_a: Float[Array, "... 2"],
    pose_b: Float[Array, "... 3"],
    size_b: Float[Array, "... 2"],
) -> Float[Array, "..."]:
    """Signed distance (m) of boxes: Euclidean where they are disjoint, minus the depth where they overlap.

    Two disjoint convex polygons are nearest at a corner of one of them, so eight distances from a corner to a box
    decide. Arguments as for ``box_gap``.
    """
    ahead, left, c, s, half_a, half_b = _relative(pose_a, size_a, pose_b, size_b)
    gap = _gap(ahead, left, c, s, half_a, half_b)
    behind, right = -(c * ahead + s * left), s * ahead - c * left  # a's centre in b's frame
    of_b = _corner_distance(ahead, left, c, s, half_b, half_a)
    of_a = _corner_distance(behind, right, c, -s, half_a, half_b)
    return np.where(gap <= 0.0, gap, np.sqrt(np.minimum(of_a, of_b)))


def segment_gap(
    start: Float[Array, "... 2"], end: Float[Array, "... 2"], pose: Float[Array, "... 3"], size: Float[Array, "... 2"]
) -> Float[Array, "..."]:
    """Largest gap (m) over the separating axes of a segment and a box; not positive where they meet."""
    middle, step = 0.5 * (start + end), end - start
    segment = np.concatenate([middle, np.arctan2(step[..., 1], step[..., 0])[..., None]], axis=-1)
    length = np.hypot(step[..., 0], step[..., 1])
    return box_gap(segment, np.stack([length, np.zeros_like(length)], axis=-1), pose, size)


def _relative(pose_a: Array, size_a: Array, pose_b: Array, size_b: Array) -> tuple[Array, ...]:
    """Box b in a's frame: centre, cosine and sine of the turn, and both half sizes."""
    c_a, s_a = np.cos(pose_a[..., 2]), np.sin(pose_a[..., 2])
    dx, dy = pose_b[..., 0] - pose_a[..., 0], pose_b[..., 1] - pose_a[..., 1]
    turn = pose_b[..., 2] - pose_a[..., 2]
    return c_a * dx + s_a * dy, c_a * dy - s_a * dx, np.cos(turn), np.sin(turn), 0.5 * size_a, 0.5 * size_b


def _gap(ahead: Array, left: Array, c: Array, s: Array, half_a: Array, half_b: Array) -> Array:
    la, wa, lb, wb = half_a[..., 0], half_a[..., 1], half_b[..., 0], half_b[..., 1]
    ac, as_ = np.abs(c), np.abs(s)
    gap = np.abs(ahead) - la - lb * ac - wb * as_
    gap = np.maximum(gap, np.abs(left) - wa - lb * as_ - wb * ac)
    gap = np.maximum(gap, np.abs(c * ahead + s * left) - lb - la * ac - wa * as_)
    return np.maximum(gap, np.abs(c * left - s * ahead) - wb - la * as_ - wa * ac)


def _corner_distance(x: Array, y: Array, c: Array, s: Array, half: Array, half_box: Array) -> Array:
    """Least squared distance of the corners of a box at (x, y), turned by (c, s), to a box in its own frame."""
    along_x, along_y = half[..., 0] * c, half[..., 0] * s
    across_x, across_y = -half[..., 1] * s, half[..., 1] * c
    best: Array | None = None
    for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        out_x = np.maximum(np.abs(x + i * along_x + j * across_x) - half_box[..., 0], 0.0)
        out_y = np.maximum(np.abs(y + i * along_y + j * across_y) - half_box[..., 1], 0.0)
        squared = out_x * out_x + out_y * out_y
        best = squared if best is None else np.minimum(best, squared)
    assert best is not None
    return best
