"""What the engine does with scenes at the edge: nothing silent, nothing that is not finite."""

import dataclasses

import numpy as np
import pytest

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import RoadMap, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError


def between(track: Track, first: int, last: int) -> Track:
    """The track, valid from one step to before another only."""
    valid = np.zeros(len(track.valid), bool)
    valid[first:last] = True
    return dataclasses.replace(track, valid=valid)


def test_a_track_is_there_from_its_first_to_its_last_valid_step() -> None:
    batch = WorldBatch([testing.scenario(between(testing.moving("late", x=30.0), 20, 40))], debug=True)
    there = []
    for _ in range(70):
        there.append(bool(batch.valid[0, 1]))
        batch.step(np.zeros((1, 2)))
    assert np.flatnonzero(there).tolist() == list(range(20, 40))


def test_an_ego_that_comes_late_and_leaves_early_stands_where_it_is_known() -> None:
    batch = WorldBatch([testing.scenario(ego=between(testing.moving("ego"), 5, 30))], debug=True)
    assert batch.egos.pose[0, 0, 0] == 5.0
    for _ in range(70):
        batch.step(np.zeros((1, 2)), replay_ego=np.ones(1, bool))
    assert batch.egos.pose[0, 0, 0] == 29.0
    assert batch.egos.speed[0, 0] == 0.0


@pytest.mark.parametrize("size", [(0.0, 1.0, 1.0), (-1.0, 1.0, 1.0), (np.nan, 1.0, 1.0)])
def test_a_box_without_a_size_is_refused(size: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="track 'a': size"):
        testing.scenario(testing.moving("a", size=size))


def test_the_smallest_box_is_met_like_any_other() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("a", x=1.0, size=(1e-6, 1e-6, 1e-6)))], debug=True)
    assert batch.egos.collided[0, 0]
    assert np.isfinite(batch.vectors()).all()


def test_a_map_without_anything() -> None:
    batch = WorldBatch([testing.scenario(testing.moving("a", x=30.0), road_map=RoadMap())], debug=True)
    for _ in range(10):
        batch.step(np.array([[1e30, -1e30]]))
    assert batch.egos.lane[0, 0] == -1
    assert not (batch.egos.wrong_way.any())
    assert not (batch.egos.off_road.any())
    assert not (batch.egos.red_lights.any())
    assert np.isfinite(batch.vectors()).all()


def test_off_the_map_everything_stays_finite() -> None:
    away = testing.scenario(ego=testing.moving("ego", x=5e4, y=-5e4, speed=30.0))
    batch = WorldBatch([away], debug=True)
    for _ in range(20):
        batch.step(np.array([[4.0, 0.01]]))
    assert batch.egos.lane[0, 0] == -1
    assert batch.egos.drivable_margin[0, 0] == -4.0
    rows = batch.vectors()
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= 1.0


def test_a_batch_grows_with_what_it_is_given() -> None:
    batch = WorldBatch([testing.scenario()] * 2, debug=True)
    crowd = testing.scenario(*(testing.moving(f"car {k}", x=20.0 + 10.0 * k) for k in range(300)))
    batch.assign([1], [crowd])
    for _ in range(3):
        batch.step(np.zeros((2, 2)))
    assert len(batch[1].agents().ids) == 300
    assert batch.vectors(63, 10).shape[1] == 28 + 64 + 7 * 73
