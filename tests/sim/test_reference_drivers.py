"""Reference drivers: their plans and reactions, and drives of the expert without collisions."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.drivers.registry import make_driver
from alpamayo_sim import testing
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.reasoning import ComponentKind, Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Goal, Scenario, Script
from alpamayo_sim.datatypes.scene import Category, Environment, Route, Signal, SignalState
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.stop_lines import must_stop, route_stops
from alpamayo_sim.planning.paths import quintic
from alpamayo_sim.prediction.lane_changes import LaneChangePredictor
from alpamayo_sim.prediction.visibility import visible

Array = np.ndarray
LIMIT = 13.9
REFERENCE_DRIVERS = ("constant-velocity", "expert", "idm")


def observe(batch: WorldBatch) -> Observation:
    return dataclasses.replace(batch[0].observe(), truth=batch[0].ground_truth())


def run(name, made, seconds=12.0, scripts=()):
    """Drive a scene; return poses and speeds [n, 4], the decisions, and whether the ego collided."""
    batch = WorldBatch([Scenario(made, Goal(400.0, seconds), tuple(scripts))])
    driver = make_driver(name)
    driver.reset(made, np.random.default_rng(0))
    states, decisions = [], []
    for _ in range(round(seconds / 0.1)):
        decision = driver.act(observe(batch))
        decisions.append(decision)
        states.append([*batch.egos.pose[0, 0], batch.egos.speed[0, 0]])
        batch.step(batch.track(decision.plans[decision.chosen][None]))
        if batch.egos.collided[0, 0]:
            return np.array(states), decisions, True
    return np.array(states), decisions, False


def first(name, made):
    batch = WorldBatch([Scenario(made, Goal(400.0, 10.0))])
    driver = make_driver(name)
    driver.reset(made, np.random.default_rng(0))
    return driver.act(observe(batch))


def red_light_scene(state=SignalState.RED, x=60.0):
    road_map = testing.with_crosswalk(testing.marked_road(1), x)
    lamp = Signal("lamp", np.array([x, -5.0, 5.0], np.float32), np.full(150, state, np.int8), ("east-0",))
    return testing.scene(road_map=road_map, signals=(lamp,), ego=testing.moving("ego", 0.0, -1.75, steps=150))


def test_the_registry_suggests_similar_names():
    for name in REFERENCE_DRIVERS:
        assert isinstance(make_driver(name), Driver)
    with pytest.raises(InputError, match="did you mean expert"):
        make_driver("experts")


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_drivers_need_a_route_and_ground_truth(name):
    driver = make_driver(name)
    assert driver.needs.truth
    with pytest.raises(InputError, match="no route"):
        driver.reset(
            dataclasses.replace(testing.scene(road_map=testing.marked_road()), route=None), np.random.default_rng(0)
        )
    driver.reset(testing.scene(road_map=testing.marked_road()), np.random.default_rng(0))
    batch = WorldBatch([Scenario(testing.scene(road_map=testing.marked_road()), Goal(100.0, 10.0))])
    with pytest.raises(InputError, match="truth"):
        driver.act(batch[0].observe())


@pytest.mark.parametrize("name", REFERENCE_DRIVERS)
def test_empty_road_is_driven_straight(name):
    states, decisions, collided = run(name, testing.scene(road_map=testing.marked_road()), 5.0)
    assert not collided
    assert np.abs(states[:, 1] + 1.75).max() < 0.05
    speeds = decisions[0].plans[0, :, 3]
    if name == "constant-velocity":
        assert np.all(speeds == np.float32(10.0))
    else:
        assert states[-1, 3] > 12.0
        assert speeds.max() < LIMIT + 0.3
        assert decisions[0].reasoning.longitudinal == Longitudinal.SET_SPEED_TRACKING


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_drivers_stop_behind_a_standing_vehicle(name):
    """No driver passes a queue that waits at a red light."""
    made = red_light_scene()
    car = testing.standing("stopped", 50.0, -1.75, steps=150)
    made = dataclasses.replace(made, tracks=(*made.tracks, car))
    states, decisions, collided = run(name, made, 12.0)
    assert not collided
    assert states[-1, 3] < 0.3
    assert np.abs(states[:, 1] + 1.75).max() < 0.9
    assert 0.5 < 50.0 - 4.6 - states[-1, 0] < 12.0
    named = [c.id for d in decisions for c in d.reasoning.components]
    assert "stopped" in named


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_red_light_stops_and_green_does_not(name):
    states, decisions, _ = run(name, red_light_scene(), 10.0)
    front = states[-1, 0] + 2.3
    assert states[-1, 3] < 0.3
    assert 50.0 < front < 58.0
    last = decisions[60].reasoning
    assert last.longitudinal == Longitudinal.STOP_STATIC
    assert last.components[0].kind == ComponentKind.TRAFFIC_LIGHT
    assert last.components[0].id == "lamp"
    states, _, _ = run(name, red_light_scene(SignalState.GREEN), 8.0)
    assert states[-1, 0] > 70.0


def test_yellow_requires_a_stop_only_if_braking_is_easy():
    assert must_stop(SignalState.YELLOW, 40.0, 10.0)
    assert not must_stop(SignalState.YELLOW, 5.0, 10.0)
    assert must_stop(SignalState.RED, 5.0, 10.0)
    assert not must_stop(SignalState.GREEN, 5.0, 10.0)


def test_signal_stop_is_at_the_stop_line():
    made = red_light_scene()
    (stop,) = route_stops(made, RouteFrame.of_route(made.route))
    assert stop.s == pytest.approx(58.0, abs=0.1)


@given(st.floats(-3, 3), st.floats(-0.3, 0.3), st.floats(-0.05, 0.05), st.floats(-4, 4), st.floats(8, 60))
@settings(max_examples=50, deadline=None)
def test_the_quintic_meets_its_boundary_values(start, slope, bend, end, length):
    x = np.array([0.0, 1e-4, 2e-4, length - 1e-3, length, length + 5.0])
    y = quintic((start, slope, bend), end, length, x)
    assert y[0] == pytest.approx(start)
    assert (y[1] - y[0]) / 1e-4 == pytest.approx(slope, abs=1e-3)
    assert y[3:] == pytest.approx(np.full(3, end), abs=1e-3)


@given(st.floats(-100, 100), st.floats(-3, 3))
@settings(max_examples=50, deadline=None)
def test_projection_inverts_the_conversion_to_world_coordinates(arc_length, offset):
    angle = np.linspace(0.0, 2.0, 80)
    arc = np.stack([60.0 * np.sin(angle), 60.0 * (1.0 - np.cos(angle)), 0.0 * angle], axis=-1).astype(np.float32)
    frame = RouteFrame.of_route(Route(arc))
    s = np.clip(arc_length, 5.0, frame.route_length - 5.0)
    xy, _ = frame.to_world(np.array([s]), np.array([offset]))
    found = frame.project(xy)
    assert found[0][0] == pytest.approx(s, abs=0.1)
    assert found[1][0] == pytest.approx(offset, abs=0.05)


def test_plans_are_feasible_and_smooth():
    """Waypoints, headings and speeds of the expert's plans are consistent, and their accelerations are feasible."""
    made = testing.scene(
        testing.moving("slow", 35.0, -1.75, 4.0, steps=150),
        road_map=testing.marked_road(2),
        props=(testing.prop("debris", 120.0, -1.75, category=Category.DEBRIS),),
    )
    _, decisions, collided = run("expert", made, 12.0)
    assert not collided
    for decision in decisions[::5]:
        for plan in decision.plans:
            xy = np.concatenate([np.zeros((1, 2)), plan[:, :2]]).astype(np.float64)
            step = np.diff(xy, axis=0)
            distance = np.hypot(step[:, 0], step[:, 1])
            expected = 0.5 * (plan[1:, 3] + plan[:-1, 3]) * 0.1
            assert np.allclose(distance[1:], expected, atol=0.03)
            moving = distance[1:] > 0.2
            course = np.arctan2(step[1:, 1], step[1:, 0])[moving]
            assert np.abs(course - plan[1:, 2][moving]).max(initial=0.0) < 0.08
            acceleration = np.diff(plan[:, 3]) / 0.1
            assert acceleration.min() > -9.0
            assert acceleration.max() < 4.0
            assert np.all(plan[:, 3] >= 0.0)
        assert decision.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_expert_passes_debris():
    made = testing.scene(
        road_map=testing.marked_road(2),
        props=(testing.prop("debris", 70.0, -1.75, category=Category.DEBRIS, size=(1.2, 1.2, 0.6)),),
    )
    states, decisions, collided = run("expert", made, 11.0)
    assert not collided
    assert states[-1, 0] > 95.0
    seen = [d.reasoning for d in decisions if d.reasoning.components]
    assert any(c.id == "debris" for reason in seen for c in reason.components)
    lateral_moves = (Lateral.LANE_CHANGE, Lateral.IN_LANE_NUDGE, Lateral.OUT_OF_LANE_NUDGE)
    assert any(reason.lateral in lateral_moves for reason in seen)


