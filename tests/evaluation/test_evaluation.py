"""Evaluation: stop rules, excluded runs, and the validation of its records."""

import json

import pytest

from alpamayo.evaluation import evaluate, manifest, rescoring, suite_run
from alpamayo.evaluation.statistics import sequential
from alpamayo.evaluation.stopping import ClaimMonitor, clean_runs_needed, parse
from alpamayo.guard.config import GuardConfig
from alpamayo.report.console import show_evaluation
from alpamayo.runs import DriverChoice, driver_of
from alpamayo_scenarios import get_suite
from alpamayo_sim.errors import InputError


def row_of(task, failed):
    """Return the row of a run without driving."""
    task.folder.mkdir(parents=True, exist_ok=True)
    same = {"collision": failed, "arrived": not failed, "off_road": False, "pdm_score": 1.0 - failed, "comfort": 1.0}
    scores = {"pdms": {"value": 1.0 - failed, "missing": ["comfort"] if failed else []}}
    numbers = {"progress_m": 50.0, "interventions": 0, "steps": 10, "guarded": False, "clearance_m": 1.0}
    scenario = f"{task.family}-{task.seed:05d}"
    names = {"name": task.driver, "driver": task.driver, "family": task.family, "scenario": scenario}
    return {**same, **numbers, **names, "scores": scores, "at_fault_collision": failed}


@pytest.mark.parametrize(
    ("text", "event", "rate"),
    [
        ("at-fault < 5%", "at_fault_collision", 0.05),
        ("  off-road<0.5 %", "off_road", 0.005),
        ("arrived > 90%", "arrived", pytest.approx(0.1)),
    ],
)
def test_claims_are_read(text, event, rate):
    rule = parse(text)
    assert (rule.event, rule.rate) == (event, rate)


@pytest.mark.parametrize("text", ["at-fault > 5%", "arrived < 5%", "at-fault < 5", "crash < 5%", "collision < 0%", ""])
def test_other_claims_are_refused(text):
    with pytest.raises(InputError, match="stop rule"):
        parse(text)


@pytest.mark.parametrize("text", ["at-fault < 5%", "arrived > 50%", "off-road < 0.5%"])
def test_the_runs_that_show_a_claim_are_the_fewest(text):
    rule = parse(text)
    needed = clean_runs_needed(rule, 0.95)
    decisions = [sequential(0, runs, rule.rate, 0.95).decision for runs in (needed - 1, needed)]
    assert decisions == ["continue", "below"]


def test_a_claim_that_the_choice_cannot_show_is_said_before_the_work(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(suite_run, "run_task", lambda task: row_of(task, failed=False))
    evaluate(["idm"], 6, tmp_path, workers=1, stop_when="at-fault < 5%")
    assert "cannot be shown with 6 scenarios, only refuted: it takes 158 without a failure" in caplog.text


def test_a_run_that_could_not_be_driven_counts_against_the_claim():
    monitor = ClaimMonitor(parse("arrived > 50%"), 0.95)
    assert not monitor.add({"arrived": True})
    monitor.add(None)
    monitor.add({"arrived": False})
    found = monitor.as_json()
    assert (found["against"], found["n"], found["outcome"]) == (2, 3, "open")
    unknown = ClaimMonitor(parse("off-road < 5%"), 0.95)
    unknown.add({"off_road": None})
    assert unknown.decision.n == 0


def test_evaluation_stops_when_the_claim_is_shown_or_refuted(tmp_path, monkeypatch):
    driven = []

    def run(task):
        driven.append(task.name)
        return row_of(task, failed=task.driver == "idm")

    monkeypatch.setattr(suite_run, "run_task", run)
    result = evaluate(["expert", "idm"], 300, tmp_path, workers=1, stop_when="at-fault < 20%")
    expert, idm = result["drivers"]
    assert expert["claim"]["outcome"] == "shown"
    assert expert["claim"]["high"] < 0.2
    assert idm["claim"]["outcome"] == "refuted"
    assert idm["n"] < expert["n"] < 60
    assert len(driven) == expert["n"] + idm["n"]
    listed = manifest.read(tmp_path)
    assert list(listed.runs) == driven
    assert listed.left_out == {}
    suite = get_suite("long-tail-6").first(300)
    assert (result["suite"], result["suite_digest"]) == (suite.name, suite.digest)
    assert (listed.about["suite"], listed.about["suite_digest"]) == (suite.name, suite.digest)
    (pair,) = result["comparisons"]
    assert pair["n"] == idm["n"]
    assert pair["figures"]["at_fault_collision"]["difference"] == -1.0


def test_rows_without_the_guard_come_first_and_guarded_drivers_get_a_second_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite_run, "run_task", lambda task: row_of(task, False) | {"guarded": bool(task.choice.guard)})
    result = evaluate(["tiny", "idm"], 6, tmp_path, workers=1)
    assert [(row["driver"], row["guarded"]) for row in result["drivers"]] == [
        ("tiny", False),
        ("idm", False),
        ("tiny+guard", True),
    ]
    assert {name.partition("/")[0] for name in manifest.read(tmp_path).runs} == {"tiny", "idm", "tiny+guard"}
    on_belief = evaluate(["tiny"], 6, tmp_path / "belief", workers=1, guard=GuardConfig(on_belief=True))
    assert [row["driver"] for row in on_belief["drivers"]] == ["tiny+guard-on-belief"]
    show_evaluation(on_belief)
    assert "tiny belief" in " ".join(capsys.readouterr().out.split())


