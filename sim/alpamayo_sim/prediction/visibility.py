"""Who is in line of sight of the ego: a test of straight lines against boxes in the plane."""

import numpy as np

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.geometry import box_corners

Array = np.ndarray

HIDING = 1.0  # m of height from which a box hides what is behind it
EYE_AHEAD = 0.5  # m from the centre of the box to the cameras
SHRUNK = 0.9  # of a target's box, so that its corners do not lie on its own border


def visible(truth: GroundTruth, rows: Array) -> Array:
    """Whether each of these agents shows its middle or a corner to the ego; [n] bool."""
    agents = truth.agents
    heading = float(truth.ego_pose[2])
    eye = truth.ego_pose[:2].astype(np.float64) + EYE_AHEAD * np.array([np.cos(heading), np.sin(heading)])
    pose = agents.pose[rows].astype(np.float64)
    corners = box_corners(pose, SHRUNK * agents.size[rows, :2].astype(np.float64))
    points = np.concatenate([pose[:, None, :2], corners], axis=1)  # [n, 5, 2]
    hiding = np.flatnonzero(agents.valid & (agents.size[:, 2] > HIDING))
    reach = np.linalg.norm(pose[:, :2] - eye, axis=1).max(initial=0.0) + 10.0
    hiding = hiding[np.linalg.norm(agents.pose[hiding, :2] - eye, axis=1) < reach]
    blocked = _crosses(eye, points, agents.pose[hiding].astype(np.float64), agents.size[hiding, :2].astype(np.float64))
    own = rows[:, None] == hiding[None]
    blocked &= ~own[:, None, :]
    return ~np.all(np.any(blocked, axis=2), axis=1)


def _crosses(eye: Array, points: Array, pose: Array, size: Array) -> Array:
    """[n, 5, m] whether the line from the eye to a point meets a box before it gets there."""
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
    return enter < np.minimum(leave, 0.995)
