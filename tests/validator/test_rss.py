"""RSS compared with ad-rss-lib on random states, and the proper response."""

import warnings

import numpy as np
import pytest

from alpamayo.metrics import rss
from alpamayo_sim.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ad_rss = pytest.importorskip("ad_rss", reason="ad-rss is the judge here; pip install ad-rss")
    lib, physics = ad_rss.rss, ad_rss.physics

N = 10_000


def dynamics(accel_max, brake_min, brake_max, brake_min_correct, response_time, side=(0.2, 0.8), fluctuation=0.1):
    out = lib.world.RssDynamics()
    out.alpha_lon.accel_max = physics.Acceleration(accel_max)
    out.alpha_lon.brake_min = physics.Acceleration(-brake_min)
    out.alpha_lon.brake_max = physics.Acceleration(-brake_max)
    out.alpha_lon.brake_min_correct = physics.Acceleration(-brake_min_correct)
    out.alpha_lat.accel_max = physics.Acceleration(side[0])
    out.alpha_lat.brake_min = physics.Acceleration(-side[1])
    out.lateral_fluctuation_margin = physics.Distance(fluctuation)
    out.response_time = physics.Duration(response_time)
    out.max_speed_on_acceleration = physics.Speed(100.0)
    out.min_longitudinal_safety_distance = physics.Distance(0.0)
    unused = out.unstructured_settings  # takes no part here, but the library wants it to be valid
    unused.pedestrian_turning_radius = unused.vehicle_min_radius = physics.Distance(2.0)
    unused.drive_away_max_angle = physics.Angle(2.0)
    unused.vehicle_yaw_rate_change = physics.AngularAcceleration(0.3)
    unused.vehicle_trajectory_calculation_step = physics.Duration(0.2)
    return out


def vehicle(dynamic, along=0.0, across=0.0):
    out = lib.core.RelativeObjectState()
    out.object_type = lib.world.ObjectType.OtherVehicle
    out.dynamics = dynamic
    unused = out.unstructured_object_state
    unused.yaw = unused.steering_angle = physics.Angle(0.0)
    unused.speed_range.minimum = unused.speed_range.maximum = physics.Speed(0.0)
    unused.yaw_rate = physics.AngularVelocity(0.0)
    unused.center_point.x = unused.center_point.y = physics.Distance(0.0)
    unused.dimension.length = unused.dimension.width = physics.Distance(2.0)
    out.structured_object_state.distance_to_enter_intersection = physics.Distance(0.0)
    out.structured_object_state.distance_to_leave_intersection = physics.Distance(1.0)
    velocity = out.structured_object_state.velocity
    velocity.speed_lon_min = velocity.speed_lon_max = physics.Speed(float(along))
    velocity.speed_lat_min = velocity.speed_lat_max = physics.Speed(float(across))
    return out


def asked(call, a, b):
    distance = physics.Distance(0.0)
    assert call(a, b, distance)
    return float(distance.toBaseType)


def random_parameters(rng):
    brake_min = rng.uniform(2.0, 6.0, N)
    return {
        "accel_max": rng.uniform(0.1, 5.0, N),
        "brake_min": brake_min,
        "brake_max": brake_min + rng.uniform(0.1, 4.0, N),
        "brake_min_correct": brake_min * rng.uniform(0.4, 1.0, N),
        "response_time": rng.uniform(0.1, 2.5, N),
    }


def test_longitudinal_distance_equals_ad_rss_lib():
    rng = np.random.default_rng(0)
    p, rear, front = random_parameters(rng), rng.uniform(0, 40, N), rng.uniform(0, 40, N)
    names = ("response_time", "accel_max", "brake_min", "brake_max")
    ours = rss.longitudinal_distance(rear, front, **{name: p[name] for name in names})
    call = lib.structured.calculateSafeLongitudinalDistanceSameDirection
    for i in range(N):
        d = dynamics(**{name: float(p[name][i]) for name in p})
        assert ours[i] == pytest.approx(asked(call, vehicle(d, front[i]), vehicle(d, rear[i])), abs=1e-3)


def test_opposite_distance_equals_ad_rss_lib():
    rng = np.random.default_rng(1)
    p, one, two = random_parameters(rng), rng.uniform(0, 40, N), rng.uniform(0, 40, N)
    second = rng.uniform(0.1, 2.5, N)
    ours = rss.opposite_distance(
        one,
        two,
        response_time_1=p["response_time"],
        response_time_2=second,
        accel_max=p["accel_max"],
        brake_min=p["brake_min"],
        brake_min_correct=p["brake_min_correct"],
    )
    call = lib.structured.calculateSafeLongitudinalDistanceOppositeDirection
    for i in range(N):
        mine = {name: float(p[name][i]) for name in p}
        a, b = (
            vehicle(dynamics(**mine), one[i]),
            vehicle(dynamics(**{**mine, "response_time": float(second[i])}), two[i]),
        )
        assert ours[i] == pytest.approx(asked(call, a, b), abs=1e-3)
    assert rss.opposite_distance(
        10.0, -12.0, response_time_1=1, response_time_2=2, accel_max=3.5, brake_min=4, brake_min_correct=3
    ) == pytest.approx(
        float(
            rss.opposite_distance(
                10.0, 12.0, response_time_1=1, response_time_2=2, accel_max=3.5, brake_min=4, brake_min_correct=3
            )
        )
    )


