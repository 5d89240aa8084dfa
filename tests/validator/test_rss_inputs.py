"""RSS without a judge from outside: continuity, the speed cap, and inputs that are refused."""

import numpy as np
import pytest

from alpamayo.metrics import rss
from alpamayo.validator import score_plans
from alpamayo_sim import testing
from alpamayo_sim.errors import InputError

NUMBERS = {"response_time": 1.0, "accel_max": 3.5, "brake_min": 4.0, "brake_max": 8.0}


def margin_of_a_crosser(heading, speed=8.0):
    scene = testing.scene(testing.moving("a", 40.0, 0.0, speed, heading))
    verdict = score_plans(scene, testing.plan(10.0)[None], 0.0, truth=testing.ground_truth_at(scene))
    return verdict.rules["rss"].margins[0, 0], scene


@pytest.mark.parametrize("turn", [1e-6, 1e-4, 1e-3])
def test_the_margin_does_not_jump_where_a_crosser_turns_over_the_right_angle(turn):
    before, after = (margin_of_a_crosser(0.5 * np.pi + side * turn)[0] for side in (-1.0, 1.0))
    assert before == pytest.approx(after, abs=200.0 * turn + 1e-4)


def test_the_margin_does_not_jump_where_a_lead_begins_to_reverse():
    one = np.ones((1, 1))
    arguments = (0.0 * one, 0.0 * one, one > 0.0, one > 0.0)
    margins = [rss.assess(60.0 * one, -one, 15.0 * one, v * one, *arguments).longitudinal[0, 0] for v in (-1e-6, 1e-6)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-3)
    full = rss.assess(60.0 * one, -one, 15.0 * one, -10.0 * one, *arguments).longitudinal[0, 0]
    opposite = rss.opposite_distance(
        15.0, -10.0, response_time_1=1.0, response_time_2=2.0, accel_max=3.5, brake_min=4.0, brake_min_correct=3.0
    )
    assert full == pytest.approx(60.0 - opposite)


def test_the_speed_cap_while_accelerating():
    """At 10 m/s with a cap of 12: 4/7 s at 3.5 m/s² to 12 m/s, 3/7 s at 12 m/s, then 12² / 8 m."""
    expected = 10.0 * 4 / 7 + 0.5 * 3.5 * (4 / 7) ** 2 + 12.0 * 3 / 7 + 144.0 / 8.0
    assert rss.longitudinal_distance(10.0, 0.0, **NUMBERS, speed_max=12.0) == pytest.approx(expected)
    free = rss.longitudinal_distance(10.0, 0.0, **NUMBERS)
    assert free == pytest.approx(10.0 + 1.75 + 13.5**2 / 8.0)
    assert rss.longitudinal_distance(10.0, 0.0, **NUMBERS, speed_max=100.0) == pytest.approx(free)
    assert rss.longitudinal_distance(10.0, 0.0, **NUMBERS, speed_max=5.0) == pytest.approx(10.0 + 100.0 / 8.0)
    capped = rss.Parameters(speed_max=12.0)
    one = np.ones((1, 1))
    margins = rss.assess(50.0 * one, -one, 10.0 * one, 0.0 * one, 0.0 * one, 0.0 * one, one > 0, one > 0, ego=capped)
    assert margins.longitudinal[0, 0] == pytest.approx(50.0 - expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [("response_time", -1.0), ("accel_max", -0.1), ("brake_min", 0.0), ("brake_min", -4.0), ("brake_max", -8.0)],
)
def test_negative_times_and_brakes_are_refused(name, value):
    with pytest.raises(InputError, match="RSS: "):
        rss.longitudinal_distance(10.0, 10.0, **{**NUMBERS, name: value})


def test_negative_speeds_are_refused():
    for speeds in ((-1.0, 10.0), (10.0, -1.0), (np.array([5.0, -5.0]), 10.0)):
        with pytest.raises(InputError, match="must not be negative"):
            rss.longitudinal_distance(*speeds, **NUMBERS)
    with pytest.raises(InputError, match="brake_min"):
        rss.lateral_distance(0.0, 0.0, response_time=1.0, accel_max=0.2, brake_min=-0.8, fluctuation=0.1)
    assert np.isnan(rss.longitudinal_distance(np.nan, 10.0, **NUMBERS))
