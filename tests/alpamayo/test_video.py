"""Videos that cannot be written are one line, without the encoder's own words; reports show the driver's cameras."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from validator_episodes import episode_of, scene_on_route

from alpamayo.report.frames import frames
from alpamayo.report.sensors import Sensors
from alpamayo.report.video import VideoWriter
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.errors import InputError


def write_black(path: Path, frames: int) -> None:
    with VideoWriter(path, 10) as writer:
        for _ in range(frames):
            writer.write(np.zeros((480, 640, 3), np.uint8))


def test_a_video_that_cannot_be_written_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"cannot write the video x\.mp4: the encoder ended") as caught:
        write_black(tmp_path / "absent" / "x.mp4", frames=200)  # more than a pipe holds
    assert "\n" not in str(caught.value)
    assert "FFMPEG" not in "".join(capfd.readouterr())
    assert list(tmp_path.iterdir()) == []


def write_past_the_end(writer: VideoWriter) -> None:
    """Write a frame, let the encoder end, write another one."""
    with writer:
        writer.write(np.zeros((480, 640, 3), np.uint8))
        assert writer._encoder is not None
        writer._encoder.wait()
        writer.write(np.zeros((480, 640, 3), np.uint8))


def write_and_stop(writer: VideoWriter) -> None:
    with writer:
        writer.write(np.zeros((480, 640, 3), np.uint8))
        raise KeyboardInterrupt


def test_an_encoder_that_has_ended_leaves_nothing_open(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "absent" / "x.mp4", 10)
    with pytest.raises(InputError, match="cannot write the video"):
        write_past_the_end(writer)
    assert writer._encoder is not None
    assert writer._encoder.stdin is not None
    assert writer._encoder.stdin.closed


def test_an_error_between_frames_ends_the_encoder(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "x.mp4", 10)
    with pytest.raises(KeyboardInterrupt):
        write_and_stop(writer)
    assert writer._encoder is not None
    assert writer._encoder.returncode is not None


@pytest.mark.parametrize(("cameras", "size"), [(1, (24, 40)), (2, (24, 80)), (3, (48, 80))])
def test_a_report_shows_the_cameras_that_the_driver_has(cameras: int, size: tuple[int, int]) -> None:
    eyes = tuple(
        replace(camera, width=40, height=24, centre=(20.0, 12.0)) for camera in default_rig().cameras[:cameras]
    )
    episode = episode_of(scene_on_route())
    frame = next(iter(frames(episode, Sensors(rig=replace(default_rig(), cameras=eyes)))))
    assert frame.mosaic.shape[:2] == size


def test_a_report_says_what_its_images_are() -> None:
    assert Sensors(rig=default_rig()).note == "as the driver saw them"
    assert "no cameras" in Sensors().note
