"""The text of public objects: one line each, and a small table of HTML that escapes what it shows."""

import dataclasses
from typing import Any

import numpy as np

import alpamayo
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.description import MAX_LINE_CHARACTERS

HOSTILE = "<script>alert(1)</script>\nx"


def public_objects() -> list[Any]:
    scenario = alpamayo.make_scenario("debris", seed=1)
    verdict = alpamayo.score_plans(scenario.scene, np.zeros((1, 64, 4), np.float32), 0)
    plans = np.zeros((3, 64, 4), np.float32)
    hostile = dataclasses.replace(scenario, scene=dataclasses.replace(scenario.scene, id=HOSTILE))
    return [
        scenario,
        scenario.scene,
        scenario.scene.road_map,
        scenario.scene.road_map.lanes[0],
        scenario.scene.tracks[0],
        scenario.scene.route,
        hostile.scene,
        default_rig(),
        default_rig().cameras[0],
        Decision(plans, np.ones(3, np.float32)),
        verdict,
        verdict.scores,
        *verdict.rules.values(),
        *verdict.scores.values(),
    ]


def test_public_objects_fit_a_line() -> None:
    for value in public_objects():
        text = repr(value)
        assert "\n" not in text
        assert len(text) <= 2 * MAX_LINE_CHARACTERS, text
        assert text.startswith(type(value).__name__)


def test_notebooks_show_small_tables_without_foreign_markup() -> None:
    for value in public_objects():
        if hasattr(value, "_repr_html_"):
            shown = value._repr_html_()
            assert shown.startswith("<table>")
            assert len(shown) < 20_000
            assert "<script>" not in shown


def test_what_tells_objects_apart_comes_first() -> None:
    assert repr(alpamayo.make_scenario("debris", seed=1)).startswith("Scenario(family='debris', seed=1, ")
    assert repr(testing.standing("wall", 25.0, 0.0)).startswith("Track(id='wall', ")


def test_scores_are_shown_with_their_values() -> None:
    assert "pdms=[" in repr(public_objects()[11])
