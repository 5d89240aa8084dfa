"""UN R157 drivers: collisions that each avoids, simulated behind a standing or slower lead."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.drivers.r157 import LaneAgents, critical_fuzzy, proactive_fuzzy
from alpamayo.drivers.registry import R157_DRIVERS, guarded_by_default, make_driver
from alpamayo_sim import testing
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.errors import InputError


def driven(name, gap, lead_speed, speed=20.0, seconds=8.0):
    """Return the least gap (m) and the hardest braking (m/s²) behind a lead that keeps its speed."""
    scene = testing.scene(
        testing.moving("lead", gap + 4.8, 0.0, lead_speed, steps=200),
        ego=testing.moving("ego", 0.0, 0.0, speed, steps=200),
    )
    driver, truth = make_driver(name), testing.ground_truth_at(scene)
    driver.reset(scene, np.random.default_rng(0))
    x, v, least, hardest = 0.0, speed, np.inf, 0.0
    for step in range(round(seconds / 0.1)):
        now = testing.ground_truth_at(scene, step)
        now = replace(now, ego_pose=np.array([x, 0, 0], np.float32), ego_speed=v, ego_size=truth.ego_size)
        blank = {"history": np.zeros((16, 4), np.float32), "route": np.zeros((32, 2), np.float32)}
        seen = Observation(step * 0.1, **blank, speed=v, acceleration=0.0, curvature=0.0, speed_limit=speed, truth=now)
        after = float(driver.act(seen).plans[0, 0, 3])
        hardest = max(hardest, (v - after) / 0.1)
        x, v = x + 0.05 * (v + after), after
        least = min(least, gap + lead_speed * 0.1 * (step + 1) - x)
    return least, hardest


@pytest.mark.parametrize("name", R157_DRIVERS)
def test_a_slower_lead_in_good_time_is_avoided(name):
    least, hardest = driven(name, gap=70.0, lead_speed=10.0)
    assert least > 0.0
    assert hardest < 9.0


@pytest.mark.parametrize("name", R157_DRIVERS)
def test_an_unavoidable_collision_is_not_avoided(name):
    assert driven(name, gap=8.0, lead_speed=0.0)[0] < 0.0


@pytest.mark.parametrize("name", R157_DRIVERS)
def test_no_driver_brakes_on_a_free_road(name):
    scene = testing.scene(testing.standing("adjacent", 10.0, 3.5), testing.moving("behind", -12.0, 0.0, 12.0))
    driver = make_driver(name)
    driver.reset(scene, np.random.default_rng(0))
    blank = {"history": np.zeros((16, 4), np.float32), "route": np.zeros((32, 2), np.float32)}
    for step in range(20):
        seen = Observation(
            step * 0.1, **blank, speed=10.0, acceleration=0.0, curvature=0.0, truth=testing.ground_truth_at(scene)
        )
        plan = driver.act(seen).plans[0]
        assert plan[0, 3] >= 10.0
        assert np.abs(plan[:, 1]).max() < 0.05


def test_the_fuzzy_model_reacts_after_its_reaction_time():
    """The reaction time begins when the lead becomes a risk, not when it is first seen."""
    model, moments = make_driver("r157-fsm"), {}
    for step in range(60):
        time, gap = 0.1 * step, 60.0 - 2.5 * max(0, step - 20)
        lead = 20.0 if step <= 20 else 8.0
        ahead = LaneAgents(*(np.array([x]) for x in (gap, -1.0, lead, 0.0, 1.0, False, True)))
        risky, wanted = model.judge(ahead, 20.0)
        if risky.any():
            moments.setdefault("risk", time)
        model._since = (time if model._since is None else model._since) if risky.any() else None
        if model.brake(ahead, risky, wanted, 20.0, time) > 0.0:
            moments.setdefault("brakes", time)
    assert moments["risk"] > 2.0
    assert moments["brakes"] - moments["risk"] == pytest.approx(0.8)  # the first step after 0.75 s


def test_the_fuzzy_model_brakes_before_the_human_does():
    assert driven("r157-fsm", 55.0, 8.0)[1] < driven("r157-human", 55.0, 8.0)[1]


@given(st.floats(0, 120), st.floats(0.1, 35), st.floats(0, 35))
def test_fuzzy_metrics_are_ramps(gap, v, lead):
    pfs, cfs = (
        f(np.array([gap]), v, np.array([lead]), *a)[0] for f, a in ((proactive_fuzzy, ()), (critical_fuzzy, (0.0,)))
    )
    nearer = proactive_fuzzy(np.array([gap - 1.0]), v, np.array([lead]))[0]
    assert 0.0 <= pfs <= nearer <= 1.0
    assert 0.0 <= cfs <= 1.0
    if v <= lead:
        assert cfs == 0.0


def test_a_scene_without_a_route_raises():
    with pytest.raises(InputError, match="route"):
        make_driver("r157-fsm").reset(testing.scene(route=None), np.random.default_rng(0))


def test_r157_drivers_are_registered_and_unguarded_by_default():
    for name in R157_DRIVERS:
        assert make_driver(name).name == name
        assert not guarded_by_default(name)


def cut_in_of_esmini(name, seconds=12.0):
    """Return the least gap (m) behind a car at 15 m/s that cuts in 30 m ahead and then brakes at 5.2 m/s²."""
    steps = round(seconds / 0.1) + 1
    t = 0.1 * np.arange(steps)
    y = 3.5 * np.clip(1.0 - t / 3.0, 0.0, 1.0)
    v = np.maximum(15.0 - 5.2 * np.maximum(t - 3.0, 0.0), 0.0)
    x = 34.8 + np.concatenate([[0.0], np.cumsum(0.05 * (v[1:] + v[:-1]))])
    lead = testing.moving("lead", 34.8, 3.5, 15.0, steps=steps)
    lead = replace(
        lead,
        position=np.column_stack([x, y, 0.0 * t]).astype(np.float32),
        velocity=np.column_stack([v, np.gradient(y, 0.1)]).astype(np.float32),
    )
    scene = testing.scene(lead, ego=testing.moving("ego", 0.0, 0.0, 20.0, steps=steps))
    driver, speed, at, least = make_driver(name), 20.0, 0.0, np.inf
    driver.reset(scene, np.random.default_rng(0))
    for step in range(steps - 1):
        now = testing.ground_truth_at(scene, step)
        now = replace(now, ego_pose=np.array([at, 0, 0], np.float32), ego_speed=speed)
        blank = {"history": np.zeros((16, 4), np.float32), "route": np.zeros((32, 2), np.float32)}
        seen = Observation(
            step * 0.1, **blank, speed=speed, acceleration=0.0, curvature=0.0, speed_limit=20.0, truth=now
        )
        after = float(driver.act(seen).plans[0, 0, 3])
        at, speed = at + 0.05 * (speed + after), after
        if y[step + 1] < 2.0:
            least = min(least, x[step + 1] - at - 4.8)
    return least


@pytest.mark.parametrize("name", ["r157-human", "r157-regulation"])
def test_the_cut_in_of_esmini_is_avoided(name):
    assert cut_in_of_esmini(name) > 0.0


@pytest.mark.parametrize("width", [3.5, 4.5])
def test_lanes_have_their_own_width(width):
    """An agent whose side is 0.3 m inside the lane of the ego, whatever the width of the lane."""
    road = testing.two_way_road(1, centre=0.5 * width)
    lanes = tuple(replace(lane, width=np.full(len(lane.width), width, np.float32)) for lane in road.lanes)
    scene = testing.scene(
        testing.moving("a", 20.0, 0.5 * width - 0.3 + 1.0, 8.0),
        road_map=replace(road, lanes=lanes),
        route=testing.scene().route,
    )
    driver = make_driver("r157-regulation")
    driver.reset(replace(scene, road_map=replace(road, lanes=lanes)), np.random.default_rng(0))
    found = driver.others(testing.ground_truth_at(scene), (0.0, 0.0))
    assert found.inside[0] == pytest.approx(0.3, abs=0.02)
