"""The regression gate: what paired runs allow to say, and folders that are none."""

from pathlib import Path

import numpy as np
import pytest

from alpamayo.evaluation import manifest
from alpamayo.evaluation.gate import GateConfig, compare_runs
from alpamayo.json_values import sealed, write_json
from alpamayo_sim.errors import InputError


def suite_run(folder: Path, faults: list[bool], scores: list[float | None], driver: str = "mine") -> Path:
    """Write the summaries of a suite run, without records."""
    names = [f"{driver}/cut-in-{k:05d}" for k in range(len(faults))]
    for k, (name, fault, score) in enumerate(zip(names, faults, scores, strict=True)):
        (folder / name).mkdir(parents=True)
        row = {"scenario": f"cut-in-{k:05d}", "inputs": {"scenario_sha256": str(k)}, "at_fault_collision": fault}
        write_json(sealed(row | {"pdm_score": score}), folder / name / "summary.json")
    manifest.write(manifest.Manifest({"drivers": [driver]}, tuple(names)), folder)
    return folder


def runs(folder: Path, count: int, failed: int, score: float) -> Path:
    rng = np.random.default_rng(count)
    scores = [float(score + 0.01 * each) for each in rng.standard_normal(count)]
    return suite_run(folder, [k < failed for k in range(count)], scores)


@pytest.mark.parametrize(
    ("count", "failed", "score", "decision", "reason"),
    [
        (400, 0, 0.8, "SHIP", "at-fault collisions changed by"),
        (60, 12, 0.8, "HOLD", "at-fault collisions rose"),
        (60, 0, 0.7, "HOLD", "the PDM score fell"),
        (20, 0, 0.8, "INCONCLUSIVE", "drive more scenarios"),
    ],
)
def test_the_decision(tmp_path: Path, count: int, failed: int, score: float, decision: str, reason: str) -> None:
    found = compare_runs(runs(tmp_path / "a", count, 0, 0.8), runs(tmp_path / "b", count, failed, score))
    assert found["decision"] == decision
    assert reason in found["reason"]
    assert found["pairs"] == count
    assert found["at_fault_collision"]["difference"] == pytest.approx(failed / count)


def test_a_wider_tolerance_lets_more_pass(tmp_path: Path) -> None:
    before, after = (suite_run(tmp_path / name, [False] * 40, [0.8] * 40) for name in "ab")
    assert compare_runs(before, after)["decision"] == "INCONCLUSIVE"
    assert compare_runs(before, after, GateConfig(at_fault_tolerance=0.1))["decision"] == "SHIP"


def test_only_equal_scenarios_are_compared(tmp_path: Path) -> None:
    before = suite_run(tmp_path / "a", [False, True, False], [0.5, None, 0.5])
    after = suite_run(tmp_path / "b", [False, True], [0.5, 0.5])
    found = compare_runs(before / "mine", after)
    assert found["pairs"] == 2
    assert found["only_before"] == ["cut-in-00002"]
    assert found["pdm_score"]["n"] == 1
    other = suite_run(tmp_path / "c", [False], [0.5])
    row = {"scenario": "cut-in-00000", "inputs": {"scenario_sha256": "another"}, "at_fault_collision": False}
    write_json(sealed(row | {"pdm_score": 0.5}), other / "mine" / "cut-in-00000" / "summary.json")
    with pytest.raises(InputError, match="no scenario in common"):
        compare_runs(other, after)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    good = suite_run(tmp_path / "a", [False], [0.5])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is no suite run"):
        compare_runs(tmp_path / "empty", good)
    two = suite_run(tmp_path / "two", [False], [0.5])
    suite_run(tmp_path / "two", [False], [0.5], driver="other")
    names = ("mine/cut-in-00000", "other/cut-in-00000")
    manifest.write(manifest.Manifest({"drivers": ["mine", "other"]}, names), two)
    with pytest.raises(InputError, match="has runs of mine, other; name one"):
        compare_runs(two, good)
    assert compare_runs(two / "other", good)["pairs"] == 1
    (good / "mine" / "cut-in-00000" / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="not finished"):
        compare_runs(good, two / "mine")
