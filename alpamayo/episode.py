"""The record of one closed-loop drive, and its digest."""

from pathlib import Path

from alpamayo.provenance import file_digest
from alpamayo_sim.datatypes.episode import Episode
from alpamayo_sim.io.episode_file import EPISODE_VERSION, load_episode, save_episode

__all__ = ["EPISODE_VERSION", "Episode", "load_episode", "record_digest", "save_episode"]


def record_digest(folder: Path) -> str:
    """Return a digest of the record in the folder of a run; empty if there is none."""
    files = [folder / "episode.json", folder / "episode.npz"]
    return " ".join(map(file_digest, files)) if all(path.is_file() for path in files) else ""
