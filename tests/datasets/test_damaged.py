"""Damaged recordings end in the reader's own error, or are read."""

from pathlib import Path

import pytest
from recordings.damage import SMALL_RECORDINGS, outcomes
from recordings.own_files import OWN_FILES

MUTATIONS = 200
OWN_MUTATIONS = 60


@pytest.mark.parametrize("name", SMALL_RECORDINGS)
def test_damaged_recordings_are_refused_in_one_line_or_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "damaged").mkdir()
    written = SMALL_RECORDINGS[name](tmp_path / "whole")
    found = [message for message, _, _ in outcomes(written, tmp_path / "damaged", MUTATIONS, seed=0)]
    assert len(found) == MUTATIONS
    assert len(set(found)) > 5  # they do not all fail alike


@pytest.mark.parametrize("name", OWN_FILES)
def test_damaged_files_of_this_project_are_refused_in_one_line_or_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "damaged").mkdir()
    kind = OWN_FILES[name]
    written = kind.write(tmp_path / "whole")
    kind.read(written)
    found = [message for message, _, _ in outcomes(written, tmp_path / "damaged", OWN_MUTATIONS, 0, kind.read)]
    assert len(found) == OWN_MUTATIONS
