"""Scenes of this project: ``ID.json`` and ``ID.npz`` for each recording, without loss."""

from collections.abc import Iterable
from pathlib import Path

from alpamayo_datasets.recording import Recording
from alpamayo_datasets.writers.names import file_name
from alpamayo_sim.io.scene_file import save_scene


def write(recordings: Iterable[Recording], folder: Path) -> None:
    """Write the scene of each recording.

    Raises:
        InputError: A file cannot be written, or two recordings have one name.
    """
    taken: set[str] = set()
    for recording in recordings:
        save_scene(recording.scene, folder / file_name(recording.scene.id, taken))
