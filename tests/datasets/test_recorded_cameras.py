"""Recorded cameras: those that our own writer has drawn, and those of a Physical AI AV clip."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings.first_steps import first_steps
from recordings.physical_ai_av import write_camera, write_physical_ai_av
from recordings.waymo import write_womd_scenario
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.closed_loop import drive
from alpamayo.report.frames import frames, with_plan
from alpamayo.report.sensors import Sensors, SensorSource
from alpamayo_datasets import DrawnSensors, RecordedCamera, RecordedCameras, Recording, find_log, writer_named
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.lidar import Lidar
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig, default_rig, pinhole
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers import ConstantVelocity
from alpamayo_sim.errors import InputError

STEPS = 4
RINGS = np.deg2rad(np.array([-5.0, -10.0])).astype(np.float32)
RIG = nuscenes_rig(160, 90)
SENSORS = DrawnSensors(RIG, Lidar("small", RINGS, 16, np.array([0.0, 0.0, 1.8], np.float32)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return first_steps(make_scenario("cut-in", 3).scene, STEPS)


@pytest.fixture(scope="module")
def root(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cameras") / "nuscenes"
    writer_named("nuscenes").write([Recording(scene, SENSORS)], folder)
    return folder


def test_the_same_rig_sees_what_was_recorded(scene: Scene, root: Path) -> None:
    cameras = find_log(root).cameras()
    drawn = [frame.rgb for frame in SENSORS.frames(scene)]
    for step in (0, 3):
        images, ages = cameras.images(RIG, 0.1 * step)
        np.testing.assert_allclose(ages, 0.0, atol=1e-6)
        middle = slice(40, 120)  # at its sides another camera may look nearer to a pixel's direction
        off = np.abs(images[:, :, middle].astype(float) - drawn[step][:, :, middle])
        assert off.mean() < 4.0  # of 255: what jpg loses
    assert cameras.seen(RIG).mean() > 0.99


def test_frames_have_their_ages(root: Path) -> None:
    cameras = find_log(root).cameras()
    seen = cameras.observe(RIG, frames=2, time=0.25)
    assert seen.rgb.shape == (6, 2, 3, 90, 160)
    np.testing.assert_allclose(seen.times, [[-0.15, -0.05]] * 6, atol=1e-6)


def _camera(name: str, yaw: float, value: int) -> RecordedCamera:
    camera = pinhole(name, (0.5, 0.0, 1.5), yaw, np.deg2rad(90.0), 64, 64)
    picture = np.full((64, 64, 3), value, np.uint8)
    return RecordedCamera(camera, np.array([0.0, 0.1]), lambda frame: picture + np.uint8(frame))


def test_a_pixel_is_of_the_camera_that_looks_nearest_to_it() -> None:
    cameras = RecordedCameras([_camera("left", np.pi / 2, 100), _camera("front", 0.0, 200)])
    wide = Rig((pinhole("wide", (0.0, 0.0, 1.5), np.pi / 4, np.deg2rad(100.0), 100, 20),))
    (image,), _ = cameras.images(wide, 0.0)
    assert image[10, 20, 0] == 100
    assert image[10, 80, 0] == 200
    behind = Rig((pinhole("back", (0.0, 0.0, 1.5), np.pi, np.deg2rad(60.0), 8, 8),))
    assert not cameras.seen(behind).any()
    assert cameras.images(behind, 0.0)[0].max() == 0
    (later,), _ = cameras.images(wide, 0.19)
    assert later[10, 80, 0] == 201


def test_a_wrong_picture_is_refused() -> None:
    wrong = replace(_camera("front", 0.0, 1), image=lambda frame: np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="frame 0 is 8 by 8 pixels, must be 64 by 64"):
        RecordedCameras([wrong]).images(Rig((wrong.camera,)), 0.0)
    with pytest.raises(InputError, match="needs at least one camera"):
        RecordedCameras([])


class Looks(ConstantVelocity):
    """A driver that keeps what it saw."""

    needs = Needs(rig=default_rig(32, 18), frames=1)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def act(self, observation: Observation) -> object:  # type: ignore[override]
        assert observation.cameras is not None
        self.seen.append(observation.cameras.rgb)
        return super().act(observation)


def test_the_driver_sees_the_recorded_images_and_the_report_shows_both(scene: Scene, root: Path) -> None:
    cameras, driver = find_log(root).cameras(), Looks()
    episode = drive(scenario_of_log(scene), driver, guard=False, recorded=cameras)  # type: ignore[arg-type]
    wanted, _ = cameras.images(driver.needs.rig, 0.1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(driver.seen[1][:, 0], np.moveaxis(wanted, -1, 1))
    assert episode.observation_age is not None
    first = next(iter(frames(episode, Sensors(SensorSource.BOTH, cameras))))
    recorded = next(iter(frames(episode, Sensors(SensorSource.RECORDED, cameras))))
    assert first.mosaic.shape == recorded.mosaic.shape
    np.testing.assert_array_equal(first.mosaic[20:100, :224], recorded.mosaic[20:100, :224])  # the wide one


def test_the_plan_is_drawn_where_the_camera_sees_it() -> None:
    camera = pinhole("front", (0.0, 0.0, 1.5), 0.0, np.deg2rad(90.0), 100, 100)
    plan = np.zeros((64, 4), np.float32)
    plan[:, 0] = np.linspace(1.0, 60.0, 64)
    image = with_plan(np.zeros((100, 100, 3), np.uint8), camera, plan)
    rows, columns = np.nonzero(image.any(axis=-1))
    assert 49 <= rows.min() <= 53  # row 51.25, in a line of two pixels
    assert np.abs(columns - 50).max() <= 2
    assert with_plan(image, camera, None) is image


def test_a_clip_has_fisheye_cameras(tmp_path: Path) -> None:
    root = write_physical_ai_av(tmp_path)
    with pytest.raises(InputError, match="has no camera"):
        find_log(root).cameras()
    write_camera(root)
    cameras = find_log(root).cameras()
    (one,) = cameras.cameras
    assert one.camera.name == "camera_front_wide_120fov"
    front = Rig((pinhole("front", (1.0, 0.0, 1.4), 0.0, np.deg2rad(60.0), 32, 24),))
    assert cameras.seen(front).all()
    dark, bright = (cameras.images(front, t)[0].mean() for t in (0.0, 1.5))
    assert bright > dark + 50.0


def test_formats_without_cameras_say_so(tmp_path: Path) -> None:
    path = write_womd_scenario(tmp_path)
    with pytest.raises(InputError, match="are not read; take --sensors rendered"):
        find_log(path).cameras()
    result = CliRunner().invoke(app, ["replay", str(path), "--sensors", "record"])
    assert "unknown source of sensors 'record'; did you mean recorded" in str(result.exception)


def test_a_camera_that_equals_the_wanted_one_shows_all_of_it() -> None:
    """Of two cameras that see the same, the one with the nearer axis is taken; but the same camera is better."""
    wide, narrow = (
        pinhole("wide", (0.4, 0.0, 1.4), 0.0, 2.0, 64, 32),
        pinhole("tele", (0.4, 0.1, 1.4), 0.3, 0.5, 64, 32),
    )
    pictures = [np.full((32, 64, 3), grey, np.uint8) for grey in (50, 200)]
    cameras = RecordedCameras(
        [
            RecordedCamera(c, np.zeros(1), lambda frame, p=p: p)
            for c, p in zip((narrow, wide), pictures[::-1], strict=True)
        ]
    )
    (image,), _ = cameras.images(Rig((wide,)), 0.0)
    assert np.unique(image).tolist() == [50]
    turned = pinhole("wide", (0.4, 0.0, 1.4), 0.01, 2.0, 64, 32)
    (image,), _ = cameras.images(Rig((turned,)), 0.0)
    assert {50, 200} <= set(np.unique(image).tolist())
