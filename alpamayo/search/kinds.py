"""Kinds of encounters: from which side the nearest road user is met, and how fast the ego is then."""

import enum
from typing import NamedTuple

import numpy as np

from alpamayo.episode import Episode
from alpamayo_sim.constants import FROM_BEHIND_RAD
from alpamayo_sim.geometry import box_separation, to_frame

AHEAD_RAD = np.deg2rad(30.0)  # from the ego's heading, within which another road user is ahead (nuPlan)
SPEED_BANDS_MPS = (0.5, 5.0, 10.0, 15.0)  # borders: standing, walking pace and town streets, main roads, faster


class Side(enum.IntEnum):
    """Where another road user is, seen from the ego."""

    AHEAD = 0
    LEFT = 1
    RIGHT = 2
    BEHIND = 3


class Kind(NamedTuple):
    """A kind of encounter: the side of the nearest road user, and the band of the ego's speed."""

    side: Side
    speed_band: int

    def described(self) -> str:
        """Return the kind in words."""
        borders = ("0", *(f"{border:g}" for border in SPEED_BANDS_MPS))
        low = borders[self.speed_band]
        upper = f" to {borders[self.speed_band + 1]}" if self.speed_band < len(SPEED_BANDS_MPS) else " and more"
        return f"{self.side.name.lower()}, ego at {low}{upper} m/s"


def kind_of(episode: Episode) -> Kind:
    """Return the kind of the encounter at the step where the ego is nearest to another box."""
    ego = episode.ego_pose.astype(np.float64)
    pose, size = episode.agent_pose.astype(np.float64), episode.agent_size[:, :2].astype(np.float64)
    gap = box_separation(ego[:, None], episode.ego_size[:2].astype(np.float64), pose, size[None])
    gap = np.where(episode.agent_valid, gap, np.inf)
    if not gap.size:
        return Kind(Side.AHEAD, 0)
    step, other = np.unravel_index(np.argmin(gap), gap.shape)
    x, y = to_frame(pose[step, other, :2], ego[step])
    angle = np.arctan2(y, x)
    speed = float(episode.ego_speed[step])
    return Kind(_side(float(angle)), int(np.searchsorted(SPEED_BANDS_MPS, speed, side="right")))


def _side(angle: float) -> Side:
    if abs(angle) <= AHEAD_RAD:
        return Side.AHEAD
    if abs(angle) >= FROM_BEHIND_RAD:
        return Side.BEHIND
    return Side.LEFT if angle > 0.0 else Side.RIGHT
