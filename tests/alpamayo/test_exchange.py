"""Exchange: families are exported and imported again, and judged by the checkers of ASAM."""

import sys
from dataclasses import replace
from pathlib import Path
from subprocess import run
from xml.etree import ElementTree

import numpy as np
import pytest

from alpamayo.exchange import export_scenario, import_scenario
from alpamayo.motion_replay import replay_motion, steady_motion
from alpamayo_datasets import open_log
from alpamayo_scenarios import family_names, make_scenario
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError

TOLERANCE_M = 0.01
SEED = 10_000
FEW = ("cut-in", "red-light-runner", "highway-exit", "jaywalker")
CHECKERS = {".xosc": ("qc_openscenario", "xoscBundle"), ".xodr": ("qc_opendrive", "xodrBundle")}


def positions(scenario: Scenario) -> dict[str, np.ndarray]:
    """Positions of all agents while the ego follows its route at its first speed, in the world; NaN where none is."""
    found = replay_motion(scenario, steady_motion(scenario))
    place = np.where(found.valid[..., None], found.pose[..., :2] + scenario.scene.origin[:2], np.nan)
    return {name: place[:, k] for k, name in enumerate(found.ids)}


@pytest.mark.parametrize("family", family_names())
def test_a_family_keeps_its_positions_through_openscenario(family: str, tmp_path: Path) -> None:
    scenario = make_scenario(family, SEED)
    if family not in FEW:  # the first second of each, and the whole of a few
        scenario = replace(scenario, goal=replace(scenario.goal, duration=1.0))
    _, path = export_scenario(scenario, tmp_path, "openscenario")
    found = import_scenario(path)
    assert found.unsupported == ()
    scene = found.scenario.scene
    assert scene.steps == scenario.steps + 1
    expected = positions(scenario)
    for track in scene.tracks:
        there = steady_motion(scenario)[:, :2] if track.id == scene.ego_id else expected[track.id]
        here = np.where(track.valid[:, None], track.position[:, :2] + scene.origin[:2], np.nan)
        np.testing.assert_allclose(here, there, atol=TOLERANCE_M, err_msg=track.id)
    assert {thing.id for thing in (*scene.tracks, *scene.props)} == {*expected, scene.ego_id}


@pytest.mark.parametrize("family", FEW[:2])
def test_the_roads_come_back(family: str, tmp_path: Path) -> None:
    scenario = make_scenario(family, SEED)
    scene = import_scenario(export_scenario(scenario, tmp_path, "openscenario")[1]).scenario.scene
    before, after = scenario.scene.road_map, scene.road_map
    assert len(after.lanes) == len(before.lanes)
    for k, lane in enumerate(before.lanes):
        other = after.lane_by_id[f"{k}/0/-1"]
        ends = other.centreline[[0, -1], :2] + scene.origin[:2]
        np.testing.assert_allclose(ends, lane.centreline[[0, -1], :2], atol=0.02)
        assert len(other.successors) == len(lane.successors)
        assert other.speed_limit == pytest.approx(lane.speed_limit, abs=1e-3)


@pytest.mark.parametrize("family", FEW[:2])
def test_a_family_keeps_its_positions_through_commonroad(family: str, tmp_path: Path) -> None:
    scenario = make_scenario(family, SEED)
    (path,) = export_scenario(scenario, tmp_path, "commonroad")
    scene = open_log(path)
    expected = list(positions(scenario).values())
    tracks = [track for track in (*scene.tracks, *scene.props) if track.id != scene.ego_id]
    assert len(tracks) == len(expected)
    for track in scene.tracks:
        if track.id == scene.ego_id:
            continue  # CommonRoad gives the ego's start and goal alone
        here = track.position[track.valid, :2] + scene.origin[:2]
        apart = np.nanmin([np.abs(here - each[: len(here)]).max() for each in expected])
        assert apart < TOLERANCE_M, track.id


@pytest.mark.parametrize("family", FEW)
def test_the_checkers_of_asam_find_no_fault(family: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "qc_openscenario", reason="the checkers of ASAM are not installed: pip install alpamayo[exchange]"
    )
    for path in export_scenario(make_scenario(family, SEED), tmp_path, "openscenario"):
        assert faults(path, tmp_path) == []


def faults(path: Path, folder: Path) -> list[str]:
    """The errors and warnings that a checker finds in a file."""
    from qc_baselib import Configuration

    kind, bundle = CHECKERS[path.suffix]
    configuration, report = Configuration(), folder / f"{path.suffix[1:]}.xqar"
    configuration.set_config_param(name="InputFile", value=str(path))
    configuration.register_checker_bundle(checker_bundle_name=bundle)
    configuration.set_checker_bundle_param(checker_bundle_name=bundle, name="resultFile", value=str(report))
    settings = folder / f"{path.suffix[1:]}.xml"
    configuration.write_to_file(str(settings))
    command = [sys.executable, "-m", f"{kind}.main", "-c", str(settings)]
    done = run(command, capture_output=True, text=True, check=False)
    assert report.is_file(), done.stderr
    checkers = list(ElementTree.parse(report).iter("Checker"))
    assert sum(checker.get("status") == "completed" for checker in checkers) > 10
    return [f"{issue.get('ruleUID')}: {issue.get('description')}" for item in checkers for issue in item.iter("Issue")]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean openscenario"):
        export_scenario(make_scenario("cut-in", SEED), tmp_path, "openscenari")
