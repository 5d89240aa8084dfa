"""A situation as the compiled loops take it: boxes by centre, cosine and sine, and bounds for the broad phase."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from alpamayo.validator.situation import Situation, Traffic

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Packed:
    """Boxes of the ego [k, t] and the others [a, t]: x, y, cosine, sine; half lengths and widths; who is there."""

    ego: Float64[Array, "k t 4"]
    half: Float64[Array, "2"]
    others: Float64[Array, "a t 4"]
    halves: Float64[Array, "a 2"]
    valid: UInt8[Array, "a t"]
    bounds: Float64[Array, "a blocks 4"]


def packed(situation: Situation) -> Packed:
    """The boxes of a situation at its times."""
    steps, traffic = len(situation.times), situation.traffic
    others = oriented(traffic.pose[:, :steps])
    valid = np.ascontiguousarray(traffic.valid[:, :steps])
    halves = 0.5 * np.ascontiguousarray(traffic.size)
    return Packed(
        ego=oriented(situation.pose),
        half=0.5 * situation.size,
        others=others,
        halves=halves,
        valid=valid.view(np.uint8),
        bounds=block_bounds(others, valid, halves, 0),
    )


def oriented(pose: Float64[Array, "n t 3"]) -> Float64[Array, "n t 4"]:
    """Poses as x, y, cosine and sine of the heading."""
    out = np.empty((*pose.shape[:2], 4))
    out[..., :2] = pose[..., :2]
    np.cos(pose[..., 2], out=out[..., 2])
    np.sin(pose[..., 2], out=out[..., 3])
    return out


def block_bounds(
    boxes: Float64[Array, "a t 4"], valid: Bool[Array, "a t"], halves: Float64[Array, "a 2"], ahead: int
) -> Float64[Array, "a blocks 4"]:
    """Upright rectangles (low x, low y, high x, high y) around boxes in each block of steps and ``ahead`` steps on.

    ``boxes`` and ``valid`` go on for ``ahead`` steps after the last one that belongs to a block.
    """
    from alpamayo.validator.kernels import BLOCK

    steps = boxes.shape[1] - ahead
    low = np.where(valid[..., None], boxes[..., :2], np.inf)
    high = np.where(valid[..., None], boxes[..., :2], -np.inf)
    radius = np.hypot(halves[:, 0], halves[:, 1])[:, None]
    begins = range(0, steps, BLOCK)
    out = np.empty((len(boxes), len(begins), 4))
    for block, begin in enumerate(begins):
        part = slice(begin, min(begin + BLOCK, steps) + ahead)
        out[:, block, :2] = low[:, part].min(axis=1) - radius
        out[:, block, 2:] = high[:, part].max(axis=1) + radius
    return out


def fastest(traffic: Traffic, dt: float) -> Float64[Array, " a"]:
    """Upper bound (m/s) of how fast each changes its place between any two times that it is there."""
    count, steps = traffic.valid.shape
    index = np.arange(steps)
    seen = np.maximum.accumulate(np.where(traffic.valid, index, -1), axis=1)
    before = np.concatenate([np.full((count, 1), -1), seen[:, :-1]], axis=1)
    known = traffic.valid & (before >= 0)
    xy = traffic.pose[..., :2]
    moved = np.linalg.norm(xy - np.take_along_axis(xy, np.maximum(before, 0)[..., None], axis=1), axis=-1)
    speed = np.where(known, moved / (dt * np.maximum(index - before, 1)), 0.0)
    return np.asarray(speed.max(axis=1, initial=0.0))
