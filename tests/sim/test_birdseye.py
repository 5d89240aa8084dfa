"""The bird's-eye picture shows each road user at its place."""

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.sensors.birdseye import AGENT, CHOSEN, EGO, LAMP, BirdsEye


def truth_of(made, pose=(0.0, -1.75, 0.0), signals=()):
    return GroundTruth(
        made,
        0,
        np.array(pose, np.float32),
        10.0,
        np.array([4.6, 1.85, 1.5], np.float32),
        testing.agents_at(made),
        np.array(signals, np.int8),
    )


def has(image, colour):
    return np.all(image == np.array(colour, np.uint8), axis=-1)


@pytest.mark.parametrize(("width", "height"), [(640, 640), (480, 270)])
def test_ego_is_in_the_middle(width, height):
    image = BirdsEye(testing.scene(road_map=testing.marked_road())).draw(
        truth_of(testing.scene(road_map=testing.marked_road())), width=width, height=height
    )
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    rows, columns = np.nonzero(has(image, EGO))
    assert abs(columns.mean() - 0.5 * width) < 2
    assert abs(rows.mean() - 0.68 * height) < 4


def test_left_is_left_and_ahead_is_up():
    made = testing.scene(testing.standing("p", 20.0, 8.0, category=Category.PEDESTRIAN), road_map=testing.marked_road())
    for heading, side, above in ((0.0, -1, True), (np.pi, 1, False)):
        image = BirdsEye(made).draw(truth_of(made, (0.0, -1.75, heading)), metres=80.0)
        rows, columns = np.nonzero(has(image, AGENT[Category.PEDESTRIAN]))
        assert np.sign(columns.mean() - 320) == side
        assert (rows.mean() < 0.68 * 640) == above
        assert abs(abs(rows.mean() - 0.68 * 640) - 20.0 * 8.0) < 3


def test_chosen_plan_stands_out_and_input_is_left_alone():
    made = testing.street()
    t = np.arange(1, 65) * 0.1
    plans = np.stack([np.stack([9 * t, k * t / 3, 0 * t, 9 + 0 * t], axis=-1) for k in (-1, 0, 1)])
    before = plans.copy()
    birdseye, moment = BirdsEye(made), truth_of(made, signals=(1, 3))
    plain = birdseye.draw(moment)
    image = birdseye.draw(moment, plans, 1)
    assert has(image, CHOSEN).sum() > 200
    assert has(plain, CHOSEN).sum() == 0
    assert has(plain, LAMP[1]).sum() > 20
    assert np.array_equal(plans, before)
    assert np.array_equal(image, birdseye.draw(moment, plans, 1))
