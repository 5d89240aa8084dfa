"""Motion from recorded positions: velocities and headings that a file does not tell, and tracks from single boxes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo_sim.geometry import wrap_angle

Array = np.ndarray

MOVES_MPS = 0.3  # a slower road user keeps its heading


def velocities(position: Float64[Array, "n d"], valid: Bool[Array, " n"], dt: float) -> Float64[Array, "n 2"]:
    """Return central differences over the valid steps, one-sided where only one neighbour is valid, else zeros."""
    n = len(valid)
    step = np.arange(n)
    before = np.where(np.concatenate([[False], valid[:-1]]), step - 1, step)
    after = np.where(np.concatenate([valid[1:], [False]]), step + 1, step)
    span = np.maximum(after - before, 1)[:, None] * dt
    found = (position[after, :2] - position[before, :2]) / span
    return np.where(valid[:, None] & (after > before)[:, None], found, 0.0)


def headings(velocity: Float64[Array, "n 2"], valid: Bool[Array, " n"]) -> Float64[Array, " n"]:
    """Return the direction of motion; a road user that stands keeps the heading that it had or will have."""
    moving = np.flatnonzero(valid & (np.hypot(velocity[:, 0], velocity[:, 1]) > MOVES_MPS))
    if not len(moving):
        return np.zeros(len(valid))
    direction = np.arctan2(velocity[moving, 1], velocity[moving, 0])
    last = np.searchsorted(moving, np.arange(len(valid)), side="right") - 1
    return np.asarray(direction[np.maximum(last, 0)])


def yaw_of(quaternion: Float64[Array, "n 4"]) -> Float64[Array, " n"]:
    """Return the yaw (rad) of quaternions w, x, y, z."""
    w, x, y, z = quaternion.T
    return np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def rotation_of(quaternion: Float64[Array, "n 4"]) -> Float64[Array, "n 3 3"]:
    """Return the rotation matrices of quaternions w, x, y, z, which need not be of unit length."""
    w, x, y, z = (quaternion / np.maximum(np.linalg.norm(quaternion, axis=1, keepdims=True), 1e-12)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


@dataclass(frozen=True)
class Grid:
    """Equal time steps: the step of each time stamp of a recording, and the length of a step (s)."""

    step: Int64[Array, " n"]
    count: int
    dt: float


def time_grid(times: Float64[Array, " n"], usual: float) -> Grid:
    """Return the steps of growing time stamps (s): their median distance, ``usual`` where it is within 5 % of that.

    A time stamp that is missing leaves a gap of a step. Time stamps that are no multiples are rounded.
    """
    dt = float(np.median(np.diff(times))) if len(times) > 1 else usual
    dt = usual if abs(dt - usual) < 0.05 * usual else round(dt, 4)
    step = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(np.diff(times) / dt)))]).astype(np.int64)
    return Grid(step, int(step[-1]) + 1 if len(step) else 0, dt)


def resampled(
    times: Float64[Array, " n"], values: Float64[Array, "n k"], at: Float64[Array, " m"], angle: int | None = None
) -> Float64[Array, "m k"]:
    """Return values at other times, linearly; the column ``angle`` (rad) turns the shorter way."""
    columns = [np.unwrap(column) if k == angle else column for k, column in enumerate(values.T)]
    out = np.stack([np.interp(at, times, column) for column in columns], axis=1)
    if angle is not None:
        out[:, angle] = wrap_angle(out[:, angle])
    return out


def covered(own: Float64[Array, " k"], at: Float64[Array, " n"], max_gap: float, near: float) -> Bool[Array, " n"]:
    """Return at which times ``at`` a road user is there that was seen at the growing times ``own`` (s).

    It is there where it was seen within ``near`` (s), and between two sightings that are less than ``max_gap`` apart.
    """
    after = np.searchsorted(own, at - near, side="left")
    before = np.searchsorted(own, at + near, side="right") - 1
    inside = (before >= 0) & (after < len(own))
    span = own[np.minimum(after, len(own) - 1)] - own[np.maximum(before, 0)]
    return np.asarray(inside & (span < max_gap))
