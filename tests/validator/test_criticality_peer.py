"""Criticality metrics compared with commonroad-crime 0.4.5, for an ego and one lead on a straight road.

Both are 4 m long and 2 m wide, drive in the middle of one lane and go on with constant acceleration for 8 s, a state
every 0.1 s. The road is turned by 1e-4 rad, because commonroad-crime requires no braking at a heading of exactly 0. Its
faults are in docs/validator/differences.md. Tolerances come from its rounding and its time step.
"""

import numpy as np
import pytest

from alpamayo.metrics import criticality

DT, STEPS = 0.1, 80
BOX = np.array([4.0, 2.0])
CENTI = 0.0051  # half of the last digit that it keeps, 0.01, and 0.0001 for the turn of the road
# gap (m), speed and acceleration of the ego, then of the lead (m/s, m/s²)
CLOSING = (30.0, 20.0, 0.0, 10.0, 0.0)
SLOWLY = (20.0, 15.0, 0.0, 12.0, 0.0)
FAST = (50.0, 30.0, 0.0, 20.0, 0.0)
SAME_SPEED = (12.0, 10.0, 0.0, 10.0, 0.0)
OPENING = (20.0, 10.0, 0.0, 15.0, 0.0)
STANDING = (40.0, 25.0, 0.0, 0.0, 0.0)
BRAKING = (10.0, 20.0, -1.0, 15.0, 0.0)
AVOIDING = (20.0, 15.0, -1.0, 12.0, 0.0)
SPEEDING_UP = (25.0, 20.0, 2.0, 15.0, 0.0)
LEAD_SPEEDS_UP = (10.0, 20.0, 0.0, 15.0, 1.0)


def motion(state):
    """Compute gap, speeds and both distances at each step; neither vehicle stops within the 8 s."""
    gap, v_ego, a_ego, v_lead, a_lead = state
    t = DT * np.arange(STEPS)
    ego, lead = v_ego * t + 0.5 * a_ego * t**2, v_lead * t + 0.5 * a_lead * t**2
    return gap + lead - ego, v_ego + a_ego * t, v_lead + a_lead * t, ego, lead


def poses(state):
    _, _, _, ego, lead = motion(state)
    still = np.zeros(STEPS)
    ahead = state[0] + BOX[0] + lead
    return np.column_stack([ego, still, still]), np.column_stack([ahead, still, still])


@pytest.mark.parametrize(
    ("state", "peer"),
    [
        (CLOSING, 3.0),
        (SLOWLY, 6.67),
        (FAST, 5.0),
        (SAME_SPEED, np.inf),
        (OPENING, np.inf),
        (STANDING, 1.6),
        (BRAKING, 2.76),
        (AVOIDING, np.inf),
        (SPEEDING_UP, 3.09),
        (LEAD_SPEEDS_UP, 2.76),
    ],
)
def test_ttc_equals_commonroad_crime(state, peer):
    gap, v_ego, a_ego, v_lead, a_lead = state
    assert criticality.ttc(gap, v_ego, v_lead, a_ego, a_lead) == pytest.approx(peer, abs=CENTI)


@pytest.mark.parametrize(
    ("state", "peer"),
    [(CLOSING, 1.6), (SLOWLY, 1.4), (FAST, 1.7), (SAME_SPEED, 1.3), (OPENING, 2.1), (STANDING, 1.7)],
)
def test_headway_equals_commonroad_crime(state, peer):
    """Theirs is the first step at which the ego's front is past the place, so up to a step later than ours."""
    assert 0.0 < peer - criticality.thw(state[0], state[1]) < DT + 1e-9


@pytest.mark.parametrize(
    ("state", "required", "threat"),
    [
        (CLOSING, -1.67, 0.1452),
        (SLOWLY, -0.22, 0.0191),
        (FAST, -1.0, 0.087),
        (SAME_SPEED, 0.0, 0.0),
        (STANDING, -7.81, 0.6791),
        (BRAKING, -1.25, 0.1087),
        (LEAD_SPEEDS_UP, -0.25, 0.0217),
    ],
)
def test_braking_required_equals_commonroad_crime(state, required, threat):
    """Their threat number is made of the rounded acceleration and rounded again, at 0.0001."""
    gap, v_ego, _, v_lead, a_lead = state
    ours = criticality.longitudinal_acceleration_required(gap, v_ego, v_lead, a_lead)
    assert ours == pytest.approx(required, abs=CENTI)
    assert criticality.btn(gap, v_ego, v_lead, a_lead) == pytest.approx(
        threat, abs=CENTI / criticality.BRAKE_MPS2 + 5e-5
    )


@pytest.mark.parametrize(("state", "peer"), [(CLOSING, 15.0), (FAST, 15.0), (SAME_SPEED, 0.0), (STANDING, 23.44)])
def test_deceleration_to_safety_time_equals_commonroad_crime(state, peer):
    gap, v_ego, _, v_lead, _ = state
    assert criticality.dst(gap, v_ego, v_lead) == pytest.approx(peer, abs=CENTI)


