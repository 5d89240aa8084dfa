"""The network: shapes, gradients, learning, the rig as an input, checkpoints and the driver around it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.reasoning import Component, ComponentKind, Lateral, Longitudinal, Motion, Reasoning
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.end_to_end import action_space, checkpoint
from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.end_to_end.driver import EndToEndDriver, density_weights, load_driver
from alpamayo_vla_model.end_to_end.model import AlpamayoModel, Targets
from alpamayo_vla_model.end_to_end.patch_labels import PATCH_CLASSES, PatchLabels
from alpamayo_vla_model.inputs import Inputs
from alpamayo_vla_model.reasoning_text import encode
from alpamayo_vla_model.vision import RigTensors, ray_features

CONFIG = AlpamayoConfig.preset("test")


@pytest.fixture(scope="module")
def model() -> AlpamayoModel:
    return CONFIG.create(seed=1).eval()


@pytest.fixture(scope="module")
def observation() -> Observation:
    return CONFIG.fake_observation()


def batch(size: int = 2) -> tuple[Inputs, Targets]:
    observations = [CONFIG.fake_observation(seed) for seed in range(size)]
    inputs = Inputs.of(observations)
    generator = torch.Generator().manual_seed(0)
    child = Component(ComponentKind.OBJECT, Category.PEDESTRIAN, (20.0, 2.0), Motion.CROSSING_FROM_LEFT)
    said = [
        Reasoning(Longitudinal.YIELD, Lateral.LANE_KEEPING, (child,)),
        Reasoning(Longitudinal.SET_SPEED_TRACKING, Lateral.LANE_KEEPING),
    ]
    tokens = [encode(said[i % 2]) for i in range(size)]
    longest = max(len(row) for row in tokens)
    t = torch.arange(64) * 0.1
    actions = torch.stack([torch.stack([torch.sin(t + i), 0.01 * torch.cos(t)], dim=-1) for i in range(size)])
    shape = (size, 4, 2, 4)
    patches = PatchLabels(
        torch.randint(0, PATCH_CLASSES, shape, generator=generator),
        50.0 * torch.rand(shape, generator=generator),
        torch.randn((*shape, 2), generator=generator),
        torch.rand(shape, generator=generator),
    )
    reasoning = torch.tensor([row + [0] * (longest - len(row)) for row in tokens])
    plan = action_space.actions_to_plan(actions, inputs.state[:, 0])
    return inputs, Targets(reasoning, actions, plan, patches)


def test_shapes(model: AlpamayoModel, observation: Observation) -> None:
    inputs = Inputs.of([observation])
    with torch.inference_mode():
        state = model.reason(inputs)
        plans, actions = model.plan(state, inputs.state[0, 0], torch.randn(5, 64, 2))
    assert plans.shape == (5, 64, 4)
    assert actions.shape == (5, 64, 2)
    assert state.hidden.shape[0] == 1
    assert state.context.layers[0][0].shape[0] == 1  # all samples share it


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("preset", "least", "most"), [("tiny", 3e6, 6e6), ("small", 50e6, 60e6)])
def test_presets_have_their_sizes(preset: str, least: float, most: float) -> None:
    assert least < parameters(AlpamayoModel(AlpamayoConfig.preset(preset), device="meta")) < most


def test_the_large_preset_has_the_published_sizes() -> None:
    """8.2 B of vision and language and 2.3 B of action expert, in the shapes of Alpamayo 1; nothing is allocated."""
    config = AlpamayoConfig.preset("alpamayo-10b")
    model = AlpamayoModel(config, device="meta")
    expert = parameters(model.expert)
    assert expert == pytest.approx(2.3e9, rel=0.02)
    assert parameters(model) - expert == pytest.approx(8.2e9, rel=0.01)
    assert (config.image_size, config.frames, config.backbone.pattern.count("*")) == ((320, 576), 4, 36)


def test_gradients_reach_everything() -> None:
    model = CONFIG.create().train()
    with torch.no_grad():
        for layer in (model.expert.write, model.expert.base):
            layer.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    inputs, targets = batch()
    model.losses(inputs, targets, torch.Generator().manual_seed(0))["total"].backward()
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().sum() > 0)
    ]
    experts = {name for name in still if ".experts." in name}  # one that no token was sent to has none
    assert set(still) == experts


@pytest.mark.slow
def test_overfits_two_samples() -> None:
    model = CONFIG.create().train()
    inputs, targets = batch()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    for step in range(250):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1.0 - step / 250)
        losses = model.losses(inputs, targets, generator)
        optimiser.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    assert float(losses["reasoning"].detach()) < 0.05
    model.eval()
    noise = torch.randn(4, 64, 2, generator=generator)
    with torch.inference_mode():
        for i in range(2):
            state = model.reason(inputs.rows(slice(i, i + 1)))
            plans, _ = model.plan(state, inputs.state[i, 0], noise)
            assert state.decoded.tokens == [int(t) for t in targets.reasoning[i] if t]
            assert (plans - targets.plan[i])[..., :2].norm(dim=-1).mean() < 2.0


def test_jump_ahead_gives_the_same_words_and_plans(model: AlpamayoModel, observation: Observation) -> None:
    inputs, noise = Inputs.of([observation]), torch.randn(2, 64, 2, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ahead, slow = (model.reason(inputs, jump_ahead=jump) for jump in (True, False))
        assert ahead.decoded.tokens == slow.decoded.tokens
        assert ahead.decoded.calls < slow.decoded.calls
        plans = [model.plan(state, inputs.state[0, 0], noise)[0] for state in (ahead, slow)]
    torch.testing.assert_close(plans[0], plans[1], atol=1e-3, rtol=1e-4)


def test_decoding_equals_reading(model: AlpamayoModel, observation: Observation) -> None:
    inputs = Inputs.of([observation])
    with torch.inference_mode():
        state = model.reason(inputs)
        _, hidden, mask, _ = model.read(inputs, torch.tensor([state.decoded.tokens]))
    assert bool(mask.all())
    torch.testing.assert_close(state.hidden, hidden, atol=1e-3, rtol=1e-3)


def test_padding_of_the_reasoning_changes_nothing(model: AlpamayoModel, observation: Observation) -> None:
    inputs = Inputs.of([observation])
    tokens = torch.tensor([encode(Reasoning(Longitudinal.YIELD, Lateral.LANE_KEEPING))])
    padded = torch.nn.functional.pad(tokens, (0, 5))
    noise = torch.randn(1, 3, 64, 2, generator=torch.Generator().manual_seed(0))
    found = []
    with torch.inference_mode():
        for words in (tokens, padded):
            _, hidden, mask, _ = model.read(inputs, words)
            last = hidden[:, hidden.shape[1] - words.shape[1] + tokens.shape[1] - 1]
            found.append(model.expert.clean(noise, torch.zeros(1, 3), model.expert.read_context(hidden, last), mask))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def test_the_rig_matters(model: AlpamayoModel, observation: Observation) -> None:
    assert observation.cameras is not None
    other = default_rig(64, 32)
    moved = replace(other.cameras[1], position=other.cameras[1].position + np.array([0.0, 0.5, 0.3], np.float32))
    zoomed = replace(other.cameras[1], focal=(60.0, 60.0))
    seen = []
    for camera in (other.cameras[1], moved, zoomed):
        rig = replace(other, cameras=(other.cameras[0], camera, *other.cameras[2:]))
        inputs = Inputs.of([replace(observation, cameras=replace(observation.cameras, rig=rig))])
        with torch.inference_mode():
            seen.append(model.vision(inputs.images, inputs.rig)[0])
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)
    assert not torch.allclose(seen[0], seen[2], atol=1e-4)


@pytest.mark.parametrize(("cameras", "size"), [(1, (32, 64)), (2, (48, 80)), (4, (40, 50))])
def test_takes_any_number_and_size_of_cameras(
    model: AlpamayoModel, observation: Observation, cameras: int, size: tuple[int, int]
) -> None:
    assert observation.cameras is not None
    rig = replace(default_rig(size[1], size[0]), cameras=default_rig(size[1], size[0]).cameras[:cameras])
    rgb = np.zeros((cameras, 4, 3, *size), np.uint8)
    frames = replace(observation.cameras, rig=rig, rgb=rgb, times=observation.cameras.times[:cameras])
    decision = EndToEndDriver(model).act(replace(observation, cameras=frames))
    assert decision.plans.shape == (6, 64, 4)


def test_rays_of_patches_are_those_of_the_camera() -> None:
    rig = default_rig(64, 32)
    features = ray_features(RigTensors.of(rig), 32, 64)[0]
    for camera, rays in zip(rig.cameras, features, strict=True):
        middle = camera.rays[7:9, 7:9].mean((0, 1))
        np.testing.assert_allclose(rays[0, 0, :3], middle / np.linalg.norm(middle), atol=2e-3)


def test_driver_is_deterministic(model: AlpamayoModel, observation: Observation) -> None:
    driver = EndToEndDriver(model)
    assert isinstance(driver, Driver)
    assert driver.needs.rig is not None
    found = []
    for seed in (0, 0, 1):
        driver._rng = np.random.default_rng(seed)
        found.append([driver.act(observation) for _ in range(2)])
    for one, other in zip(found[0], found[1], strict=True):
        np.testing.assert_array_equal(one.plans, other.plans)
        assert one.reasoning == other.reasoning
        assert one.chosen == other.chosen
    assert set(found[0][0].timings) == {"look_and_reason", "plan"}


def test_driver_without_cameras_raises(model: AlpamayoModel, observation: Observation) -> None:
    with pytest.raises(InputError, match="no cameras"):
        EndToEndDriver(model).act(replace(observation, cameras=None))


def test_the_densest_plan_is_chosen() -> None:
    plans = np.zeros((5, 64, 4), np.float32)
    plans[:, :, 1] = np.array([0.0, 4.0, 5.0, 5.2, 12.0])[:, None]
    weights = density_weights(plans)
    assert int(np.argmax(weights)) == 2
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(density_weights(plans[:1]), [1.0])


def test_checkpoint_round_trip(model: AlpamayoModel, observation: Observation, tmp_path: Path) -> None:
    path = tmp_path / "a" / "model.safetensors"
    checkpoint.save(model, path, {"minutes": 3})
    again = checkpoint.load(path)
    assert checkpoint.training_note(path) == {"minutes": 3}
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    driver = load_driver(path)
    assert driver.act(observation).plans.shape == (6, 64, 4)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


Change = Callable[[dict[str, torch.Tensor], dict[str, str]], object]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors, meta: tensors.pop("pool"), r"missing: vision\.pool\.weight"),
        (lambda tensors, meta: tensors.update({"pool": torch.zeros(3)}), r"vision\.pool\.weight has shape \[3\]"),
        (lambda tensors, meta: tensors.update({"extra": torch.zeros(1)}), "does not have: extra"),
        (lambda tensors, meta: tensors.update({"pool": tensors["pool"] * float("nan")}), "not finite"),
        (lambda tensors, meta: meta.update(version="7"), "of version 7, this program reads version 1"),
        (lambda tensors, meta: meta.update(format="other"), "no checkpoint of a driver"),
        (lambda tensors, meta: meta.update(config="{}"), "no driver's configuration"),
        (lambda tensors, meta: meta.update(config=json.dumps([])), "no driver's configuration"),
    ],
)
def test_bad_checkpoints_are_reported(model: AlpamayoModel, tmp_path: Path, change: Change, says: str) -> None:
    path = tmp_path / "model.safetensors"
    checkpoint.save(model, path)
    with safe_open(path, "pt") as file:
        tensors = {("pool" if n == "vision.pool.weight" else n): file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
        meta = dict(file.metadata())
    change(tensors, meta)
    save_file({("vision.pool.weight" if n == "pool" else n): t for n, t in tensors.items()}, path, meta)
    with pytest.raises(InputError, match=says):
        checkpoint.load(path)


WRONG_SIZES = [10**7, 10**400, -1, 0, 1.5, "4", None, [4], True, float("nan")]
SIZES = ("frames", "patch_blocks", "vision_blocks", "expert_layers", "expert_width", "vision_width", "sample_steps")


@pytest.mark.parametrize("name", [*SIZES, "action_group", "image_size"])
@pytest.mark.parametrize("value", WRONG_SIZES, ids=lambda value: str(value)[:9])
def test_a_size_of_a_wrong_type_or_range_is_refused_at_once(
    model: AlpamayoModel, tmp_path: Path, name: str, value: Any
) -> None:
    if name in ("patch_blocks", "vision_blocks") and value == 0:
        return  # these may be left out
    config = json.loads(model.config.to_json()) | {name: [value, value] if name == "image_size" else value}
    path = tmp_path / "model.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"format": "alpamayo-driver", "version": "1", "config": json.dumps(config)}
    save_file(tensors, path, metadata)
    with pytest.raises(InputError) as caught:
        checkpoint.load(path)
    assert "model.safetensors" in str(caught.value) or name in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_damaged_note_or_configuration_is_one_line(model: AlpamayoModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for text in ("[", "3", "[1]", '{"backbone": {}}', '{"backbone": 3}', "[" * 100_000, '{"image_size": 3}'):
        metadata = {"format": "alpamayo-driver", "version": "1", "config": text, "training": text}
        save_file({"x": torch.zeros(1)}, path, metadata)
        with pytest.raises(InputError):
            checkpoint.load(path)
        if text[:2] != '{"':
            with pytest.raises(InputError):
                checkpoint.training_note(path)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "nowhere.safetensors")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(garbage)


def test_config_round_trip_and_its_errors() -> None:
    assert AlpamayoConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(InputError, match="did you mean tiny"):
        AlpamayoConfig.preset("tinny")
    with pytest.raises(InputError, match="must divide 64"):
        replace(CONFIG, action_group=5)


def test_same_seed_same_weights() -> None:
    one, other = CONFIG.create(3).state_dict(), CONFIG.create(3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["vision.pool.weight"], CONFIG.create(4).state_dict()["vision.pool.weight"])
