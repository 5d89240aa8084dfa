"""Damaged recordings end in the reader's own error, or are read."""

import importlib.util
from pathlib import Path

import pytest
from recordings.damage import SMALL_RECORDINGS, outcomes
from recordings.own_files import OWN_FILES

from alpamayo_datasets.readers import READERS

MUTATIONS = 200
FEWER = {"ros2-bag": 40}  # a fifth of a second each: rosbags makes its types anew for every bag
OWN_MUTATIONS = 60


OTHER_NAMES = {"womd-tfrecord": "womd-scenario", "episode": "episode-as-log"}


def test_every_reader_reads_damaged_copies() -> None:
    names = {OTHER_NAMES.get(reader.name, reader.name) for reader in READERS}
    if importlib.util.find_spec("rosbags") is None:
        names.remove("ros2-bag")
    assert names <= {*SMALL_RECORDINGS, *OWN_FILES}


@pytest.mark.parametrize("name", SMALL_RECORDINGS)
def test_damaged_recordings_are_refused_in_one_line_or_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "damaged").mkdir()
    written = SMALL_RECORDINGS[name](tmp_path / "whole")
    count = FEWER.get(name, MUTATIONS)
    found = [message for message, _, _ in outcomes(written, tmp_path / "damaged", count, seed=0)]
    assert len(found) == count
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