def test_runs_after_the_stop_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(suite_run, "run_task", lambda task: row_of(task, failed=True))
    first = evaluate(["idm"], 60, tmp_path, workers=1)
    assert first["drivers"][0]["n"] == 60
    stopped = evaluate(["idm"], 60, tmp_path, workers=1, stop_when="at-fault < 20%")["drivers"][0]["n"]
    listed = manifest.read(tmp_path)
    assert len(listed.left_out) == 60 - stopped
    assert set(listed.left_out.values()) == {suite_run.AFTER_STOP}


def test_a_run_that_raises_is_excluded_from_evaluation_and_validation(tmp_path):
    result = evaluate(["evaluation_drivers:Fragile"], 6, tmp_path, workers=1, guard=False)
    (excluded,) = result["excluded"]
    assert excluded["scenario"] == "debris-10000"
    assert "no debris, please" in excluded["reason"]
    row = result["drivers"][0]
    assert (row["n"], row["excluded"]) == (5, 1)
    worst, rate = row["at_fault_rate_if_excluded_failed"], row["at_fault_rate"]
    assert (worst["count"], worst["n"]) == (rate["count"] + 1, 6)
    document = rescoring.rescore(tmp_path, workers=1, prevent=False).document
    assert document["runs"] == 5
    assert document["excluded"] == [{"run": excluded["run"], "reason": excluded["reason"]}]
    counted = document["drivers"]["fragile"]["rules"]["at_fault_collision"]["broken"]["count"]
    assert counted == rate["count"]
    before = json.loads((tmp_path / "suite.json").read_text())
    evaluate(["constant-velocity"], 1, tmp_path, workers=1)
    after = json.loads((tmp_path / "suite.json").read_text())
    assert after["runs"] == [*before["runs"], "constant-velocity/cut-in-10000"]
    assert after["left_out"] == before["left_out"]
    (tmp_path / "constant-velocity" / "cut-in-10000" / "episode.json").unlink()
    missing = rescoring.rescore(tmp_path, workers=1, prevent=False).document["excluded"]
    assert {"run": "constant-velocity/cut-in-10000", "reason": "there is no record of it"} in missing


def test_a_process_loads_weights_once_and_makes_other_drivers_anew() -> None:
    tiny, idm = (DriverChoice.of(name) for name in ("tiny", "idm"))
    assert driver_of(tiny, "digest") is driver_of(tiny, "digest")
    assert driver_of(tiny, "digest") is not driver_of(tiny, "another")
    assert driver_of(idm, "") is not driver_of(idm, "")
