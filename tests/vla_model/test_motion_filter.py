"""Tests of the filter that tells standing from moving, and of the tracks that it carries."""

from dataclasses import replace

import numpy as np
import pytest

from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_vla_model.perception.detections import Detections
from alpamayo_vla_model.perception.motion_filter import MOVE, MotionFilter
from alpamayo_vla_model.perception.objects import ObjectClass
from alpamayo_vla_model.perception.tracks import TrackMemory

Array = np.ndarray

RIG, DT_S, EGO_MPS = default_rig(160, 96), 0.1, 14.0
UNKNOWN_VELOCITY = np.diag([15.0**2, 2.0**2])


def followed(speed: float, noise: float, rng: np.random.Generator, steps: int = 15) -> MotionFilter:
    """Return the filter of a thing on the x axis after some steps of noisy places; its velocity is not measured."""
    spread = np.eye(2) * noise**2
    motion = MotionFilter.movable(np.array([80.0, 0.0]), spread, UNKNOWN_VELOCITY, moving=0.5, kept=0.98)
    for step in range(1, steps):
        motion.predict(DT_S, 2.0)
        place = np.array([80.0 + speed * DT_S * step, 0.0]) + noise * rng.standard_normal(2)
        unknown = np.diag([noise**2, noise**2, 1e6, 1e6])
        motion.measure(np.append(place, [0.0, 0.0]), unknown)
    return motion


def test_what_stands_gets_no_velocity_from_jitter() -> None:
    speeds = [np.hypot(*followed(0.0, 1.0, np.random.default_rng(seed)).state[2:]) for seed in range(20)]
    assert np.median(speeds) < 0.3
    assert max(speeds) < 2.0


@pytest.mark.parametrize("speed", [-18.0, 12.0])
def test_what_moves_is_known_to_move(speed: float) -> None:
    for seed in range(10):
        motion = followed(speed, 1.0, np.random.default_rng(seed))
        assert motion.chance[MOVE] > 0.8
        assert motion.state[2] == pytest.approx(speed, abs=3.0)


def test_the_chances_add_up_and_the_covariance_is_one() -> None:
    motion = followed(3.0, 2.0, np.random.default_rng(3))
    assert motion.chance.sum() == pytest.approx(1.0)
    assert np.linalg.eigvalsh(motion.covariance).min() > -1e-9


def test_a_measured_velocity_tells_a_parked_thing_from_a_moving_one() -> None:
    """A network that is sure of standing still says so; one that does not know leaves both open."""
    for std, stands in ((0.3, True), (8.0, False)):
        motion = MotionFilter.movable(np.zeros(2), np.eye(2), UNKNOWN_VELOCITY, moving=0.75, kept=0.98)
        motion.measure_velocity(np.zeros(2), np.eye(2) * std**2)
        assert (motion.chance[MOVE] < 0.05) == stands


def test_what_cannot_move_does_not() -> None:
    motion = MotionFilter.standing(np.zeros(2), np.eye(2))
    for step in range(10):
        motion.predict(DT_S, 3.0)
        motion.measure(np.array([0.5 * step, 0.0, 5.0, 0.0]), np.eye(4))
    assert not motion.state[2:].any()


def cars(places: Array, std: tuple[float, float]) -> Detections:
    """Return sure detections of cars at these places (ego frame, m) with unknown velocities."""
    n = len(places)
    chance = np.zeros((n, len(ObjectClass)))
    chance[:, ObjectClass.VEHICLE] = 1.0
    return Detections(
        chance=chance,
        existence=np.full(n, 0.95),
        position=places,
        heading=np.zeros(n),
        size=np.tile([4.5, 1.8, 1.5], (n, 1)),
        velocity=np.zeros((n, 2)),
        position_std=np.tile(std, (n, 1)),
        velocity_std=np.full(n, 9.0),
        azimuth=np.arctan2(places[:, 1], places[:, 0]),
    )


def test_an_oncoming_car_is_told_from_the_one_ahead_in_the_next_lane() -> None:
    """At 100 m the range is doubtful and the direction is not: each detection belongs to the track in its direction."""
    memory, rng = TrackMemory(RIG), np.random.default_rng(5)
    for step in range(25):
        ego = np.array([EGO_MPS * DT_S * step, 0.0, 0.0])
        true = np.array([[90.0, 0.0], [120.0 - 18.0 * DT_S * step, 3.6]]) - ego[:2]
        found = cars(true + rng.normal(0.0, 1.0, true.shape) * [0.05 * true[:, 0].mean(), 0.15], (12.0, 0.5))
        memory.update(found, ego, DT_S)
    standing, oncoming = sorted(memory.confirmed(), key=lambda track: float(track.state[1]))
    assert standing.speed < 2.0
    assert oncoming.state[2] == pytest.approx(-18.0, abs=6.0)
    assert oncoming.state[1] == pytest.approx(3.6, abs=0.5)


def test_doubt_along_the_line_of_sight_does_not_reach_across_it() -> None:
    """A detection a lane away is another thing, however doubtful the range of the track."""
    memory = TrackMemory(RIG)
    for _ in range(3):
        memory.update(cars(np.array([[90.0, 0.0]]), (20.0, 0.5)), np.zeros(3), DT_S)
    memory.update(cars(np.array([[90.0, 5.0]]), (20.0, 0.5)), np.zeros(3), DT_S)
    assert sorted(round(float(track.state[1])) for track in memory.tracks) == [0, 5]


def test_a_velocity_that_is_surely_zero_keeps_a_parked_car_parked() -> None:
    memory, rng = TrackMemory(RIG), np.random.default_rng(2)
    for _ in range(10):
        found = cars(np.array([[8.0, -3.0]]) + rng.normal(0.0, 0.3, (1, 2)), (0.7, 0.6))
        memory.update(replace(found, velocity_std=np.array([0.3])), np.zeros(3), DT_S)
    (track,) = memory.confirmed()
    assert track.speed < 0.1


def test_an_exact_velocity_is_taken_as_a_sure_one() -> None:
    for velocity, moves in (([0.0, 0.0], False), ([9.0, 0.0], True)):
        motion = MotionFilter.movable(np.zeros(2), np.eye(2), UNKNOWN_VELOCITY, moving=0.5, kept=0.98)
        motion.measure_velocity(np.array(velocity), np.zeros((2, 2)))
        assert (motion.chance[MOVE] > 0.5) == moves
        np.testing.assert_allclose(motion.state[2:], velocity, atol=0.05)
