"""Clips that ``writers.physical_ai_av`` writes, read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings.first_steps import first_steps

from alpamayo_datasets import DrawnSensors, Recording, find_log, open_log, writer_named
from alpamayo_datasets.writers.physical_ai_av import clip_id
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig, physical_ai_av_rig
from alpamayo_sim.datatypes.scene import Category, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle

STEPS = 6
RIG = Rig(physical_ai_av_rig(96, 54).cameras[:2])
SENSORS = DrawnSensors(RIG, Lidar("small", np.array([-0.1], np.float32), 8, np.array([0.0, 0.0, 1.8], np.float32)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    made = first_steps(make_scenario("cut-in", 3).scene, STEPS)
    ahead = np.linspace(0.0, 0.1 * (STEPS - 1), STEPS, dtype=np.float32)[:, None]
    tracks = made.tracks
    moved = [replace(t, position=t.position + ahead * np.pad(t.velocity, ((0, 0), (0, 1)))) for t in tracks]
    return replace(made, tracks=tuple(moved), origin=np.array([500.0, -200.0, 30.0]))


@pytest.fixture(scope="module")
def root(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "out"
    writer_named("physical-ai-av").write([Recording(scene, SENSORS)], folder)
    return folder


def test_it_reads_back_as_the_same_road_users(scene: Scene, root: Path) -> None:
    back = open_log(root)
    assert (back.id, back.steps, back.dt) == (clip_id(scene.id), STEPS, 0.1)
    assert back.provenance.licence == scene.provenance.licence
    np.testing.assert_allclose(back.ego.size, scene.ego.size, rtol=1e-6)
    for track in back.tracks:
        known = scene.ego if track.id == "ego" else next(each for each in scene.tracks if each.id == track.id)
        np.testing.assert_array_equal(track.valid, known.valid)
        there = track.position[track.valid].astype(float) + back.origin
        np.testing.assert_allclose(there, known.position[known.valid] + scene.origin, atol=1e-4)
        assert np.abs(wrap_angle(track.heading - known.heading)[track.valid]).max() < 1e-5
        assert track.category == known.category
    assert len(back.tracks) == len(scene.tracks)
    assert all(prop.category == Category.DEBRIS for prop in back.props)


def test_its_cameras_see_the_drawn_world(scene: Scene, root: Path) -> None:
    cameras = find_log(root).cameras()
    assert {each.camera.name for each in cameras.cameras} == {camera.name for camera in RIG.cameras}
    front = next(each for each in cameras.cameras if each.camera.name == "camera_front_wide_120fov")
    known = next(camera for camera in RIG.cameras if camera.name == front.camera.name)
    points = np.array([[20.0, 3.0, 1.0], [8.0, -4.0, 0.0], [30.0, 0.0, 2.0]])
    np.testing.assert_allclose(front.camera.project(points)[0], known.project(points)[0], atol=0.02)
    drawn = [frame.rgb for frame in SENSORS.frames(scene)]
    number = RIG.cameras.index(known)
    off = np.abs(front.image(5).astype(float) - drawn[5][number])
    assert off.mean() < 8.0  # of 255: what the video loses


def test_pinholes_are_refused(scene: Scene, tmp_path: Path) -> None:
    wrong = replace(SENSORS, rig=nuscenes_rig(16, 8))
    with pytest.raises(InputError, match="has no f-theta lens"):
        writer_named("physical-ai-av").write([Recording(scene, wrong)], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
