"""Training of perception: labels of the renderer, shards, and a loop that resumes to the same bytes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo.training.end_to_end.collection import varied_rig
from alpamayo.training.perception.collection import PILOTS, collect_perception, later_plan, record
from alpamayo.training.perception.evaluation import find, table
from alpamayo.training.perception.labels import RoadLabeller, label_objects
from alpamayo.training.perception.loop import PerceptionSettings, train_perception
from alpamayo.training.perception.samples import PerceptionSamples, disturbed
from alpamayo.training.perception.scattered import scatter
from alpamayo.training.perception.shards import PerceptionShard
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import boxes_overlap
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_vla_model.perception.network import PerceptionNetwork
from alpamayo_vla_model.perception.objects import CATEGORY_OF_CLASS, CELL, SIGNALS, Control, Ground, ObjectClass

SIZE = (32, 64)


def collected(folder: Path, image_size: tuple[int, int] = SIZE) -> list[Path]:
    """One scenario, driven by each pilot, and one scattered scene."""
    return collect_perception(folder, ["cut-in"], driven=1, scattered=1, seed=3, image_size=image_size, workers=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return collected(tmp_path_factory.mktemp("data"))


def test_each_scenario_is_driven_by_each_pilot_and_kept(shards: list[Path]) -> None:
    assert [path.stem for path in shards] == [*(f"{pilot}-00003" for pilot in PILOTS), "scattered-00004"]
    before = [path.stat().st_mtime_ns for path in shards]
    assert collected(shards[0].parent) == shards
    assert [path.stat().st_mtime_ns for path in shards] == before


def test_files_of_other_inputs_are_made_again(shards: list[Path], tmp_path: Path) -> None:
    copies = [tmp_path / path.name for path in shards]
    for path, copy in zip(shards, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    assert collected(tmp_path, (48, 64)) == copies
    assert all(PerceptionShard.load(copy).image_shape.tolist()[1:] == [48, 64, 3] for copy in copies)


def test_scattered_things_are_of_all_classes_apart_and_in_steady_motion() -> None:
    scenario, rig = make_scenario("red-light-runner", 3), default_rig(160, 96)
    shard = scatter(scenario, rig, np.random.default_rng(2), samples=12)
    kinds = shard.objects[:, :, 0]
    assert set(np.unique(kinds).astype(int)) >= {int(kind) for kind in CATEGORY_OF_CLASS}
    assert set(np.unique(kinds).astype(int)) & {int(kind) for kind in SIGNALS}
    for objects in shard.objects:
        solid = objects[(objects[:, 0] > 0) & (objects[:, 4] > 0)].astype(np.float64)
        pose, size = solid[:, 1:4], solid[:, 4:6]
        overlap = boxes_overlap(pose[:, None], size[:, None], pose[None], size[None])
        assert overlap.sum() == len(solid)  # each only with itself
        moving = np.hypot(*solid[:, 7:9].T) > 0.1
        along = np.cos(solid[:, 3]) * solid[:, 7] + np.sin(solid[:, 3]) * solid[:, 8]
        np.testing.assert_allclose(along[moving], np.hypot(*solid[moving, 7:9].T), rtol=1e-3)
    speed, way = shard.state[:, 0], np.hypot(*shard.motion[:, :2].T)
    np.testing.assert_allclose(way, 0.5 * speed, rtol=1e-2, atol=1e-3)


def test_the_same_seed_scatters_the_same_bytes() -> None:
    scenario = make_scenario("debris", 5)
    made = [scatter(scenario, default_rig(64, 32), np.random.default_rng(1), samples=2) for _ in range(2)]
    assert made[0].images.tobytes() == made[1].images.tobytes()
    assert made[0].objects.tobytes() == made[1].objects.tobytes()
    assert np.array_equal(made[0].pairs, [[0, 1], [2, 3]])


def test_labels_agree_with_the_world() -> None:
    scenario = make_scenario("red-light-runner", 3)
    world, rig = WorldBatch([scenario]), default_rig(160, 96)
    truth = world[0].ground_truth()
    images = CameraRenderer(scenario.scene, rig).draw(truth)
    labels = label_objects(images, truth)
    kinds = labels.objects[:, 0]
    assert ObjectClass.GREEN_LIGHT in kinds
    number = int(labels.owner.max())
    assert 0 <= number < (kinds > 0).sum()
    cell = np.argwhere(labels.owner == 0)[0]
    patch = images.instance[cell[0], cell[1] * CELL : (cell[1] + 1) * CELL, cell[2] * CELL : (cell[2] + 1) * CELL]
    values, counts = np.unique(patch, return_counts=True)
    assert values[np.argmax(counts * (values != -1))] != -1
    road = RoadLabeller(scenario.scene).label(truth)
    assert Control(int(road.control[0])) == Control.GREEN
    assert (road.ground[:, 8] == Ground.SAME_DIRECTION).mean() > 0.6


def test_a_plan_is_the_same_motion_half_a_second_later() -> None:
    plan = np.column_stack([np.arange(1, 9) * 1.0, np.zeros(8), np.zeros(8), np.full(8, 10.0)]).astype(np.float32)
    later = later_plan(plan, np.array([5.0, 2.0, 0.3]), np.array([5.0, 2.0, 0.3]), 3)
    np.testing.assert_allclose(later[:5], plan[3:], atol=1e-5)
    np.testing.assert_allclose(later[5:], np.repeat(plan[-1:], 3, axis=0), atol=1e-5)


def test_the_same_seed_records_the_same_bytes() -> None:
    made = []
    for _ in range(2):
        scenario, rng = make_scenario("debris", 5), np.random.default_rng(1)
        shard = record(scenario, PILOTS["idm"](), varied_rig(SIZE, rng), rng)
        made.append((shard.images.tobytes(), shard.objects.tobytes(), shard.owner.tobytes(), shard.ground.tobytes()))
    assert made[0] == made[1]


def test_a_training_that_was_interrupted_ends_in_the_same_bytes(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = PerceptionSamples.load(shards)
    settings = PerceptionSettings(steps=4, batch=2)
    whole = train_perception(tmp_path / "whole", samples, settings)

    def interrupt(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("alpamayo.training.steps.SAVE_EVERY_STEPS", 2)
    with pytest.raises(KeyboardInterrupt):
        train_perception(tmp_path / "parts", samples, settings, progress=interrupt)
    resumed = train_perception(tmp_path / "parts", samples, settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    with pytest.raises(InputError, match="other settings"):
        train_perception(tmp_path / "parts", samples, PerceptionSettings(steps=5, batch=2))
    with pytest.raises(InputError, match="other settings"):
        train_perception(tmp_path / "parts", samples, settings, start=PerceptionNetwork(seed=1))


def test_a_training_may_start_from_another_one(shards: list[Path], tmp_path: Path) -> None:
    samples, first = PerceptionSamples.load(shards), PerceptionNetwork(seed=4)
    begun = {name: value.clone() for name, value in first.state_dict().items()}
    trained = train_perception(tmp_path, samples, PerceptionSettings(steps=1, batch=2), start=first)
    apart = [float((value - begun[name]).abs().max()) for name, value in trained.state_dict().items()]
    assert 0.0 < max(apart) < 0.01


def test_a_damaged_shard_is_named(shards: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes(shards[0].read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cut\.npz: cannot be read .* delete it"):
        PerceptionShard.load(path)


def test_disturbed_images_stay_images(shards: list[Path]) -> None:
    samples = PerceptionSamples.load(shards)
    images = samples.batch(np.arange(4)).images
    changed = disturbed(images, np.random.default_rng(0))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not torch.equal(changed, images)
    assert torch.equal(changed, disturbed(images, np.random.default_rng(0)))


def test_the_evaluation_counts_what_is_missed(shards: list[Path]) -> None:
    """A network that has learnt nothing finds nothing, and its recall says so."""
    samples = PerceptionSamples.load(shards)
    found = find(PerceptionNetwork().eval(), samples, range(3))
    assert len(found.rows)
    assert found.rows[:, 2].max() == 0.0
    assert {row["recall"] for row in table(found)} == {0.0}
