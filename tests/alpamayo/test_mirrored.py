"""Left-hand traffic is right-hand traffic in the mirror: rules, guard, IDM and planner give mirrored results."""

import dataclasses

import numpy as np
import pytest
from mirror import mirrored_plans, mirrored_scenario

from alpamayo import make_scenario
from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import make_driver
from alpamayo.guard.guard import Guard
from alpamayo.validator import score_episode, score_plans
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import Decision

FAMILIES = ("cut-in", "wrong-way", "occluded-child", "debris", "red-light-runner", "construction-bypass")
SECONDS = 1.5


def plans_of(rng, speed, count):
    """Return plans at several accelerations and offsets, none of them straight."""
    low, high = (-4.0, -0.01, -3.0), (1.5, 0.01, 3.0)
    return np.stack([testing.plan(speed, *rng.uniform(low, high)) for _ in range(count)])


def both(family, seed):
    """Return a scenario and its mirror image, each with the truth at its start."""
    scenario = dataclasses.replace(make_scenario(family, seed), certificate=None)
    pair = scenario, mirrored_scenario(scenario)
    return [(each, testing.ground_truth_at(each.scene)) for each in pair]


@pytest.mark.parametrize("family", FAMILIES)
def test_rules_judge_plans_alike(family):
    (one, truth), (other, truth_there) = both(family, 5)
    plans = plans_of(np.random.default_rng(1), truth.ego_speed, 24)
    here = score_plans(one.scene, plans, 0.0, truth=truth)
    there = score_plans(other.scene, mirrored_plans(plans), 0.0, truth=truth_there)
    for name, rule in here.rules.items():
        np.testing.assert_array_equal(there.rules[name].valid, rule.valid, err_msg=name)
        np.testing.assert_allclose(there.rules[name].value, rule.value, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(there.rules[name].margin, rule.margin, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_guard_chooses_alike(family):
    (one, truth), (other, truth_there) = both(family, 7)
    rng, guards = np.random.default_rng(2), (Guard(one.scene), Guard(other.scene))
    for _ in range(6):
        plans = plans_of(rng, truth.ego_speed, 4)
        weights = np.full(4, 0.25, np.float32)
        here = guards[0].check(Decision(plans, weights), truth)
        there = guards[1].check(Decision(mirrored_plans(plans), weights), truth_there)
        assert (there.index, there.intervened) == (here.index, here.intervened)
        np.testing.assert_allclose(mirrored_plans(there.plan), here.plan, atol=1e-4)


@pytest.mark.parametrize(
    ("driver", "family"),
    [("idm", "cut-in"), ("idm", "red-light-runner"), ("expert", "cut-in"), ("expert", "construction-bypass")],
)
def test_drivers_drive_alike(driver, family):
    (one, _), (other, _) = both(family, 3)
    here, there = (
        drive(
            dataclasses.replace(each, goal=dataclasses.replace(each.goal, duration=SECONDS)),
            make_driver(driver),
            guard=False,
        )
        for each in (one, other)
    )
    np.testing.assert_allclose(there.ego_pose * np.float32([1, -1, -1]), here.ego_pose, atol=1e-3)
    np.testing.assert_allclose(there.ego_speed, here.ego_speed, atol=1e-3)
    values, values_there = (score_episode(each).rules for each in (here, there))
    for name, rule in values.items():
        np.testing.assert_allclose(values_there[name].value, rule.value, atol=1e-6, err_msg=name)
