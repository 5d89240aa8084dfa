"""Criticality metrics compared with simulation in small steps, closed forms and known faults of other libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.metrics import criticality


@given(st.floats(0.5, 80), st.floats(0, 30), st.floats(0, 30), st.floats(-6, 3), st.floats(-6, 3))
def test_ttc_is_when_the_gap_closes(gap, ego, lead, a_ego, a_lead):
    t = np.linspace(0, 60, 60_001)
    left = gap + (lead - ego) * t + 0.5 * (a_lead - a_ego) * t**2
    closed = np.flatnonzero(left <= 0)
    time = float(criticality.ttc(gap, ego, lead, a_ego, a_lead))
    if len(closed):
        assert time == pytest.approx(t[closed[0]], abs=2e-2)
    else:
        assert time > 59.9 or left.min() < 1e-3


def test_a_braking_lead_brakes():
    """commonroad-crime takes the lead's acceleration without its sign, so a braking lead seems to pull away."""
    assert criticality.ttc(20.0, 10.0, 10.0, 0.0, -4.0) == pytest.approx(np.sqrt(10.0))
    assert np.isinf(criticality.ttc(20.0, 10.0, 10.0, 0.0, 4.0))
    assert np.isinf(criticality.ttc(20.0, 10.0, 12.0))
    assert criticality.ttc(-1.0, 10.0, 12.0) == 0.0


@given(st.floats(1, 80), st.floats(1, 30), st.floats(0, 25))
def test_drac_just_avoids(gap, ego, lead):
    rate = float(criticality.drac(gap, ego, lead))
    if ego <= lead:
        assert rate == 0.0
        return
    time = (ego - lead) / rate
    assert gap + (lead - ego) * time + 0.5 * rate * time**2 == pytest.approx(0.0, abs=1e-6)
    assert criticality.btn(gap, ego, lead) == pytest.approx(rate / 11.5)


def test_headway_and_distances():
    assert criticality.thw(20.0, 10.0) == 2.0
    assert np.isinf(criticality.thw(20.0, 0.0))
    assert criticality.msd(23.0) == pytest.approx(23.0)
    assert criticality.psd(46.0, 23.0) == pytest.approx(2.0)
    assert criticality.dst(50.0, 20.0, 10.0) == pytest.approx(3 * 100 / 60)
    assert np.isinf(criticality.dst(19.0, 20.0, 10.0))
    assert criticality.dst(19.0, 5.0, 10.0) == 0.0


def test_steering_uses_the_offset():
    """commonroad-crime projects the ego twice, so that the other is always dead ahead."""
    ahead = criticality.lateral_acceleration_required(2.0, 0.0, 2.0, 2.0)
    assert ahead == pytest.approx(2 * 2.0 / 4.0)
    assert criticality.lateral_acceleration_required(2.0, 1.5, 2.0, 2.0) == pytest.approx(0.25)
    assert criticality.lateral_acceleration_required(2.0, -1.5, 2.0, 2.0) == pytest.approx(0.25)
    assert criticality.lateral_acceleration_required(2.0, 2.5, 2.0, 2.0) == 0.0
    assert criticality.lateral_acceleration_required(np.inf, 0.0, 2.0, 2.0) == 0.0
    assert criticality.stn(2.0, 0.0, 2.0, 2.0) == pytest.approx(ahead / 8.0)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-15, 15), st.floats(-15, 15), st.floats(0.5, 4))
def test_wttc_is_when_the_circles_meet(x, y, vx, vy, radius):
    time = float(criticality.wttc(np.array([x, y]), np.array([vx, vy]), radius, a_ego=4.0, a_other=3.0))
    t = np.linspace(0, 20, 20_001)
    apart = np.hypot(x + vx * t, y + vy * t) - radius - 3.5 * t**2
    assert time == pytest.approx(t[np.flatnonzero(apart <= 0)[0]], abs=2e-2)


def test_wttc_is_batched():
    apart = np.array([[20.0, 0.0], [0.5, 0.0], [0.0, 40.0]])
    times = criticality.wttc(apart, np.zeros((3, 2)), 2.0)
    assert times.shape == (3,)
    assert times[1] == 0.0
    assert times[0] == pytest.approx(np.sqrt(18.0 / 11.5))


