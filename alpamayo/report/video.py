"""The video of an episode, as an H.264 file."""

import base64
import textwrap
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from alpamayo.episode import Episode
from alpamayo.report.frames import Frame
from alpamayo.report.typeface import typeface
from alpamayo_sim.errors import InputError

Array = np.ndarray
PANEL_WIDTH_PX = 480
DARK, GREY, ORANGE = (38, 46, 58), (110, 120, 134), (186, 104, 0)
LARGE_TEXT_PX, SMALL_TEXT_PX = 24, 16
LINE_CHARACTERS = 52
MAX_REASON_LINES = 4  # lines of the guard's reason


class VideoWriter:
    """A writer of RGB frames of one size to an mp4 file, which is complete after a clean exit."""

    def __init__(self, path: Path, rate: int) -> None:
        self.path = path
        self.rate = rate
        self._encoder: Generator[None, Any, None] | None = None

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: UInt8[Array, "h w 3"]) -> None:
        """Append a frame; height and width must be even."""
        if self._encoder is None:
            self._encoder = imageio_ffmpeg.write_frames(
                str(self.path),
                (frame.shape[1], frame.shape[0]),
                fps=self.rate,
                codec="libx264",
                quality=None,
                macro_block_size=2,
                ffmpeg_log_level="error",
                # One thread, and no name of the encoder in the file: the same frames give the same bytes.
                output_params=["-crf", "23", "-preset", "veryfast", "-threads", "1", "-bitexact", "-f", "mp4"],
            )
            self._encoder.send(None)
        try:
            self._encoder.send(np.ascontiguousarray(frame))
        except OSError as error:  # its message is the encoder's command and output
            raise self._failed() from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._encoder is not None:
            self._encoder.close()
            if kind is None and b"moov" not in self.path.read_bytes():  # the index, which is written last
                raise self._failed()

    def _failed(self) -> InputError:
        return InputError(f"cannot write the video {self.path.name}: the encoder ended; is the disk full?")


def encoded_image(picture: UInt8[Array, "h w 3"], quality: int = 70) -> str:
    """Encode an RGB picture as a ``data:`` URL (WebP)."""
    done, data = cv2.imencode(".webp", picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode a WebP image")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def compose(frame: Frame, episode: Episode) -> UInt8[Array, "h w 3"]:
    """Compose a video frame: bird's-eye view at the left; cameras, speed, reasoning and guard at the right."""
    height = frame.birdseye.shape[0]
    panel = np.full((height, PANEL_WIDTH_PX, 3), 250, np.uint8)
    scaled = PANEL_WIDTH_PX * frame.mosaic.shape[0] // frame.mosaic.shape[1]
    panel[:scaled] = cv2.resize(frame.mosaic, (PANEL_WIDTH_PX, scaled), interpolation=cv2.INTER_AREA)
    picture = Image.fromarray(panel)
    pen, y = ImageDraw.Draw(picture), scaled + 16
    for text, size, colour in _lines(frame.step, episode):
        pen.text((16, y), text, fill=colour, font=typeface(size))
        y += size + 8
    panel = np.asarray(picture)
    return np.concatenate([frame.birdseye, panel], axis=1)


def _lines(step: int, episode: Episode) -> list[tuple[str, int, tuple[int, int, int]]]:
    decided = min(step, episode.steps - 1)
    lines = [(f"{episode.times[step]:4.1f} s   {episode.ego_speed[step] * 3.6:3.0f} km/h", LARGE_TEXT_PX, DARK)]
    reasoning = episode.reasoning[decided]
    words = reasoning.sentence if reasoning else "This driver gives no reasons."
    lines += [(text, SMALL_TEXT_PX, DARK if reasoning else GREY) for text in textwrap.wrap(words, LINE_CHARACTERS)]
    if episode.intervened[decided]:
        reason = episode.guard_reasons[decided] or "intervened"
        lines += [
            (text, SMALL_TEXT_PX, ORANGE)
            for text in textwrap.wrap(f"Guard: {reason}", LINE_CHARACTERS)[:MAX_REASON_LINES]
        ]
    return lines
