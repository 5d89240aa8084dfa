"""Rules on plans, and known faults of other validators."""

import json
from dataclasses import replace

import numpy as np
import pytest

from alpamayo.validator import CORE_RULES, PLAN_RULES, RULES, score_plans, verdict_from_json
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_sim.prediction.trajectories import AgentTrajectories


def rule(scene, plan, name, **kwargs):
    truth = testing.ground_truth_at(scene)
    verdict = score_plans(scene, plan[None], 0.0, truth=truth, **kwargs)
    return verdict.rules[name]


def collision(scene, plan, **kwargs):
    return rule(scene, plan, "at_fault_collision", **kwargs)


def test_free_road_is_perfect_and_lists_its_parts():
    scene = testing.scene()
    verdict = score_plans(
        scene,
        testing.plan(13.0)[None],
        0.0,
        truth=testing.ground_truth_at(testing.scene(ego=testing.moving("ego", 0.0, 0.0, 13.0))),
    )
    score = verdict.scores["pdms"]
    assert score.value[0] == pytest.approx(1.0, abs=0.05)
    assert set(score.parts) == set(CORE_RULES)
    assert score.missing == ((),)
    assert not any(result.violated[0] for result in verdict.rules.values())


def test_collision_with_a_stopped_car():
    result = collision(testing.scene(testing.standing("lead", 30.0, 0.0)), testing.plan(10.0))
    assert result.value[0] == 0.0
    assert result.violated[0]
    # bumper to bumper 30 - 4.8 = 25.2 m at 10 m/s
    assert result.violation_time[0] == pytest.approx(2.6)
    assert result.margin[0] < 0.0
    assert "lead" in result.reasons[0]


def test_margin_is_the_least_clearance():
    result = collision(testing.scene(testing.standing("parked", 20.0, 2.5)), testing.plan(10.0))
    assert result.value[0] == 1.0
    assert result.margin[0] == pytest.approx(0.5, abs=1e-5)
    far = collision(testing.scene(testing.standing("parked", 20.0, 30.0)), testing.plan(10.0))
    assert far.margin[0] == 5.0


def test_props_cost_half():
    result = collision(testing.scene(props=[testing.prop("cone", 20.0, 0.0, size=(0.5, 0.5, 0.8))]), testing.plan(10.0))
    assert result.value[0] == 0.5
    assert result.violated[0]


def test_stopped_ego_is_not_at_fault():
    for x, y, heading in ((-30.0, 0.0, 0.0), (30.0, 0.0, np.pi), (0.0, -20.0, np.pi / 2)):
        scene = testing.scene(testing.moving("other", x, y, 12.0, heading), ego=testing.standing("ego", 0.0, 0.0))
        result = collision(scene, testing.plan(0.0))
        assert result.value[0] == 1.0, (x, y)
        assert not result.violated[0]
        assert result.margin[0] > 0.0
        assert "ego stopped" in result.reasons[0]


def test_contact_from_behind_is_not_at_fault():
    result = collision(testing.scene(testing.moving("fast", -15.0, 0.0, 25.0)), testing.plan(10.0))
    assert not result.violated[0]
    assert "ego rear" in result.reasons[0]


def test_all_simultaneous_contacts_count():
    """AlpaSim keeps only the last of several overlapping agents in a step; the ego would not be at fault here."""
    behind = testing.moving("a", -10.0, 0.0, 20.0)
    ahead = testing.standing("b", 10.0, 0.0)
    for order in ((behind, ahead), (ahead, behind)):
        result = collision(testing.scene(*order), testing.plan(10.0))
        assert result.violated[0]
        assert "'a'" in result.reasons[0]
        assert "'b'" in result.reasons[0]


def test_two_contacts_in_the_very_same_step():
    left = testing.standing("left", 12.0, 1.4)
    right = testing.standing("right", 12.0, -1.4, category=Category.DEBRIS, size=(4.8, 1.0, 1.0))
    for order in ((left, right), (right, left)):
        result = collision(testing.scene(*order), testing.plan(10.0))
        assert result.value[0] == 0.0  # the car's 0, not the debris' 0.5
        assert result.reasons[0].count("stopped") == 2