def test_delta_v_of_equal_masses():
    assert criticality.delta_v(1500, 1500, 10.0, 10.0, np.pi) == pytest.approx(10.0)
    assert criticality.delta_v(1500, 1500, 10.0, 10.0, 0.0) == pytest.approx(0.0, abs=1e-6)
    assert criticality.delta_v(1000, 3000, 10.0, 0.0, 0.0) == pytest.approx(7.5)


def test_exposure():
    times = np.array([5.0, 3.0, 1.5, 1.0, 2.0, np.inf])
    assert criticality.tet(times, 0.1) == pytest.approx(0.3)
    assert criticality.tit(times, 0.1) == pytest.approx(0.15)
    assert criticality.cpi(np.zeros(10), 0.1) == 0.0
    assert criticality.cpi(np.full(10, 20.0), 0.1) == 1.0


def straight(speed, n=60, x=0.0, y=0.0, heading=0.0):
    s = speed * 0.1 * np.arange(n)
    return np.column_stack([x + s * np.cos(heading), y + s * np.sin(heading), np.full(n, heading)])


def test_encroachment():
    area, size = np.array([30.0, 0.0, 0.0]), np.array([4.0, 4.0])
    box = np.array([4.0, 2.0])
    first = criticality.occupation(straight(10.0), box, area, size, 0.1)
    assert first == pytest.approx((2.7, 3.4), abs=0.11)
    second = criticality.occupation(straight(8.0, x=30.0, y=-40.0, heading=np.pi / 2), box, area, size, 0.1)
    assert criticality.et(*first) == pytest.approx(0.8, abs=0.2)
    assert criticality.pet(first[1], second[0]) > 0.5
    assert criticality.occupation(straight(0.0), box, area, size, 0.1) == (np.inf, np.inf)


def test_closest_encounter():
    box = np.array([4.0, 2.0])
    ego, other = straight(10.0), straight(10.0, x=50.0, y=3.0, heading=np.pi)
    assert criticality.dce(ego, box, other, box) == pytest.approx(1.0, abs=1e-6)
    assert criticality.ttce(ego, box, other, box, 0.1) == pytest.approx(2.3, abs=0.25)
    meets = straight(10.0, x=50.0, heading=np.pi)
    assert criticality.dce(ego, box, meets, box) < 0.0
    assert criticality.ttce(ego, box, meets, box, 0.1) == pytest.approx(2.3, abs=0.11)


def test_time_to_brake_is_the_latest_start():
    box, speed = np.array([4.0, 2.0]), np.full(60, 20.0)
    wall = np.repeat(np.array([[[60.0, 0.0, 0.0]]]), 60, axis=1)
    where = (straight(20.0), speed, box, wall, box[None], 0.1)
    latest = criticality.ttb(*where, brake=8.0)
    # 56 m to the wall, 25 m to stop: 31 m at 20 m/s
    assert latest == pytest.approx(31.0 / 20.0, abs=0.1)
    assert criticality.tts(*where) > latest
    assert criticality.ttk(*where) == -np.inf
    assert criticality.ttr(*where, brake=8.0) == max(latest, criticality.tts(*where))
    far_agent = np.repeat(np.array([[[60.0, 30.0, 0.0]]]), 60, axis=1)
    assert criticality.ttb(straight(20.0), speed, box, far_agent, box[None], 0.1) == np.inf
    near = np.repeat(np.array([[[8.0, 0.0, 0.0]]]), 60, axis=1)
    assert criticality.ttb(straight(20.0), speed, box, near, box[None], 0.1) == -np.inf


def test_kickdown_helps_against_a_crossing_agent():
    box, speed = np.array([4.0, 2.0]), np.full(60, 12.0)
    other = straight(9.0, x=24.0, y=-21.0, heading=np.pi / 2)[None]
    where = (straight(12.0), speed, box, other, box[None], 0.1)
    assert np.isfinite(criticality.ttk(*where, kickdown=8.0))
    assert criticality.ttb(*where) > 0.0
