"""What writers share: pictures as JPEG, headings as quaternions, pinholes as matrices."""

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.errors import InputError

Array = np.ndarray

JPEG_QUALITY = 92


def jpeg_bytes(image: UInt8[Array, "height width 3"]) -> bytes:
    """Return an RGB picture as JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def yaw_quaternion(heading: float) -> Float64[Array, "4"]:
    """Return the quaternion x, y, z, w of a heading (rad)."""
    return np.array([0.0, 0.0, np.sin(0.5 * heading), np.cos(0.5 * heading)])


def pinhole_matrix(camera: Camera, format_name: str) -> Float64[Array, "3 3"]:
    """Return the matrix of a pinhole where the centre of the top left pixel is (0, 0), as in nuScenes and ROS.

    Raises:
        InputError: The camera is no pinhole.
    """
    if camera.lens is not None:
        raise InputError(f"camera {camera.name!r} is no pinhole; {format_name} has pinhole cameras alone")
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    return np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]], np.float64)
