"""What a contact of the ego is: with whom, where on both, and how hard."""

import enum
from dataclasses import dataclass

import numpy as np
import shapely
from jaxtyping import Float32

from alpamayo_sim.driver import Agents
from alpamayo_sim.geometry import box_corners, box_separation, to_frame
from alpamayo_sim.scene import Category

Array = np.ndarray


class Side(enum.IntEnum):
    """Side of a box."""

    FRONT = 0
    LEFT = 1
    REAR = 2
    RIGHT = 3


@dataclass(frozen=True)
class Contact:
    """The ego's box against one agent's at one time.

    ``agent`` is its index, ``point`` (m, world) the centre of the overlap, the sides are those of the two boxes
    that it is nearest to. ``relative_speed`` (m/s) is the length of the relative velocity, ``closing_speed`` its
    part towards the agent's centre (negative: they part), ``depth`` (m) the overlap of the separating axis.
    """

    agent: int
    id: str
    category: Category
    point: tuple[float, float]
    ego_side: Side
    agent_side: Side
    relative_speed: float
    closing_speed: float
    depth: float


def contact_of(
    agents: Agents,
    k: int,
    ego_pose: Float32[Array, "3"],
    ego_velocity: Float32[Array, "2"],
    ego_size: Float32[Array, "3"],
) -> Contact:
    """Describe the overlap of the ego with agent ``k``."""
    pose, size = agents.pose[k], agents.size[k]
    both = np.stack([ego_pose, pose]), np.stack([ego_size[:2], size[:2]])
    own, other = box_corners(*both)
    shared = shapely.intersection(shapely.Polygon(own), shapely.Polygon(other))
    centre = shared.centroid if not shared.is_empty else shapely.Point(0.5 * (ego_pose[:2] + pose[:2]))
    point = np.array([centre.x, centre.y])
    relative = (ego_velocity - agents.velocity[k]).astype(np.float64)
    towards = (pose[:2] - ego_pose[:2]).astype(np.float64)
    towards /= max(float(np.linalg.norm(towards)), 1e-6)
    return Contact(
        agent=k,
        id=agents.ids[k],
        category=Category(int(agents.category[k])),
        point=(float(point[0]), float(point[1])),
        ego_side=side_of(point, ego_pose, ego_size),
        agent_side=side_of(point, pose, size),
        relative_speed=float(np.linalg.norm(relative)),
        closing_speed=float(relative @ towards),
        depth=-float(box_separation(ego_pose[None], ego_size[None, :2], pose[None], size[None, :2])[0]),
    )


def side_of(point: Array, pose: Float32[Array, "3"], size: Float32[Array, "3"]) -> Side:
    """The side of a box that a point in or near it is nearest to."""
    x, y = to_frame(point[None], pose[None])[0]
    gaps = {Side.FRONT: 0.5 * size[0] - x, Side.REAR: 0.5 * size[0] + x}
    gaps |= {Side.LEFT: 0.5 * size[1] - y, Side.RIGHT: 0.5 * size[1] + y}
    return min(gaps, key=lambda side: float(gaps[side]))
