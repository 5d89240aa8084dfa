"""Tests of the questions about the words of a driver."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.evaluation.faithfulness import EVERY_STEPS, MEASURES, Faithfulness, ProbedDriver, faithfulness
from alpamayo.report.console import show_faithfulness
from alpamayo_scenarios.families import make_scenario
from alpamayo_scenarios.suites.suite import SuiteEntry
from alpamayo_sim.errors import InputError

STEPS = 31
SCENARIO = make_scenario("cut-in", 5013)
SHORT = replace(SCENARIO, goal=replace(SCENARIO.goal, duration=STEPS * SCENARIO.scene.dt))


def test_questions_are_answered_and_do_not_change_the_drive(capsys: pytest.CaptureFixture[str]) -> None:
    """The driver that is questioned drives the same plans with the same words."""
    plain = drive(SHORT, make_driver("tiny"), seed=3, guard=False)
    found = Faithfulness()
    asked = drive(SHORT, ProbedDriver(make_driver("tiny"), found), seed=3, guard=False)
    np.testing.assert_array_equal(plain.executed, asked.executed)
    assert plain.reasoning == asked.reasoning
    assert found.asked["action_consistency"] == found.asked["noise_stability"] == -(-STEPS // EVERY_STEPS)
    rows = {row["measure"]: row for row in found.rows()}
    assert rows.keys() == MEASURES.keys()
    for row in rows.values():
        low, high = row["interval"]
        assert 0 <= row["yes"] <= row["asked"]
        assert row["share"] is None or low <= row["share"] <= high
    assert rows["action_consistency"]["share"] >= 0.5
    show_faithfulness({"scenarios": "cut-in", "measures": found.rows()})
    assert "noise_stability" in capsys.readouterr().out


def test_a_driver_without_words_is_refused() -> None:
    for name in ("idm", "tiny-without-words"):
        with pytest.raises(InputError, match="no words to question"):
            faithfulness(make_driver(name), [SuiteEntry.drawn("cut-in", 5013)])
    with pytest.raises(InputError, match="no scenario"):
        faithfulness(make_driver("tiny"), [])


def test_the_command_names_an_unknown_family() -> None:
    result = CliRunner().invoke(app, ["faithfulness", "--family", "cut-inn"])
    assert result.exit_code != 0
    assert "cut-in" in str(result.exception)
