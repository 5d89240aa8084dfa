"""Images of topics: raw pixels of each encoding, and distortion that is taken out, judged by OpenCV."""

import cv2
import numpy as np
import pytest

from alpamayo_datasets.frames import Frames, Transform
from alpamayo_datasets.images import decoded
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_datasets.topic_cameras import Calibration, CameraTopic, raw_image, recorded_cameras
from alpamayo_datasets.topic_tracks import EgoFrame
from alpamayo_sim.errors import InputError

RGB = np.array([[[255, 0, 0], [0, 200, 0]], [[0, 0, 90], [10, 10, 10]]], np.uint8)
MATRIX = (80.0, 0.0, 79.5, 0.0, 80.0, 59.5, 0.0, 0.0, 1.0)
LEVEL = (0.0, 0.0, 1.5, 0.5, -0.5, 0.5, -0.5)  # looks ahead


def test_raw_pixels_become_rgb() -> None:
    opaque = np.full((2, 2, 1), 255, np.uint8)
    for encoding, pixels in (
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.concatenate([RGB, opaque], axis=2)),
        ("bgra8", np.concatenate([RGB[..., ::-1], opaque], axis=2)),
    ):
        padded = np.pad(pixels.reshape(2, -1), ((0, 0), (0, 3)))  # rows may be longer than their pixels
        found = raw_image(padded.tobytes(), encoding, 2, 2, padded.shape[1], "here")
        np.testing.assert_array_equal(found, RGB)
    grey = raw_image(bytes([1, 2, 3, 4]), "mono8", 2, 2, 2, "here")
    np.testing.assert_array_equal(grey[..., 1], [[1, 2], [3, 4]])


def test_a_bayer_mosaic_keeps_its_colours() -> None:
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[0::2, 0::2] = 200  # red of RGGB; no green and blue
    found = raw_image(mosaic.tobytes(), "bayer_rggb8", 8, 8, 8, "here")
    assert found[2:6, 2:6, 0].min() > 150
    assert found[2:6, 2:6, 1:].max() == 0


def test_wrong_pictures_are_refused() -> None:
    for data, encoding, size, words in (
        (bytes(12), "yuv422", (2, 2, 6), "encoding 'yuv422' is not read"),
        (bytes(11), "rgb8", (2, 2, 6), "11 bytes are no picture of 2 by 2 pixels"),
        (bytes(12), "rgb8", (1 << 31, 2, 6), "are no picture"),
        (b"", "rgb8", (0, 0, 0), "are no picture"),
    ):
        with pytest.raises(InputError, match=words):
            raw_image(data, encoding, *size, "here")
    with pytest.raises(InputError, match="here: is no picture"):
        decoded(b"GIF89a", "here")
    wide = cv2.imencode(".png", np.zeros((1, 9000, 3), np.uint8))[1].tobytes()
    with pytest.raises(InputError, match="has 9000 by 1 pixels, must be at most 8192"):
        decoded(wide, "here")


@pytest.mark.parametrize(
    ("model", "terms"), [("plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0)), ("equidistant", (0.02, 0, 0, 0))]
)
def test_distortion_is_taken_out(model: str, terms: tuple[float, ...]) -> None:
    """A point that the distorted image shows is where a pinhole shows it."""
    point = np.array([[[0.5, -0.25, 1.0]]])
    matrix, still = np.array(MATRIX).reshape(3, 3), np.zeros(3)
    project = cv2.projectPoints if model == "plumb_bob" else cv2.fisheye.projectPoints
    (u, v) = project(point, still, still, matrix, np.array(terms, np.float64))[0].ravel()
    picture = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(picture, (round(u), round(v)), 3, (200, 200, 200), -1)
    cameras = _cameras(Calibration(160, 120, model, terms, MATRIX), picture)
    rows, columns = np.nonzero(cameras.cameras[0].image(0)[..., 0] > 100)
    assert abs(columns.mean() - (79.5 + 40.0)) < 1.0
    assert abs(rows.mean() - (59.5 - 20.0)) < 1.0
    assert np.hypot(u - 119.5, v - 39.5) > 2.0  # the distorted one was elsewhere
    with pytest.raises(InputError, match="of 3 terms is not read"):
        _cameras(Calibration(160, 120, model, terms[:3], MATRIX), picture)


def test_images_are_in_the_order_of_their_times() -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    cameras = _cameras(Calibration(160, 120, "plumb_bob", (), MATRIX), picture)
    (one,) = cameras.cameras
    np.testing.assert_allclose(one.times, [0.0, 0.1, 0.2])
    assert [int(one.image(k)[0, 0, 0]) for k in range(3)] == [1, 2, 0]
    np.testing.assert_allclose(one.camera.position, [-1.2, 0.0, 1.5])
    with pytest.raises(InputError, match="focal lengths are 0 and 80 pixels"):
        _cameras(Calibration(160, 120, "plumb_bob", (), (0.0, *MATRIX[1:])), picture)


def _cameras(known: Calibration, picture: np.ndarray) -> RecordedCameras:
    """Return the camera of a car whose frame is 1.2 m behind its centre; images come late, early, in the middle."""
    moves = [Transform(5.0 + k, "map", "base", (float(k), 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)) for k in range(2)]
    frames = Frames([*moves, Transform(0.0, "base", "eye", LEVEL)], "here")
    ego = EgoFrame("base", "map", frames, frames.times("base"))
    topic = CameraTopic("/eye", "eye", np.array([5.2, 5.0, 5.1]), lambda k: picture + np.uint8(k))
    return recorded_cameras("here", [topic], {"eye": known}, ego, 1.2)
