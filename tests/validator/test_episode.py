"""Episodes: the same verdict from the record, and rules on their decisions."""

from dataclasses import replace

import numpy as np
import pytest
from validator_episodes import KEEP, episode_of

from alpamayo.validator import episode_scores, reasoning, score_episode, scores
from alpamayo.validator.rules.extended_comfort import extended_comfort
from alpamayo_sim import testing
from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError


def test_an_uneventful_drive():
    verdict = score_episode(episode_of(testing.scene()))
    assert verdict.count == 1
    assert not [name for name, rule in verdict.rules.items() if rule.error]
    assert not verdict.rules["at_fault_collision"].violated[0]
    assert verdict.rules["extended_comfort"].value[0] == 1.0
    assert verdict.rules["reasoning"].value[0] == 1.0
    assert 0.5 < verdict.scores["pdms"].value[0] <= 1.0  # 30 of the 100 m of the goal
    assert set(verdict.scores) == set(scores.FORMULAS) | set(episode_scores.EPISODE_SCORES)


def test_the_collision_of_an_episode():
    verdict = score_episode(episode_of(testing.scene(testing.standing("wall", 25.0, 0.0))))
    rule = verdict.rules["at_fault_collision"]
    assert rule.violated[0]
    assert rule.violation_time[0] == pytest.approx(2.1)
    assert verdict.scores["alpamayo_score"].value[0] == 0.0


def test_an_episode_without_steps_is_an_error():
    empty = episode_of(testing.scene(), steps=0)
    with pytest.raises(InputError, match="no steps"):
        score_episode(empty)


def test_a_plan_that_contradicts_its_reasoning_is_found():
    """AlpaSim issue 20: the reasoning contradicts the trajectory."""
    for says in (
        Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_CHANGE),
        Reasoning(Longitudinal.STOP_STATIC, Lateral.LANE_KEEPING),
        Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.TURN),
    ):
        rule = score_episode(episode_of(testing.scene(), says=says)).rules["reasoning"]
        assert rule.value[0] == 0.0, says
        assert rule.violated[0]
        assert rule.margin[0] < 0.0


@pytest.mark.parametrize("component", ["absent", "elsewhere", "hidden"])
def test_a_wrong_component_has_a_negative_margin(component):
    scene = testing.scene(
        testing.standing("van", 20.0, 3.5), testing.standing("hidden", 32.0, 5.6, size=(4.0, 1.6, 1.4))
    )
    named = {
        "absent": Component(ComponentKind.OBJECT, Category.PEDESTRIAN, (10.0, 0.0)),
        "elsewhere": car(60.0, 20.0, id="van"),
        "hidden": car(32.0, 5.6, id="hidden"),
    }[component]
    says = replace(KEEP, components=(named,))
    result = score_episode(episode_of(scene, steps=5, says=says)).rules["reasoning"]
    assert result.value[0] == 0.0
    assert result.violated[0]
    assert result.margin[0] < 0.0
    assert "a named component" in result.reasons[0]


def reasons_of(scene, says, steps=5, **values):
    """Return the result of the rule for a drive at 10 m/s whose decisions all say the same."""
    return score_episode(episode_of(scene, steps=steps, says=says, **values)).rules["reasoning"]


def test_a_cause_has_to_be_in_the_way():
    scene = testing.scene(testing.standing("van", 25.0, 0.0), testing.standing("aside", 20.0, 3.5))
    ahead, aside = (
        replace(KEEP, components=(car(*at, id=name),)) for name, at in (("van", (25, 0)), ("aside", (20, 3.5)))
    )
    assert reasons_of(scene, ahead).value[0] == 1.0
    wrong = reasons_of(scene, aside)
    assert wrong.value[0] == 0.0
    assert "is not in the way" in wrong.reasons[0]


