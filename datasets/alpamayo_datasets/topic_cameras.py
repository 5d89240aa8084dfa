"""Cameras of a recording of topics (ROS 2 bags, MCAP files): images, calibrations, and the frames of their lenses."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from alpamayo_datasets.recorded_cameras import RecordedCamera, RecordedCameras
from alpamayo_datasets.topic_tracks import EgoFrame
from alpamayo_sim.datatypes.rig import SIDE_PIXELS, Camera
from alpamayo_sim.errors import InputError

Array = np.ndarray
Image = UInt8[Array, "height width 3"]

STRAIGHT = ("", "plumb_bob", "rational_polynomial")  # models with the terms of OpenCV's pinhole
FISHEYE = ("equidistant", "kannala_brandt", "fisheye")
PLUMB_TERMS, FISHEYE_TERMS = (0, 4, 5, 8, 12, 14), 4
CHANNELS = {"rgb8": 3, "bgr8": 3, "8UC3": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1}
BAYER = {"bayer_rggb8": "BG", "bayer_bggr8": "RG", "bayer_gbrg8": "GR", "bayer_grbg8": "GB"}  # OpenCV names row 2
TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
    **{name: getattr(cv2, f"COLOR_BAYER_{code}2RGB") for name, code in BAYER.items()},
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """The intrinsics of a camera: size (pixels), distortion, and the matrix row by row (top left centre is (0, 0))."""

    width: int
    height: int
    model: str
    distortion: tuple[float, ...]
    matrix: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class CameraTopic:
    """The images of a topic: the frame of their camera, their times (s), and what decodes image k as RGB."""

    name: str
    frame: str
    times: Float64[Array, " n"]
    image: Callable[[int], UInt8[Array, "height width 3"]]


def recorded_cameras(
    where: str,
    topics: Sequence[CameraTopic],
    calibrations: Mapping[str, Calibration],
    ego: EgoFrame,
    base_to_centre: float,
) -> RecordedCameras:
    """Return the cameras that have a calibration of their frame, and a place on the ego.

    Images with distortion become those of a pinhole with the same matrix.

    Args:
        where: The file, for messages.
        topics: The images.
        calibrations: Of each frame.
        ego: The ego's frame.
        base_to_centre: From the ego's frame ahead to the centre of its box (m).

    Raises:
        InputError: There is no such camera, or a calibration is wrong.
    """
    found = []
    for topic in topics:
        placed = ego.frames.pose(topic.frame, ego.name, ego.times[:1])
        if topic.frame not in calibrations or placed is None or not len(topic.times):
            _log.warning("%s: camera %r has no calibration, no place or no images", where, topic.name[:80])
            continue
        place, turn = placed[0][0] - np.array([base_to_centre, 0.0, 0.0]), placed[1][0]
        known, here = calibrations[topic.frame], f"{where}: calibration of {topic.frame[:80]!r}"
        camera = _camera(topic.frame, known, place.astype(np.float32), turn.astype(np.float32), here)
        order = np.argsort(topic.times, kind="stable")
        image = _straightened(topic.image, order, known, here)
        found.append(RecordedCamera(camera, topic.times[order] - ego.times[0], image))
    if not found:
        raise InputError(f"{where}: has no camera with images, a calibration and a transform to {ego.name[:80]!r}")
    return RecordedCameras(found)


def raw_image(
    data: bytes, encoding: str, width: int, height: int, step: int, where: str
) -> UInt8[Array, "height width 3"]:
    """Return the RGB picture of raw pixels; ``step`` are the bytes of a row.

    Raises:
        InputError: The encoding is not known, or the data does not have this size.
    """
    channels = 1 if encoding in BAYER else CHANNELS.get(encoding, 0)
    if not channels:
        raise InputError(f"{where}: encoding {encoding[:40]!r} is not read; must be {', '.join((*CHANNELS, *BAYER))}")
    low, high = SIDE_PIXELS
    sides_fit = all(low <= side <= high for side in (width, height))
    if not sides_fit or step < width * channels or len(data) != step * height:
        raise InputError(
            f"{where}: {len(data)} bytes are no picture of {width} by {height} pixels in rows of {step} bytes"
        )
    rows = np.frombuffer(data, np.uint8).reshape(height, step)[:, : width * channels]
    pixels = np.ascontiguousarray(rows.reshape(height, width, channels))
    return pixels if encoding == "rgb8" else np.asarray(cv2.cvtColor(pixels, TO_RGB[encoding]), np.uint8)


def _camera(
    name: str, known: Calibration, place: Float32[Array, "3"], turn: Float32[Array, "3 3"], where: str
) -> Camera:
    values = np.array([*known.matrix, *known.distortion], np.float64)
    if len(known.matrix) != 9 or not np.isfinite(values).all():
        raise InputError(f"{where}: the matrix must have 9 finite numbers, and the distortion finite ones")
    fx, _, cx, _, fy, cy = known.matrix[:6]
    if min(fx, fy) <= 0.0:
        raise InputError(f"{where}: focal lengths are {fx:g} and {fy:g} pixels, must be positive")
    return Camera(name, known.width, known.height, (fx, fy), (cx + 0.5, cy + 0.5), place, turn)


def _straightened(
    image: Callable[[int], Image], order: Array, known: Calibration, where: str
) -> Callable[[int], Image]:
    """Return what decodes image k in the order of time, without distortion."""
    if not any(known.distortion):
        return lambda k: image(int(order[k]))
    maps = _undistortion(known, where)
    return lambda k: np.asarray(cv2.remap(image(int(order[k])), *maps, cv2.INTER_LINEAR), np.uint8)


def _undistortion(known: Calibration, where: str) -> tuple[Array, Array]:
    """Return the pixels of the distorted image for each pixel of a pinhole."""
    matrix, terms = np.array(known.matrix).reshape(3, 3), np.array(known.distortion)
    size = known.width, known.height
    if known.model in STRAIGHT and len(terms) in PLUMB_TERMS:
        u, v = cv2.initUndistortRectifyMap(matrix, terms, np.eye(3), matrix, size, cv2.CV_32FC1)
    elif known.model in FISHEYE and len(terms) == FISHEYE_TERMS:
        u, v = cv2.fisheye.initUndistortRectifyMap(matrix, terms, np.eye(3), matrix, size, cv2.CV_32FC1)
    else:
        raise InputError(
            f"{where}: distortion {known.model[:40]!r} of {len(terms)} terms is not read; must be "
            f"{', '.join((*STRAIGHT[1:], FISHEYE[0]))}"
        )
    return u, v
