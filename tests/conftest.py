"""Shared by all tests: the checks of shapes, and the folder of the recordings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import shape_checks

shape_checks.install()  # before the first import of a module that they check

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


@pytest.fixture(autouse=True)
def _first_calls_of_a_test() -> None:
    shape_checks.next_test()


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Let wrong arrays reach the code, whose own error is under test."""
    with shape_checks.off():
        yield
