"""Pure geometry over arrays: angles, frames, boxes, polylines. The leading axes ``...`` are any batch."""

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray


def wrap_angle(angle: Float[Array, "..."]) -> Float[Array, "..."]:
    """Wrap angles (rad) to [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2.0 * np.pi) - np.pi)


def rotate(xy: Float[Array, "... 2"], angle: Float[Array, "..."] | float) -> Float[Array, "... 2"]:
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
    """Corners (m) of boxes centred on ``pose`` with ``size`` (length, width).

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
    """Whether oriented boxes overlap, by the separating-axis theorem; touching counts as overlap.

    Poses are (x, y, heading) of the centres, sizes (length, width), all in m and rad; batches broadcast.
    """
    return np.asarray(box_separation(pose_a, size_a, pose_b, size_b) <= 0.0)


def box_separation(
    pose_a: Float[Array, "... 3"],
    size_a: Float[Array, "... 2"],
    pose_b: Float[Array, "... 3"],
    size_b: Float[Array, "... 2"],
) -> Float[Array, "..."]:
    """Largest gap (m) over the four axes of two oriented boxes; negative is the depth of the overlap.

    For disjoint boxes this is a lower bound of their distance (exact when an edge faces the other box).
    """
    half_a, half_b = 0.5 * size_a, 0.5 * size_b
    relative = wrap_angle(np.asarray(pose_b[..., 2] - pose_a[..., 2]))
    c, s = np.abs(np.cos(relative)), np.abs(np.sin(relative))
    in_a = np.abs(to_frame(pose_b[..., :2], pose_a))
    in_b = np.abs(to_frame(pose_a[..., :2], pose_b))
    gaps = [
        in_a[..., 0] - half_a[..., 0] - half_b[..., 0] * c - half_b[..., 1] * s,
        in_a[..., 1] - half_a[..., 1] - half_b[..., 0] * s - half_b[..., 1] * c,
        in_b[..., 0] - half_b[..., 0] - half_a[..., 0] * c - half_a[..., 1] * s,
        in_b[..., 1] - half_b[..., 1] - half_a[..., 0] * s - half_a[..., 1] * c,
    ]
    return np.asarray(np.max(np.stack(gaps), axis=0))


def arc_length(polyline: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Cumulative length (m) along a polyline, measured in the plane; starts at 0."""
    steps = np.linalg.norm(np.diff(polyline[:, :2].astype(np.float64), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def interpolate(polyline: Float[Array, "n d"], s: Float[Array, "..."]) -> Float[Array, "... d"]:
    """Points at the arc lengths ``s`` (m) of a polyline; clamped to its ends."""
    knots = arc_length(polyline)
    return np.stack([np.interp(s, knots, polyline[:, k]) for k in range(polyline.shape[1])], axis=-1)


def polyline_headings(polyline: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Heading (rad) of each point: of the segment that leaves it, and of the last segment at the end."""
    steps = np.diff(polyline[:, :2].astype(np.float64), axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    return np.concatenate([headings, headings[-1:]])


def project(polyline: Float[Array, "n d"], xy: Float[Array, "m 2"]) -> tuple[Array, Array]:
    """Nearest points of a polyline: arc length s (m) [m] and signed lateral offset (m, left positive) [m].

    The offset's size is the distance to the polyline, also beyond its ends; in line with an end it is positive.
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


def _without_repeats(polyline: Float[Array, "n d"]) -> Array:
    """Its points in the plane (float64) without those that repeat the one before; two at least."""
    line = polyline[:, :2].astype(np.float64)
    moved = np.any(np.diff(line, axis=0) != 0.0, axis=1)
    return line if moved.all() or not moved.any() else line[np.concatenate([[True], moved])]
