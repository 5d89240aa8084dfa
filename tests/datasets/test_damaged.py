"""Damaged recordings end in the reader's own error, or are read."""

from pathlib import Path

import pytest
from recordings.damage import SMALL_RECORDINGS, outcomes

MUTATIONS = 200


@pytest.mark.parametrize("name", SMALL_RECORDINGS)
def test_damaged_recordings_are_refused_in_one_line_or_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "damaged").mkdir()
    written = SMALL_RECORDINGS[name](tmp_path / "whole")
    found = list(outcomes(written, tmp_path / "damaged", MUTATIONS, seed=0))
    assert len(found) == MUTATIONS
    assert len(set(found)) > 5  # they do not all fail alike
