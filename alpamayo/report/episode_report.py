"""The report of an episode: ``report.html``, self-contained, and ``video.mp4``, both made only from the record."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alpamayo.episode import Episode
from alpamayo.report.episode_page import page
from alpamayo.report.frames import frames
from alpamayo.report.sensors import RENDERED, Sensors
from alpamayo.report.video import VideoWriter, compose, encoded_image
from alpamayo.validator import Verdict
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import replacing
from alpamayo_sim.settings import path_of


@dataclass(frozen=True)
class Report:
    """Paths of the files."""

    page: Path
    video: Path


def write_report(
    episode: Episode,
    verdict: Verdict,
    folder: str | Path,
    on_frame: Callable[[int, int], None] | None = None,
    sensors: Sensors = RENDERED,
) -> Report:
    """Render an episode into ``folder``/report.html and ``folder``/video.mp4.

    ``on_frame`` is called with (frames done, number of frames). ``sensors`` say which cameras are shown: recorded ones
    with the plan that was driven drawn into the image.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = path_of(folder, "the folder of a report")
    report = Report(page=folder / "report.html", video=folder / "video.mp4")
    images: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(report.video) as partial, VideoWriter(partial, rate=round(1.0 / episode.dt)) as video:
            for frame in frames(episode, sensors):
                video.write(compose(frame, episode))
                images.append(encoded_image(frame.mosaic))
                if on_frame:
                    on_frame(frame.step + 1, episode.steps + 1)
        with replacing(report.page) as partial:
            partial.write_text(page(episode, verdict, images, sensors.note), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {error.filename or folder}: {error.strerror or error}") from error
    return report
