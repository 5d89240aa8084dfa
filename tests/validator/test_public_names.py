"""The public functions as documented, with floats and with arrays."""

import subprocess
import sys

import numpy as np
import pytest

from alpamayo.metrics import criticality, rss, stl
from alpamayo.metrics.comfort import comfort
from alpamayo.validator import scores

RSS = {
    "longitudinal_distance": {"response_time": 1.0, "accel_max": 3.5, "brake_min": 4.0, "brake_max": 8.0},
    "opposite_distance": {
        "response_time_1": 1.0,
        "response_time_2": 2.0,
        "accel_max": 3.5,
        "brake_min": 4.0,
        "brake_min_correct": 3.0,
    },
    "lateral_distance": {"response_time": 1.0, "accel_max": 0.2, "brake_min": 0.8, "fluctuation": 0.1},
}
METRICS = {
    "ttc": (20.0, 10.0, 5.0),
    "thw": (20.0, 10.0),
    "drac": (20.0, 10.0, 5.0),
    "btn": (20.0, 10.0, 5.0),
    "stn": (2.0, 0.5, 2.0, 2.0),
    "dst": (50.0, 10.0, 5.0),
    "msd": (10.0,),
    "psd": (20.0, 10.0),
    "delta_v": (1500.0, 1500.0, 10.0, 5.0, 0.3),
    "et": (1.0, 2.0),
    "pet": (1.0, 2.0),
    "longitudinal_acceleration_required": (20.0, 10.0, 5.0),
    "lateral_acceleration_required": (2.0, 0.5, 2.0, 2.0),
}


def test_one_import_gives_all_of_them():
    code = "import alpamayo.metrics as m; m.rss, m.comfort.comfort, m.criticality.ttc, m.stl.parse"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", RSS)
def test_rss(name):
    distance = getattr(rss, name)
    one = float(distance(10.0, 5.0, **RSS[name]))
    many = distance(np.full((2, 3), 10.0), np.full(3, 5.0), **RSS[name])
    assert many.shape == (2, 3)
    assert np.allclose(many, one)


@pytest.mark.parametrize("name", METRICS)
def test_criticality_takes_floats_and_arrays(name):
    metric = getattr(criticality, name)
    one = float(metric(*METRICS[name]))
    many = metric(*(np.full((2, 3), value) for value in METRICS[name]))
    assert many.shape == (2, 3)
    assert np.allclose(many, one)


@pytest.mark.parametrize("name", METRICS)
def test_nan_input_is_never_safe(name):
    for i in range(len(METRICS[name])):
        values = [np.nan if i == k else value for k, value in enumerate(METRICS[name])]
        assert np.isnan(getattr(criticality, name)(*values)), i


def test_criticality_of_motions():
    pose = np.column_stack([np.arange(40.0), np.zeros(40), np.zeros(40)])
    box, speed = np.array([4.0, 2.0]), np.full(40, 10.0)
    other = np.repeat(np.array([[35.0, 0.0, 0.0]]), 40, axis=0)
    for name in ("ttb", "tts", "ttk", "ttr"):
        assert isinstance(getattr(criticality, name)(pose, speed, box, other[None], box[None], 0.1), float)
    assert criticality.dce(pose, box, other, box) < 0.0
    assert criticality.ttce(pose, box, other, box, 0.1) == pytest.approx(3.2, abs=0.11)
    assert criticality.wttc(np.array([30.0, 0.0]), np.array([-10.0, 0.0]), 4.0) > 0.0
    times = np.array([[3.0, 1.0, 0.5], [9.0, 9.0, 9.0]])
    assert criticality.tet(times, 0.1) == pytest.approx([0.2, 0.0])
    assert criticality.tit(times, 0.1) == pytest.approx([0.25, 0.0])
    assert 0.0 <= criticality.cpi(np.array([1.0, 9.0]), 0.1) <= 1.0


