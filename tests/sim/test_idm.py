"""The Intelligent Driver Model: one formula in numpy and in Warp, held equal; its closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_sim.drivers.idm import IdmConfig
from alpamayo_sim.engine.kernels.car_following import IDM_MAX_BRAKING_MPS2, IdmParameters, idm
from alpamayo_sim.prediction import idm as host
from alpamayo_sim.warp_runtime import wp

COUNT = 64


@wp.kernel
def accelerations(
    rows: wp.array2d[wp.float32],
    motions: wp.array2d[wp.float32],
    out: wp.array[wp.float32],
):
    i = wp.tid()
    parameters = IdmParameters()
    parameters.acceleration = rows[i, 0]
    parameters.deceleration = rows[i, 1]
    parameters.headway = rows[i, 2]
    parameters.gap = rows[i, 3]
    out[i] = idm(parameters, motions[i, 0], motions[i, 1], motions[i, 2], motions[i, 0] - motions[i, 3])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_host_and_warp_formulas_are_equal(seed):
    rng = np.random.default_rng(seed)
    rows = rng.uniform((0.5, 1.0, 0.8, 1.0), (2.5, 4.0, 2.5, 5.0), (COUNT, 4)).astype(np.float32)
    motions = rng.uniform((0.0, 0.0, -5.0, -3.0), (35.0, 35.0, 150.0, 35.0), (COUNT, 4)).astype(np.float32)
    out = np.zeros(COUNT, np.float32)
    wp.launch(accelerations, dim=COUNT, inputs=[rows, motions, out], device="cpu")
    hardest = float(IDM_MAX_BRAKING_MPS2)
    for row, (speed, desired, gap, leader), found in zip(rows.astype(float), motions.astype(float), out, strict=True):
        acceleration, deceleration, headway, standstill = row
        floor = -deceleration / acceleration
        parameters = host.IdmParameters(acceleration, deceleration, headway, standstill, floor, hardest)
        expected = host.idm_acceleration(speed, desired, gap, leader, parameters)
        assert found == pytest.approx(float(expected), rel=1e-4, abs=1e-4)


@given(st.floats(0.0, 12.0), st.floats(12.5, 30.0))
def test_the_acceleration_is_zero_at_the_equilibrium_gap(speed, desired):
    model = IdmConfig().model
    gap = (model.standstill_gap_m + model.headway_s * speed) / np.sqrt(1.0 - (speed / desired) ** 4)
    assert host.idm_acceleration(speed, desired, gap, speed, model) == pytest.approx(0.0, abs=1e-9)


def test_a_given_standstill_gap_replaces_that_of_the_parameters():
    model = IdmConfig().model
    gaps = np.array([2.0, 9.0])
    both = host.idm_acceleration(0.0, 10.0, 20.0, 0.0, model, gaps)
    assert both == pytest.approx(model.acceleration_mps2 * (1.0 - (gaps / 20.0) ** 2))
