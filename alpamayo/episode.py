"""The record of one closed-loop drive, its digest, and whether the ego met anything."""

from pathlib import Path

import numpy as np

from alpamayo.provenance import file_digest
from alpamayo_sim.datatypes.episode import Episode
from alpamayo_sim.geometry import boxes_overlap
from alpamayo_sim.io.episode_file import EPISODE_VERSION, load_episode, save_episode

__all__ = ["EPISODE_VERSION", "Episode", "has_collision", "load_episode", "record_digest", "save_episode"]


def record_digest(folder: Path) -> str:
    """Return a digest of the record in the folder of a run; empty if there is none."""
    files = [folder / "episode.json", folder / "episode.npz"]
    return " ".join(map(file_digest, files)) if all(path.is_file() for path in files) else ""


def has_collision(episode: Episode) -> bool:
    """Return whether the ego's box overlaps any other box at any time, at fault or not."""
    ego = episode.ego_pose[:, None].astype(np.float64)
    overlap = boxes_overlap(ego, episode.ego_size[:2], episode.agent_pose, episode.agent_size[None, :, :2])
    return bool(np.any(overlap & episode.agent_valid))
