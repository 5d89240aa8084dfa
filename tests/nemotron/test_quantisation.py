"""Whole models in fewer bits."""

import json

import pytest
import torch
from safetensors import safe_open

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.checkpoint import published
from alpamayo_vla_model.nemotron.generation import Request, generate
from alpamayo_vla_model.nemotron.quantisation import RECIPES, decode, encode, stored_as
from alpamayo_vla_model.nemotron.weight_only import store_weights

SHAPE = NemotronConfig.preset("tiny").with_(vocab_size=64, pattern="MEM*E")


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).square().mean().sqrt() / want.square().mean().sqrt())


@torch.no_grad()
def test_int8_stays_near_float32_and_generates():
    model = NemotronModel(SHAPE).eval()
    ids = torch.arange(40)[None] % 64
    want = model(ids)
    store_weights(model, torch.int8)
    assert error(model(ids), want) < 0.05
    cache = model.new_cache(1)
    steps = torch.cat([model(ids[:, t : t + 1], cache=cache) for t in range(40)], 1)
    assert error(steps, want) < 0.08
    assert len(generate(model, [Request([1, 2, 3], max_tokens=9, eos=())])[0].tokens) == 9


@pytest.mark.parametrize(("recipe", "bound"), [("nvfp4", 0.25), ("fp8", 0.08)])
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 200_000])
@torch.no_grad()
def test_quantised_folders_come_back_exactly(tmp_path, recipe, bound, shard_bytes):
    model = NemotronModel(SHAPE).eval()
    model.save_pretrained(tmp_path, recipe=recipe, shard_bytes=shard_bytes)
    back = NemotronModel.from_pretrained(tmp_path)
    stored = encode(dict(published(model)), RECIPES[recipe])
    for name, tensor in published(back):
        scales = {s: stored[name + s] for s in ("_scale", "_scale_2") if name + s in stored}
        assert torch.equal(tensor, decode(stored[name], scales) if scales else stored[name]), name
    ids = torch.arange(40)[None] % 64
    assert error(back(ids), model(ids)) < bound
    config = json.loads((tmp_path / "hf_quant_config.json").read_text())
    assert config["quantization"]["quant_algo"] == recipe.upper()


def test_the_recipe_is_the_published_one():
    recipe = RECIPES["nvfp4"]
    stem = "backbone.layers.1.mixer."
    assert stored_as(stem + "experts.3.up_proj.weight", recipe) == "nvfp4"
    assert stored_as(stem + "shared_experts.up_proj.weight", recipe) == "fp8"
    assert stored_as(stem + "in_proj.weight", recipe) == "fp8"
    for kept in ("q_proj.weight", "gate.weight", "fc1_latent_proj.weight", "conv1d.weight", "A_log", "norm.weight"):
        assert stored_as(stem + kept, recipe) is None
    assert stored_as("mtp.layers.1.mixer.experts.0.up_proj.weight", recipe) is None
    assert stored_as("lm_head.weight", recipe) is None


def test_packed_experts_take_nine_sixteenths_of_a_byte(tmp_path):
    model = NemotronModel(SHAPE)
    model.save_pretrained(tmp_path, recipe="nvfp4")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        stem = "backbone.layers.1.mixer.experts.0.up_proj.weight"
        sizes = [file.get_tensor(stem + s).nbytes for s in ("", "_scale")]
    count = SHAPE.moe_intermediate_size * SHAPE.expert_size
    assert sum(sizes) == count * 9 / 16


def test_unknown_recipes_are_refused(tmp_path):
    with pytest.raises(InputError, match="choose one of nvfp4, fp8"):
        NemotronModel(SHAPE).save_pretrained(tmp_path, recipe="int3")