def test_side_contact_is_the_fault_of_the_vehicle_that_left_its_lane():
    adjacent = testing.moving("adjacent", 1.0, 3.5, 10.0)
    swerve = collision(testing.scene(adjacent), testing.plan(10.0, lateral=3.0))
    assert swerve.violated[0]
    drifting = testing.moving("drifting", -2.0, 2.6, 10.0, -0.05)
    keeps = collision(testing.scene(drifting), testing.plan(10.0))
    assert "side" in keeps.reasons[0] or "behind" in keeps.reasons[0]
    assert not keeps.violated[0]


def test_side_contact_without_lanes_counts_against_the_ego():
    scene = testing.scene(testing.moving("drifting", 0.0, 2.6, 10.0, -0.05))
    bare = replace(scene, road_map=testing.two_way_road(0))
    assert collision(bare, testing.plan(10.0)).violated[0]


def test_fast_front_contact_is_no_side_contact():
    """At 30 m/s the front is 3 m past a thin pedestrian after 0.1 s; the contact is of the front."""
    size = (0.4, 0.4, 1.7)
    for x in np.arange(20.0, 23.0, 0.25):
        walker = testing.standing("walker", float(x), 0.0, category=Category.PEDESTRIAN, size=size)
        walker = replace(walker, velocity=np.full_like(walker.velocity, 0.1))
        scene = testing.scene(walker, ego=testing.moving("ego", 0.0, 0.0, 30.0))
        result = collision(scene, testing.plan(30.0))
        assert result.violated[0]
        assert "front" in result.reasons[0]


def test_overlap_from_the_start_is_ignored():
    scene = testing.scene(testing.standing("ghost", 1.0, 0.0), testing.standing("lead", 30.0, 0.0))
    result = collision(scene, testing.plan(10.0))
    assert "ghost" not in result.reasons[0]
    assert "lead" in result.reasons[0]


def test_absent_rows_do_not_collide():
    """Padding of an absent track lies at the origin, where the ego is (WOD issue 701)."""
    scene = testing.scene()
    steps = 65
    traffic = AgentTrajectories(
        ids=("padded",),
        category=np.array([1], np.int8),
        pose=np.zeros((1, steps, 3)),
        velocity=np.zeros((1, steps, 2)),
        size=np.array([[4.8, 2.0]]),
        valid=np.zeros((1, steps), bool),
    )
    traffic.valid[0, :0] = True
    result = collision(scene, testing.plan(0.1), forecast=traffic)
    assert result.value[0] == 1.0
    assert result.margin[0] == 5.0


def test_wholly_off_road_is_off_road():
    """AlpaSim tests whether the box touches the road edge; a box far outside touches no edge."""
    scene = testing.scene(ego=testing.moving("ego", 0.0, -30.0, 10.0))
    result = rule(scene, testing.plan(10.0), "drivable_area")
    assert result.value[0] == 0.0
    assert result.violation_time[0] == 0.0
    assert result.margin[0] == pytest.approx(-(30.0 + 1.0 - 1.75), abs=0.01)


def test_drivable_margin_is_that_of_the_outermost_corner():
    inside = rule(testing.scene(), testing.plan(10.0), "drivable_area")
    assert inside.margin[0] == pytest.approx(0.75, abs=1e-5)
    out = rule(testing.scene(), testing.plan(10.0, lateral=-1.0), "drivable_area")
    assert out.margin[0] == pytest.approx(-0.25, abs=0.05)
    assert 0.0 < out.violation_time[0] < 4.0


def test_headings_may_wrap():
    """On a road to the west, headings lie on both sides of ±pi; so do plans and predictions."""
    plan = testing.plan(10.0)
    for turns in (-1, 1, 3):
        turned = plan + np.array([0, 0, 2 * np.pi * turns, 0], np.float32)
        here, there = (
            score_plans(testing.scene(), p[None], 0.0, truth=testing.ground_truth_at(testing.scene()))
            for p in (plan, turned)
        )
        for name in PLAN_RULES:
            a, b = there.rules[name], here.rules[name]
            assert np.array_equal(a.value, b.value, equal_nan=True), name
            assert a.margin == pytest.approx(b.margin, abs=1e-4, nan_ok=True), name


