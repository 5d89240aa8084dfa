"""The driver registry: built-in drivers, drivers of installed packages, and classes of users."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import alpamayo
from alpamayo.cli import app
from alpamayo.drivers.registry import (
    BUILT_IN,
    check_name,
    get_entry,
    guarded_by_default,
    make_driver,
    needs_text,
    plugin_entries,
    shipped_checkpoint,
)
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.errors import InputError

STANDING = '''
import numpy as np
from alpamayo.drivers.registry import DriverEntry
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.driver import Needs

class Standing:
    """Plans to stand still."""

    name = "standing"
    needs = Needs()

    def reset(self, scene, rng):
        pass

    def act(self, observation):
        return Decision(np.zeros((1, 64, 4), np.float32), np.ones(1, np.float32))

ENTRY = DriverEntry("ignored", "stands under the guard", "standing_driver:Standing", "own state", guarded=True)
NUMBER = 3
'''
POINTS = """[alpamayo.drivers]
standing = standing_driver:Standing
standing-guarded = standing_driver:ENTRY
absent = no_such_module_here:Driver
number = standing_driver:NUMBER
idm = standing_driver:Standing
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an installed distribution with drivers, as pip does."""
    (tmp_path / "standing_driver.py").write_text(STANDING)
    info = tmp_path / "standing_driver-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: standing-driver\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "standing_driver", raising=False)


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_the_table_agrees_with_the_drivers(name: str) -> None:
    entry, driver = BUILT_IN[name], make_driver(name)
    assert isinstance(driver, Driver)
    assert driver.name == entry.name == name
    assert needs_text(driver.needs) == entry.needs
    assert driver.needs.replays_recording == entry.replays_recording
    assert (shipped_checkpoint(name) is None) == (entry.weights is None)


def test_a_driver_of_an_installed_package_is_listed(installed: None) -> None:
    done = CliRunner().invoke(app, ["drivers", "list", "--json"])
    assert done.exit_code == 0
    listed = {row["name"]: row for row in json.loads(done.stdout)["drivers"]}
    assert list(listed) == [*BUILT_IN, "standing", "standing-guarded"]
    row = listed["standing"]
    assert (row["title"], row["needs"]) == ("Plans to stand still.", "own state")
    assert (row["guarded"], row["package"]) == (False, "standing-driver")
    assert guarded_by_default("standing-guarded")


def test_a_driver_of_an_installed_package_drives(installed: None) -> None:
    check_name("standing", recorded=False)
    episode = alpamayo.drive(alpamayo.make_scenario("debris", seed=1), make_driver("standing"), guard=False)
    assert episode.driver == "standing"
    assert np.abs(episode.ego_speed[-1]) < 0.1


def test_broken_plugins_are_reported_and_others_still_work(installed: None) -> None:
    found, broken = plugin_entries()
    assert set(found) == {"standing", "standing-guarded"}
    assert set(broken) == {"absent", "number", "idm"}
    assert "no_such_module_here" in broken["absent"]
    assert "standing-driver" in broken["number"]
    assert get_entry("idm") is BUILT_IN["idm"]
    with pytest.raises(InputError, match="no_such_module_here"):
        make_driver("absent")
    done = CliRunner().invoke(app, ["drivers", "list"])
    assert done.exit_code == 0
    assert "'absent'" in done.stderr


def test_a_class_of_a_user_is_a_driver(installed: None) -> None:
    driver = make_driver("standing_driver:Standing")
    assert driver.name == "standing"
    assert not guarded_by_default("standing_driver:Standing")


def test_the_log_driver_needs_a_recording() -> None:
    check_name("log")
    with pytest.raises(InputError, match="replay"):
        check_name("log", recorded=False)


def test_a_checkpoint_is_for_drivers_with_weights() -> None:
    with pytest.raises(InputError, match="tiny"):
        make_driver("idm", Path("weights.safetensors"))


def test_paths_are_text_or_paths_and_nothing_else(tmp_path: Path) -> None:
    for wrong in (None, 3, b"folder", np.zeros(3)):
        with pytest.raises(InputError, match=r"the folder of an episode is .*, must be a path"):
            alpamayo.load_episode(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"driver 'tiny': the checkpoint is 3, must be a path"):
        make_driver("tiny", checkpoint=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such checkpoint"):
        make_driver("tiny", checkpoint=str(tmp_path / "absent.safetensors"))
    with pytest.raises(InputError, match="the name of a driver"):
        make_driver(None)  # type: ignore[arg-type]