def test_lateral_distance_equals_ad_rss_lib():
    rng = np.random.default_rng(2)
    left, right = rng.uniform(-3, 3, N), rng.uniform(-3, 3, N)
    accel, brake = rng.uniform(0.05, 1.0, N), rng.uniform(0.2, 2.0, N)
    time, sway = rng.uniform(0.1, 2.0, N), rng.uniform(0, 0.3, N)
    ours = rss.lateral_distance(left, right, response_time=time, accel_max=accel, brake_min=brake, fluctuation=sway)
    call = lib.structured.calculateSafeLateralDistance
    for i in range(N):
        d = dynamics(3.5, 4, 8, 3, float(time[i]), (float(accel[i]), float(brake[i])), float(sway[i]))
        assert ours[i] == pytest.approx(asked(call, vehicle(d, 0, left[i]), vehicle(d, 0, right[i])), abs=1e-3)


def test_worked_values():
    v = 50 / 3.6
    distance = rss.longitudinal_distance(v, v, response_time=2.0, accel_max=3.5, brake_min=4.0, brake_max=8.0)
    assert distance == pytest.approx(77.2647, abs=1e-3)


def test_times_to_cover_equal_ad_rss_lib():
    rng = np.random.default_rng(3)
    v, distance = rng.uniform(0, 30, 2000), rng.uniform(0, 120, 2000)
    time, before, after = rng.uniform(0.1, 2.5, 2000), rng.uniform(-8, 4, 2000), rng.uniform(-8, -0.5, 2000)
    time[0], before[1] = 0.0, 0.0
    ours = rss.time_to_cover(v, distance, response_time=time, before=before, after=after)
    for i in range(2000):
        out = physics.Duration(0.0)
        assert lib.core.calculateTimeToCoverDistance(
            physics.Speed(v[i]),
            physics.Speed(100.0),
            physics.Duration(time[i]),
            physics.Acceleration(before[i]),
            physics.Acceleration(after[i]),
            physics.Distance(distance[i]),
            out,
        )
        theirs = float(out.toBaseType)
        if theirs >= 1e6:  # the library has no infinity
            assert np.isinf(ours[i])
        else:
            assert ours[i] == pytest.approx(theirs, abs=1e-3)


def test_intersections():
    crossing = {"enter_1": 5.0, "leave_1": 15.0, "enter_2": 5.0, "leave_2": 15.0}
    assert not rss.intersection_safe(12.0, 12.0, **crossing)
    far = {**crossing, "enter_2": 80.0, "leave_2": 90.0}
    assert rss.intersection_safe(12.0, 12.0, **far)  # the second can stop
    assert rss.intersection_safe(12.0, 12.0, **far, priority_1=True)
    assert not rss.intersection_safe(12.0, 16.0, **{**far, "enter_2": 40.0, "leave_2": 50.0}, priority_1=False)


def states(gap, side_gap, **kwargs):
    shape = np.shape(gap)
    fill = {"v_ego": 10.0, "v_other": 10.0, "side_ego": 0.0, "side_other": 0.0} | kwargs
    values = {name: np.broadcast_to(np.asarray(value, float), shape) for name, value in fill.items()}
    true = np.ones(shape, bool)
    return rss.assess(np.asarray(gap, float), np.asarray(side_gap, float), **values, ego_behind=true, ego_left=true)


def test_dangerous_means_both_gaps_are_unsafe():
    danger = states([100.0, 5.0, 100.0, 5.0], [5.0, 5.0, -1.0, -1.0])
    assert danger.dangerous.tolist() == [False, False, False, True]
    assert np.all((danger.margin > 0) == ~danger.dangerous)


def test_the_response_is_in_the_direction_that_was_lost_last():
    ego_left = np.ones(4, bool)
    lost_along = states([60.0, 40.0, 10.0, 10.0], [-1.0] * 4)
    response = rss.proper_response(lost_along, ego_left=ego_left)
    assert response.longitudinal_max.tolist() == [3.5, 3.5, -4.0, -4.0] or response.longitudinal_max[2] == -4.0
    assert response.lateral_right_max[3] == 0.2
    lost_across = states([10.0] * 4, [5.0, 5.0, 0.05, 0.05])
    response = rss.proper_response(lost_across, ego_left=ego_left)
    assert response.lateral_right_max.tolist() == [0.2, 0.2, -0.8, -0.8]
    assert response.lateral_left_max.tolist() == [0.2] * 4
    assert response.longitudinal_max.tolist() == [3.5] * 4


def test_responses_to_several_others_are_the_strictest():
    danger = states([[10.0], [200.0]], [[-1.0], [-1.0]])
    response = rss.combined(rss.proper_response(danger, ego_left=np.ones((2, 1), bool)))
    assert response.longitudinal_max.tolist() == [-4.0]


def test_bad_parameters_are_errors():
    with pytest.raises(InputError, match="brake_min"):
        rss.Parameters(brake_min=-4.0)
