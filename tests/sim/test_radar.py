"""Radar detections against geometry, Doppler's law and the radar equation."""

import dataclasses

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.lidar import long_range_radar
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors import WorldRadar

EXACT = dataclasses.replace(
    long_range_radar(), range_noise=0.0, azimuth_noise=0.0, velocity_noise=0.0, cell=(0.0, 0.0), reach=1e4
)

WALKER = {"size": (0.6, 0.6, 1.8), "category": Category.PEDESTRIAN}


def scan(batch, radar=EXACT, **arguments):
    return WorldRadar(batch, radar, **arguments).scan()[0]


def test_range_azimuth_and_doppler_of_a_car():
    ahead = testing.moving("ahead", 42.3, 0.0, speed=4.0)  # rear at 42.3 - 2.4, radar at 2.3
    beside = testing.moving(
        "beside", 30.0, 12.0, speed=6.0, heading=-np.pi / 2, category=Category.PEDESTRIAN, size=(0.6, 0.6, 1.8)
    )
    found = scan(WorldBatch([testing.scenario(ahead, beside)]))
    first = int(np.flatnonzero(found.instance == 0)[0])
    assert abs(found.range[first] - (42.3 - 2.4 - 2.3)) < 1e-4
    assert abs(found.azimuth[first]) < 1e-6
    assert abs(found.velocity[first] - (4.0 - 10.0)) < 1e-4
    other = int(np.flatnonzero(found.instance == 1)[0])
    spot = found.points()[other] - EXACT.position[:2]
    direction = spot / np.linalg.norm(spot)
    assert abs(found.velocity[other] - (np.array([0.0, -6.0]) - [10.0, 0.0]) @ direction) < 1e-3
    assert np.allclose(found.points()[other], [30.0 - 0.3, 12.0 - 0.3], atol=1e-4)


def test_velocity_is_how_the_range_changes():
    batch = WorldBatch([testing.scenario(testing.moving("crossing", 40.0, -15.0, speed=8.0, heading=1.9))])
    controls = np.array([[0.0, 0.02]], np.float32)
    batch.step(controls)
    ranges, velocities = [], []
    for _ in range(5):
        batch.step(controls)
        found = scan(batch)
        ranges.append(found.range[found.instance == 0][0])
        velocities.append(found.velocity[found.instance == 0][0])
    change = np.diff(ranges) / 0.1
    assert np.allclose(change, 0.5 * (np.array(velocities[1:]) + velocities[:-1]), atol=0.15)


def test_hidden_objects_are_not_detected():
    truck = testing.moving("truck", 30.0, 0.0, size=(8.0, 2.6, 3.5), category=Category.TRUCK)
    behind, aside = testing.moving("behind", 50.0, 0.0), testing.moving("aside", 50.0, 9.0)
    found = scan(WorldBatch([testing.scenario(truck, behind, aside)]))
    assert sorted(found.instance.tolist()) == [0, 2]


def test_what_is_not_before_it_is_not_seen():
    found = scan(
        WorldBatch(
            [
                testing.scenario(
                    testing.moving("rear", -20.0, 0.0),
                    testing.moving("side", 2.0, 20.0),
                    testing.moving("far", 290.0, 0.0),
                )
            ]
        )
    )
    assert len(found.range) == 0


def test_detection_follows_the_radar_equation():
    radar = dataclasses.replace(EXACT, reach=100.0)
    seen = {}
    for distance in (60.0, 100.0, 150.0):
        car = testing.moving("car", distance, 0.0, speed=10.0, size=(1.0, 4.0, 1.5))
        batch = WorldBatch([testing.scenario(car)])
        seen[distance] = np.mean([len(scan(batch, radar, seed=k).range) for k in range(300)])
    for distance, share in seen.items():  # Swerling I: P(strength > threshold) = exp(-threshold / mean)
        assert abs(share - np.exp(-(((distance - 0.5 - 2.3) / 100.0) ** 4))) < 0.09


def test_near_ones_merge_and_noise_has_its_spread():
    crowd = [
        testing.moving(f"p{k}", 30.0 + 0.05 * k, 0.1 * k, size=(0.3, 0.3, 1.7), category=Category.PEDESTRIAN)
        for k in range(4)
    ]
    batch = WorldBatch([testing.scenario(*crowd)])
    assert len(scan(batch, dataclasses.replace(EXACT, cell=(0.5, 0.05))).range) == 1
    radar = dataclasses.replace(EXACT, range_noise=0.2)
    alone = WorldBatch([testing.scenario(testing.moving("car", 40.0, 0.0))])
    ranges = [scan(alone, radar, seed=k).range[0] for k in range(300)]
    assert abs(np.std(ranges) - 0.2) < 0.03


def test_clutter_and_the_same_seed():
    radar = dataclasses.replace(long_range_radar(), clutter=20.0)
    made = testing.scenario(testing.moving("car", 40.0, 0.0))
    one, two = WorldRadar(WorldBatch([made]), radar).scan()[0], WorldRadar(WorldBatch([made, made]), radar).scan()[1]
    assert (one.instance == -1).sum() > 5
    for name in ("range", "azimuth", "velocity", "strength", "instance"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert np.abs(one.azimuth).max() < 0.5 * radar.field_of_view + 0.05
    with pytest.raises(InputError, match="field_of_view"):
        dataclasses.replace(radar, field_of_view=0.0)
