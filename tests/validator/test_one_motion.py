"""A plan is one motion: if positions, speeds and headings disagree, kinematics is broken and the guard refuses it."""

import numpy as np
import pytest

from alpamayo.guard.guard import Guard
from alpamayo.validator import score_plans
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision


def slips():
    plan = testing.plan(10.0)
    plan[:, 1] = 3.0 * 0.1 * np.arange(1, 65)  # 3 m/s to the left while it looks ahead
    plan[:, 3] = np.hypot(10.0, 3.0)
    return plan


def turns_on_the_spot():
    plan = np.zeros((64, 4), np.float32)
    plan[:, 2] = 0.05 * np.arange(1, 65)
    return plan


def brakes_without_its_speeds():
    plan = testing.plan(10.0, -4.0)
    plan[:, 3] = 10.0
    return plan


def has_no_speeds():
    plan = testing.plan(10.0)
    plan[:, 3] = 0.0
    return plan


def stands_with_speeds():
    plan = np.zeros((64, 4), np.float32)
    plan[:, 3] = 10.0
    return plan


CASES = {
    "slips sideways": (slips, 10.0),
    "turns on the spot": (turns_on_the_spot, 0.0),
    "its speeds differ": (brakes_without_its_speeds, 10.0),
    "its speeds differ from": (has_no_speeds, 10.0),
    "its speeds differ from its": (stands_with_speeds, 0.0),
}


@pytest.mark.parametrize("reason", CASES)
def test_it_breaks_kinematics_and_is_not_feasible(reason):
    make, speed = CASES[reason]
    scene = testing.scene(ego=testing.moving("ego", 0.0, 0.0, speed))
    truth = testing.ground_truth_at(scene)
    rule = score_plans(scene, make()[None], 0.0, truth=truth).rules["kinematics"]
    assert rule.value[0] == 0.0
    assert rule.margin[0] < 0.0
    if "differ" not in reason or speed:
        assert reason.split(" from")[0] in rule.reasons[0]
    assert Guard(scene).check(Decision(make()[None], np.ones(1, np.float32)), truth).intervened


@pytest.mark.parametrize(
    "plan",
    [
        testing.plan(10.0),
        testing.plan(10.0, -4.0),
        testing.plan(3.0, curvature=0.2),
        testing.plan(10.0, lateral=3.0),
        testing.plan(0.0, 2.0),
    ],
)
def test_motions_of_cars_are_one_motion(plan):
    speed = {10.0: 10.0, 3.0: 3.0}.get(float(np.round(plan[0, 3])), 0.0)
    scene = testing.scene(ego=testing.moving("ego", 0.0, 0.0, speed), road_map=testing.two_way_road(4))
    truth = testing.ground_truth_at(scene)
    assert score_plans(scene, plan[None], 0.0, truth=truth).rules["kinematics"].value[0] == 1.0


def test_the_centre_of_a_turning_box_moves_sideways():
    """A bicycle about its rear axle, 1.4 m behind the centre, turns as tightly as a car can."""
    heading = 0.02 * np.arange(1, 65)
    step = 0.1 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    axle = np.cumsum(step, axis=0) - [1.4, 0.0]
    centre = axle + 1.4 * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    speed = np.hypot(*np.diff(np.concatenate([[[0.0, 0.0]], centre]), axis=0).T) / 0.1
    plan = np.column_stack([centre, heading, speed]).astype(np.float32)
    scene = testing.scene(ego=testing.moving("ego", 0.0, 0.0, 1.0))
    rule = score_plans(scene, plan[None], 0.0, truth=testing.ground_truth_at(scene)).rules["kinematics"]
    assert rule.value[0] == 1.0, rule.reasons[0]


def test_a_speed_column_of_zeros_does_not_keep_the_stop_line():
    road = testing.with_crosswalk(testing.marked_road(1), 30.0)
    scene = testing.scene(road_map=road)
    truth = testing.ground_truth_at(scene)
    plans = np.stack([testing.plan(10.0), has_no_speeds()])
    assert score_plans(scene, plans, 0.0, truth=truth).rules["stop_line"].value.tolist() == [0.0, 0.0]
