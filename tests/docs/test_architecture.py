"""``docs/architecture.md`` shows the house as it is."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = (
    "alpamayo",
    "sim/alpamayo_sim",
    "vla_model/alpamayo_vla_model",
    "datasets/alpamayo_datasets",
    "kernels/alpamayo_kernels",
)


def test_the_picture_fits_the_import_graph() -> None:
    command = [sys.executable, str(ROOT / "docs" / "draw_architecture.py"), "--check"]
    assert subprocess.run(command, timeout=120).returncode == 0, "run: python docs/draw_architecture.py"


def test_every_file_and_folder_that_the_page_names_exists() -> None:
    named = {name for name in re.findall(r"`([\w/]+(?:\.py|/\w+))`", PAGE) if not name.startswith("alpamayo.")}
    assert len(named) > 10
    for name in named:
        wing, _, inside = name.partition("/")
        places = [ROOT / name, *(ROOT / package / name for package in PACKAGES)]
        places += [ROOT / package / inside for package in PACKAGES if package.startswith(f"{wing}/")] if inside else []
        places += [
            path for package in PACKAGES for path in (ROOT / package).rglob(Path(name).name) if name == path.name
        ]
        assert any(place.exists() for place in places), name
