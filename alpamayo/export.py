"""Finished runs in the formats of other tools: what happened, drawn sensors, and the driver's words and plans."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from alpamayo.episode import Episode, load_episode
from alpamayo.parallel import Progress
from alpamayo_datasets import Recording, Writer, writer_named
from alpamayo_datasets.readers.episode import scene_of_episode
from alpamayo_sim.errors import InputError


def export_folder(format_name: str, out: Path) -> tuple[Writer, Path]:
    """Return the writer of a format, and the folder in ``out`` that it will write.

    Raises:
        InputError: No writer has that name, or the folder is there already.
    """
    writer = writer_named(format_name)
    folder = out / writer.name
    if folder.exists():
        raise InputError(f"{folder}: exists already; remove it, or name another --out")
    return writer, folder


def export_runs(runs: Sequence[Path], writer: Writer, folder: Path, progress: Progress) -> None:
    """Write the episodes in the folders of runs as one data set.

    Raises:
        InputError: A record is damaged, or the data set cannot be written.
    """
    writer.write(_recordings(runs, progress, f"export {writer.name}"), folder)


def recording_of(episode: Episode) -> Recording:
    """Return an episode as a recording: its motions, the reasoning at each decision, and the plans that were driven."""
    words = tuple("" if each is None else each.sentence for each in episode.reasoning)
    return Recording(scene_of_episode(episode), words=words, plans=episode.executed)


def _recordings(runs: Sequence[Path], progress: Progress, what: str) -> Iterator[Recording]:
    for done, run in enumerate(runs):
        progress(what, done, len(runs))
        yield recording_of(load_episode(run))
    progress(what, len(runs), len(runs))