def test_expert_yields_to_a_crossing_pedestrian():
    walker = testing.moving("walker", 45.0, -7.5, 1.4, np.pi / 2, category=Category.PEDESTRIAN, steps=150)
    states, decisions, collided = run("expert", testing.scene(walker, road_map=testing.marked_road()), 9.0)
    assert not collided
    named = {c.id: c for d in decisions for c in d.reasoning.components}
    assert named["walker"].category == Category.PEDESTRIAN
    assert states[:, 3].min() < 9.0


def test_expert_waits_for_oncoming_cars_before_it_uses_their_lane():
    road_map = testing.marked_road(1)
    barriers = [
        testing.prop(f"b{k}", 60.0 + 3.0 * k, -1.9, np.pi / 2, category=Category.BARRIER, size=(2.6, 0.5, 1.0))
        for k in range(4)
    ]
    cars = [testing.moving(f"on{k}", 110.0 + 22.0 * k, 1.75, 9.0, np.pi, steps=250) for k in range(3)]
    made = testing.scene(
        *cars, road_map=road_map, props=barriers, ego=testing.moving("ego", 0.0, -1.75, 10.0, steps=250)
    )
    states, decisions, collided = run("expert", made, 22.0)
    assert not collided
    assert states[-1, 0] > 85.0
    opposite = states[:, 1] > 0.3
    assert opposite.any()
    last_car_passed = (154.0 - 55.0) / 9.0
    assert np.flatnonzero(opposite)[0] * 0.1 > last_car_passed - 3.5
    named = {c.id for d in decisions for c in d.reasoning.components}
    assert any(name.startswith("b") for name in named)


