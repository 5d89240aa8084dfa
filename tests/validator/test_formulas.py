"""Formula rules: judged like the built-in ones, and one clear error for an invalid formula."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from alpamayo.validator import RULES, formulas, score_plans
from alpamayo.validator.formulas import SIGNALS, formula_rule, given_formulas, load_formulas, parse_rule, rules_from
from alpamayo_sim import testing
from alpamayo_sim.errors import InputError


def judged(scene, plan, *texts):
    rules = rules_from([parse_rule(text) for text in texts])
    verdict = score_plans(scene, plan[None], 0.0, truth=testing.ground_truth_at(scene), rules={**RULES, **rules})
    assert not any(rule.error for rule in verdict.rules.values())
    return [verdict.rules[name] for name in rules]


def test_a_rule_has_value_margin_and_first_violation():
    scene = testing.scene(testing.standing("parked", 20.0, 2.5))
    (room,) = judged(scene, testing.plan(10.0), "room=always(clearance > 1.0)")
    assert room.value[0] == 0.0
    assert room.margin[0] == pytest.approx(0.5 - 1.0, abs=1e-6)  # the boxes are 0.5 m apart when side by side
    assert room.violated[0]
    first = (20.0 - 4.8) / 10.0  # the nose reaches it; a little sooner by the corner's distance
    assert first - 0.2 < room.violation_time[0] <= first + 0.1
    assert "clearance" in room.reasons[0]
    (kept,) = judged(scene, testing.plan(10.0), "room=always(clearance > 0.4)")
    assert kept.value[0] == 1.0
    assert kept.margin[0] == pytest.approx(0.1, abs=1e-6)
    assert np.isnan(kept.violation_time[0])


def test_a_formula_without_operators_has_to_hold_always():
    a, b = judged(testing.scene(), testing.plan(10.0, 1.0), "a=speed < 12", "b=always(speed < 12)")
    assert a.margin[0] == b.margin[0] == pytest.approx(12.0 - 14.0)
    assert a.violation_time[0] == b.violation_time[0] == pytest.approx(2.1, abs=0.11)


def test_conjunctions_have_a_first_violation():
    (both,) = judged(testing.scene(), testing.plan(10.0, 1.0), "x=always(speed < 12) and always(time < 1.05)")
    assert both.violation_time[0] == pytest.approx(1.1)


def test_formulas_with_eventually_are_judged_as_a_whole():
    stops, never = judged(
        testing.scene(), testing.plan(8.0, -4.0), "stops=eventually[0, 3](speed < 0.1)", "fast=eventually(speed > 11)"
    )
    assert stops.value[0] == 1.0
    assert never.value[0] == 0.0
    assert never.margin[0] == pytest.approx(-1.0)
    assert never.violation_time[0] == 0.0


def test_all_signals_have_a_series():
    scene = testing.scene(testing.moving("lead", 30.0, 0.0, 8.0))
    found = judged(scene, testing.plan(10.0), *(f"x{i}=always({name} > -1e9)" for i, name in enumerate(SIGNALS)))
    assert all(rule.valid[0] and rule.value[0] == 1.0 for rule in found)
    gap, offset, limit = judged(
        scene,
        testing.plan(10.0),
        "g=always(gap > 0)",
        "o=always(abs(route_offset) < 1)",
        "s=always(speed_limit > 0)",
    )
    assert gap.margin[0] == pytest.approx(25.2 - 4.0 * 2.0, abs=0.01)
    assert offset.margin[0] == pytest.approx(1.0, abs=1e-5)
    assert limit.margin[0] == pytest.approx(13.9, abs=1e-5)


def test_a_missing_signal_makes_a_formula_not_applicable():
    scene = testing.scene(road_map=testing.two_way_road(0, area=False), route=None)
    names = ("road_margin", "lane_offset", "route_offset", "progress", "speed_limit")
    for rule in judged(scene, testing.plan(10.0), *(f"{name}-x=always({name} > -1e9)" for name in names)):
        assert not rule.valid[0]
        assert np.isnan(rule.value[0])


def test_a_formula_without_a_number_fails_as_a_rule():
    scene = testing.scene(ego=testing.standing("ego", 0.0, 0.0))
    rules = rules_from({"bad": "always(speed / speed > 0)"})
    found = score_plans(scene, testing.plan(0.0)[None], 0.0, truth=testing.ground_truth_at(scene), rules=rules).rules[
        "bad"
    ]
    assert found.value[0] == 0.0
    assert "NaN" in found.reasons[0]


@pytest.mark.parametrize(
    "text",
    [
        "", "=", "x", "x=", "=speed > 1", "1x=speed > 1", "x y=speed > 1", "x=spee > 1", "x=always(speed > 1",
        "x=speed > 1)", "x=always[2, 1](speed > 1)", "x=3 > 1", "x=speed > ;", "rss=speed > 1", "reasoning=speed > 1",
        "x=" + "(" * 2000 + "speed > 1" + ")" * 2000, "x=" + "not " * 3000 + "(speed > 1)", "x=" + "-" * 3000 + "x",
        "x=" + "speed > 1 and " * 3000 + "speed > 1", "x=__import__('os')", "x=always", "x=not", "x=speed until",
    ],
)  # fmt: skip
def test_errors_of_invalid_rules_are_one_line(text):
    with pytest.raises(InputError) as caught:
        given_formulas([text])
    assert "\n" not in str(caught.value)


def test_near_names_are_suggested():
    with pytest.raises(InputError, match="did you mean speed"):
        formula_rule("x", "always(sped < 3)")


def test_files(tmp_path):
    toml, good = tmp_path / "rules.toml", 'room = "always(clearance > 0.5)"\nslow = "always(speed < 20)"\n'
    toml.write_text(good)
    (tmp_path / "rules.json").write_text(json.dumps({"room": "always(clearance > 0.5)", "slow": "always(speed < 20)"}))
    assert list(load_formulas(toml)) == list(load_formulas(tmp_path / "rules.json")) == ["room", "slow"]
    for bad in ("", "room = 3", "room", "[a]\nb = 'c'", "room = 'always('", "x = 1\nx = 2"):
        toml.write_text(bad)
        with pytest.raises(InputError, match=r"rules\.toml"):
            load_formulas(toml)
    with pytest.raises(InputError, match="already"):
        given_formulas(["room=speed > 1"], [tmp_path / "rules.json"])
    assert list(given_formulas(["late=time < 9"], [tmp_path / "rules.json"])) == ["room", "slow", "late"]
    with pytest.raises(InputError, match="cannot be read"):
        load_formulas(tmp_path / "none.toml")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json"):
        load_formulas(tmp_path / "deep.json")


def test_names_may_hold_an_equals_sign_in_the_formula():
    assert parse_rule("a = speed == 3") == ("a", "speed == 3")
    assert formulas.NAME.fullmatch("ab-c_1")


def test_the_page_lists_all_signals_and_its_rules_are_rules():
    page = (Path(__file__).parents[2] / "docs" / "validator" / "formulas.md").read_text(encoding="utf-8")
    for name, signal in SIGNALS.items():
        assert f"| `{name}` | {signal.unit} | {signal.description} |" in page
    example = page.split("```toml\n")[1].split("```")[0]
    assert set(rules_from(tomllib.loads(example))) == {"room", "headway", "recovers"}
