"""Pure geometry over arrays: angles, frames, boxes, polylines. The leading axes ``...`` are any batch.

Box functions are exact: contacts, clearances and times to collision rest on them.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64

Array = np.ndarray
Number = Any  # an array, or numpy's scalar in place of an array without axes

BACK_M, AHEAD_M = 10.0, 20.0  # around the last place on a path, where the next place is searched
PASS_TOLERANCE_M = 1.0  # passes of a path by a point that are this much further away count as equal to the nearest one
PASS_LENGTH_M = 20.0  # of a path by a point, that belongs to one pass


def wrap_angle(angle: Float[Array, "..."]) -> Float[Array, "..."]:
    """Wrap angles (rad) to [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2.0 * np.pi) - np.pi)


def rotate(xy: Float[Array, "... 2"], angle: Float[Array, "..."] | np.floating | float) -> Float[Array, "... 2"]:
    """Rotate vectors counter-clockwise by ``angle`` (rad)."""
    c, s = np.cos(angle), np.sin(angle)
    x, y = xy[..., 0], xy[..., 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def to_frame(xy: Float[Array, "... 2"], pose: Float[Array, "... 3"]) -> Float[Array, "... 2"]:
    """Express world points (m) in the frame of ``pose`` (x, y, heading)."""
    return rotate(xy - pose[..., :2], -pose[..., 2])


def from_frame(xy: Float[Array, "... 2"], pose: Float[Array, "... 3"]) -> Float[Array, "... 2"]:
    """Express points (m) of the frame of ``pose`` (x, y, heading) in the world."""
    return rotate(xy, pose[..., 2]) + pose[..., :2]


def box_corners(pose: Float[Array, "... 3"], size: Float[Array, "... 2"]) -> Float[Array, "... 4 2"]:
    """Return the corners (m) of boxes centred on ``pose`` with ``size`` (length, width).

    Order: front left, front right, rear right, rear left.
    """
    signs = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]], dtype=pose.dtype)
    return from_frame(size[..., None, :] * signs, pose[..., None, :])


def boxes_overlap(
    pose_a: Float[Array, "... 3"],
    size_a: Float[Array, "... 2"],
    pose_b: Float[Array, "... 3"],
    size_b: Float[Array, "... 2"],
) -> Bool[Array, "..."]:
    """Return whether oriented boxes overlap, by the separating-axis theorem; touching counts as overlap.

    Poses are (x, y, heading) of the centres, sizes (length, width), all in m and rad; batches broadcast.
    """
    return np.asarray(box_separation(pose_a, size_a, pose_b, size_b) <= 0.0)