def test_expert_slows_next_to_parked_cars():
    parked = [testing.standing(f"p{k}", 40.0 + 6.0 * k, -4.9, steps=150) for k in range(6)]
    road_map = testing.marked_road(2)
    states, _, collided = run("expert", testing.scene(*parked, road_map=road_map), 8.0)
    free, _, _ = run("expert", testing.scene(road_map=road_map), 8.0)
    adjacent = (states[:, 0] > 42.0) & (states[:, 0] < 68.0)
    assert not collided
    assert states[adjacent, 3].min() < 9.0
    assert free[:, 3].min() > 9.5


def test_a_hidden_pedestrian_is_not_visible():
    """A pedestrian behind a truck is not in line of sight."""
    truck = testing.standing("truck", 30.0, -5.2, category=Category.TRUCK, steps=150)
    hidden = testing.standing("hidden", 45.0, -7.0, category=Category.PEDESTRIAN, steps=150)
    made = testing.scene(truck, hidden, road_map=testing.marked_road())
    batch = WorldBatch([Scenario(made, Goal(100.0, 10.0))])
    truth = batch[0].ground_truth()
    assert visible(truth, np.array([0, 1])).tolist() == [True, False]


def test_prediction_keeps_lanes_and_finishes_lane_changes():
    made = testing.scene(
        testing.moving("steady", 30.0, -5.25, 8.0, steps=150),
        testing.moving("changing", 60.0, -4.6, 8.0, 0.1, steps=150),
        testing.moving("wrong-distance", 90.0, -1.75, 8.0, np.pi, steps=150),
        road_map=testing.marked_road(),
    )
    batch = WorldBatch([Scenario(made, Goal(100.0, 10.0))])
    agents = batch[0].ground_truth().agents
    found = LaneChangePredictor(MapIndex(made.road_map)).predict(agents, np.arange(3), np.zeros(3))
    assert np.allclose(found.pose[0, :, 1], -5.25, atol=0.05)
    assert found.pose[1, -1, 1] == pytest.approx(-1.75, abs=0.1)
    assert np.allclose(found.pose[2, :, 1], -1.75, atol=0.05)
    assert found.pose[2, 20, 0] == pytest.approx(90.0 - 8.0 * 4.0, abs=0.2)


