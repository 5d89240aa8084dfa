"""Scores: formulas, filters, and no perfect score by default."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.evaluation import statistics
from alpamayo.validator import RULES, scores
from alpamayo_sim.errors import InputError

PERFECT = dict.fromkeys(("NC", "DAC", "DDC", "TLC", "EP", "TTC", "LK", "HC", "EC"), 1.0)


def test_pdms_formula():
    parts = {"NC": 0.5, "DAC": 1.0, "EP": 0.8, "TTC": 1.0, "C": 0.0}
    assert scores.pdms(parts) == pytest.approx(0.5 * (5 * 0.8 + 5) / 12)
    same = {
        "at_fault_collision": 0.5,
        "drivable_area": 1.0,
        "progress": 0.8,
        "time_to_collision": 1.0,
        "comfort": 0.0,
    }
    assert scores.pdms(same) == scores.pdms(parts)
    long = {
        "no_at_fault_collisions": 0.5,
        "drivable_area_compliance": 1.0,
        "ego_progress": 0.8,
        "time_to_collision_within_bound": 1.0,
        "history_comfort": 0.0,
    }
    assert scores.pdms(long) == scores.pdms(parts)


def test_epdms_formula():
    for name, weight in (("EP", 5), ("TTC", 5), ("LK", 2), ("HC", 2), ("EC", 2)):
        assert scores.epdms({**PERFECT, name: 0.0}) == pytest.approx(1 - weight / 16)
    for name in ("NC", "DAC", "DDC", "TLC"):
        assert scores.epdms({**PERFECT, name: 0.0}) == 0.0
    assert scores.epdms({**PERFECT, "DDC": 0.5}) == 0.5


def test_the_human_filter_fires_on_exact_zero_alone_and_reaches_the_score():
    agent = {**PERFECT, "DAC": 0.0, "LK": 0.0}
    assert scores.epdms(agent) == 0.0
    assert scores.epdms(agent, {**PERFECT, "DAC": 0.0}) == pytest.approx(14 / 16)
    assert scores.epdms(agent, {**PERFECT, "DAC": 0.5}) == 0.0
    # navsim issue 151: all sub-scores 1 after the filter, yet a score of 0
    assert scores.epdms(agent, {**PERFECT, "DAC": 0.0, "LK": 0.0}) == 1.0
    missing = {name: value for name, value in agent.items() if name != "DAC"}
    assert scores.epdms(missing, {**PERFECT, "DAC": 0.0}) == scores.epdms(missing)


def test_two_stages():
    assert scores.two_stage(0.8, np.array([1.0, 0.0]), np.array([0.0, 5.0])) == pytest.approx(0.8)
    assert scores.two_stage(0.8, np.array([1.0, 0.5]), np.array([99.0, 99.0])) == pytest.approx(0.6)
    near = np.exp(-0.01 / 0.2)
    assert scores.two_stage(1.0, np.array([0.2, 1.0]), np.array([0.0, 0.1])) == pytest.approx((0.2 + near) / (1 + near))
    with pytest.raises(InputError):
        scores.two_stage(1.0, np.zeros(0), np.zeros(0))


def test_nuplan_formula():
    parts = {"NC": 1, "DAC": 1, "MP": 1, "DDC": 1, "progress": 0.5, "TTC": 1, "speed_limit": 0.75, "comfort": 1}
    assert scores.nuplan_cls(parts) == pytest.approx((2.5 + 5 + 3 + 2) / 16)
    assert scores.nuplan_cls({**parts, "MP": 0}) == 0.0
    assert scores.nuplan_cls({**parts, "DAC": 0}) == 0.0
    assert scores.nuplan_cls({**parts, "DAC": 0, "drivable_area_nuplan": 1}) == scores.nuplan_cls(parts)


@given(st.lists(st.sampled_from(["NC", "DAC", "EP", "TTC", "C"]), unique=True))
def test_a_missing_part_is_left_out_with_its_weight(names):
    parts = dict.fromkeys(names, 1.0)
    value = scores.pdms(parts)
    assert np.isnan(value) if not names else value == 1.0
    assert np.array_equal(
        scores.pdms({**parts, **dict.fromkeys({"NC", "DAC"} - set(names), np.nan)}), value, equal_nan=True
    )


def test_nothing_judged_is_not_perfect():
    for score in (scores.pdms, scores.epdms, scores.nuplan_cls, scores.alpamayo_score):
        assert np.isnan(score({}))
        assert np.isnan(score({"EP": np.nan}))


def test_batches():
    parts = {"NC": np.array([1.0, 0.0, np.nan]), "EP": np.array([0.5, 1.0, 1.0]), "TTC": 1.0}
    assert scores.pdms(parts).tolist() == [0.75, 0.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.integers(0, 4), st.floats(0, 1))
def test_no_score_falls_when_a_part_rises(values, which, more):
    names = ["NC", "DAC", "EP", "TTC", "C"]
    low = dict(zip(names, values, strict=True))
    high = {**low, names[which]: max(more, low[names[which]])}
    assert scores.pdms(high) >= scores.pdms(low) - 1e-12


def test_bad_parts_are_errors():
    with pytest.raises(InputError, match="progress"):
        scores.pdms({"progres": 1.0})
    with pytest.raises(InputError, match="outside"):
        scores.pdms({"progress": 1.5})


def test_alpasim_scene_score():
    def score(collision, offroad, progress, recorded):
        kwargs = {"collision_at_fault": collision, "offroad": offroad}
        return float(scores.alpasim_scene_score(**kwargs, progress=progress, gt_distance=recorded))

    assert score(True, False, 1.0, 0.0) == 0.0
    assert score(False, True, 1.0, 0.0) == 0.0
    assert score(False, False, 0.1, 4.9) == 1.0
    today = {"collision_at_fault": False, "offroad": False, "progress": 1.0, "gt_distance": 9.0}
    assert [float(scores.alpasim_scene_score(**today, left_corridor=left)) for left in (False, True)] == [1.0, 0.0]
    assert score(False, False, 0.4, 9.0) == 0.5
    assert score(False, False, 0.9, 9.0) == 1.0
    assert score(False, False, 0.2, 6.0) == pytest.approx(0.25)
    with pytest.raises(InputError, match="progress nan"):
        score(False, False, np.nan, 9.0)


def test_kilometres_per_incident_are_defined_without_incidents():
    none = statistics.kilometres_per_incident(12.0, 0)
    assert none.value == none.high == np.inf
    assert none.low == pytest.approx(12.0 / -np.log(0.025))
    some = statistics.kilometres_per_incident(12.0, 3)
    assert some.low < some.value == 4.0 < some.high


def direct_rater_feedback(plan, raters, labels, speed, hz):
    """Compute the definition, number by number."""
    scale = min(max(0.5 + 0.5 * (speed - 1.4) / 9.6, 0.5), 1.0)
    totals, inside = [], False
    table = {}
    for r, (rated, label) in enumerate(zip(raters, labels, strict=True)):
        for t, base in ((3, 1.0), (5, 1.8)):
            i = t * hz - 1
            j = i
            before = rated[j - 1] if j else np.zeros(2)
            while j and np.array_equal(rated[j], before):
                j -= 1
                before = rated[j - 1] if j else np.zeros(2)
            step = rated[j] - before
            u = step / np.linalg.norm(step) if np.linalg.norm(step) else np.array([1.0, 0.0])
            off = plan[i] - rated[i]
            q = max(abs(off @ u) / (4 * base * scale), abs(off @ np.array([-u[1], u[0]])) / (base * scale))
            table[r, t] = q, label * 0.1 ** max(q - 1, 0)
        inside |= table[r, 3][0] <= 1 and table[r, 5][0] <= 1
    for t in (3, 5):
        totals.append(max(table[r, t][1] for r in range(len(raters))))
    score = sum(totals) / 2
    return score if inside else max(score, 4.0)


def test_rater_feedback():
    rng = np.random.default_rng(0)
    for _ in range(300):
        speed = rng.uniform(0, 15)
        t = np.arange(1, 21) / 4
        raters = np.stack(
            [np.column_stack([speed * t * rng.uniform(0.5, 1), rng.normal(0, 0.3) * t]) for _ in range(3)]
        )
        plan = raters[0] + rng.normal(0, 1.5, (20, 2))
        labels = rng.uniform(0, 10, 3)
        ours = scores.rater_feedback(plan, raters, labels, speed)
        assert ours == pytest.approx(direct_rater_feedback(plan, raters, labels, speed, 4))
    still = np.zeros((3, 20, 2))
    assert scores.rater_feedback(np.zeros((20, 2)), still, np.full(3, 10.0), 0.0) == 10.0
    assert scores.rater_feedback(np.full((20, 2), 50.0), still, np.full(3, 10.0), 0.0) == 4.0
    with pytest.raises(InputError):
        scores.rater_feedback(np.zeros((19, 2)), still, np.full(3, 10.0), 0.0)


def test_rater_feedback_of_several_predictions_and_other_rates():
    raters = np.zeros((1, 50, 2))
    plans = np.stack([np.zeros((50, 2)), np.full((50, 2), 50.0)])
    score = scores.rater_feedback(
        plans, raters, np.array([10.0]), 0.0, frequency=10.0, probabilities=np.array([0.75, 0.25])
    )
    assert score == pytest.approx(0.75 * 10 + 0.25 * 4)


def test_bench2drive():
    assert scores.bench2drive(100.0, {}) == 100.0
    assert scores.bench2drive(50.0, {"collision_vehicle": 2, "red_light": 1}, 0.1) == pytest.approx(
        50 * 0.9 * 0.36 * 0.7
    )
    assert scores.bench2drive_success(100.0, {"red_light": 0})
    assert not scores.bench2drive_success(100.0, {"red_light": 1})
    assert not scores.bench2drive_success(99.0, {})
    assert scores.bench2drive_success(100.0, {"min_speed": 3})
    assert scores.bench2drive(100.0, {"min_speed": 3}) == 100.0
    for score in (scores.bench2drive, scores.bench2drive_success):
        with pytest.raises(InputError, match="red_light"):
            score(100.0, {"red": 1})
        with pytest.raises(InputError, match="negative"):
            score(100.0, {"red_light": -1})


def test_aliases_are_not_used_twice():
    names = list(itertools.chain.from_iterable((rule.name, *rule.aliases) for rule in RULES.values()))
    assert len(names) == len(set(names))
