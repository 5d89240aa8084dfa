"""RSS at intersections, and the age of camera frames."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.metrics import rss
from alpamayo.validator import RULES, score_plans
from alpamayo.validator.rules.rss_intersection import crossing
from alpamayo.validator.rules.sensor_staleness import sensor_staleness
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Category

RULE = {"rss_intersection": replace(RULES["rss_intersection"], episode_only=False)}


def judged(scene, plan):
    return score_plans(scene, plan[None], 0.0, truth=testing.ground_truth_at(scene), rules=RULE).rules[
        "rss_intersection"
    ]


def test_no_crossing_agent_is_not_applicable():
    for scene in (testing.scene(), testing.scene(testing.moving("lead", 30.0, 0.0, 5.0))):
        result = judged(scene, testing.plan(10.0))
        assert not result.valid[0]
        assert np.isnan(result.value[0])


def test_props_never_cross():
    adjacent = testing.prop("board", 25.0, -6.0, size=(1.0, 4.0, 2.0))
    across = replace(adjacent, id="across", heading=float(np.pi / 2))
    assert not judged(testing.scene(props=(adjacent, across)), testing.plan(10.0)).valid[0]


def test_not_braking_for_a_crossing_agent_is_a_violation():
    scene = testing.scene(testing.moving("crosser", 40.0, -40.0, 10.0, np.pi / 2))
    through = judged(scene, testing.plan(10.0))
    assert through.value[0] == 0.0
    assert through.margin[0] < 0.0
    assert through.violation_time[0] > 1.0  # the response time is over
    assert (
        through.reasons[0]
        == f"does not brake for 'crosser', which crosses its path, at {through.violation_time[0]:.1f} s"
    )
    brakes = judged(scene, testing.plan(10.0, -4.2))
    assert brakes.value[0] == 1.0


def test_an_agent_that_has_passed_or_can_stop_is_safe():
    passed = testing.scene(testing.moving("crosser", 30.0, 12.0, 10.0, np.pi / 2))
    assert not judged(passed, testing.plan(10.0)).valid[0]
    slow = testing.scene(testing.moving("crosser", 30.0, -60.0, 4.0, np.pi / 2))
    assert judged(slow, testing.plan(4.0)).value[0] == 1.0


def test_a_pedestrian_has_the_stopping_distance_of_a_vehicle():
    """A limit of the rule: a pedestrian needs 19 m to stop, so 12 m before the crossing is already unsafe."""
    way = rss.stopping_distance(1.5, response_time=2.0, accel_max=rss.OTHER.accel_max, brake=rss.OTHER.brake_min)
    assert way == pytest.approx(19.03, abs=0.01)
    person = {"category": Category.PEDESTRIAN, "size": (0.5, 0.5, 1.7)}
    scene = testing.scene(testing.moving("walker", 40.0, -12.0, 1.5, np.pi / 2, **person))
    assert judged(scene, testing.plan(10.0)).value[0] == 0.0
    assert judged(scene, testing.plan(10.0, -4.2)).value[0] == 1.0


@given(st.floats(0.6, 2.5), st.floats(-1, 1), st.floats(15, 60))
def test_the_crossing_is_where_the_boxes_lanes_cross(angle, sign, away):
    """The corners of the area that both sweep lie between enter and leave, by simulation of straight motion."""
    heading = float(np.copysign(angle, sign or 1.0))
    pose = np.zeros((1, 1, 3))
    other = np.array([away - 30 * np.cos(heading), -30 * np.sin(heading), heading])
    boxes = lambda p: np.array([[[p[0], p[1], np.cos(p[2]), np.sin(p[2])]]])  # noqa: E731
    there = SimpleNamespace(boxes=boxes(other), halves=np.array([[2.2, 0.9]]), valid=np.ones((1, 1), bool))
    cached = lambda what: boxes(pose[0, 0]) if what.__name__ == "ego_boxes" else there  # noqa: E731
    found = crossing(SimpleNamespace(cached=cached, size=np.array([4.8, 2.0])), 0)
    if abs(np.sin(heading)) <= 0.5:
        assert not found.ahead[0, 0]
        return
    from alpamayo_sim.geometry import box_separation

    way = np.linspace(-10, away + 40, 400)
    lane = np.array([away, 0.0, heading])  # the other's swept strip, very long
    touches = (
        box_separation(np.stack([way, 0 * way, 0 * way], axis=-1), np.array([4.8, 2.0]), lane, np.array([1e3, 1.8])) < 0
    )
    step = way[1] - way[0]
    assert way[touches][0] == pytest.approx(found.enter[0, 0], abs=1.5 * step)
    assert way[touches][-1] == pytest.approx(found.leave[0, 0], abs=1.5 * step)


def test_the_formula_is_the_public_one():
    assert rss.intersection_safe(5.0, 10.0, enter_1=40.0, leave_1=50.0, enter_2=5.0, leave_2=12.0)
    assert not rss.intersection_safe(10.0, 10.0, enter_1=8.0, leave_1=16.0, enter_2=8.0, leave_2=16.0)
    assert "rss" in RULES


def test_staleness():
    def judged_ages(ages):
        times = 0.1 * np.arange(5)
        episode = SimpleNamespace(observation_age=ages, steps=4, dt=0.1)
        return sensor_staleness(SimpleNamespace(times=times, episode=episode))

    silent = judged_ages(None)
    assert not silent.valid[0]
    fresh = judged_ages(np.array([0, 0.1, 0.2, 0], np.float32))
    assert (fresh.value[0], fresh.violated[0]) == (1.0, False)
    assert fresh.margin[0] == pytest.approx(0.0, abs=1e-6)
    late = judged_ages(np.array([0, 0.3, 0.4, 0], np.float32))
    assert late.value[0] == 0.5
    assert late.violation_time[0] == pytest.approx(0.1)
    assert late.margin[0] == pytest.approx(-0.2, abs=1e-6)


def test_a_reasoning_may_name_only_objects_that_its_cameras_show():
    from alpamayo.validator import reasoning
    from alpamayo_sim.datatypes.rig import Rig, default_rig

    scene = testing.scene(
        testing.standing("ahead", 30.0, 0.0), testing.standing("behind", -20.0, 0.0), testing.standing("far", 90.0, 0.0)
    )
    truth, rig, rows = testing.ground_truth_at(scene), default_rig(), np.arange(3)
    assert reasoning.visible(truth, rows).tolist() == [True, True, False]
    assert reasoning.visible(truth, rows, rig).tolist() == [True, False, False]
    tele = Rig(tuple(camera for camera in rig.cameras if "tele" in camera.name))
    adjacent = testing.ground_truth_at(testing.scene(testing.standing("adjacent", 8.0, 6.0)))
    assert reasoning.visible(adjacent, np.array([0]), rig)[0]
    assert not reasoning.visible(adjacent, np.array([0]), tele)[0]
    fog = replace(scene, environment=replace(scene.environment, visibility=20.0))
    assert not reasoning.visible(testing.ground_truth_at(fog), np.array([0]), rig)[0]
