"""Episodes on disk: ``episode.json`` and ``episode.npz`` in the folder of a run, versioned and without loss."""

from pathlib import Path

from alpamayo_sim.datatypes.episode import Episode
from alpamayo_sim.io.document import load_document, save_document
from alpamayo_sim.io.limits import check_counts, check_scenario, name_of
from alpamayo_sim.settings import path_of

EPISODE_VERSION = 2


def save_episode(episode: Episode, folder: str | Path) -> None:
    """Write ``episode.json`` and ``episode.npz`` into ``folder``.

    Raises:
        InputError: The files cannot be written.
    """
    save_document(episode, path_of(folder, "the folder of an episode") / "episode", EPISODE_VERSION)


def load_episode(folder: str | Path) -> Episode:
    """Read the episode in the folder of a run.

    Raises:
        InputError: The record is damaged or has another version.
    """
    folder = path_of(folder, "the folder of an episode")
    episode = load_document(Episode, folder / "episode", EPISODE_VERSION)
    where = str(folder / "episode.json")
    check_scenario(episode.scenario, where)
    check_counts(where, len(episode.agent_ids), episode.steps)
    for name in (episode.driver, *episode.agent_ids):
        name_of(name, f"{where}: name of the driver or of an agent")
    return episode