def test_time_to_collision_needs_0_95_seconds():
    # closing at 5 m/s: the gap of 25.2 m is 0.95 s away after about 4.1 s
    scene = testing.scene(testing.moving("lead", 22.0, 0.0, 5.0))
    near = rule(scene, testing.plan(10.0), "time_to_collision")
    assert near.value[0] == 0.0
    assert near.violation_time[0] == pytest.approx((22.0 - 4.8) / 5.0 - 0.9, abs=0.11)
    far = rule(testing.scene(testing.moving("lead", 40.0, 0.0, 8.0)), testing.plan(10.0), "time_to_collision")
    assert far.value[0] == 1.0
    assert far.margin[0] == pytest.approx(3.0 - 0.95)


def test_time_to_collision_ignores_agents_behind_and_to_the_side():
    behind = testing.moving("behind", -9.0, 0.0, 16.0)
    oncoming = testing.moving("oncoming", 70.0, 3.5, 10.0, np.pi)
    result = rule(testing.scene(behind, oncoming), testing.plan(10.0), "time_to_collision")
    assert result.value[0] == 1.0


def test_progress_is_measured_against_what_was_possible():
    scene = testing.scene()
    truth = testing.ground_truth_at(scene)
    plans = np.stack([testing.plan(10.0, 1.0), testing.plan(10.0), testing.plan(10.0, -5.0)])
    result = score_plans(scene, plans, 0.0, truth=truth).rules["progress"]
    assert result.value[0] > result.value[1] > result.value[2]
    alone = score_plans(
        testing.scene(ego=testing.standing("ego", 0.0, 0.0)),
        testing.plan(0.0)[None],
        0.0,
        truth=testing.ground_truth_at(testing.scene(ego=testing.standing("ego", 0.0, 0.0))),
    )
    assert alone.rules["progress"].value[0] == 0.0  # standing on a free road is not perfect by default
    blocked = testing.scene(testing.standing("wall", 5.5, 0.0), ego=testing.standing("ego", 0.0, 0.0))
    waits = score_plans(blocked, testing.plan(0.0)[None], 0.0, truth=testing.ground_truth_at(blocked))
    assert waits.rules["progress"].value[0] == 1.0


def test_comfort_of_plans():
    assert rule(testing.scene(), testing.plan(10.0, -2.0), "comfort").value[0] == 1.0
    hard = rule(testing.scene(), testing.plan(10.0, -5.0), "comfort")
    assert hard.value[0] == 0.0
    assert "longitudinal" in hard.reasons[0]
    jump = rule(testing.scene(), testing.plan(0.0), "comfort")  # from 10 m/s to rest at once
    assert jump.value[0] == 0.0


def test_a_rule_without_its_input_is_not_applicable():
    scene = testing.scene(road_map=testing.two_way_road(0, area=False), route=None)
    verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene))
    for name in ("drivable_area", "progress"):
        result = verdict.rules[name]
        assert not result.valid[0]
        assert np.isnan(result.value[0])
        assert not result.violated[0]
    score = verdict.scores["pdms"]
    assert score.missing == (("drivable_area", "progress"),)
    assert score.value[0] == 1.0
    assert verdict.table()[1]["value"] is None


def test_a_rule_that_raises_is_a_failure():
    def broken(motions):
        raise ZeroDivisionError("nothing to divide")

    scene = testing.scene()
    rules = {**RULES, "drivable_area": replace(RULES["drivable_area"], evaluate=broken)}
    verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene), rules=rules)
    result = verdict.rules["drivable_area"]
    assert result.violated[0]
    assert result.value[0] == 0.0
    assert "ZeroDivisionError" in result.reasons[0]
    assert verdict.scores["pdms"].value[0] == 0.0


def test_verdicts_survive_json():
    scene = testing.scene(testing.standing("lead", 30.0, 0.0), route=None)
    plans = np.stack([testing.plan(10.0), testing.plan(10.0, -3.0)])
    verdict = score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene))
    text = json.dumps(verdict.to_json(), allow_nan=False)
    again = verdict_from_json(json.loads(text))
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert again.rules["at_fault_collision"].reasons == verdict.rules["at_fault_collision"].reasons
    assert set(verdict.timeline(1)) >= {"at_fault_collision", "drivable_area", "time_to_collision", "comfort"}


