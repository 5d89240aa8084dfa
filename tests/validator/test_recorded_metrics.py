"""Metrics against a recording: nuPlan's open-loop errors, AlpaGym's reward, WOSAC's likelihoods; more criticality."""

import numpy as np
import pytest

from alpamayo.metrics import criticality, open_loop, realism
from alpamayo_sim.errors import InputError


def test_open_loop_errors_by_hand():
    """A plan that is 1 m to the side and 0.1 rad off at all times: (7/8 + 2 * 7/8 + 7/8 + 2 * 7/8) / 6 = 7/8."""
    recorded = np.zeros((1, 80, 3))
    recorded[0, :, 0] = np.arange(1, 81)
    found = open_loop.open_loop_score(recorded + np.array([0.0, 1.0, 0.1]), recorded, 0.1)
    assert found.average_displacement_m == found.final_displacement_m == pytest.approx(1.0)
    assert found.average_heading_rad == found.final_heading_rad == pytest.approx(0.1)
    assert found.score == pytest.approx(7 / 8)
    assert found.miss_rate == (0.0, 0.0, 0.0)
    drift = recorded.copy()
    drift[0, :, 1] = 0.05 * np.arange(1, 81)  # 1.5, 2.5 and 4 m at 3, 5 and 8 s
    late = open_loop.open_loop_score(drift, recorded, 0.1)
    assert late.final_displacement_m == pytest.approx((1.5 + 2.5 + 4.0) / 3)
    assert late.average_displacement_m == pytest.approx((0.775 + 1.275 + 2.025) / 3)


def test_too_many_misses_have_the_score_0():
    recorded = np.zeros((10, 30, 3))
    plans = recorded.copy()
    plans[:3, 5, 0] = 6.1
    assert open_loop.open_loop_score(plans, recorded, 0.1, (3.0,)).score > 0.0
    plans[3, 5, 0] = 6.1
    assert open_loop.open_loop_score(plans, recorded, 0.1, (3.0,)).score == 0.0
    with pytest.raises(InputError, match="open loop"):
        open_loop.open_loop_score(plans, recorded, 0.1)


def test_alpagyms_reward_by_hand():
    driven, recorded = np.array([[0.0, 0.0], [3.0, 4.0]]), np.zeros((2, 2))
    distance = open_loop.distance_to_recording(driven, recorded)
    assert distance == pytest.approx(np.sqrt(12.5))
    reward = open_loop.alpagym_reward(progress=0.8, collision_any=True, offroad=False, distance_to_gt=distance)
    assert reward == pytest.approx(0.8 - 10.0 - 0.01 * np.sqrt(12.5))


def test_likelihoods_by_hand():
    """Four rollouts of one agent: speeds of 1, 1, 6, 30 m/s are in bins 0, 0, 2, 9 of ten of 2.5 m/s."""
    rollouts = np.array([1.0, 1.0, 6.0, 30.0]).reshape(4, 1, 1)
    for speed, count in ((2.0, 2), (6.0, 1), (26.0, 1), (11.0, 0)):
        found = realism.likelihood("linear_speed", rollouts, np.array([[speed]]))
        assert found == pytest.approx((count + 0.1) / 5.0)
    hits = np.array([1.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1)
    assert realism.likelihood("collision_indication", hits, np.zeros((1, 1))) == pytest.approx(3.1 / 4.2)


def test_times_and_agents_count_on_their_own():
    rollouts = np.array([[[1.0, 6.0], [11.0, 11.0]]])
    recorded = np.array([[1.0, 1.0], [11.0, 11.0]])
    expected = np.exp(np.mean(np.log([1.1 / 3.0, 1.1 / 3.0, 2.1 / 3.0, 2.1 / 3.0])))
    assert realism.likelihood("linear_speed", rollouts, recorded) == pytest.approx(expected)
    first = np.array([[True, True], [False, False]])
    assert realism.likelihood("linear_speed", rollouts, recorded, first) == pytest.approx(1.1 / 3.0)


def test_realism_is_the_weighted_sum():
    assert sum(feature.weight for feature in realism.FEATURES.values()) == pytest.approx(1.0)
    likelihoods = dict.fromkeys(realism.FEATURES, 0.5)
    assert realism.realism(likelihoods) == pytest.approx(0.5)
    assert realism.realism({**likelihoods, "offroad_indication": 0.9}) == pytest.approx(0.5 + 0.25 * 0.4)
    with pytest.raises(InputError, match="missing"):
        realism.realism({"linear_speed": 1.0})
    with pytest.raises(InputError, match="unknown feature"):
        realism.likelihood("speed", np.zeros((1, 1, 1)), np.zeros((1, 1)))


def test_further_criticality_by_hand():
    assert criticality.ttz(20.0, 10.0) == 2.0
    assert np.isinf(criticality.ttz(20.0, 0.0))
    assert criticality.conflict_index(1000.0, 2.0, alpha=0.5, beta=1.5) == pytest.approx(500.0 * np.exp(-3.0))
    acceleration = np.array([0.0, 0.1, 0.3, 0.6])
    assert criticality.longitudinal_jerk(acceleration, 0.1) == pytest.approx(3.0)
    assert criticality.lateral_jerk(-acceleration, 0.1) == pytest.approx(3.0)
    ego = np.zeros((4, 3))
    others = np.zeros((2, 4, 3)) + np.array([[[3.0, 0.0, 0.0]], [[30.0, 0.0, 0.0]]])
    others[0, 2:, 1] = 50.0
    assert criticality.soi(ego, np.array([6.0, 3.0]), others, np.array([[6.0, 3.0], [6.0, 3.0]])) == 2.0


def test_times_without_a_conflict_are_refused():
    for metric in (criticality.et, criticality.pet):
        with pytest.raises(InputError, match="both times are infinite"):
            metric(np.inf, np.inf)
    with pytest.raises(InputError, match="leaves the area before"):
        criticality.et(2.0, 1.0)
    assert criticality.pet(1.0, np.inf) == np.inf
    assert np.isnan(criticality.et(np.nan, 1.0))
