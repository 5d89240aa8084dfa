"""Runs of earlier calls: taken again only for the same inputs, made anew where they are damaged."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.evaluation import evaluate, manifest, suite_run
from alpamayo.evaluation.figures import comparisons
from alpamayo.evaluation.run_record import reproduction
from alpamayo.folders import claimed
from alpamayo.json_values import read_sealed, rounded, sealed
from alpamayo.parallel import in_order
from alpamayo.report.console import comparison_lines
from alpamayo.runs import DriverChoice, finished, run_inputs, write_run
from alpamayo.validator import score_episode
from alpamayo.validator.verdict import RuleResult, Score, Verdict
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.errors import InputError


@pytest.fixture(scope="module")
def episode():
    return drive(make_scenario("debris", 1), make_driver("constant-velocity"), seed=1)


@pytest.fixture
def kept(episode, tmp_path):
    inputs = run_inputs(DriverChoice.of("constant-velocity"), episode.scenario, 1)
    write_run(episode, score_episode(episode), tmp_path / "run", {"inputs": inputs})
    return tmp_path / "run", inputs


def test_a_run_with_the_same_inputs_is_taken(kept):
    folder, inputs = kept
    assert finished(folder, inputs) == read_sealed(folder / "summary.json")


def test_a_run_with_other_inputs_is_not_taken(kept, episode):
    folder, inputs = kept
    choice = DriverChoice.of("constant-velocity")
    other = replace(episode.scenario, parameters={**episode.scenario.parameters, "more": 1.0})
    for changed in (
        run_inputs(DriverChoice.of("constant-velocity", guard=True), episode.scenario, 1),
        run_inputs(choice, episode.scenario, 2),
        run_inputs(choice, other, 1),
        inputs | {"driver_code": "edited"},
        inputs | {"weights": "others"},
        inputs | {"driver_arguments": {"speed": 3}},
        inputs | {"code_version": "others"},
    ):
        assert finished(folder, changed) is None


@pytest.mark.parametrize("text", ["[]", "{}", "", "{", '{"inputs": {}}', "null", '{"pdm_score": "high"}'])
def test_a_damaged_summary_is_not_taken(kept, text):
    folder, inputs = kept
    (folder / "summary.json").write_text(text)
    assert finished(folder, inputs) is None


def test_a_summary_that_was_edited_is_not_taken(kept):
    folder, inputs = kept
    row = json.loads((folder / "summary.json").read_text())
    for name, value in (("pdm_score", 1.0), ("pdm_score", "high"), ("more", 1)):
        (folder / "summary.json").write_text(json.dumps({**row, name: value}))
        assert finished(folder, inputs) is None


@pytest.mark.parametrize("name", ["episode.json", "episode.npz"])
def test_a_run_without_its_record_is_not_taken(kept, name):
    folder, inputs = kept
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    assert finished(folder, inputs) is None
    (folder / name).unlink()
    assert finished(folder, inputs) is None


def test_a_driver_that_was_edited_is_driven_again(tmp_path):
    source = (Path(__file__).parents[1] / "evaluation_drivers.py").read_text()
    code = (
        "import sys; from alpamayo.evaluation import evaluate; from pathlib import Path; "
        "print(evaluate(['edited_driver:Fragile'], 1, Path('e'), workers=1)['drivers'][0]['progress_m']['value'])"
    )
    said = []
    for text in (source, source.replace("plan = np.zeros((1, 64, 4), np.float32)", "plan = straight(30.0)"), None):
        if text is not None:
            straight = "\n\ndef straight(v):\n    t = 0.1 * np.arange(1, 65)\n    ahead = np.stack([v * t, 0 * t, 0 * t"
            straight += ", v + 0 * t], axis=1)\n    return ahead[None].astype(np.float32)\n"
            (tmp_path / "edited_driver.py").write_text(text + straight)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=500)
        assert done.returncode == 0, done.stderr
        said.append((float(done.stdout), "1 of 1 runs taken" in done.stderr))
    (slow, _), (fast, taken), (same, again) = said
    assert fast > slow + 5.0
    assert not taken
    assert (same, again) == (fast, True)


def test_a_fault_of_the_machine_ends_the_evaluation(tmp_path, monkeypatch):
    for error in (MemoryError(), OSError(28, "No space left on device"), InputError("cannot write x")):

        def run(task, error=error):
            raise error

        monkeypatch.setattr(suite_run, "run_task", run)
        with pytest.raises(type(error)):
            evaluate(["idm"], 2, tmp_path, workers=1)


def test_a_damaged_manifest_is_written_anew(tmp_path):
    for text in ('{"version": 1, "about": {"drivers": 3}, "runs": [], "left_out": {}}', "[]", "{"):
        (tmp_path / "suite.json").write_text(text)
        with pytest.raises(InputError):
            manifest.read(tmp_path)
        assert manifest.read_kept(tmp_path).runs == ()
    (tmp_path / "suite.json").write_text('{"version": 99, "about": {}, "runs": [], "left_out": {}}')
    with pytest.raises(InputError, match="version 99"):
        manifest.read_kept(tmp_path)


def test_a_folder_has_one_writer(tmp_path):
    with claimed(tmp_path / "out"):
        with pytest.raises(InputError, match="another run writes"), claimed(tmp_path / "out"):
            pass
        (tmp_path / "out" / "result").write_text("")
    with claimed(tmp_path / "out"), claimed(tmp_path / "new" / "inner"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_runs_taken_are_counted(episode, tmp_path, monkeypatch, caplog):
    row = write_run(episode, score_episode(episode), tmp_path / "run")
    monkeypatch.setattr(suite_run, "run_task", lambda task: {**row, "name": task.driver, suite_run.TAKEN: True})
    with caplog.at_level(logging.WARNING):
        evaluate(["constant-velocity"], 3, tmp_path, workers=1)
    assert "constant-velocity: 3 of 3 runs taken from an earlier call with the same inputs" in caplog.text


def test_guarded_and_unguarded_drivers_are_not_compared_silently():
    runs = [
        {"driver": name, "guard_state": state, "scenario": k, "failed": k % 2 == 0}
        for name, state in (("a", "on"), ("b", "off"), ("c", "off"))
        for k in range(4)
    ]
    figure = {"at_fault_collision": lambda run: run["failed"]}
    lines = list(comparison_lines(comparisons(runs, 0.95, figure, {}, lambda run: run["scenario"])))
    assert lines[0].startswith("at fault, a (guard on) minus b (guard off), which differ in the guard, too: ")
    assert lines[2].startswith("at fault, b (guard off) minus c (guard off): ")


def test_the_command_that_repeats_a_run_names_driver_and_arguments(episode):
    made = replace(episode, driver_choice="mine:D", driver_arguments='{"a": "x y"}')
    assert reproduction(made) == (
        'alpamayo drive debris --driver mine:D --driver-args \'{"a": "x y"}\' --seed 1 --no-guard'
    )
    assert "'x; rm y'" in reproduction(replace(episode, driver="x; rm y"))
    parameters = {**episode.scenario.parameters, "ego_speed": 12.5}
    other = replace(episode, scenario=replace(episode.scenario, parameters=parameters))
    assert "--set=ego_speed=12.5" in reproduction(other)
    assert reproduction(replace(episode, scenario=replace(episode.scenario, family="unknown"))) is None


def test_rounding_hides_the_last_digits_alone():
    one, other = 0.1 + 0.2, 0.3
    assert one != other
    assert rounded({"a": [one, (one,)], "b": 3}) == rounded({"a": [other, [other]], "b": 3})
    assert rounded(1.23456789e-30) == 1.23456789e-30
    assert np.isfinite(sealed({"a": 1.0})["a"])


def test_what_cancels_to_nearly_zero_is_zero_in_a_verdict():
    def document(value):
        values = np.array([value])
        result = RuleResult(values, values, np.ones(1, bool), values, ("kept",), margins=values[None])
        score = Score("pdms", values, {"comfort": values}, ((),))
        return json.dumps(rounded(Verdict(values, {"comfort": result}, {"pdms": score}).to_json()))

    assert document(0.0) == document(-0.0) == document(2.1e-17) == document(-2.1e-17) != document(1e-6)


def test_a_pool_passes_results_and_exceptions_on():
    found = [result for _, result in in_order(float, ["1", "x", "3"], workers=2)]
    assert found[0] == 1.0
    assert isinstance(found[1], ValueError)
    assert found[2] == 3.0