def test_without_truth_the_recording_is_the_future():
    scene = testing.scene(testing.moving("lead", 30.0, 0.0, 4.0))
    verdict = score_plans(scene, testing.plan(10.0)[None], 1.0)
    # at 1 s the gap is 30 + 4 - 10 - 4.8 m
    assert verdict.rules["at_fault_collision"].violation_time[0] == pytest.approx(19.2 / 6.0, abs=0.11)


def test_k_plans_are_judged_like_single_plans():
    rng = np.random.default_rng(0)
    tracks = [
        testing.moving(f"a{i}", rng.uniform(-40, 90), rng.uniform(-6, 8), rng.uniform(0, 12), rng.uniform(-3, 3))
        for i in range(30)
    ]
    scene = testing.scene(*tracks)
    truth = testing.ground_truth_at(scene)
    plans = np.stack([testing.plan(10.0, rng.uniform(-4, 1), lateral=rng.uniform(-2, 3)) for _ in range(12)])
    together = score_plans(scene, plans, 0.0, truth=truth)
    for k, plan in enumerate(plans):
        alone = score_plans(scene, plan[None], 0.0, truth=truth)
        for name in ("at_fault_collision", "drivable_area", "time_to_collision", "comfort"):
            assert alone.rules[name].value[0] == together.rules[name].value[k]
            assert alone.rules[name].margin[0] == pytest.approx(together.rules[name].margin[k], abs=1e-9)


@pytest.mark.parametrize(
    "plans",
    [
        np.zeros((0, 64, 4), np.float32),
        np.zeros((2, 63, 4), np.float32),
        np.zeros((64, 4), np.float32),
        np.full((1, 64, 4), np.nan, np.float32),
        np.full((1, 64, 4), np.inf, np.float32),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_bad_plans_are_errors(plans):
    scene = testing.scene()
    with pytest.raises(InputError, match="plans"):
        score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene))


@pytest.mark.parametrize("kwargs", [{"t": x} for x in (99.0, -1.0, np.nan)] + [{"horizon": x} for x in (9, 0, np.inf)])
def test_bad_times_are_errors(kwargs):
    with pytest.raises(InputError):
        score_plans(testing.scene(), testing.plan(1.0)[None], **{"t": 0.0, **kwargs})


def test_plans_with_another_time_step_than_the_recording_are_errors():
    scene = replace(testing.scene(), dt=0.2)
    with pytest.raises(InputError, match=r"steps of 0\.2 s, plans 0\.1 s"):
        score_plans(scene, testing.plan(1.0)[None], 0.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_input_is_an_error_and_never_perfect(value):
    scene = testing.scene()
    truth, plans = testing.ground_truth_at(scene), testing.plan(10.0)[None]
    for bad in ({"ego_pose": np.float32([0, value, 0])}, {"ego_speed": value}, {"ego_size": np.float32([value, 2, 1])}):
        with pytest.raises(InputError, match="truth"):
            score_plans(scene, plans, 0.0, truth=replace(truth, **bad))
    with pytest.raises(InputError, match="reference"):
        score_plans(scene, plans, 0.0, truth=truth, reference=value)


def test_rss_names_the_agent():
    """Of two agents ahead only the one in the ego's lane is dangerous; the one in the next lane is not."""
    scene = testing.scene(testing.moving("adjacent", 14.0, 3.5, 10.0), testing.moving("lead", 14.0, 0.0, 2.0))
    plans = np.stack([testing.plan(10.0), testing.plan(10.0, -8.0)])
    found = score_plans(scene, plans, 0.0, truth=testing.ground_truth_at(scene)).rules["rss"]
    assert found.violated.tolist() == [True, False]
    assert found.reasons[0].startswith("no proper response to a dangerous situation with 'lead' at ")
    assert found.reasons[1] == "proper response to all dangerous situations, the worst with 'lead'"
    alone = testing.scene(testing.moving("adjacent", 14.0, 3.5, 10.0))
    assert (
        score_plans(alone, plans, 0.0, truth=testing.ground_truth_at(alone))
        .rules["rss"]
        .reasons[0]
        .startswith("safe by ")
    )
