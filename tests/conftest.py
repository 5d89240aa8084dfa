"""Shared by all tests: the folder of the recordings."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# The shapes in annotations become checks for the whole run (the plugin's own option splits a list wrongly).
NOUNS = ("decision", "driver", "observation", "rig", "scenario", "scene")
CHECKED = (*(f"datatypes.{noun}" for noun in NOUNS), "geometry", "io.document", "map.index")
install_import_hook(
    [*(f"alpamayo_sim.{name}" for name in CHECKED), "alpamayo.episode"],
    "beartype.beartype(conf=beartype.BeartypeConf(violation_type=TypeError))",
)

# Two test processes on two cores: one thread each is faster than four that wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Return the folder of recorded data; skip a test that needs it if there is none."""
    folder = Path(os.environ.get("ALPAMAYO_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; point ALPAMAYO_REALDATA to them")
    return folder