@pytest.mark.parametrize(("speed", "peer"), [(20.0, 17.39), (15.0, 9.78), (30.0, 39.13), (10.0, 4.35), (25.0, 27.17)])
def test_stopping_distance_equals_commonroad_crime(speed, peer):
    assert criticality.msd(speed) == pytest.approx(peer, abs=CENTI)


def test_only_an_approaching_lead_requires_braking():
    """Unlike commonroad-crime: -0.62, -3.75 behind a lead that pulls away, 0 behind a braking one, -3.38 too near."""
    assert criticality.longitudinal_acceleration_required(20.0, 10.0, 15.0) == 0.0
    assert criticality.dst(20.0, 10.0, 15.0) == 0.0
    assert criticality.longitudinal_acceleration_required(20.0, 15.0, 15.0, -4.0) == -4.0
    assert criticality.dst(20.0, 15.0, 12.0) == np.inf


def test_delta_v_of_a_stopped_lead_equals_commonroad_crime():
    assert criticality.delta_v(1500.0, 1500.0, STANDING[1], 0.0, 0.0) == pytest.approx(12.5, abs=CENTI)


@pytest.mark.parametrize(
    ("state", "peer"),
    [
        (CLOSING, 1.3),
        (SLOWLY, 1.2),
        (FAST, 1.7),
        (SAME_SPEED, 1.1),
        (OPENING, 1.6),
        (STANDING, 1.1),
        (BRAKING, 0.8),
        (SPEEDING_UP, 1.3),
    ],
)
def test_wttc_equals_commonroad_crime(state, peer):
    """Rounded to 0.1 s; its circles are about the middle third of each car."""
    gap, v_ego, _, v_lead, _ = state
    apart, velocity = np.array([gap + BOX[0], 0.0]), np.array([v_lead - v_ego, 0.0])
    radius = 2.0 * np.hypot(BOX[0] / 6.0, BOX[1] / 2.0)
    assert criticality.wttc(apart, velocity, radius) == pytest.approx(peer, abs=0.05 + 1e-4)


@pytest.mark.parametrize(
    ("state", "distance", "time"),
    [
        (CLOSING, 0.0, 3.0),
        (SLOWLY, 0.0, 6.7),
        (FAST, 0.0, 5.1),
        (OPENING, 20.0, 0.0),
        (STANDING, 0.0, 1.7),
        (BRAKING, 0.0, 2.8),
        (AVOIDING, 15.5, 3.0),
        (SPEEDING_UP, 0.0, 3.1),
        (LEAD_SPEEDS_UP, 0.0, 2.8),
    ],
)
def test_closest_encounter_equals_commonroad_crime(state, distance, time):
    """Theirs has 0 for any overlap; a touch at a step itself is of that step or the next, by the last bit."""
    ego, lead = poses(state)
    assert max(criticality.dce(ego, BOX, lead, BOX), 0.0) == pytest.approx(distance, abs=CENTI)
    assert criticality.ttce(ego, BOX, lead, BOX, DT) == pytest.approx(time, abs=DT + 1e-9)


@pytest.mark.parametrize(
    ("state", "exposed", "integrated"),
    [
        (CLOSING, 2.0, 1.9),
        (SLOWLY, 2.0, 1.96),
        (FAST, 2.0, 1.9),
        (SAME_SPEED, 0.0, 0.0),
        (OPENING, 0.0, 0.0),
        (STANDING, 1.6, 1.84),
        (BRAKING, 2.0, 1.98),
        (AVOIDING, 0.0, 0.0),
        (SPEEDING_UP, 2.0, 1.92),
    ],
)
def test_exposure_equals_commonroad_crime(state, exposed, integrated):
    """Up to the crash, the end in commonroad-crime; the last bit decides whether a TTC of exactly 2 s counts."""
    gap, v_ego, v_lead, _, _ = motion(state)
    times = np.where(gap > 1e-3, criticality.ttc(gap, v_ego, v_lead, state[2], state[4]), np.inf)
    assert criticality.tet(times, DT) == pytest.approx(exposed, abs=DT + 1e-9)
    assert criticality.tit(times, DT) == pytest.approx(integrated, abs=CENTI * exposed + 5e-5)


@pytest.mark.parametrize(
    ("state", "peer"),
    [(CLOSING, 0.06985), (SLOWLY, 0.02092), (FAST, 0.06985), (SAME_SPEED, 0.0), (STANDING, 0.17656)],
)
def test_crash_potential_equals_commonroad_crime(state, peer):
    """Up to the crash; rounding each deceleration moves the probability by at most its density of 0.29."""
    gap, v_ego, v_lead, _, _ = motion(state)
    required = np.where(gap > 1e-3, criticality.drac(gap, v_ego, v_lead), 0.0)
    assert criticality.cpi(required, DT) == pytest.approx(peer, abs=0.29 * CENTI)