def test_silence_about_what_is_in_the_way_is_no_consistent_reasoning():
    silent = reasons_of(testing.scene(testing.standing("wall", 25.0, 0.0)), KEEP)
    assert silent.value[0] == 0.0
    assert silent.margin[0] < 0.0
    assert "'wall' is in the way" in silent.reasons[0]
    assert reasons_of(testing.scene(testing.standing("wall", 60.0, 0.0)), KEEP).value[0] == 1.0  # six seconds away
    behind = testing.moving("behind", -12.0, 0.0, speed=25.0)
    assert reasons_of(testing.scene(behind), KEEP).value[0] == 1.0


def test_a_bridge_above_is_not_in_the_way():
    episode = episode_of(testing.scene(testing.standing("above", 25.0, 0.0)), steps=5)
    levels = {"ego_elevation": np.zeros(6, np.float32), "agent_elevation": np.full((6, 1), 6.0, np.float32)}
    assert score_episode(replace(episode, **levels)).rules["reasoning"].value[0] == 1.0
    levels["agent_elevation"] = np.zeros((6, 1), np.float32)
    assert score_episode(replace(episode, **levels)).rules["reasoning"].value[0] == 0.0


def test_a_driver_that_waits_names_what_it_waits_for():
    stands = Reasoning(Longitudinal.STOP_STATIC, Lateral.LANE_KEEPING)
    scene = testing.scene(testing.standing("wall", 8.0, 0.0))
    halt = {"speed": 0.0, "plan": testing.plan(0.0)}
    assert reasons_of(scene, replace(stands, components=(car(8.0, 0.0),)), **halt).value[0] == 1.0
    assert reasons_of(scene, stands, **halt).value[0] == 0.0
    assert (
        reasons_of(scene, replace(KEEP, components=(car(8.0, 0.0),)), **halt).value[0] == 0.0
    )  # it keeps no set speed


def test_steps_without_a_reasoning_count_if_there_are_others():
    episode = episode_of(testing.scene(), steps=5)
    some = score_episode(replace(episode, reasoning=(*episode.reasoning[:4], None))).rules["reasoning"]
    assert some.value[0] == pytest.approx(0.8)
    assert "the driver is silent at 0.4 s" in some.reasons[0]
    assert not score_episode(replace(episode, reasoning=(None,) * 5)).rules["reasoning"].valid[0]


@pytest.mark.parametrize(
    ("motion", "speed", "heading", "fits"),
    [
        (Motion.STATIC, 0.0, 0.0, True),
        (Motion.STATIC, 5.0, 0.0, False),
        (Motion.ONCOMING, 5.0, np.pi, True),
        (Motion.ONCOMING, 5.0, 0.0, False),
        (Motion.CROSSING_FROM_LEFT, 5.0, -0.5 * np.pi, True),
        (Motion.CROSSING_FROM_RIGHT, 5.0, -0.5 * np.pi, False),
        (Motion.SAME_DIRECTION, 0.0, 0.0, False),
        (Motion.UNKNOWN, 5.0, 1.0, True),
    ],
)
def test_a_component_has_to_move_as_stated(motion, speed, heading, fits):
    other = testing.moving("other", 25.0, 0.0, speed=speed, heading=heading)
    truth = testing.ground_truth_at(testing.scene(other))
    assert reasoning.check_component(car(25.0, 0.0, motion=motion), truth).fits == fits


@pytest.mark.parametrize(
    ("longitudinal", "lateral", "plan"),
    [
        (Longitudinal.STOP_STATIC, Lateral.LANE_KEEPING, {"acceleration": -3.0}),
        (Longitudinal.YIELD, Lateral.LANE_KEEPING, {"acceleration": -1.0}),
        (Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_CHANGE, {"lateral": 3.5}),
        (Longitudinal.PASSING, Lateral.OUT_OF_LANE_NUDGE, {"lateral": 2.0}),
        (Longitudinal.LEAD_FOLLOWING, Lateral.IN_LANE_NUDGE, {"lateral": 0.6}),
        (Longitudinal.NONE, Lateral.NONE, {"acceleration": 2.0}),
    ],
)
def test_a_reasoning_that_describes_the_plan_is_consistent(longitudinal, lateral, plan):
    truth = testing.ground_truth_at(testing.scene())
    assert reasoning.check(Reasoning(longitudinal, lateral), testing.plan(10.0, **plan), truth).consistent


