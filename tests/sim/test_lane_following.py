"""The guard's forecast: along the lanes, also against the traffic and over lanes that follow; walkers twice."""

import numpy as np
import pytest

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category, Lane, RoadMap
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.lane_following import LaneFollowingPredictor

RADIUS = 80.0


def arc(begin, end):
    """A lane to the left around (0, RADIUS), between two angles."""
    angle = np.linspace(begin, end, 160)
    return np.column_stack([RADIUS * np.sin(angle), RADIUS - RADIUS * np.cos(angle), 0 * angle]).astype(np.float32)


def one_way_bend():
    """Two lanes, one after the other, in a bend that all drive in one direction."""
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
def test_a_bend_is_followed_over_the_next_lane_either_way(angle, against):
    traffic = one_way_bend().predict(agent(angle, 10.0, against))
    assert traffic.ids == ("a",)
    off = np.hypot(traffic.pose[0, :, 0], traffic.pose[0, :, 1] - RADIUS) - RADIUS
    assert np.abs(off).max() < 0.05
    way = np.hypot(*np.diff(traffic.pose[0, :, :2], axis=0).T).sum()
    assert way == pytest.approx(10.0 * 7.4, rel=0.01)
    assert np.hypot(*traffic.velocity[0].T) == pytest.approx(10.0, rel=0.01)


def test_other_times_are_the_same_forecast():
    predictor = one_way_bend()
    whole = predictor.predict(agent(0.2, 8.0))
    some = predictor.predict_at(np.array([2.0, 4.0, 6.0]))
    assert some.pose[0] == pytest.approx(whole.pose[0, [20, 40, 60]], abs=1e-9)


def test_a_walker_is_there_going_and_standing():
    traffic = one_way_bend().predict(agent(0.4, 1.5, category=Category.PEDESTRIAN))
    assert traffic.ids == ("a", "a")
    moved = np.hypot(*(traffic.pose[:, -1, :2] - traffic.pose[:, 0, :2]).T)
    assert sorted(moved) == pytest.approx([0.0, 1.5 * 7.4], abs=1e-6)
    assert traffic.valid.all()


def test_one_who_brakes_comes_to_rest():
    traffic = one_way_bend().predict(agent(0.2, 8.0), np.array([4.0]))
    way = np.hypot(*np.diff(traffic.pose[0, :, :2], axis=0).T).sum()
    assert way == pytest.approx(8.0, rel=0.02)
    assert np.hypot(*traffic.velocity[0, -1]) == pytest.approx(0.0, abs=1e-9)