def box_separation(
    pose_a: Float[Array, "... 3"],
    size_a: Float[Array, "... 2"],
    pose_b: Float[Array, "... 3"],
    size_b: Float[Array, "... 2"],
) -> Float[Array, "..."]:
    """Return the largest gap (m) over the four separating axes of two boxes; negative is the depth of their overlap.

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
    """Return the signed distance (m) of boxes: Euclidean if they are disjoint, minus the depth if they overlap.

    Two disjoint convex polygons are nearest at a corner of one of them, so eight distances from a corner to a box
    decide. Arguments as for ``box_separation``.
    """
    ahead, left, c, s, half_a, half_b = _relative(pose_a, size_a, pose_b, size_b)
    gap = _gap(ahead, left, c, s, half_a, half_b)
    behind, right = -(c * ahead + s * left), s * ahead - c * left  # a's centre in b's frame
    of_b = _corner_distance(ahead, left, c, s, half_b, half_a)
    of_a = _corner_distance(behind, right, c, -s, half_a, half_b)
    return np.where(gap <= 0.0, gap, np.sqrt(np.minimum(of_a, of_b)))


def heights_overlap(
    ground_a: Float[Array, "..."] | float,
    height_a: Float[Array, "..."] | float,
    ground_b: Float[Array, "..."] | float,
    height_b: Float[Array, "..."] | float,
) -> Bool[Array, "..."]:
    """Return whether two upright boxes share a height: only then can they meet, see or support each other.

    The ground is the z (m) of the underside of a box, the height (m) that of the box; batches broadcast. Boxes that
    only touch share none, as a car on a slab. An unknown ground (NaN) shares a height with every box.
    """
    apart = (ground_a + np.asarray(height_a) <= ground_b) | (ground_b + np.asarray(height_b) <= ground_a)
    return np.asarray(~apart)


def segment_gap(
    start: Float[Array, "... 2"], end: Float[Array, "... 2"], pose: Float[Array, "... 3"], size: Float[Array, "... 2"]
) -> Float[Array, "..."]:
    """Return the largest gap (m) over the separating axes of a segment and a box; not positive if they meet."""
    middle, step = 0.5 * (start + end), end - start
    segment = np.concatenate([middle, np.arctan2(step[..., 1], step[..., 0])[..., None]], axis=-1)
    length = np.hypot(step[..., 0], step[..., 1])
    return box_separation(segment, np.stack([length, np.zeros_like(length)], axis=-1), pose, size)


def arc_length(polyline: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Return the cumulative length (m) along a polyline, measured in the plane; starts at 0."""
    steps = np.linalg.norm(np.diff(polyline[:, :2].astype(np.float64), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def interpolate(polyline: Float[Array, "n d"], s: Float[Array, "..."]) -> Float[Array, "... d"]:
    """Return the points at arc lengths ``s`` (m) of a polyline, clamped to its ends."""
    knots = arc_length(polyline)
    return np.stack([np.interp(s, knots, polyline[:, k]) for k in range(polyline.shape[1])], axis=-1)


def polyline_headings(polyline: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Return the heading (rad) at each point: of the segment that leaves it, and of the last segment at the end."""
    steps = np.diff(polyline[:, :2].astype(np.float64), axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    return np.concatenate([headings, headings[-1:]])


def project(polyline: Float[Array, "n d"], xy: Float[Array, "m 2"]) -> tuple[Array, Array]:
    """Return the arc length s (m) and the signed lateral offset (m, left positive) of points on a polyline.

    The size of the offset is the distance to the polyline, also beyond its ends; in line with an end it is positive.
    """
    line = _without_repeats(polyline)
    start = line[:-1]
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    offset = xy[:, None, :] - start[None]
    t = np.clip(np.sum(offset * step, axis=-1) / np.maximum(length**2, 1e-12), 0.0, 1.0)
    gap = offset - t[..., None] * step
    nearest = np.argmin(np.sum(gap**2, axis=-1), axis=1)
    rows = np.arange(len(xy))
    s = arc_length(line)[nearest] + t[rows, nearest] * length[nearest]
    away, along = gap[rows, nearest], step[nearest]
    cross = along[:, 0] * offset[rows, nearest, 1] - along[:, 1] * offset[rows, nearest, 0]
    return s, np.where(cross >= 0.0, 1.0, -1.0) * np.linalg.norm(away, axis=1)


def follow(
    polyline: Float[Array, "n d"], xy: Float[Array, "t 2"], start: float | None = None
) -> tuple[Float64[Array, " t"], Float64[Array, " t"]]:
    """Return arc lengths and offsets (m) of consecutive positions, each searched from the place before it.

    On a path that comes back to where it was, places go on along the path and do not jump between its passes. ``start``
    (m) is the place before the first position. Without it the first position is searched on the whole path, and of
    equal places the first one is taken.
    """
    line, points = _without_repeats(polyline), np.asarray(xy, np.float64)
    knots, s, d = arc_length(line), np.zeros(len(points)), np.zeros(len(points))
    moved = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T)])
    for t, point in enumerate(points):
        last = float(s[t - 1]) if t else start
        low, high = _first_pass(line, knots, point) if last is None else (last - BACK_M, last + AHEAD_M)
        first, end = np.searchsorted(knots, (low - moved[t], high + moved[t]))
        window = slice(max(int(first) - 1, 0), int(end) + 1)
        (s[t],), (d[t],) = project(line[window], point[None])
        s[t] += knots[window][0]
    return s, d


def _first_pass(line: Float64[Array, "n 2"], knots: Float64[Array, " n"], point: Array) -> tuple[float, float]:
    """Return the arc lengths (m) between which a path first comes as near to a point as it ever does."""
    dense = np.linspace(0.0, knots[-1], 2 + int(2.0 * knots[-1]))
    distance = np.hypot(np.interp(dense, knots, line[:, 0]) - point[0], np.interp(dense, knots, line[:, 1]) - point[1])
    enough = float(distance.min()) + PASS_TOLERANCE_M
    near = float(dense[np.argmax(distance <= enough)])
    return near - 1.0, near + PASS_LENGTH_M + float(np.sqrt(2.0 * enough))


def _without_repeats(polyline: Float[Array, "n d"]) -> Array:
    """Return the points in the plane (float64) without repeats of the point before; at least two."""
    line = polyline[:, :2].astype(np.float64)
    moved = np.any(np.diff(line, axis=0) != 0.0, axis=1)
    return line if moved.all() or not moved.any() else line[np.concatenate([[True], moved])]


def _relative(pose_a: Array, size_a: Array, pose_b: Array, size_b: Array) -> tuple[Number, ...]:
    """Return box b in the frame of a: centre, cosine and sine of the turn, and both half sizes."""
    c_a, s_a = np.cos(pose_a[..., 2]), np.sin(pose_a[..., 2])
    dx, dy = pose_b[..., 0] - pose_a[..., 0], pose_b[..., 1] - pose_a[..., 1]
    turn = pose_b[..., 2] - pose_a[..., 2]
    return c_a * dx + s_a * dy, c_a * dy - s_a * dx, np.cos(turn), np.sin(turn), 0.5 * size_a, 0.5 * size_b


def _gap(ahead: Number, left: Number, c: Number, s: Number, half_a: Array, half_b: Array) -> Array:
    la, wa, lb, wb = half_a[..., 0], half_a[..., 1], half_b[..., 0], half_b[..., 1]
    ac, as_ = np.abs(c), np.abs(s)
    gap = np.abs(ahead) - la - lb * ac - wb * as_
    gap = np.maximum(gap, np.abs(left) - wa - lb * as_ - wb * ac)
    gap = np.maximum(gap, np.abs(c * ahead + s * left) - lb - la * ac - wa * as_)
    return np.asarray(np.maximum(gap, np.abs(c * left - s * ahead) - wb - la * as_ - wa * ac))


def _corner_distance(x: Number, y: Number, c: Number, s: Number, half: Array, half_box: Array) -> Array:
    """Return the least squared distance of a box's corners to another box, in the frame of the other one."""
    along_x, along_y = half[..., 0] * c, half[..., 0] * s
    across_x, across_y = -half[..., 1] * s, half[..., 1] * c
    best: Number = np.inf
    for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        out_x = np.maximum(np.abs(x + i * along_x + j * across_x) - half_box[..., 0], 0.0)
        out_y = np.maximum(np.abs(y + i * along_y + j * across_y) - half_box[..., 1], 0.0)
        squared = out_x * out_x + out_y * out_y
        best = np.minimum(best, squared)
    return np.asarray(best)


def oriented(pose: Float64[Array, "n t 3"]) -> Float64[Array, "n t 4"]:
    """Return poses (x, y, heading) as x, y, cosine and sine of the heading."""
    out = np.empty((*pose.shape[:2], 4))
    out[..., :2] = pose[..., :2]
    np.cos(pose[..., 2], out=out[..., 2])
    np.sin(pose[..., 2], out=out[..., 3])
    return out


def oriented_corners(boxes: Float64[Array, "n 4"], size: Float64[Array, "2"]) -> Float64[Array, "n 4 2"]:
    """Return the corners (m) of boxes given as in ``oriented``, all of one ``size`` (length, width).

    Order: front left, front right, rear right, rear left.
    """
    half = 0.5 * size
    ahead, left = half[0] * boxes[:, None, 2:], half[1] * np.stack([-boxes[:, None, 3], boxes[:, None, 2]], axis=-1)
    return boxes[:, None, :2] + np.concatenate([ahead + left, ahead - left, -ahead - left, -ahead + left], axis=1)
