"""Line of sight: straight lines against boxes, in the plane of each level."""

import numpy as np
from jaxtyping import Bool, Float64, Int

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.geometry import box_corners, heights_overlap

Array = np.ndarray

OCCLUDER_HEIGHT_M = 1.0  # boxes that are not higher hide nothing
CAMERAS_AHEAD_M = 0.5  # from the centre of the ego's box
INSET = 0.9  # of a target's box, so that its corners do not lie on its own border
END_OF_LINE = 0.995  # boxes that only touch the rest of a line hide nothing
OCCLUDER_RANGE_M = 10.0  # beyond the furthest target


def visible(truth: GroundTruth, rows: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Return whether the centre or a corner of each of these agents is in the ego's line of sight."""
    agents = truth.agents
    heading = float(truth.ego_pose[2])
    eye = truth.ego_pose[:2].astype(np.float64) + CAMERAS_AHEAD_M * np.array([np.cos(heading), np.sin(heading)])
    occluders = occluding_rows(agents, OCCLUDER_HEIGHT_M)
    occluders = occluders[_in_line(truth, occluders)]
    reach = np.linalg.norm(agents.pose[rows, :2].astype(np.float64) - eye, axis=1).max(initial=0.0) + OCCLUDER_RANGE_M
    occluders = occluders[np.linalg.norm(agents.pose[occluders, :2] - eye, axis=1) < reach]
    free = unobstructed(eye, outline_points(agents, rows), rows, agents, occluders, END_OF_LINE)
    return np.asarray(np.any(free, axis=1))


def _in_line(truth: GroundTruth, rows: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Return which boxes share a height with the ego, so that they can hide what is on its level."""
    agents, ground = truth.agents, truth.ego_elevation
    if agents.elevation is None or ground is None:
        return np.ones(len(rows), bool)
    return heights_overlap(ground, float(truth.ego_size[2]), agents.elevation[rows], agents.size[rows, 2])


def occluding_rows(agents: Agents, height: float) -> Int[Array, " m"]:
    """Return the rows of the agents that are higher than ``height`` (m)."""
    return np.flatnonzero(agents.valid & (agents.size[:, 2] > height))


def outline_points(agents: Agents, rows: Int[Array, " n"]) -> Float64[Array, "n 5 2"]:
    """Return the centres of agents and the corners of their boxes, slightly inside, in world coordinates (m)."""
    pose = agents.pose[rows].astype(np.float64)
    corners = box_corners(pose, INSET * agents.size[rows, :2].astype(np.float64))
    return np.concatenate([pose[:, None, :2], corners], axis=1)


def unobstructed(
    eye: Float64[Array, "2"],
    points: Float64[Array, "n 5 2"],
    rows: Int[Array, " n"],
    agents: Agents,
    occluders: Int[Array, " m"],
    end_of_line: float = 1.0,
) -> Bool[Array, "n 5"]:
    """Return which points of agents are in the line of sight of an eye.

    Args:
        eye: its position (m) in world coordinates.
        points: points (m) of each target.
        rows: the targets; no target hides itself.
        agents: all agents.
        occluders: the agents that can hide others.
        end_of_line: the fraction of each line that is tested.
    """
    pose, size = agents.pose[occluders].astype(np.float64), agents.size[occluders, :2].astype(np.float64)
    blocked = _crosses(eye, points, pose, size, end_of_line)
    blocked &= (rows[:, None] != occluders[None])[:, None, :]
    return np.asarray(~np.any(blocked, axis=2))


def _crosses(
    eye: Float64[Array, "2"],
    points: Float64[Array, "n 5 2"],
    pose: Float64[Array, "m 3"],
    size: Float64[Array, "m 2"],
    end_of_line: float,
) -> Bool[Array, "n 5 m"]:
    """Return whether the line from the eye to each point crosses each box (slab test)."""
    c, s = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    gap = eye - pose[:, :2]
    ox, oy = c * gap[:, 0] + s * gap[:, 1], -s * gap[:, 0] + c * gap[:, 1]
    step = points - eye
    dx = step[..., :1] * c + step[..., 1:] * s
    dy = -step[..., :1] * s + step[..., 1:] * c
    enter, leave = np.zeros_like(dx), np.ones_like(dx)
    for o, d, half in ((ox, dx, 0.5 * size[:, 0]), (oy, dy, 0.5 * size[:, 1])):
        safe = np.where(np.abs(d) < 1e-9, 1e-9, d)
        a, b = (-half - o) / safe, (half - o) / safe
        enter = np.maximum(enter, np.minimum(a, b))
        leave = np.minimum(leave, np.maximum(a, b))
    return np.asarray(enter < np.minimum(leave, end_of_line))
