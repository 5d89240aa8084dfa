"""The losses of a training are kept as lines and, with the extra, as TensorBoard's events."""

import json
from pathlib import Path

import pytest

from alpamayo.training.loss_log import LossLog


def write(folder: Path, steps: range) -> None:
    with LossLog(folder, "words") as log:
        for step in steps:
            log.add({"step": step, "total": 1.0 / step})


def test_losses_are_lines_and_a_second_part_goes_on(tmp_path: Path) -> None:
    write(tmp_path, range(1, 3))
    write(tmp_path, range(3, 4))
    rows = [json.loads(line) for line in (tmp_path / "words.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3]


def test_tensorboard_shows_them(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path, range(1, 4))
    curves = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "words")).Reload()
    assert curves.Tags()["scalars"] == ["total"]
    assert [(event.step, event.value) for event in curves.Scalars("total")] == [
        (step, pytest.approx(1.0 / step)) for step in range(1, 4)
    ]


def test_without_the_extra_there_are_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write(tmp_path, range(1, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["words.jsonl"]
