"""Lenses and rigs against OpenCV's pinhole and fisheye models."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from alpamayo_sim.datatypes.lenses import FTheta
from alpamayo_sim.datatypes.rig import Camera, Imaging, default_rig, ftheta, looking_along, pinhole
from alpamayo_sim.datatypes.rig_presets import RIGS, nuscenes_rig, physical_ai_av_rig, rig_by_name
from alpamayo_sim.errors import InputError

FOCAL = 180.0
FISHEYE = Camera(
    "fisheye",
    400,
    300,
    (FOCAL, FOCAL),
    (203.0, 148.0),
    np.array([0.4, 0.1, 1.4], np.float32),
    looking_along(0.3, -0.1),
    FTheta((0.0, FOCAL, 0.0, -0.05 * FOCAL, 0.0, 0.01 * FOCAL), 1.4),
)


def points_before(camera, count=400):
    """Random points (ego frame) in front of a camera, in its axes too."""
    rng = np.random.default_rng(1)
    seen = np.column_stack([rng.uniform(-8, 8, count), rng.uniform(-4, 4, count), rng.uniform(2, 30, count)])
    return seen @ camera.rotation.T.astype(np.float64) + camera.position, seen


def test_pinhole_is_opencvs():
    for camera in (*default_rig().cameras, *nuscenes_rig().cameras):
        points, seen = points_before(camera)
        (fx, fy), (cx, cy) = camera.focal, camera.centre
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        expected = cv2.projectPoints(seen[:, None], np.zeros(3), np.zeros(3), matrix, None)[0][:, 0]
        pixels, inside = camera.project(points)
        assert np.allclose(pixels, expected, atol=2e-3)
        assert inside.any()


def test_ftheta_is_opencvs_fisheye():
    points, seen = points_before(FISHEYE)
    matrix = np.array([[FOCAL, 0, 203.0], [0, FOCAL, 148.0], [0, 0, 1]])
    distortion = np.array([-0.05, 0.01, 0.0, 0.0])
    expected = cv2.fisheye.projectPoints(seen[:, None], np.zeros(3), np.zeros(3), matrix, distortion)[0][:, 0]
    pixels, inside = FISHEYE.project(points)
    assert np.allclose(pixels[inside], expected[inside], atol=2e-3)
    assert inside.mean() > 0.5


@pytest.mark.parametrize("linear", [(1.0, 0.0, 0.0), (1.02, 0.01, -0.02)])
def test_rays_and_pixels_are_inverse(linear):
    lens = FTheta(FISHEYE.lens.forward, 1.4, linear=linear)
    bent = Camera("bent", 80, 60, (36.0, 36.0), (41.0, 29.0), FISHEYE.position, FISHEYE.rotation, lens)
    scaled = FTheta(tuple(0.2 * c for c in lens.forward), 1.4, linear=linear)
    for camera in (replace(bent, lens=scaled), pinhole("p", (1.0, 2.0, 3.0), 0.5, 1.5, 80, 60)):
        far = camera.position + 20.0 * camera.rays.reshape(-1, 3)
        pixels, inside = camera.project(far)
        u, v = np.meshgrid(np.arange(80) + 0.5, np.arange(60) + 0.5)
        seen = camera.sees.ravel()
        assert seen.mean() > 0.8
        assert inside[seen].all()
        assert np.allclose(pixels[seen], np.stack([u, v], axis=-1).reshape(-1, 2)[seen], atol=1e-3)


def test_a_backward_polynomial_is_used():
    equidistant = ftheta("a", (0.0, 0.0, 1.5), 0.0, 2.0, 64, 48)
    focal = equidistant.focal[0]
    both = FTheta((0.0, focal), 1.5, backward=(0.0, 1.0 / focal))
    other = replace(equidistant, lens=both)
    assert np.allclose(other.rays, equidistant.rays, atol=1e-6)


def test_nuscenes_looks_around():
    yaw = {c.name: np.rad2deg(np.arctan2(c.rotation[1, 2], c.rotation[0, 2])) for c in nuscenes_rig().cameras}
    assert abs(yaw["CAM_FRONT"]) < 1.0
    assert abs(abs(yaw["CAM_BACK"]) - 180.0) < 2.0
    assert 50 < yaw["CAM_FRONT_LEFT"] < 60
    assert -60 < yaw["CAM_FRONT_RIGHT"] < -50
    assert all(np.allclose(c.rotation.T @ c.rotation, np.eye(3), atol=1e-5) for c in nuscenes_rig().cameras)


def test_presets():
    assert {name: len(rig_by_name(name, 64, 36).cameras) for name in RIGS} == {
        "alpamayo": 4,
        "physical-ai-av": 7,
        "nuscenes": 6,
        "front": 1,
    }
    wide = physical_ai_av_rig().cameras[1]
    middle = wide.rays[wide.height // 2]
    across = np.arccos(middle[0] @ middle[-1])
    assert abs(np.rad2deg(across) - 120.0) < 1.0
    with pytest.raises(InputError, match="did you mean nuscenes"):
        rig_by_name("nuscene", 64, 36)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FTheta((0.0,), 1.0), "2 to 6 terms"),
        (lambda: FTheta((0.0, 100.0, -80.0), 1.5), "must grow"),
        (lambda: FTheta((0.0, 100.0), 4.0), "max_angle"),
        (lambda: FTheta((0.0, 100.0), 1.0, linear=(0.0, 0.0, 0.0)), "inverted"),
        (lambda: Imaging(dropped=0.7, late=0.7), "add up"),
        (lambda: Imaging(readout=1.0), "readout"),
    ],
)
def test_wrong_numbers_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
