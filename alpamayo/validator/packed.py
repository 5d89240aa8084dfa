"""A situation as the compiled loops take it: boxes by centre, cosine and sine, and bounds for the broad phase."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo.validator.situation import Situation, Traffic

Array = np.ndarray
BLOCK = 8  # steps that the compiled loops look at at once


@dataclass(frozen=True, eq=False)
class Others:
    """Boxes of the others: x, y, cosine, sine; half lengths and widths; who is there; bounds of each block of steps."""

    boxes: Float64[Array, "a t 4"]
    halves: Float64[Array, "a 2"]
    valid: Bool[Array, "a t"]
    bounds: Float64[Array, "a blocks 4"]

    @property
    def inputs(self) -> list[Array]:
        """As the kernels that look at contacts take them."""
        return [self.boxes, self.halves, self.valid.view(np.uint8), self.bounds]

    def take(self, rows: Array) -> "Others":
        """Some of them, by index or mask."""
        return Others(self.boxes[rows], self.halves[rows], self.valid[rows], self.bounds[rows])


def ego_boxes(situation: Situation) -> Float64[Array, "k t 4"]:
    """The ego's boxes: x, y, cosine and sine of the heading."""
    return oriented(situation.pose)


def others(situation: Situation) -> Others:
    """Everybody else at the situation's times."""
    return packed_others(situation.traffic, len(situation.times))


def packed_others(traffic: Traffic, steps: int, *, first: int = 0) -> Others:
    """The boxes of a traffic at ``steps`` times from its ``first`` on."""
    at = slice(first, first + steps)
    boxes, valid = oriented(traffic.pose[:, at]), np.ascontiguousarray(traffic.valid[:, at])
    halves = 0.5 * np.ascontiguousarray(traffic.size)
    return Others(boxes, halves, valid, block_bounds(boxes, valid, halves, 0))


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
    steps = boxes.shape[1] - ahead
    c, s = np.abs(boxes[..., 2]), np.abs(boxes[..., 3])
    length, width = halves[:, :1], halves[:, 1:]
    sides = []
    for axis, reach in enumerate((c * length + s * width, s * length + c * width)):
        for side, nowhere in ((boxes[..., axis] - reach, np.inf), (boxes[..., axis] + reach, -np.inf)):
            sides.append(side if valid.all() else np.where(valid, side, nowhere))
    begins = np.arange(0, steps, BLOCK)
    ends = np.minimum(begins + BLOCK, steps) + ahead
    bounds = np.stack([begins, ends], axis=1).ravel()[:-1]  # begin, end, ..., begin: the last block goes to the end
    low_x, low_y = (np.minimum.reduceat(side, bounds, axis=1)[:, ::2] for side in sides[::2])
    high_x, high_y = (np.maximum.reduceat(side, bounds, axis=1)[:, ::2] for side in sides[1::2])
    return np.stack([low_x, low_y, high_x, high_y], axis=-1)


def fastest(traffic: Traffic, dt: float) -> Float64[Array, " a"]:
    """Upper bound (m/s) of how fast each changes its place between any two times that it is there."""
    count, steps = traffic.valid.shape
    index = np.arange(steps)
    seen = np.maximum.accumulate(np.where(traffic.valid, index, -1), axis=1)
    before = np.concatenate([np.full((count, 1), -1), seen[:, :-1]], axis=1)
    known = traffic.valid & (before >= 0)
    xy = traffic.pose[..., :2]
    step = xy - np.take_along_axis(xy, np.maximum(before, 0)[..., None], axis=1)
    speed = np.hypot(step[..., 0], step[..., 1]) / (dt * np.maximum(index - before, 1))
    return np.asarray(np.where(known, speed, 0.0).max(axis=1, initial=0.0))


def off_course(traffic: Traffic, steps: int, offsets: Int64[Array, " o"], dt: float) -> Float64[Array, "a t"]:
    """How far (m) each gets at most, ``offsets`` steps later, from where its velocity would take it."""
    worst = np.zeros((len(traffic.ids), steps))
    x, y = np.ascontiguousarray(traffic.pose[..., 0]), np.ascontiguousarray(traffic.pose[..., 1])
    vx, vy = dt * traffic.velocity[:, :steps, 0], dt * traffic.velocity[:, :steps, 1]
    for n in offsets:
        off_x, off_y = x[:, n : n + steps] - x[:, :steps] - n * vx, y[:, n : n + steps] - y[:, :steps] - n * vy
        off_x *= off_x
        off_x += off_y * off_y
        np.maximum(worst, np.where(traffic.valid[:, n : n + steps], off_x, 0.0), out=worst)
    return np.sqrt(worst)


def turning(traffic: Traffic) -> Bool[Array, " a"]:
    """Who ever changes its heading."""
    step = np.diff(traffic.pose[..., 2], axis=1)
    both = traffic.valid[:, 1:] & traffic.valid[:, :-1]
    gone = (traffic.valid[:, :-1] & ~traffic.valid[:, 1:]).any(axis=1)
    return np.asarray(((step != 0.0) & both).any(axis=1) | gone)


def changes(velocity: Float64[Array, "a t 2"], valid: Bool[Array, "a t"]) -> Float64[Array, "a blocks"]:
    """How far (m/s) the velocity of each gets, within each block, from that in the block's middle."""
    steps = velocity.shape[1]
    begins = range(0, steps, BLOCK)
    out = np.zeros((len(velocity), len(begins)))
    for block, begin in enumerate(begins):
        end = min(begin + BLOCK, steps)
        middle = min(begin + BLOCK // 2, end - 1)
        off = velocity[:, begin:end] - velocity[:, middle : middle + 1]
        out[:, block] = np.where(valid[:, begin:end], np.hypot(off[..., 0], off[..., 1]), 0.0).max(axis=1)
    return out
