"""The episodes that the viewer shows: rows for its gallery; data and pictures of one, made when they are asked for."""

import base64
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.episode import Episode, load_episode
from alpamayo.evaluation.run_table import read_runs, table_row
from alpamayo.report.episode_page import report_data
from alpamayo.report.frames import drawn_mosaic
from alpamayo.report.text import outcome_text
from alpamayo.report.video import encoded_image
from alpamayo.runs import summary
from alpamayo.validator import Verdict, score_episode
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_sim.sensors.birdseye import BirdsEye

THUMBNAIL_PX = 200
THUMBNAIL_M = 50.0
EPISODES_IN_MEMORY = 12
PICTURES_IN_MEMORY = 4000
RECORD = "episode.json"


class Library:
    """The episodes of a folder; safe to use from several threads.

    Args:
        folder: of a suite run, of one driver in it, or of a single run.

    Raises:
        InputError: the folder holds no run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = [gallery_row(k, row) for k, row in enumerate(_runs(folder))]
        self._folders = [Path(row.pop("folder")) for row in self.rows]
        self._lock = threading.RLock()  # episodes, map indices and renderers are no objects for several threads
        self._judged = lru_cache(EPISODES_IN_MEMORY)(self._judge)
        self._renderer = lru_cache(2)(self._make_renderer)
        self._picture = lru_cache(PICTURES_IN_MEMORY)(self._draw_cameras)
        self._thumbnail = lru_cache(PICTURES_IN_MEMORY)(self._draw_thumbnail)

    def data(self, k: int) -> dict[str, Any]:
        """Return what a page shows of an episode, without its pictures.

        Raises:
            InputError: its record cannot be read.
        """
        with self._lock:
            episode, verdict = self._judged(k)
            return report_data(episode, verdict) | {"cameras": [], "every": 1}

    def cameras(self, k: int, step: int) -> bytes:
        """Return the camera images at a step, with the driven plan in them, as WebP.

        Raises:
            InputError: there is no such step, or the record cannot be read.
        """
        with self._lock:
            return self._picture(k, step)

    def thumbnail(self, k: int) -> bytes:
        """Return the world from above at the first violation, or else at the end, as WebP.

        Raises:
            InputError: the record cannot be read.
        """
        with self._lock:
            return self._thumbnail(k)

    def _judge(self, k: int) -> tuple[Episode, Verdict]:
        episode = load_episode(self._folders[k])
        return episode, score_episode(episode)

    def _make_renderer(self, k: int) -> CameraRenderer:
        episode = self._judged(k)[0]
        return CameraRenderer(episode.scenario.scene, default_rig(), seed=episode.seed)

    def _draw_cameras(self, k: int, step: int) -> bytes:
        episode = self._judged(k)[0]
        if not 0 <= step <= episode.steps:
            raise InputError(f"step {step} is not in [0, {episode.steps}]")
        return _webp(drawn_mosaic(episode, self._renderer(k), step))

    def _draw_thumbnail(self, k: int) -> bytes:
        episode = load_episode(self._folders[k])
        step = min(self.rows[k]["moment"], episode.steps)
        above = BirdsEye(episode.scenario.scene)
        side = THUMBNAIL_PX
        return _webp(above.draw(episode.truth(step), width=side, height=side, metres=THUMBNAIL_M))


def gallery_row(k: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the gallery shows of a run; ``moment`` is the step of its thumbnail."""
    names = ("run", "driver", "scenario", "family", "pdm_score", "progress_m", "duration_s", "solved", "folder")
    steps = int(row["steps"] or 0)
    clearance = row["time_to_collision_margin_s"]
    about = {"id": k, "outcome": outcome_text(row), "moment": max(0, steps - 1), "margin": clearance}
    return about | {name: row[name] for name in names}


def _runs(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a folder; a record without a summary, as a driver of one's own may save it, is judged."""
    alone = (folder / RECORD).is_file() and not (folder / "summary.json").is_file()
    if not alone:
        return read_runs(folder, partial=True)
    episode = load_episode(folder)
    return [table_row(summary(episode, score_episode(episode)), folder.name, folder)]


def _webp(picture: np.ndarray) -> bytes:
    return base64.b64decode(encoded_image(picture).partition(",")[2])