def car(x, y, **kwargs):
    return Component(ComponentKind.OBJECT, Category.VEHICLE, (x, y), **kwargs)


def test_components_are_compared_with_the_scene():
    scene = testing.scene(
        testing.standing("van", 20.0, 0.0),
        testing.standing("behind it", 35.0, 0.0),
        testing.standing("side", 30.0, 3.5),
    )
    truth = testing.ground_truth_at(scene)

    def check(component):
        return reasoning.check_component(component, truth)

    assert check(car(20.0, 0.0)).visible
    assert check(car(22.0, 1.0)).placed
    assert not check(car(60.0, 20.0)).placed
    assert not check(car(20.0, 0.0, id="absent")).exists
    hidden = check(car(35.0, 0.0, id="behind it"))
    assert hidden.exists
    assert hidden.placed
    assert hidden.visible is False
    assert check(car(30.0, 3.5, id="side")).visible
    child = Component(ComponentKind.OBJECT, Category.PEDESTRIAN, (10.0, 0.0))
    assert not check(child).exists
    assert not check(Component(ComponentKind.TRAFFIC_LIGHT)).exists
    assert check(Component(ComponentKind.ROUTE)).exists


def test_low_things_hide_nothing():
    low = testing.prop("debris", 15.0, 0.0, size=(1.0, 1.8, 0.4))
    high = testing.prop("container", 15.0, 0.0, size=(1.0, 2.5, 2.5))
    van = testing.standing("van", 40.0, 0.0)
    for prop, seen in ((low, True), (high, False)):
        truth = testing.ground_truth_at(testing.scene(van, props=[prop]))
        assert reasoning.visible(truth, np.array([0]))[0] == seen


def test_absent_agents_are_ignored():
    truth = testing.ground_truth_at(testing.scene(testing.standing("van", 20.0, 0.0)))
    agents = truth.agents
    gone = Agents(agents.ids, agents.category, agents.pose, agents.velocity, agents.size, np.zeros(1, bool))
    assert not reasoning.check_component(car(20.0, 0.0), replace(truth, agents=gone)).exists


def test_inconsistent_successive_plans_are_not_comfortable():
    steady = episode_of(testing.scene())
    executed = steady.executed.copy()
    executed[5:10] = testing.plan(10.0, -2.0)
    verdict = score_episode(replace(steady, executed=executed))
    assert verdict.rules["extended_comfort"].value[0] < 1.0
    assert verdict.rules["extended_comfort"].violation_time[0] == pytest.approx(0.5)


def test_extended_comfort_filters_the_yaw_acceleration_with_parabolas():
    """NAVSIM's order is 2 here and 3 in comfort; they differ only at the ends of a plan."""
    t = 0.1 * np.arange(20)
    straight = np.column_stack([10.0 * t, 0.0 * t, 0.0 * t])
    turning = straight + np.column_stack([0.0 * t, 0.0 * t, 0.01 * t**3])
    rows = [slice(min(max(i - 2, 0), 15), min(max(i - 2, 0), 15) + 5) for i in range(19)]
    fits = [2.0 * np.polyfit(t[row], turning[row, 2], 2)[0] for row in rows]
    found = extended_comfort(straight, turning, 0.1, 0.1)
    assert found["yaw_acceleration"] == pytest.approx(np.sqrt(np.mean(np.square(fits))) / 0.1)
    assert found["acceleration"] < 1.0


@pytest.mark.parametrize("steps", [7, 8, 9, 16, 23, 24, 25, 32])
def test_a_contact_at_the_very_last_step_counts(steps):
    """A crash ends an episode, so most crashes are at its last step."""
    closing, length = 30.0, 4.8
    start = length + 0.1 * closing * steps - 0.5  # half a metre inside at the last step, 2.5 m away the step before
    oncoming = testing.moving("oncoming", start, 0.0, 20.0, np.pi)
    verdict = score_episode(episode_of(testing.scene(oncoming), steps=steps))
    assert verdict.rules["at_fault_collision"].violation_time[0] == pytest.approx(0.1 * steps)
