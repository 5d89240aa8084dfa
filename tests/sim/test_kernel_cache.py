"""Where compiled kernels are kept: a private folder where the usual one cannot be written."""

import os
import tempfile
from pathlib import Path

import pytest

from alpamayo_sim import warp_runtime
from alpamayo_sim.errors import InputError


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for temporary files on a machine whose usual cache no user can make."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("WARP_CACHE_PATH", "")  # so that it is restored
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def private_folder(place: Path) -> Path:
    (found,) = place.glob("alpamayo-kernels-*")
    return found


def test_a_private_folder_is_used_and_named(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warp_runtime._choose_kernel_cache()
    folder = private_folder(locked)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["WARP_CACHE_PATH"] == str(folder)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(folder) in said


def test_a_folder_of_anyone_is_refused(locked: Path) -> None:
    warp_runtime._choose_kernel_cache()
    private_folder(locked).chmod(0o777)
    os.environ["WARP_CACHE_PATH"] = ""
    with pytest.raises(InputError, match="is not a folder of yours alone; set WARP_CACHE_PATH"):
        warp_runtime._choose_kernel_cache()


def test_a_named_folder_that_cannot_be_written_is_refused(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARP_CACHE_PATH", str(locked / "file" / "kernels"))
    with pytest.raises(InputError, match="WARP_CACHE_PATH must be a folder that you can write"):
        warp_runtime._choose_kernel_cache()
