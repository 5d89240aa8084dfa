"""Several egos in one world."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from alpamayo_sim import testing
from alpamayo_sim.datatypes.scenario import Scenario, Script, with_egos
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.warp_runtime import wp


def platoon(count: int = 3) -> Scenario:
    """The ego and cars 20 m apart on the same lane, all at 10 m/s, and one at rest beside the road."""
    cars = [testing.moving(f"car {k}", x=20.0 * (k + 1)) for k in range(count)]
    return testing.scenario(*cars, testing.moving("parked", y=-20.0, speed=0.0))


def test_all_moving_vehicles_can_be_driven() -> None:
    shared = with_egos(platoon())
    assert [ego.track_id for ego in shared.egos] == ["car 0", "car 1", "car 2"]
    batch = WorldBatch([shared])
    assert batch.egos.count == 4
    controls = np.array([[[0.0, 0.0], [-2.0, 0.0], [1.0, 0.0], [0.0, 0.02]]])
    for _ in range(10):
        batch.step(controls)
    np.testing.assert_allclose(batch.egos.speed[0], [10.0, 8.0, 11.0, 10.0], atol=1e-5)
    np.testing.assert_allclose(batch.egos.pose[0, :3, 0], [10.0, 29.0, 50.5], atol=1e-4)
    assert batch.egos.pose[0, 3, 2] == pytest.approx(0.2, abs=1e-5)
    np.testing.assert_allclose(batch.egos.progress[0, :3], [10.0, 9.0, 10.5], atol=1e-3)


def test_an_ego_drives_and_sees_as_it_would_alone_while_the_others_keep_to_their_recordings() -> None:
    """The same controls in one world of four egos and in worlds of one, where the others repeat the recording."""
    shared = with_egos(platoon())
    together = WorldBatch([shared])
    for _ in range(30):
        together.step(np.zeros((1, 4, 2)))
    for e, ego in enumerate(shared.egos, start=1):
        scene = dataclasses.replace(shared.scene, ego_id=ego.track_id, route=ego.route)
        alone = WorldBatch([dataclasses.replace(shared, scene=scene, egos=())])
        for _ in range(30):
            alone.step(np.zeros((1, 2)))
        np.testing.assert_array_equal(alone.egos.pose[0, 0], together.egos.pose[0, e])
        seen, wanted = alone.vectors()[0, 76:104], together.vectors()[0, e, 76:104]
        order = (np.lexsort(rows.reshape(4, 7).T) for rows in (seen, wanted))
        rows = (rows.reshape(4, 7)[k] for rows, k in zip((seen, wanted), order, strict=True))
        np.testing.assert_allclose(*rows, atol=1e-5)


def test_both_egos_of_a_contact_know_it() -> None:
    batch = WorldBatch([with_egos(platoon(1))])
    for _ in range(20):
        batch.step(np.array([[[4.0, 0.0], [-4.0, 0.0]]]))
    assert batch.egos.collided[0].tolist() == [True, True]
    (mine,), (theirs,) = batch[0].first_contacts(0), batch[0].first_contacts(1)
    assert (mine.id, theirs.id) == ("car 0", "ego")
    assert mine.time == theirs.time
    assert mine.point == pytest.approx(theirs.point, abs=1e-3)
    assert (mine.ego_side, mine.agent_side) == (theirs.agent_side, theirs.ego_side)
    assert mine.ego_delta_v == pytest.approx(theirs.agent_delta_v, abs=1e-4)
    assert batch[0].agents(1).ids == ("ego", "parked")
    assert batch[0].ground_truth(1).ego_pose.tolist() == batch.egos.pose[0, 1].tolist()


def test_worlds_of_one_and_of_many_egos_share_a_batch() -> None:
    batch = WorldBatch([platoon(), with_egos(platoon())])
    assert batch.egos.present.tolist() == [[True, False, False, False], [True] * 4]
    assert batch.vectors().shape[:2] == (2, 4)
    with pytest.raises(InputError, match=r"controls has shape \(2, 2\), must be \(2, 4, 2\)"):
        batch.step(np.zeros((2, 2)))
    with pytest.raises(InputError, match="controls of world 1, ego 2"):
        batch.step(np.where(np.arange(16).reshape(2, 4, 2) == 12, np.nan, 0.0))
    saved = batch.snapshot()
    batch.step(np.ones((2, 4, 2)) * [1.0, 0.01])
    there = batch.egos.pose.copy()
    batch.restore(saved)
    batch.step(np.ones((2, 4, 2)) * [1.0, 0.01])
    np.testing.assert_array_equal(batch.egos.pose, there)
    batch.assign([1], [platoon()])
    assert batch.egos.present.tolist() == [[True, False, False, False]] * 2
    assert (batch.egos.progress[1, 1:] == 0.0).all()


def test_egos_repeat_their_recordings_where_told() -> None:
    batch = WorldBatch([with_egos(platoon())])
    told = np.array([[True, False, True, False]])
    for _ in range(10):
        batch.step(np.full((1, 4, 2), [-5.0, 0.0]), replay_ego=told)
    np.testing.assert_allclose(batch.egos.speed[0], [10.0, 5.0, 10.0, 5.0], atol=1e-5)


def test_errors_name_tracks_that_cannot_be_egos() -> None:
    with pytest.raises(InputError, match="no track 'ghost'"):
        with_egos(platoon(), ["ghost"])
    with pytest.raises(InputError, match=r"'parked' moves 0\.0 m"):
        with_egos(platoon(), ["parked"])
    with pytest.raises(InputError, match="'ego' cannot be an ego"):
        with_egos(platoon(), ["ego"])
    scripted = testing.scenario(
        testing.moving("car", x=20.0), scripts=[Script("car", testing.polyline((20, 0), (300, 0)), 10.0)]
    )
    with pytest.raises(InputError, match="'car' cannot be an ego"):
        with_egos(scripted, ["car"])
    assert with_egos(scripted).egos == ()


def test_torch_shares_state_observations_and_controls() -> None:
    batch, other = WorldBatch([with_egos(platoon())] * 2), WorldBatch([with_egos(platoon())] * 2)
    pose = wp.to_torch(batch.device_arrays["pose"])
    rows = batch.vector_tensor()
    assert pose.data_ptr() == batch.device_arrays["pose"].ptr
    wp.to_torch(batch.device_inputs["controls"])[:] = torch.tensor([2.0, 0.01])
    for _ in range(5):
        batch.step_on_device()
        other.step(np.full((2, 4, 2), [2.0, 0.01]))
    assert (pose[:, :4].numpy() == other.egos.pose).all()
    assert batch.vector_tensor().data_ptr() == rows.data_ptr()
    assert (rows.numpy() == other.vectors()).all()


def roll_out(batch: WorldBatch, controls: np.ndarray) -> bytes:
    for step in controls:
        batch.step(step)
    return batch.egos.pose.tobytes() + batch.egos.time_to_collision.tobytes() + batch.vectors().tobytes()


def test_worlds_on_threads_of_their_own_have_the_same_bits() -> None:
    rng = np.random.default_rng(4)
    controls = rng.normal(0.0, [2.0, 0.02], (60, 3, 4, 2))
    expected = roll_out(WorldBatch([with_egos(platoon())] * 3), controls)
    worlds = [WorldBatch([with_egos(platoon())] * 3) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(roll_out, worlds, [controls] * 4))
    assert found == [expected] * 4


def test_the_order_of_the_egos_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    names = ["car 0", "car 1", "car 2"]
    controls = rng.normal(0.0, [3.0, 0.02], (60, 1, 4, 2))
    one, other = WorldBatch([with_egos(platoon(), names)]), WorldBatch([with_egos(platoon(), names[::-1])])
    for step in controls:
        one.step(step)
        other.step(step[:, [0, 3, 2, 1]])
    for name in ("pose", "progress", "drivable_margin", "time_to_collision", "collided", "lane_offset"):
        assert getattr(one.egos, name).tobytes() == getattr(other.egos, name)[:, [0, 3, 2, 1]].tobytes()


def test_a_captured_graph_is_a_step_and_its_observations() -> None:
    batch, other = WorldBatch([with_egos(platoon())] * 2), WorldBatch([with_egos(platoon())] * 2)
    batch.step(np.zeros((2, 4, 2)))
    other.step(np.zeros((2, 4, 2)))
    graph = batch.capture(8, 20)
    assert batch.step_index.tolist() == [1, 1]
    rows, controls = batch.vector_tensor(8, 20), wp.to_torch(batch.device_inputs["controls"])
    for k in range(10):
        controls[:] = torch.tensor([2.0, 0.003 * k])
        wp.capture_launch(graph)
        other.step(np.full((2, 4, 2), [2.0, 0.003 * k]))
    assert (batch.egos.pose == other.egos.pose).all()
    assert (batch.egos.progress == other.egos.progress).all()
    assert (rows.numpy() == other.vectors(8, 20)).all()
