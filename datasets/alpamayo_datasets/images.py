"""Images and videos of a log as RGB arrays, with bounds on what a file may hold."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

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
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except cv2.error:
        found = None
    if found is None:
        raise InputError(f"{path}: is no picture")
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
