"""The guard's prediction: along lanes and their successors, against the traffic, and two rows for a walker."""

import numpy as np
import pytest

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category, Lane, RoadMap
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.lane_following import LaneFollowingPredictor

RADIUS = 80.0


def arc(begin, end):
    """Make a left bend around (0, RADIUS), between two angles."""
    angle = np.linspace(begin, end, 160)
    return np.column_stack([RADIUS * np.sin(angle), RADIUS - RADIUS * np.cos(angle), 0 * angle]).astype(np.float32)


def one_way_bend():
    """Make a bend of two one-distance lanes, one after the other."""
    width = np.full(160, 3.5, np.float32)
    lanes = (
        Lane(id="first", centreline=arc(0.0, 0.8), width=width, successors=("second",)),
        Lane(id="second", centreline=arc(0.8, 1.6), width=width),
    )
    return LaneFollowingPredictor(MapIndex(RoadMap(lanes=lanes)))


def agent(angle, speed, against=False, category=Category.VEHICLE):
    heading = angle + (np.pi if against else 0.0)
    pose = np.array([[RADIUS * np.sin(angle), RADIUS - RADIUS * np.cos(angle), heading]], np.float32)
    velocity = speed * np.array([[np.cos(heading), np.sin(heading)]], np.float32)
    size = np.array([[4.6, 1.9, 1.6]], np.float32)
    return Agents(("a",), np.array([category], np.int8), pose, velocity, size, np.array([True]))


@pytest.mark.parametrize(("angle", "against"), [(0.5, False), (1.1, True)])
def test_agents_follow_a_bend_over_the_next_lane_in_either_direction(angle, against):
    predicted = one_way_bend().predict(agent(angle, 10.0, against))
    assert predicted.ids == ("a",)
    off = np.hypot(predicted.pose[0, :, 0], predicted.pose[0, :, 1] - RADIUS) - RADIUS
    assert np.abs(off).max() < 0.05
    distance = np.hypot(*np.diff(predicted.pose[0, :, :2], axis=0).T).sum()
    assert distance == pytest.approx(10.0 * 7.4, rel=0.01)
    assert np.hypot(*predicted.velocity[0].T) == pytest.approx(10.0, rel=0.01)


def test_predictions_at_other_times_are_equal():
    predictor = one_way_bend()
    whole = predictor.predict(agent(0.2, 8.0))
    some = predictor.predict_at(np.array([2.0, 4.0, 6.0]))
    assert some.pose[0] == pytest.approx(whole.pose[0, [20, 40, 60]], abs=1e-9)


def test_a_walker_is_predicted_to_go_on_and_to_stop():
    predicted = one_way_bend().predict(agent(0.4, 1.5, category=Category.PEDESTRIAN))
    assert predicted.ids == ("a", "a")
    moved = np.hypot(*(predicted.pose[:, -1, :2] - predicted.pose[:, 0, :2]).T)
    assert sorted(moved) == pytest.approx([0.0, 1.5 * 7.4], abs=1e-6)
    assert predicted.valid.all()


def test_a_braking_agent_comes_to_rest():
    predicted = one_way_bend().predict(agent(0.2, 8.0), np.array([4.0]))
    distance = np.hypot(*np.diff(predicted.pose[0, :, :2], axis=0).T).sum()
    assert distance == pytest.approx(8.0, rel=0.02)
    assert np.hypot(*predicted.velocity[0, -1]) == pytest.approx(0.0, abs=1e-9)