def test_unknown_motions_are_never_safe():
    pose, speed, box = np.zeros((20, 3)), np.full(20, 10.0), np.array([4.0, 2.0])
    other = np.full((20, 3), 50.0)
    lost = pose.copy()
    lost[7] = np.nan
    for name in ("ttb", "tts", "ttk", "ttr"):
        metric = getattr(criticality, name)
        assert metric(pose, speed, box, other[None], box[None], 0.1) == np.inf
        for where in (
            (lost, speed, box, other[None]),
            (pose, speed * np.nan, box, other[None]),
            (pose, speed, box, lost[None]),
        ):
            assert np.isnan(metric(*where, box[None], 0.1))
    assert np.isnan(criticality.dce(lost, box, other, box))
    assert np.isnan(criticality.ttce(lost, box, other, box, 0.1))
    assert np.isnan(criticality.occupation(lost, box, other[0], box, 0.1)).all()
    assert np.isnan(criticality.tet(np.array([np.nan, 3.0]), 0.1))
    unknown = np.array([[30.0, 0.0], [np.nan, 0.0]])
    assert np.isnan(criticality.wttc(unknown, np.zeros(2), 4.0)).tolist() == [False, True]


def test_comfort_stl_and_scores():
    t = 0.1 * np.arange(40)
    positions = np.stack([10.0 * t, 0.0 * t], axis=-1)
    assert comfort(positions, np.zeros(40), 0.1).comfortable
    assert comfort(np.stack([positions] * 3), np.zeros((3, 40)), 0.1).comfortable.shape == (3,)
    assert stl.robustness("always(x > 0)", {"x": np.ones((2, 5))}, 0.1).shape == (2, 5)
    parts = {"NC": 1.0, "DAC": 1.0, "EP": 0.5, "TTC": 1.0, "C": 1.0}
    assert scores.pdms(parts) == pytest.approx((2.5 + 5 + 2) / 12)
    assert scores.pdms({name: np.full(4, value) for name, value in parts.items()}).shape == (4,)
    assert scores.epdms({**parts, "DAC": 0.0}) == 0.0
    assert scores.epdms({**parts, "DAC": 0.0}, human={"DAC": 0.0}) > 0.0
    assert scores.nuplan_cls({**parts, "MP": 1.0}) > 0.0


def test_scores_of_a_scene_by_hand():
    """One scene and all formulas, computed by hand from the published definitions."""
    parts = {
        "at_fault_collision": 1.0,
        "drivable_area": 1.0,
        "driving_direction": 0.5,
        "red_light": 1.0,
        "making_progress": 1.0,
        "progress": 0.8,
        "time_to_collision": 0.0,
        "lane_keeping": 1.0,
        "comfort": 1.0,
        "extended_comfort": 0.0,
        "speed_limit": 0.9,
        "kinematics": 1.0,
        "rss": 1.0,
        "reasoning": 0.5,
    }
    assert scores.pdms(parts) == pytest.approx((5 * 0.8 + 0 + 2) / 12)
    assert scores.epdms(parts) == pytest.approx(0.5 * (4.0 + 0 + 2 + 2 + 0) / 16)
    human = {"time_to_collision": 0.0, "driving_direction": 0.5, "extended_comfort": 0.0}
    assert scores.epdms(parts, human) == pytest.approx(0.5 * (4.0 + 5 + 2 + 2 + 2) / 16)
    assert scores.nuplan_cls(parts) == pytest.approx(0.5 * (4.0 + 0 + 4 * 0.9 + 2) / 16)
    whole = 5 * 0.8 + 0 + 2 * 1 + 2 * 0.5 + 1 * 1 + 2 * 0.9 + 2 * 1 + 2 * 0.5
    assert scores.alpamayo_score(parts) == pytest.approx(whole / 21)
    assert scores.bench2drive(80.0, {"collision_vehicle": 1, "stop_sign": 1}, 0.25) == pytest.approx(80 * 0.75 * 0.48)
