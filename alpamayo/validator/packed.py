"""A motion batch as the compiled loops take it: boxes by centre, cosine and sine, and bounds for the broad phase."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.validator.kernels.layout import BLOCK_STEPS, SIMD_WIDTH
from alpamayo.validator.motions import MotionBatch
from alpamayo_sim.geometry import oriented
from alpamayo_sim.prediction.trajectories import AgentTrajectories
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class AgentBoxes:
    """Boxes of the other agents, agent by agent.

    Attributes:
        boxes: x, y, cosine and sine of the heading.
        halves: half length and half width (m).
        valid: whether the agent is present.
        bounds: axis-aligned bounds of each agent over each block of ``BLOCK_STEPS`` steps.
    """

    boxes: Float64[Array, "a t 4"]
    halves: Float64[Array, "a 2"]
    valid: Bool[Array, "a t"]
    bounds: Float64[Array, "blocks 4 a"]

    @property
    def inputs(self) -> list[Array]:
        """The arrays in the order of the contact kernels' parameters."""
        return [self.boxes, self.halves, self.valid.view(np.uint8), self.bounds]

    def take(self, rows: Array) -> "AgentBoxes":
        """Select agents by index or mask."""
        return AgentBoxes(
            self.boxes[rows], self.halves[rows], self.valid[rows], np.ascontiguousarray(self.bounds[..., rows])
        )


@dataclass(frozen=True, eq=False)
class AgentColumns:
    """The other agents as columns, for loops over all agents at one time.

    Columns are padded with invalid agents to a multiple of ``SIMD_WIDTH``.

    Attributes:
        rows: at each time x, y, cosine, sine, velocity x, velocity y, and 1 where the agent is present.
        halves: half lengths and half widths (m).
    """

    rows: Float64[Array, "t 7 columns"]
    halves: Float64[Array, "2 columns"]


def ego_boxes(motions: MotionBatch) -> Float64[Array, "k t 4"]:
    """Return the ego's boxes: x, y, cosine and sine of the heading."""
    return oriented(motions.pose)


def agent_boxes(motions: MotionBatch) -> AgentBoxes:
    """Return the boxes of the other agents at the times of the motions."""
    return pack_boxes(motions.traffic, len(motions.times))


def pack_boxes(trajectories: AgentTrajectories, steps: int) -> AgentBoxes:
    """Return the boxes of trajectories at their first ``steps`` times."""
    whole = _pack_all(trajectories)
    blocks = -(-steps // BLOCK_STEPS)
    return AgentBoxes(whole.boxes[:, :steps], whole.halves, whole.valid[:, :steps], whole.bounds[:blocks])


@lru_cache(maxsize=4)
def _pack_all(trajectories: AgentTrajectories) -> AgentBoxes:
    """Return the boxes of trajectories at all of their times."""
    halves = 0.5 * np.ascontiguousarray(trajectories.size)
    bounds = block_bounds(trajectories.boxes, trajectories.valid, halves)
    return AgentBoxes(trajectories.boxes, halves, trajectories.valid, bounds)


def agent_columns(motions: MotionBatch) -> AgentColumns:
    """Return the other agents at the times of the motions as columns."""
    agents, steps = motions.cached(agent_boxes), len(motions.times)
    count = len(agents.halves)
    halves = np.zeros((2, -(-count // SIMD_WIDTH) * SIMD_WIDTH))
    rows = np.zeros((steps, 7, halves.shape[1]))
    rows[:, :4, :count] = agents.boxes.transpose(1, 2, 0)
    rows[:, 4:6, :count] = motions.traffic.velocity[:, :steps].transpose(1, 2, 0)
    rows[:, 6, :count] = agents.valid.T
    halves[:, :count] = agents.halves.T
    return AgentColumns(rows, halves)


def block_bounds(
    boxes: Float64[Array, "a t 4"], valid: Bool[Array, "a t"], halves: Float64[Array, "a 2"]
) -> Float64[Array, "blocks 4 a"]:
    """Compute axis-aligned bounds (low x, low y, high x, high y) of boxes in each block of steps.

    The bounds of an agent that is absent in the whole block are empty: low above high.
    """
    from alpamayo.validator.kernels.boxes import bounds_of_blocks

    bounds = np.empty((-(-boxes.shape[1] // BLOCK_STEPS), 4, len(boxes)))
    inputs = [boxes, halves, valid.view(np.uint8), bounds]
    wp.launch(bounds_of_blocks, dim=(len(bounds), len(boxes)), inputs=inputs, device="cpu")
    return bounds
