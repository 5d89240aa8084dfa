"""Whole models in fewer bits."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.checkpoint import published
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.engine import Request, generate
from alpamayo_vla_model.nemotron.inference.weight_only import store_weights
from alpamayo_vla_model.nemotron.quantisation import FILE, RECIPES, decode, encode, stored_as

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


@pytest.mark.parametrize(("recipe", "bound"), [("nvfp4", 0.25), ("nvfp4-four-over-six", 0.22), ("fp8", 0.08)])
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 200_000])
@torch.no_grad()
def test_quantised_folders_come_back_exactly(tmp_path, recipe, bound, shard_bytes):
    model = NemotronModel(SHAPE).eval()
    model.save_pretrained(tmp_path, recipe=recipe, shard_bytes=shard_bytes)
    back = NemotronModel.from_pretrained(tmp_path)
    for (name, tensor), (_, weight) in zip(published(back), published(model), strict=True):
        stored = encode(name, weight, stored_as(name, weight.shape, recipe))
        scales = {s: stored[name + s] for s in ("_scale", "_scale_2") if name + s in stored}
        assert torch.equal(tensor, decode(stored[name], scales) if scales else stored[name]), name
    ids = torch.arange(40)[None] % 64
    assert error(back(ids), model(ids)) < bound
    declared = json.loads((tmp_path / FILE).read_text())["quantization"]["quantized_layers"]
    algorithm = declared["backbone.layers.1.mixer.experts.3.up_proj"]["quant_algo"]
    # Weights only: a reader that takes activations for quantised would look for scales that are not there.
    assert algorithm == ("W8A16_FP8" if recipe == "fp8" else "W4A16_NVFP4")
    assert declared["backbone.layers.0.mixer.in_proj"] == {"quant_algo": "W8A16_FP8"}
    config = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["quantized_layers"]) == ("modelopt", declared)
    (tmp_path / FILE).unlink()
    assert torch.equal(NemotronModel.from_pretrained(tmp_path)(ids), back(ids))
    assert not any("q_proj" in name or name.startswith("mtp.") for name in declared)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_is_the_published_one(recipe):
    stem, shape = "backbone.layers.1.mixer.", (32, 64)
    experts = "fp8" if recipe == "fp8" else recipe
    assert stored_as(stem + "experts.3.up_proj.weight", shape, recipe) == experts
    assert stored_as(stem + "experts.3.up_proj.weight", (32, 40), recipe) == "fp8"
    assert stored_as(stem + "shared_experts.up_proj.weight", shape, recipe) == "fp8"
    assert stored_as(stem + "in_proj.weight", shape, recipe) == "fp8"
    for kept in ("q_proj.weight", "gate.weight", "fc1_latent_proj.weight", "conv1d.weight", "A_log", "norm.weight"):
        assert stored_as(stem + kept, shape, recipe) is None
    assert stored_as("mtp.layers.1.mixer.experts.0.up_proj.weight", shape, recipe) is None
    assert stored_as("lm_head.weight", shape, recipe) is None


def test_packed_experts_take_nine_sixteenths_of_a_byte(tmp_path):
    model = NemotronModel(SHAPE)
    model.save_pretrained(tmp_path, recipe="nvfp4")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        stem = "backbone.layers.1.mixer.experts.0.up_proj.weight"
        sizes = [file.get_tensor(stem + s).nbytes for s in ("", "_scale")]
    count = SHAPE.moe_intermediate_size * SHAPE.expert_size
    assert sum(sizes) == count * 9 / 16


def test_unknown_recipes_are_refused(tmp_path):
    with pytest.raises(NemotronInputError, match="unknown recipe 'int3'"):
        NemotronModel(SHAPE).save_pretrained(tmp_path, recipe="int3")


@pytest.fixture
def folder(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, recipe="nvfp4")
    return tmp_path


def declare(folder, **values):
    (folder / FILE).write_text(json.dumps({"quantization": values}))


def test_other_spellings_of_the_declaration_are_read(folder):
    declared = json.loads((folder / FILE).read_text())["quantization"]["quantized_layers"]
    merged = {name: kind for name, kind in declared.items() if ".experts." not in name}
    merged["model.layers.1.mixer.experts"] = {"quant_algo": "W4A16_NVFP4"}
    merged["model.layers.4.mixer.experts"] = {"quant_algo": "NVFP4", "group_size": 16}
    declare(folder, quant_algo="MIXED_PRECISION", quantized_layers=merged)
    NemotronModel.from_pretrained(folder)
    (folder / FILE).unlink()
    NemotronModel.from_pretrained(folder)  # the tensors say it themselves
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
    config["quantization_config"]["quantized_layers"] = declared
    (folder / "config.json").write_text(json.dumps(config))
    NemotronModel.from_pretrained(folder)


def test_a_uniform_declaration_leaves_out_what_is_plain(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, recipe="fp8")
    declare(tmp_path, quant_algo="FP8", exclude_modules=["lm_head", "mtp*"])
    NemotronModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quant_algo": "W4A8_AWQ"}, "unknown `quant_algo` 'W4A8_AWQ', expected one of NVFP4"),
        ({"quant_algo": ["NVFP4"]}, "unknown `quant_algo`"),
        ({"quant_algo": "NVFP4", "group_size": 32}, "`group_size` is 32, NVFP4 has 16"),
        ({"quant_algo": "FP8"}, "is nvfp4, but hf_quant_config.json says fp8"),
        ({"quant_algo": "MIXED_PRECISION"}, "needs `quantized_layers`"),
        (
            {"quant_algo": "MIXED_PRECISION", "quantized_layers": {}},
            "is fp8, but hf_quant_config.json says not quantised",
        ),
        (
            {"quant_algo": "MIXED_PRECISION", "quantized_layers": {"lm_head": {"quant_algo": "FP8"}}},
            "but hf_quant_config.json says",
        ),
    ],
)
def test_declarations_that_do_not_fit_are_refused(folder, values, message):
    declare(folder, **values)
    with pytest.raises(NemotronInputError, match=message):
        NemotronModel.from_pretrained(folder)


def test_other_methods_are_refused(folder):
    (folder / FILE).unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(NemotronInputError, match="quantised by 'gptq', expected 'modelopt'"):
        NemotronModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n: t.pop(n + "_scale_2"), r"up_proj\.weight_scale_2 is missing"),
        (
            lambda t, n: t.update({n + "_scale": t[n + "_scale"][:1].clone()}),
            r"_scale is \[1, 6\], expected \[128, 6\]",
        ),
        (lambda t, n: t.update({n + "_scale": t[n + "_scale"].float()}), "is stored as F32, expected F8_E4M3"),
        (lambda t, n: t.update({n + "_scale_2": torch.ones(2)}), r"_scale_2 is \[2\], expected \[\]"),
        (lambda t, n: t.update({n: t[n][:, :7].clone()}), r"is \[128, 7\], the config asks for \[128, 48\]"),
        (lambda t, n: t.update({n: t[n].int()}), "is stored as I32, expected floats"),
        (lambda t, n: t[n + "_scale_2"].fill_(float("nan")), "holds values that are not finite"),
    ],
)
def test_faulty_scales_are_refused(folder, change, message):
    tensors = load_file(folder / "model.safetensors")
    change(tensors, "backbone.layers.1.mixer.experts.0.up_proj.weight")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(NemotronInputError, match=message):
        NemotronModel.from_pretrained(folder)
