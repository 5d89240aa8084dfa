import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings.waymo import write_womd_scenario
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.evaluation.open_loop import evaluate_open_loop, recorded_future, scene_errors
from alpamayo.metrics.plan_errors import plan_errors
from alpamayo.runs import DriverChoice
from alpamayo_datasets import open_log
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers import ConstantVelocity
from alpamayo_sim.errors import InputError


def straight(count: int, offset: float = 0.0, speed: float = 10.0) -> np.ndarray:
    x = speed * PLAN_DT * np.arange(1, count + 1)
    return np.column_stack([x, np.full(count, offset), np.zeros(count)])


def test_errors_by_hand() -> None:
    recorded = straight(64)
    plans = np.stack([straight(64, 3.0), straight(64, 1.0), straight(64, speed=11.5)])
    found = plan_errors(plans, recorded, np.ones(64, bool), PLAN_DT, chosen=0)
    np.testing.assert_allclose(found.ade_m, 3.0)
    np.testing.assert_allclose(found.fde_m, 3.0)
    np.testing.assert_allclose(found.min_ade_m, 1.0)  # the plan that is best over all 6.4 s, at every horizon
    np.testing.assert_allclose(found.min_fde_m, 1.0)
    np.testing.assert_allclose(found.missed, 0.0)
    np.testing.assert_allclose(found.corner_m, 1.0)
    alone = plan_errors(plans[2:], recorded, np.ones(64, bool), PLAN_DT)
    np.testing.assert_allclose(alone.min_fde_m, [1.5, 4.5, 7.5, 9.6])
    np.testing.assert_allclose(alone.min_ade_m, 1.5 * (np.array([10, 30, 50, 64]) + 1) / 2 * PLAN_DT)
    np.testing.assert_allclose(alone.missed, [0.0, 1.0, 1.0, 1.0])


def test_a_turned_box_has_distant_corners() -> None:
    recorded = straight(64)
    turned = recorded + np.array([0.0, 0.0, np.pi])
    found = plan_errors(turned[None], recorded, np.ones(64, bool), PLAN_DT)
    np.testing.assert_allclose(found.min_ade_m, 0.0)
    np.testing.assert_allclose(found.corner_m, 5.0)  # twice the half diagonal of 4 m by 3 m


def test_horizons_that_the_recording_does_not_reach_are_left_out() -> None:
    valid = np.arange(64) < 40
    found = plan_errors(straight(64, 1.0)[None], straight(64), valid, PLAN_DT)
    np.testing.assert_allclose(found.min_fde_m, [1.0, 1.0, np.nan, np.nan])
    with pytest.raises(InputError, match="plan errors"):
        plan_errors(straight(32)[None], straight(32), np.ones(32, bool), PLAN_DT)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return open_log(write_womd_scenario(tmp_path))


def test_the_future_is_interpolated_where_the_recording_is_coarser(scene: Scene) -> None:
    fine, known = recorded_future(scene, 0)
    assert known.sum() == scene.steps - 1
    rows = slice(None, None, 2)
    names = ("position", "heading", "velocity", "valid")
    tracks = tuple(replace(t, **{n: getattr(t, n)[rows] for n in names}) for t in scene.tracks)
    signals = tuple(replace(s, states=s.states[rows]) for s in scene.signals)
    coarse, kept = recorded_future(replace(scene, tracks=tracks, signals=signals, dt=0.2), 0)
    assert kept.sum() == scene.steps - 1
    np.testing.assert_allclose(coarse[kept], fine[kept], atol=0.01)


def test_the_recorded_future_has_no_error(scene: Scene, tmp_path: Path) -> None:
    result = evaluate_open_loop([str(next(tmp_path.iterdir()))], [DriverChoice.of("log", False)], workers=1)
    (row,) = result["scenes"]
    assert row["steps"][0] == scene.steps - 10
    assert row["ade_m"][0] == pytest.approx(0.0, abs=1e-4)
    assert row["min_ade_m"][1] is None  # the small recording lasts 2 s
    assert result["drivers"][0]["ade_m"][0]["low"] is None  # one scene tells no spread


def test_constant_velocity_misses_the_bend(scene: Scene) -> None:
    errors = scene_errors(scene, ConstantVelocity())
    off = [np.linalg.norm(_held(scene, k) - recorded_future(scene, k)[0][9, :2]) for k in range(scene.steps - 10)]
    assert errors["fde_m"][0] == pytest.approx(float(np.mean(off)), abs=0.02)


def _held(scene: Scene, step: int) -> np.ndarray:
    return np.array([float(np.hypot(*scene.ego.velocity[step])), 0.0])


def test_the_command_compares_drivers_and_lists_what_failed(scene: Scene, tmp_path: Path) -> None:
    log = str(next(tmp_path.iterdir()))
    arguments = ["datasets", "open-loop", log, "--driver", "log,constant-velocity", "--workers", "1"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "result.json")])
    assert result.exit_code == 0, result.exception
    assert "minADE" in result.stdout
    written = json.loads((tmp_path / "result.json").read_text())
    assert [row["driver"] for row in written["drivers"]] == ["log", "constant-velocity"]
    assert CliRunner().invoke(app, ["datasets", "open-loop", log, "--driver", "none"]).exception


def test_unknown_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        evaluate_open_loop([str(tmp_path / "none.pkl")], [DriverChoice.of("log", False)], workers=1)
