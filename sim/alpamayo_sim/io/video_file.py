"""Videos as H.264 files: the same frames give the same bytes."""

import contextlib
import subprocess
from pathlib import Path
from types import TracebackType

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
        self._encoder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: UInt8[Array, "h w 3"]) -> None:
        """Append a frame; height and width must be even."""
        if self._encoder is None:
            self._encoder = _encoder(self.path, self.rate, height=frame.shape[0], width=frame.shape[1])
        assert self._encoder.stdin is not None
        try:
            self._encoder.stdin.write(np.ascontiguousarray(frame).data)
        except OSError as error:
            raise self._failed() from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._encoder is None:
            return
        assert self._encoder.stdin is not None
        if kind is not None:
            self._encoder.kill()
        with contextlib.suppress(BrokenPipeError):  # the encoder ended before its last frames
            self._encoder.stdin.close()
        if self._encoder.wait() and kind is None:
            raise self._failed()

    def _failed(self) -> InputError:
        return InputError(f"cannot write the video {self.path.name}: the encoder ended; is the disk full?")


def _encoder(path: Path, rate: float, height: int, width: int) -> subprocess.Popen[bytes]:
    """Start an encoder that reads RGB frames from its standard input."""
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    codec = ["-an", "-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-preset", "veryfast"]
    # One thread, and no name of the encoder in the file: the same frames give the same bytes.
    exact = ["-threads", "1", "-bitexact", "-f", "mp4"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *codec, *exact, str(path)]
    # A process group of its own: an interrupt from the keyboard ends the writer, which then ends the encoder.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0)
