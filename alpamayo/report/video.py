"""The video of an episode, as an H.264 file."""

import base64
import textwrap

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from alpamayo.episode import Episode
from alpamayo.report.frames import Frame
from alpamayo.report.typeface import typeface
from alpamayo_sim.io.video_file import VideoWriter

__all__ = ["VideoWriter", "compose", "encoded_image"]

Array = np.ndarray
PANEL_WIDTH_PX = 480
DARK, GREY, ORANGE = (38, 46, 58), (110, 120, 134), (186, 104, 0)
LARGE_TEXT_PX, SMALL_TEXT_PX = 24, 16
LINE_CHARACTERS = 52
MAX_REASON_LINES = 4  # lines of the guard's reason


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
