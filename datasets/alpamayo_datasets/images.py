"""Images and videos of a log as RGB arrays, with bounds on what a file may hold."""

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from jaxtyping import UInt8

from alpamayo_sim.datatypes.rig import SIDE_PIXELS
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import check_regular, read_regular

Array = np.ndarray

MAX_IMAGE_BYTES = 64 << 20
MAX_VIDEO_BYTES = 8 << 30


def read_image(path: Path) -> UInt8[Array, "height width 3"]:
    """Return the picture of a file.

    Raises:
        InputError: The file is missing, too large, or no picture.
    """
    try:
        data = read_regular(path, MAX_IMAGE_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return decoded(data, str(path))


def decoded(data: bytes, where: str) -> UInt8[Array, "height width 3"]:
    """Return the picture of the bytes of a file, such as JPEG or PNG.

    Raises:
        InputError: They are no picture, or one whose header names too many pixels.
    """
    try:
        with PIL.Image.open(io.BytesIO(data)) as header:
            width, height = header.size
        if max(width, height) > SIDE_PIXELS[1]:
            raise InputError(f"{where}: has {width} by {height} pixels, must be at most {SIDE_PIXELS[1]} at each side")
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError, cv2.error) as error:
        if isinstance(error, InputError):
            raise
        found = None
    if found is None:
        raise InputError(f"{where}: is no picture")
    return np.ascontiguousarray(found[..., ::-1])


class Video:
    """A video file; frames that are asked for in their order are decoded once each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture: cv2.VideoCapture | None = None
        self._next = 0

    def image(self, frame: int) -> UInt8[Array, "height width 3"]:
        """Return a frame.

        Raises:
            InputError: The file is missing, too large or no video, or has no such frame.
        """
        capture = self._capture or self._open()
        if frame != self._next:
            capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
        done, found = capture.read()
        self._next = frame + 1
        if not done or found is None:
            raise InputError(f"{self.path}: frame {frame} cannot be read")
        return np.ascontiguousarray(found[..., ::-1])

    def _open(self) -> cv2.VideoCapture:
        try:
            check_regular(self.path, MAX_VIDEO_BYTES)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        self._capture = cv2.VideoCapture(str(self.path))
        return self._capture
