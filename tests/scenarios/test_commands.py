"""The commands of ``alpamayo scenarios``, in this process."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from alpamayo.certification import suite as certified_suites
from alpamayo.scenario_commands import app
from alpamayo_scenarios.families import FAMILIES, make_scenario
from alpamayo_scenarios.pictures import FILM_AFTER_STEPS, FILM_BEFORE_STEPS, event_step, write_picture
from alpamayo_scenarios.suites import read_suite
from alpamayo_sim.datatypes.scenario import Certificate, Solvability
from alpamayo_sim.errors import InputError


def asked(*arguments: str) -> Any:
    """Run a command with --json and return its document."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments: str) -> str:
    """Run a command that fails and return its one line."""
    done = CliRunner().invoke(app, list(arguments))
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


def test_list_says_what_each_family_is() -> None:
    rows = asked("list")
    assert [row["name"] for row in rows] == [family.name for family in FAMILIES]
    assert {row["name"] for row in rows if row["held_out"]} == {f.name for f in FAMILIES if f.held_out}


def test_sample_writes_a_suite_that_certify_and_suite_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "s"
    row = asked("sample", "slower-lead", "-n", "3", "--seed", "5", "--method", "lhs", "--out", str(out))
    assert (row["scenarios"], row["extrapolated"]) == (3, [])
    assert row["rejected"] > 0
    assert [entry.seed for entry in read_suite(Path(row["suite"])).entries] == [5, 6, 7]
    found = Certificate(np.zeros((1, 4), np.float32), {}, solver="expert", difficulty=0.5)
    monkeypatch.setattr(certified_suites, "certify", lambda scenario: found)
    certified = asked("certify", row["suite"], "--out", str(tmp_path / "c"), "--workers", "1")
    assert (certified["solved"], certified["unknown"]) == (3, 0)
    one = asked("certify", str(out / "slower-lead-5.json"))
    assert (one["solvability"], one["difficulty"]) == (Solvability.SOLVED, 0.5)
    checked = asked("certify", row["suite"], "--out", str(tmp_path / "c"), "--workers", "1", "--check")
    assert len(checked["broken"]) == 3  # a trajectory of one state solves nothing
    shown = asked("suite", row["suite"])
    assert (shown["count"], shown["certificates"]) == (3, None)
    assert "sample.json exists" in refused("sample", "slower-lead", "-n", "3", "--out", str(out))


def test_values_out_of_range_need_a_mark(tmp_path: Path) -> None:
    common = ("sample", "slower-lead", "-n", "1", "--set", "curvature=0.005", "--out", str(tmp_path / "s"))
    assert "curvature is 0.005 1/m, must be a number in" in refused(*common)
    assert not (tmp_path / "s").exists()
    assert asked(*common, "--extrapolate")["extrapolated"] == ["curvature"]
    assert "NAME=VALUE" in refused("show", "slower-lead", "--set", "curvature")
    assert "did you mean" in refused("show", "slower_lead")


def test_show_draws_a_picture_and_a_film(tmp_path: Path) -> None:
    row = asked("show", "slower-lead", "--seed", "3", "--out", str(tmp_path / "a" / "p.png"))
    picture = cv2.imread(row["scenario"]["picture"])
    assert picture.shape[1] > 700
    film = cv2.VideoCapture(row["scenario"]["film"])
    count = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = [film.read()[1] for _ in range(count)]
    event = event_step(make_scenario("slower-lead", 3))
    assert 0 < event < FILM_BEFORE_STEPS  # so the film begins with the scenario
    assert count == event + FILM_AFTER_STEPS + 1
    assert frames[0].shape == picture.shape
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2.0  # the lead comes near
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 500
    assert set(row["scenario"]["parameters"]) == {p["name"] for p in row["parameters"]}


def test_a_picture_of_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.png or \.jpg"):
        write_picture(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []
