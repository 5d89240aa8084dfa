"""Leaderboards: ranks, families, tests, tables of runs; folders that hold none; foreign words stay words."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.evaluation import manifest, run_table
from alpamayo.evaluation.leaderboard import leaderboard, write_leaderboard
from alpamayo.json_values import sealed, write_json
from alpamayo_sim.errors import InputError

HOSTILE = "=cmd<script>alert(1)</script>"


def summary(driver: str, family: str, seed: int, score: float, guard: str = "off") -> dict[str, Any]:
    return {
        "scenario": f"{family}-{seed:05d}",
        "family": family,
        "seed": seed,
        "driver": driver,
        "guarded": guard != "off",
        "guard_state": guard,
        "arrived": score > 0.0,
        "at_fault_collision": score == 0.0,
        "collision": score == 0.0,
        "off_road": None,
        "pdm_score": score,
        "comfort": 1.0,
        "progress_m": 50.0 * score,
        "goal_m": 50.0,
        "duration_s": 9.0,
        "clearance_m": 1.0,
        "time_to_collision_margin_s": 0.5,
        "interventions": 0,
        "steps": 90,
        "inputs": {"scenario_sha256": f"{family}{seed}"},
    }


def suite_run(folder: Path, rows: list[dict[str, Any]], left_out: tuple[str, ...] = ()) -> Path:
    names = []
    for row in rows:
        label = row["driver"] + {"off": "", "on": "+guard", "belief": "+guard-on-belief"}[row["guard_state"]]
        names.append(f"{label}/{row['scenario']}")
        (folder / names[-1]).mkdir(parents=True)
        write_json(sealed(row), folder / names[-1] / "summary.json")
    manifest.write(manifest.Manifest({"suite": "test"}, tuple(names), dict.fromkeys(left_out, "why")), folder)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [
        summary(driver, family, seed, float(skill > difficulty))
        for driver, skill in (("good", 9), ("fair", 5), ("poor", 1))
        for k, family in enumerate(("cut-in", "debris"))
        for seed in range(8)
        for difficulty in (seed + k,)
    ]
    return suite_run(tmp_path / "run", rows)


def test_the_best_driver_comes_first_and_the_hardest_scenario(run: Path) -> None:
    found = leaderboard([run])
    assert [row["driver"] for row in found["drivers"]] == ["good", "fair", "poor"]
    good, fair, poor = found["drivers"]
    assert good["capability"]["value"] > fair["capability"]["value"] > poor["capability"]["value"]
    assert good["capability"]["rank_low"] == 1
    assert poor["capability"]["rank_high"] == 3
    assert (good["zero_rate"]["count"], good["n"]) == (0, 16)
    assert fair["families"]["debris"]["solved_rate"]["count"] == 4
    assert found["scenarios"][0]["failed_by"] == ["fair", "poor"]
    assert found["scenarios"][0]["difficulty"] > found["scenarios"][-1]["difficulty"]
    assert [row["drivers"] for row in found["comparisons"]] == [["fair", "good"], ["fair", "poor"], ["good", "poor"]]
    assert found["comparisons"][2]["figures"]["solved"]["p_holm"] < 0.05


def test_a_single_driver_has_no_capability(tmp_path: Path) -> None:
    found = leaderboard([suite_run(tmp_path / "a", [summary("only", "cut-in", 1, 0.5)])])
    assert found["drivers"][0]["capability"] is None
    assert "capability" not in write_leaderboard(found, tmp_path / "b").read_text().partition("<tbody>")[0]


def test_several_folders_are_one_leaderboard(tmp_path: Path) -> None:
    scores = [0.0, 1.0, 1.0]
    for name, guard in (("before", "off"), ("after", "on")):
        suite_run(tmp_path / name, [summary("d", "cut-in", k, score, guard) for k, score in enumerate(scores)])
    found = leaderboard([tmp_path / "before", tmp_path / "after"])
    assert {(row["base_driver"], row["guard_state"]) for row in found["drivers"]} == {("d", "off"), ("d", "on")}
    assert found["comparisons"][0]["guard_states"] == ["off", "on"]
    with pytest.raises(InputError, match="named twice"):
        leaderboard([tmp_path / "before", tmp_path / "after" / ".." / "before"])


def test_the_command_writes_page_json_and_csv(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["leaderboard", str(run), "--out", str(tmp_path / "out"), "--json"])
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").read_text().splitlines()))
    assert len(rows) == 48
    assert rows[0]["pdm_score"] == "0.0"
    assert {row["guard_state"] for row in rows} == {"off"}
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert page.count("<tr data-driver=") == 48
    told = CliRunner().invoke(app, ["leaderboard", str(run), "--out", str(tmp_path / "out")]).stdout
    assert "leaderboard.html" in told
    assert all(len(line) <= 80 for line in told.splitlines() if "│" in line)


def test_foreign_words_are_words(tmp_path: Path) -> None:
    row = summary("d", "cut-in", 1, 0.5) | {"scenario": "s", "family": HOSTILE}
    folder = suite_run(tmp_path / "run", [row])
    page = write_leaderboard(leaderboard([folder]), tmp_path / "out").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "'=cmd" in (tmp_path / "out" / "runs.csv").read_text()


def test_runs_that_are_left_out_are_not_counted(tmp_path: Path) -> None:
    rows = [summary("d", "cut-in", k, 1.0) for k in range(3)]
    assert len(run_table.read_runs(suite_run(tmp_path / "run", rows, ("d/cut-in-00001",)))) == 2


def test_classes_of_one_name_are_two_drivers(tmp_path: Path) -> None:
    rows = [summary("d", "cut-in", 1, score) for score in (0.0, 1.0)]
    for row, name in zip(rows, ("mine:First", "mine:Second"), strict=True):
        row["inputs"]["driver"] = name
        suite_run(tmp_path / name[5:], [row])
    found = leaderboard([tmp_path / "First", tmp_path / "Second"])
    assert {row["driver"] for row in found["drivers"]} == {"mine:First", "mine:Second"}


def test_versions_of_a_driver_are_told_apart_and_parts_of_its_runs_are_joined(tmp_path: Path) -> None:
    for name, seeds in (("before", range(3)), ("after", range(3)), ("more", range(3, 6))):
        suite_run(tmp_path / name, [summary("d", "cut-in", seed, 1.0) for seed in seeds])
    both = leaderboard([tmp_path / "before", tmp_path / "after"])
    assert {(row["driver"], row["n"]) for row in both["drivers"]} == {
        (f"d @ {tmp_path / name}", 3) for name in ("before", "after")
    }
    joined = leaderboard([tmp_path / "before", tmp_path / "more"])
    assert [(row["driver"], row["n"]) for row in joined["drivers"]] == [("d", 6)]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign"])
def test_a_folder_that_is_no_suite_run_is_one_line(run: Path, tmp_path: Path, damage: str) -> None:
    folder = run
    summary_file = run / "good" / "cut-in-00001" / "summary.json"
    if damage == "missing":
        folder = tmp_path / "absent"
    elif damage == "empty":
        folder = tmp_path / "empty"
        folder.mkdir()
    elif damage == "cut":
        summary_file.write_text(summary_file.read_text()[:40])
    else:
        write_json(sealed({"driver": "x", "inputs": 3}), summary_file)
    with pytest.raises(InputError) as caught:
        leaderboard([folder])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_become_a_data_frame(run: Path) -> None:
    pytest.importorskip("pandas")
    frame = run_table.to_pandas(leaderboard([run])["runs"])
    assert list(frame.columns) == list(run_table.COLUMNS)
    assert frame.groupby("driver")["solved"].sum().to_dict() == {"fair": 9, "good": 16, "poor": 1}
