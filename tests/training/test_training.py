"""Data, training and open-loop scores, on small synthetic episodes and on one short real drive."""

import errno
import hashlib
import json
import os
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recordings.damage import damaged

from alpamayo.training.end_to_end import collection, rounds
from alpamayo.training.end_to_end.collection import collect, record, run_job, smoothed, varied_rig
from alpamayo.training.end_to_end.loop import TrainingSettings, _begin, train
from alpamayo.training.end_to_end.open_loop import evaluate_open_loop
from alpamayo.training.end_to_end.patches import label_patches, visible_ids
from alpamayo.training.end_to_end.samples import load_samples
from alpamayo.training.end_to_end.shards import LABEL_EVERY, Shard, compress
from alpamayo.training.state import save_state
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors import CameraRenderer
from alpamayo_vla_model.end_to_end import action_space, checkpoint
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.end_to_end.driver import EndToEndDriver
from alpamayo_vla_model.end_to_end.patch_labels import PATCH_CLASSES
from alpamayo_vla_model.inputs import Inputs, state_of
from alpamayo_vla_model.reasoning_text import MAX_TOKENS, encode

CONFIG = AlpamayoConfig.preset("test")
CALM = Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING)
YIELD = Reasoning(
    Longitudinal.YIELD,
    Lateral.LANE_KEEPING,
    (Component(ComponentKind.OBJECT, Category.PEDESTRIAN, (20.0, 0.0), Motion.CROSSING_FROM_LEFT),),
)


