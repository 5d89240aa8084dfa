"""The planned stop: within its bounds, before its limit, as gentle as possible, and None if there is none."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alpamayo.guard.config import GuardConfig
from alpamayo.guard.minimal_risk import StopPlanner, evasive_plans
from alpamayo_sim.datatypes.decision import PLAN_DT

LIMIT = 8.0
CONFIG = GuardConfig()
JERK = CONFIG.jerk_limit_mps3
FREE = np.full(65, np.inf)
NEVER_AT_ONCE_MPS = 0.0  # every stop is planned


@settings(max_examples=60, deadline=None)
@example(22.0, 0.0, 60.0)
@given(st.floats(0.3, 25.0), st.floats(-3.0, 2.0), st.floats(1.0, 90.0))
def test_a_stop_keeps_its_bounds(speed, acceleration, room):
    stop = StopPlanner(LIMIT, JERK, NEVER_AT_ONCE_MPS).plan(speed, acceleration, np.full(65, room))
    onset = (acceleration + LIMIT) / JERK
    least = speed * onset + 0.5 * acceleration * onset**2 - JERK * onset**3 / 6
    speed_after_onset = max(speed + acceleration * onset - 0.5 * JERK * onset**2, 0.0)
    possible = least + speed_after_onset**2 / (2 * LIMIT)
    if stop is None:
        assert possible > 0.8 * room or speed < 2.0, (possible, room)
        return
    assert stop.distance[-1] <= room + 0.05
    assert stop.speed[-1] == pytest.approx(0.0, abs=0.05)
    assert np.all(np.diff(stop.distance) >= 0.0)
    assert np.all(stop.speed >= 0.0)
    assert stop.greatest_deceleration <= LIMIT + 0.05
    moving = stop.speed[:-2] > 0.1
    jerk = np.diff(stop.speed, 2)[moving[: len(stop.speed) - 2]] / 0.01
    assert np.abs(jerk[1:]).max(initial=0.0) <= JERK + 0.5


def test_stops_are_as_gentle_as_the_distance_allows():
    planner = StopPlanner(LIMIT, JERK, NEVER_AT_ONCE_MPS)
    hardest = [
        planner.plan(10.0, 0.0, np.full(65, room)).greatest_deceleration for room in (40.0, 25.0, 18.0, 14.0, 11.5)
    ]
    assert hardest == sorted(hardest)
    assert hardest[0] < 2.0
    # 10 m/s in 14 m: no stop needs less than v² / 2s, which allows no jerk-limited onset
    assert 100.0 / 28.0 < hardest[3] < 1.5 * 100.0 / 28.0


def test_no_stop_is_planned_if_none_is_feasible():
    planner = StopPlanner(LIMIT, JERK, NEVER_AT_ONCE_MPS)
    assert planner.plan(10.0, 0.0, np.full(65, 6.0)) is None  # v² / 2g is 6.25 m
    assert planner.plan(60.0, 0.0, FREE) is None  # no rest within 6.4 s
    late = FREE.copy()
    late[50:] = 12.0
    assert planner.plan(10.0, 0.0, late).distance[-1] <= 12.05


def test_a_standing_ego_stays_standing():
    stop = StopPlanner(LIMIT, JERK, NEVER_AT_ONCE_MPS).plan(0.0, 0.0, FREE)
    assert stop.distance.max() == stop.speed.max() == 0.0


def test_equal_drives_give_equal_stops():
    def drive():
        planner = StopPlanner(LIMIT, JERK, NEVER_AT_ONCE_MPS)
        return [planner.plan(10.0 - 0.1 * i, 0.0, np.full(65, 20.0 - i)).distance for i in range(8)]

    assert np.array_equal(drive(), drive())


@pytest.mark.parametrize("speed", [2.0, 8.0, 20.0])
def test_evasions_are_feasible_and_keep_their_offset(speed):
    t = PLAN_DT * np.arange(65)
    plans = evasive_plans(np.column_stack([speed * t, 0 * t, 0 * t]), speed, LIMIT, CONFIG)
    assert set(np.sign(plans.offset)) == {1.0, -1.0}
    step = np.diff(plans.pose, axis=1)
    distance = np.hypot(step[..., 0], step[..., 1])
    bend = np.divide(step[..., 2], distance, out=np.zeros_like(distance), where=distance > 0.05)
    assert np.abs(bend).max() < 0.18
    assert np.abs(bend * plans.speed[:, 1:] ** 2).max() < 3.3
    assert np.all(plans.speed[:, :2] == pytest.approx(speed, abs=0.6))
    end = plans.pose[:, -1, 1] / plans.offset
    assert np.all((end > 0.0) & (end < 1.0 + 1e-6))
    assert end[distance.sum(axis=1) > 40.0] == pytest.approx(1.0)