def test_fog_slows_the_expert():
    clear, _, _ = run("expert", testing.scene(road_map=testing.marked_road()), 8.0)
    fog, _, _ = run(
        "expert", testing.scene(environment=Environment(visibility=25.0), road_map=testing.marked_road()), 8.0
    )
    assert fog[-1, 3] < clear[-1, 3] - 1.5


def test_expert_follows_a_slower_vehicle_on_a_single_lane():
    lead = testing.moving("lead", 30.0, -1.75, 5.0, steps=200)
    coming = [testing.moving(f"on{k}", 60.0 + 25 * k, 1.75, 10.0, np.pi, steps=200) for k in range(8)]
    made = testing.scene(
        lead, *coming, road_map=testing.marked_road(1), ego=testing.moving("ego", 0.0, -1.75, 10.0, steps=200)
    )
    states, decisions, collided = run("expert", made, 12.0)
    assert not collided
    assert states[-1, 3] == pytest.approx(5.0, abs=1.5)
    labels = {d.reasoning.longitudinal for d in decisions[30:]}
    assert Longitudinal.LEAD_FOLLOWING in labels


def test_equal_observations_give_equal_decisions():
    made = testing.scene(testing.moving("lead", 30.0, -1.75, 5.0, steps=150), road_map=testing.marked_road())
    a, b = first("expert", made), first("expert", made)
    assert a.plans.tobytes() == b.plans.tobytes()
    assert a.reasoning == b.reasoning


def test_the_expert_does_not_read_scripts():
    """The first decision does not depend on the later part of a script."""
    made = testing.scene(testing.moving("lead", 30.0, -1.75, 8.0, steps=150), road_map=testing.marked_road())
    path = np.stack([np.linspace(30, 290, 50), np.full(50, -1.75), np.zeros(50)], axis=-1).astype(np.float32)
    decisions = []
    for speed in (0.0, 8.0):
        batch = WorldBatch([Scenario(made, Goal(100.0, 10.0), (Script("lead", path, speed),))])
        driver = make_driver("expert")
        driver.reset(made, np.random.default_rng(0))
        truth = dataclasses.replace(batch[0].ground_truth(), agents=batch[0].ground_truth().agents)
        velocity = np.array([[8.0, 0.0]], np.float32)
        agents = dataclasses.replace(truth.agents, velocity=velocity)
        truth = dataclasses.replace(truth, agents=agents)
        decisions.append(driver.act(dataclasses.replace(batch[0].observe(), truth=truth)))
    assert decisions[0].plans.tobytes() == decisions[1].plans.tobytes()
