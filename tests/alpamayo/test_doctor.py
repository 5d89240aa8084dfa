"""The doctor: what is there, what is missing with what to do, and an exit code that says whether all is well."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alpamayo import doctor
from alpamayo.cli import app
from alpamayo.provenance import code_version
from alpamayo.version import __version__


def states(found: dict) -> dict[str, str]:
    return {row["name"]: row["state"] for row in found["findings"]}


def test_a_complete_installation_is_complete() -> None:
    result = CliRunner().invoke(app, ["doctor", "--no-measure", "--json"])
    found = json.loads(result.stdout)
    assert (result.exit_code, found["complete"], found["speed"]) == (0, True, [])
    assert states(found)["weights of tiny"] == "ok"
    assert found["machine"]["cores"] >= 1


def test_what_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy<2", "no-such-package>=1", "mcap>=1; extra == 'mcap'", "no-such-extra ; extra == 'ros2'"]
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = doctor.examine(measure=False)
    assert not found["complete"]
    assert states(found) | {"no-such-package": "missing", "extra ros2": "optional", "compiler": "optional"} == states(
        found
    )
    assert all(row["advice"] for row in found["findings"] if row["state"] != "ok")
    result = CliRunner().invoke(app, ["doctor", "--no-measure"])
    assert result.exit_code == 1
    assert "no-such-package" in result.stdout


def test_weights_that_are_not_there_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("alpamayo.drivers.registry.shipped_checkpoint", lambda name: tmp_path / "absent")
    found = doctor.examine(measure=False)
    assert states(found)["weights of tiny"] == "missing"


@pytest.mark.slow
def test_speeds_are_measured() -> None:
    speed = {row["name"]: row for row in doctor.examine()["speed"]}
    assert {"make a scenario", "one world", "four cameras", "validator"} <= set(speed)
    assert all(row["value"] > 0.0 for row in speed.values())


def test_the_version_is_told_with_the_digest_of_the_code() -> None:
    told = CliRunner().invoke(app, ["--version"]).stdout.strip()
    assert told == code_version()
    assert told.startswith(f"{__version__}+")
