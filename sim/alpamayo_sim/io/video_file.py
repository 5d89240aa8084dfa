"""Videos as H.264 files: the same frames give the same bytes."""

from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8

from alpamayo_sim.errors import InputError

Array = np.ndarray


class VideoWriter:
    """A writer of RGB frames of one size to an mp4 file, which is complete after a clean exit."""

    def __init__(self, path: Path, rate: float) -> None:
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
