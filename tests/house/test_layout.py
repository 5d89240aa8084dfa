"""Rules of the repository's layout that no linter checks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTER = ["sim", "scenarios", "datasets", "vla_model", "kernels", "notebooks", "tests"]


@pytest.mark.parametrize("folder", OUTER)
def test_outer_folder_is_no_package(folder: str) -> None:
    """`datasets/__init__.py` would shadow Hugging Face's package of that name, `kernels/` likewise."""
    assert (ROOT / folder).is_dir()
    assert not list((ROOT / folder).glob("__init__.py"))


def test_import_of_alpamayo_is_cheap() -> None:
    """None of the heavy libraries is loaded before it is used."""
    heavy = "torch open3d warp nuscenes triton cv2 gymnasium scipy shapely"
    code = f"import sys, alpamayo; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_command_line_help_is_cheap() -> None:
    heavy = "torch open3d warp nuscenes triton cv2 gymnasium scipy shapely numpy"
    code = f"import sys, alpamayo.cli; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_license_is_apache() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