def fake_shard(rows: int = 6, seed: int = 0) -> Shard:
    """Return an episode of random pixels in which the ego brakes for a pedestrian in half of the steps."""
    rng = np.random.default_rng(seed)
    observation = CONFIG.fake_observation(seed)
    inputs = Inputs.of([observation])
    images = [compress(rng.integers(0, 256, (4, 3, 32, 64), np.uint8)) for _ in range((rows - 1) * LABEL_EVERY + 1)]
    actions = np.zeros((rows, 64, 2), np.float32)
    actions[rows // 2 :, :, 0] = -2.5
    plans = action_space.actions_to_plan(torch.from_numpy(actions), torch.full((rows,), 8.0)).numpy()
    tokens = [encode(CALM if row < rows // 2 else YIELD) for row in range(rows)]
    patch = (rows, 4, 2, 4)
    return Shard(
        images=np.frombuffer(b"".join(images), np.uint8),
        offsets=np.cumsum([0, *(len(image) for image in images)]).astype(np.int64),
        image_shape=np.array([4, 3, 32, 64]),
        history=np.repeat(observation.history[None], rows, 0),
        route=np.repeat(observation.route[None], rows, 0),
        state=np.repeat(np.array([state_of(observation)], np.float32), rows, 0),
        navigation=np.repeat(inputs.navigation.numpy().astype(np.int16), rows, 0),
        plan=plans,
        actions=actions,
        reasoning=np.stack([np.pad(np.array(row, np.int16), (0, MAX_TOKENS - len(row))) for row in tokens]),
        patch_kind=rng.integers(0, PATCH_CLASSES, patch).astype(np.int8),
        patch_distance=rng.uniform(1, 50, patch).astype(np.float16),
        patch_velocity=rng.normal(0, 3, (*patch, 2)).astype(np.float16),
        patch_road=rng.integers(0, 256, patch, np.uint8),
        lens=inputs.rig.lens[0].numpy(),
        position=inputs.rig.position[0].numpy(),
        rotation=inputs.rig.rotation[0].numpy(),
    )


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "data" / f"expert-{i:05d}.npz" for i in range(10)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        fake_shard(seed=i).save(path)
    return paths


SETTINGS = TrainingSettings(minutes=60.0, steps=4, batch=4, warm_up=2, threads=2)


def test_shards_are_the_same_after_saving_and_loading(tmp_path: Path) -> None:
    shard = fake_shard()
    shard.save(tmp_path / "a.npz")
    again = Shard.load(tmp_path / "a.npz")
    for name in ("images", "plan", "reasoning", "patch_kind", "lens"):
        np.testing.assert_array_equal(getattr(again, name), getattr(shard, name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.images", "a.npz"]


def test_frames_are_the_last_ones_and_the_first_pads_the_start() -> None:
    shard = fake_shard()
    np.testing.assert_array_equal(shard.frames(0, 4)[:, 0], shard.frames(0, 4)[:, 3])
    np.testing.assert_array_equal(shard.frames(2, 4)[:, 0], shard.frames(1, 3)[:, 1])
    assert not np.array_equal(shard.frames(2, 4)[:, 2], shard.frames(2, 4)[:, 3])


def test_damaged_data_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    fake_shard().save(path)
    images = path.with_suffix(".images")
    images.write_bytes(images.read_bytes()[:-5])
    with pytest.raises(InputError, match="incomplete"):
        Shard.load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as training data"):
        Shard.load(path)


def test_training_data_of_other_inputs_or_damaged_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def run(job: collection.Job) -> Path:
        fake_shard().save(job.path, job.inputs())
        made.append(job.path.name)
        return job.path

    monkeypatch.setattr(collection, "run_job", run)

    def collected(**settings: Any) -> int:
        made.clear()
        collection.collect(tmp_path, 2, workers=1, **settings)
        return len(made)

    assert (collected(), collected()) == (2, 0)
    assert (collected(image_size=(32, 64)), collected(image_size=(32, 64))) == (2, 0)
    first = tmp_path / "expert-00000.npz"
    first.write_bytes(first.read_bytes()[:100])
    assert collected(image_size=(32, 64)) == 1
    monkeypatch.setattr(collection, "code_version", lambda: "other")
    assert collected(image_size=(32, 64)) == 2


def test_the_state_of_another_training_is_refused(data: list[Path], tmp_path: Path) -> None:
    train(tmp_path / "out", data, replace(SETTINGS, steps=2), config=CONFIG, until=0.5)
    train(tmp_path / "out", data, replace(SETTINGS, steps=2, threads=1), config=CONFIG, until=0.5)
    for changed in ({"seed": 1}, {"learning_rate": 1e-4}, {"batch": 8}):
        with pytest.raises(InputError, match="other settings"):
            train(tmp_path / "out", data, replace(SETTINGS, steps=2, **changed), config=CONFIG)


def test_a_damaged_state_is_one_line_that_says_what_to_do(data: list[Path], tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=2)
    train(tmp_path / "out", data, settings, config=CONFIG, until=0.5)
    path = tmp_path / "out" / "training.pt"
    whole, rng = path.read_bytes(), random.Random(0)
    assert not list(path.parent.glob(".*"))
    model = checkpoint.load(tmp_path / "out" / "end_to_end.safetensors")
    for k in range(60):
        path.write_bytes(damaged(whole, rng) if k else b"[]")
        with suppress(InputError):
            _begin(path.parent, model, settings, None)
    torch.save({"config": 3}, path)
    with pytest.raises(InputError, match="delete it"):
        _begin(path.parent, model, settings, None)


def test_eventful_steps_are_drawn_more_often(data: list[Path]) -> None:
    samples = load_samples(data)
    assert len(samples.shards) == 9
    assert len(load_samples(data, held_out=True).shards) == 1
    rows = samples.draw(4000, np.random.default_rng(0))
    braking = np.mean(samples.index[rows][:, 1] >= 3)
    assert 0.7 < braking < 0.8


def test_an_interrupted_training_has_the_same_weights(data: list[Path], tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", data, SETTINGS, config=CONFIG)
    train(tmp_path / "parts", data, SETTINGS, config=CONFIG, until=0.5)
    parts = train(tmp_path / "parts", data, SETTINGS, config=CONFIG)
    one, other = checkpoint.load(whole).state_dict(), checkpoint.load(parts).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_checkpoints_record_the_used_share_of_the_limits(data: list[Path], tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    checkpoint.save(CONFIG.create(3), start)
    note = checkpoint.training_note(
        train(tmp_path / "out", data, replace(SETTINGS, minutes=60.0), config=CONFIG, start=start, until=0.5)
    )
    assert (note["steps"], note["episodes"], note["batch"]) == (2, 9, SETTINGS.batch)
    assert note["minutes"] < 60.0
    assert note["start"] == hashlib.sha256(start.read_bytes()).hexdigest()


def test_training_reduces_the_loss(data: list[Path], tmp_path: Path) -> None:
    lines: list[str] = []
    settings = replace(SETTINGS, steps=60, batch=8, learning_rate=5e-3)
    train(tmp_path / "out", data, settings, config=CONFIG, log=lines.append)
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["reasoning"] < 0.7 * rows[0]["reasoning"]
    assert lines[0] == "54 steps of 9 episodes"
    assert (tmp_path / "out" / "training.pt").is_file()


def test_empty_data_and_another_shape_are_errors(data: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training data"):
        train(tmp_path / "out", [], SETTINGS, config=CONFIG)
    train(tmp_path / "out", data, replace(SETTINGS, steps=1), config=CONFIG)
    with pytest.raises(InputError, match="another shape"):
        train(tmp_path / "out", data, SETTINGS, config=replace(CONFIG, expert_layers=1))


def test_open_loop_scores(data: list[Path]) -> None:
    scores = evaluate_open_loop(CONFIG.create(), load_samples(data, held_out=True), size=3)
    assert 0.0 <= scores["min_ade_6"] <= scores["ade"]
    assert all(0.0 <= scores[name] <= 1.0 for name in ("longitudinal", "lateral", "causes", "record"))


def test_end_to_end_is_trained_in_two_rounds(data: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake_collect(folder: Path, episodes: int, **options: object) -> list[Path]:
        asked.append((episodes, options["seed"], options.get("checkpoint")))
        return data[:episodes]

    monkeypatch.setattr(rounds, "collect", fake_collect)
    monkeypatch.setattr(AlpamayoConfig, "preset", classmethod(lambda cls, name: CONFIG))
    result = rounds.train_end_to_end(tmp_path / "out", episodes=13, minutes=0.02)
    assert result.checkpoint.is_file()
    assert asked == [(8, 0, None), (5, 8, result.checkpoint)]
    assert "min_ade_6" in result.open_loop


def test_a_trained_driver_drives_before_the_first_round_too(
    data: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake_collect(folder: Path, episodes: int, **options: object) -> list[Path]:
        asked.append((episodes, options["seed"], options["checkpoint"], options["name"]))
        return data[:episodes]

    monkeypatch.setattr(rounds, "collect", fake_collect)
    start = tmp_path / "start.safetensors"
    checkpoint.save(CONFIG.create(3), start)
    result = rounds.train_end_to_end(tmp_path / "out", episodes=10, minutes=0.02, start=start, workers=1)
    assert asked == [(6, 0, None, "expert"), (2, 6, start, "own"), (2, 8, result.checkpoint, "own")]
    assert checkpoint.training_note(result.checkpoint)["threads"] == 1


def test_only_the_start_of_a_long_wait_is_drawn(tmp_path: Path) -> None:
    shard = fake_shard(rows=40)
    shard.state[5:20, 0] = shard.state[25:30, 0] = shard.state[35:, 0] = 0.0
    shard.plan[5:20] = shard.plan[25:30] = 0.0
    shard.save(tmp_path / "a.npz")
    samples = load_samples([tmp_path / "a.npz"])
    assert samples.index[samples.chance == 0.0][:, 1].tolist() == [15, 16, 17, 18, 19]


# Collection of data


def test_evaluation_seeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training takes seeds 0 to 9999"):
        collect(tmp_path, 10, seed=9_995)


def test_existing_files_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, stored = [], {}

    def fake_job(job: collection.Job) -> Path:
        made.append(job.seed)
        stored[job.path] = job.inputs()
        return job.path

    monkeypatch.setattr(collection, "run_job", fake_job)
    monkeypatch.setattr("alpamayo.training.files.stored_inputs", lambda path, version: stored.get(path))
    seen: list[tuple[str, int, int]] = []
    paths = collect(tmp_path, 3, seed=5, workers=1)
    collect(tmp_path, 5, seed=5, workers=1, progress=lambda *now: seen.append(now))
    assert made == [5, 6, 7, 8, 9]
    assert [path.name for path in paths] == ["expert-00005.npz", "expert-00006.npz", "expert-00007.npz"]
    assert list(dict.fromkeys(seen)) == [("collect", 3, 5), ("collect", 4, 5), ("collect", 5, 5)]


def test_short_decisions_are_removed_from_the_reasoning() -> None:
    records = [CALM, CALM, YIELD, CALM, CALM, YIELD, YIELD, YIELD, CALM]
    steady = smoothed(records)
    assert [record.longitudinal for record in steady[:4]] == [Longitudinal.SET_SPEED_TRACKING] * 4
    assert [record.longitudinal for record in steady[5:8]] == [Longitudinal.YIELD] * 3


def test_rigs_vary_within_bounds() -> None:
    rng = np.random.default_rng(0)
    rigs = [varied_rig((32, 64), rng) for _ in range(20)]
    plain = default_rig(64, 32)
    same = [np.array_equal(rig.cameras[1].position, plain.cameras[1].position) for rig in rigs]
    assert 3 < sum(same) < 17
    for rig in rigs:
        for camera, usual in zip(rig.cameras, plain.cameras, strict=True):
            assert np.abs(camera.position - usual.position).max() <= 0.41
            assert camera.focal[0] == pytest.approx(usual.focal[0], rel=0.25)


def test_patches_have_labels_where_objects_are() -> None:
    scenario = make_scenario("debris", 5)
    world, rig = WorldBatch([scenario]), default_rig(160, 96)
    truth = world[0].ground_truth()
    images = CameraRenderer(scenario.scene, rig).render(truth.ego_pose, truth.agents, truth.signals)
    table = label_patches(images, truth)
    assert table.kind.shape == (4, 6, 10)
    labelled = table.kind > 0
    assert labelled.any()
    assert (table.distance[labelled] > 0).all()
    assert (table.distance[~labelled] == 0).all()
    assert table.road[1, -1].mean() > table.road[1, 0].mean() == 0  # the sky has no road
    assert visible_ids(images, truth) <= set(truth.agents.ids)


@pytest.mark.slow
def test_a_short_drive_is_recorded_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = make_scenario("cut-in", 3)
    short = replace(scenario, goal=replace(scenario.goal, duration=1.1))
    shard = record(short, default_rig(32, 32), np.random.default_rng(0))
    assert shard.rows == 6
    assert shard.frames(5, 4).shape == (4, 4, 3, 32, 32)
    speed = torch.from_numpy(shard.state[:, 0])
    rolled = action_space.actions_to_plan(torch.from_numpy(shard.actions), speed).numpy()
    assert np.abs(rolled - shard.plan)[..., :2].max() < 2.0
    monkeypatch.setattr("alpamayo_scenarios.families.make_scenario", lambda family, seed: short)
    jobs = [collection.Job("cut-in", 3, tmp_path / f"{i}.npz", (32, 32)) for i in range(2)]
    one, other = (Shard.load(run_job(job)) for job in jobs)
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.plan, other.plan)


@pytest.mark.slow
def test_a_trained_driver_drives_under_the_guard() -> None:
    scenario = make_scenario("occluded-child", 4)
    short = replace(scenario, goal=replace(scenario.goal, duration=1.0))
    trained = EndToEndDriver(CONFIG.create())
    shard = record(short, default_rig(64, 32), np.random.default_rng(0), trained)
    assert shard.rows == 5
    assert np.isfinite(shard.plan).all()


def test_a_full_disk_leaves_no_part_of_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stored: object, path: Path) -> None:
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left") as caught:
        save_state(tmp_path / "training.pt", {"step": 1})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
