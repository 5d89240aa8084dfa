"""A video that cannot be written is one line, without the encoder's own words."""

from pathlib import Path

import numpy as np
import pytest

from alpamayo.report.video import VideoWriter
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
