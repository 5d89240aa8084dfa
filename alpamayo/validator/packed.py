"""A situation as the compiled loops take it: boxes by centre, cosine and sine, and bounds for the broad phase."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo_sim.geometry import oriented
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray
BLOCK = 8  # steps that the compiled loops look at at once
ABREAST = 8  # others that they look at at once


@dataclass(frozen=True, eq=False)
class Others:
    """Boxes of the others: x, y, cosine, sine; half lengths and widths; who is there; bounds of each block of steps."""

    boxes: Float64[Array, "a t 4"]
    halves: Float64[Array, "a 2"]
    valid: Bool[Array, "a t"]
    bounds: Float64[Array, "blocks 4 a"]

    @property
    def inputs(self) -> list[Array]:
        """As the kernels that look at contacts take them."""
        return [self.boxes, self.halves, self.valid.view(np.uint8), self.bounds]

    def take(self, rows: Array) -> "Others":
        """Some of them, by index or mask."""
        return Others(
            self.boxes[rows], self.halves[rows], self.valid[rows], np.ascontiguousarray(self.bounds[..., rows])
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """The others as columns, for loops over all of them at one time; filled up with nobody to a whole ``ABREAST``.

    ``rows`` at each time are x, y, cosine, sine, velocity x and y, 1 for who is there; ``halves`` as in ``Others``.
    """

    rows: Float64[Array, "t 7 columns"]
    halves: Float64[Array, "2 columns"]


def ego_boxes(situation: MotionBatch) -> Float64[Array, "k t 4"]:
    """The ego's boxes: x, y, cosine and sine of the heading."""
    return oriented(situation.pose)


def others(situation: MotionBatch) -> Others:
    """Everybody else at the situation's times."""
    return packed_others(situation.traffic, len(situation.times))


def packed_others(traffic: AgentTrajectories, steps: int) -> Others:
    """The boxes of a traffic at its first ``steps`` times."""
    whole = _packed(traffic)
    blocks = -(-steps // BLOCK)
    return Others(whole.boxes[:, :steps], whole.halves, whole.valid[:, :steps], whole.bounds[:blocks])


@lru_cache(maxsize=4)
def _packed(traffic: AgentTrajectories) -> Others:
    """At all of its times."""
    halves = 0.5 * np.ascontiguousarray(traffic.size)
    return Others(traffic.boxes, halves, traffic.valid, block_bounds(traffic.boxes, traffic.valid, halves))


def columns(situation: MotionBatch) -> Columns:
    """Everybody else at the situation's times, as columns."""
    there, steps = situation.shared(others), len(situation.times)
    count = len(there.halves)
    halves = np.zeros((2, -(-count // ABREAST) * ABREAST))
    rows = np.zeros((steps, 7, halves.shape[1]))
    rows[:, :4, :count] = there.boxes.transpose(1, 2, 0)
    rows[:, 4:6, :count] = situation.traffic.velocity[:, :steps].transpose(1, 2, 0)
    rows[:, 6, :count] = there.valid.T
    halves[:, :count] = there.halves.T
    return Columns(rows, halves)


def block_bounds(
    boxes: Float64[Array, "a t 4"], valid: Bool[Array, "a t"], halves: Float64[Array, "a 2"]
) -> Float64[Array, "blocks 4 a"]:
    """Upright rectangles (low x, low y, high x, high y) around boxes in each block of steps; none around nobody."""
    from alpamayo.validator.kernels.boxes import bounds_of_blocks

    bounds = np.empty((-(-boxes.shape[1] // BLOCK), 4, len(boxes)))
    inputs = [boxes, halves, valid.view(np.uint8), bounds]
    wp.launch(bounds_of_blocks, dim=(len(bounds), len(boxes)), inputs=inputs, device="cpu")
    return bounds
