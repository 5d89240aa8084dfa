"""Rigs by name: what well-known cars carry, at any image size."""

from collections.abc import Callable

import numpy as np

from alpamayo_sim.datatypes.rig import Camera, Rig, default_rig, ftheta, pinhole
from alpamayo_sim.errors import check_known

Array = np.ndarray

NUSCENES_SIZE = (1600, 900)
NUSCENES_REAR_AXLE = (-1.39, 0.0, 0.0)  # m from the box centre, for a car of 4.08 m with 0.65 m of rear overhang
NUSCENES = {  # focal and centre (pixels), translation (m), rotation (w, x, y, z) from the rear axle: scene-0061
    "CAM_FRONT": (
        1266.4172,
        (816.267, 491.5071),
        (1.700791, 0.015946, 1.510958),
        (0.4998015, -0.5030316, 0.4997798, -0.4973708),
    ),
    "CAM_FRONT_RIGHT": (
        1260.8474,
        (807.9682, 495.3344),
        (1.550848, -0.493405, 1.495748),
        (0.2060348, -0.2026941, 0.6824508, -0.6713611),
    ),
    "CAM_BACK_RIGHT": (
        1259.5137,
        (807.2529, 501.1958),
        (1.014878, -0.480568, 1.562395),
        (0.1228098, -0.1324008, -0.7004306, 0.690496),
    ),
    "CAM_BACK": (
        809.221,
        (829.2196, 481.7784),
        (0.028326, 0.003451, 1.579103),
        (0.5037873, -0.4974025, -0.494185, 0.5045496),
    ),
    "CAM_BACK_LEFT": (
        1256.7415,
        (792.1126, 492.7757),
        (1.035691, 0.484795, 1.59097),
        (0.6924186, -0.7031619, -0.1164834, 0.1120332),
    ),
    "CAM_FRONT_LEFT": (
        1272.5979,
        (826.6155, 479.7517),
        (1.523878, 0.494631, 1.509328),
        (0.6757265, -0.6736267, 0.2121402, -0.2112283),
    ),
}


def physical_ai_av_rig(width: int = 384, height: int = 216) -> Rig:
    """Return the seven f-theta cameras of NVIDIA's physical-ai-av cars, by their names and nominal fields of view.

    The data set's own polynomials differ from car to car and come with it; put them into ``Camera.lens``. Here the
    lenses are equidistant and the places are those of a common saloon.
    """
    wide, side, tele = (np.deg2rad(x) for x in (120.0, 70.0, 30.0))
    cross, back = np.deg2rad(60.0), np.deg2rad(150.0)
    size = width, height
    return Rig(
        (
            ftheta("camera_cross_left_120fov", (0.8, 0.9, 1.1), cross, wide, *size),
            ftheta("camera_front_wide_120fov", (0.4, 0.0, 1.45), 0.0, wide, *size),
            ftheta("camera_cross_right_120fov", (0.8, -0.9, 1.1), -cross, wide, *size),
            ftheta("camera_rear_left_70fov", (0.6, 0.95, 0.95), back, side, *size),
            ftheta("camera_rear_tele_30fov", (-1.6, 0.0, 1.35), np.pi, tele, *size),
            ftheta("camera_rear_right_70fov", (0.6, -0.95, 0.95), -back, side, *size),
            ftheta("camera_front_tele_30fov", (0.4, 0.1, 1.45), 0.0, tele, *size),
        )
    )


def nuscenes_rig(width: int = 400, height: int = 225) -> Rig:
    """Return NuScenes' six pinhole cameras as calibrated in scene-0061, scaled to this image size."""
    return Rig(tuple(_nuscenes_camera(name, width, height) for name in NUSCENES))


def front_rig(width: int = 384, height: int = 216) -> Rig:
    """Return a single front camera of 90° behind the windscreen."""
    return Rig((pinhole("camera_front_90fov", (0.4, 0.0, 1.45), 0.0, np.deg2rad(90.0), width, height),))


RIGS: dict[str, Callable[[int, int], Rig]] = {
    "alpamayo": default_rig,
    "physical-ai-av": physical_ai_av_rig,
    "nuscenes": nuscenes_rig,
    "front": front_rig,
}


def rig_by_name(name: str, width: int, height: int) -> Rig:
    """Return a preset with images of this size (pixels).

    Raises:
        InputError: no preset of that name.
    """
    check_known("rig", name, RIGS)
    return RIGS[name](width, height)


def _nuscenes_camera(name: str, width: int, height: int) -> Camera:
    focal, centre, translation, rotation = NUSCENES[name]
    across, down = width / NUSCENES_SIZE[0], height / NUSCENES_SIZE[1]
    return Camera(
        name,
        width,
        height,
        (focal * across, focal * down),
        ((centre[0] + 0.5) * across, (centre[1] + 0.5) * down),
        (np.array(translation) + NUSCENES_REAR_AXLE).astype(np.float32),
        _matrix(rotation),
    )


def _matrix(quaternion: tuple[float, float, float, float]) -> Array:
    """Return the rotation of a unit quaternion w, x, y, z."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        np.float32,
    )
