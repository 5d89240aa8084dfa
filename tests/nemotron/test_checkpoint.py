"""Folders: ours back and forth, the peer's, and hostile ones."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel

SHAPE = NemotronConfig.preset("tiny").with_(
    vocab_size=60, hidden_size=32, pattern="MEM*-", mamba_num_heads=2, mamba_head_dim=16, n_routed_experts=4
)


@pytest.fixture
def folder(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def same(a: NemotronModel, b: NemotronModel) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(k == n and x.dtype == y.dtype and torch.equal(x, y) for (k, x), (n, y) in pairs)


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 40_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_loaded(tmp_path, shard_bytes, dtype):
    model = NemotronModel(SHAPE, dtype=dtype)
    model.save_pretrained(tmp_path, shard_bytes=shard_bytes)
    back = NemotronModel.from_pretrained(tmp_path)
    assert back.config == model.config
    assert back.routers()[0].e_score_correction_bias.dtype == torch.float32
    assert same(model, back)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_bytes == 40_000)
    assert not list(tmp_path.glob("*.tmp"))


def test_saving_again_leaves_no_stale_shards(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, shard_bytes=40_000)
    model = NemotronModel(SHAPE, generator=torch.Generator().manual_seed(4))
    model.save_pretrained(tmp_path)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["config.json", "model.safetensors"]
    assert same(model, NemotronModel.from_pretrained(tmp_path))


def test_names_are_the_published_ones(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert "backbone.layers.0.mixer.conv1d.weight" in names
    assert "backbone.layers.1.mixer.experts.3.down_proj.weight" in names
    assert "backbone.layers.1.mixer.gate.e_score_correction_bias" in names
    assert "mtp.layers.0.eh_proj.weight" in names
    assert "mtp.layers.1.final_layernorm.weight" in names
    assert "mtp.layers.1.mixer.experts.0.up_proj.weight" in names
    assert "lm_head.weight" in names
    assert all(name.startswith(("backbone.", "mtp.", "lm_head.")) for name in names)


def test_tied_embeddings_stay_tied(tmp_path):
    model = NemotronModel(SHAPE.with_(tie_word_embeddings=True))
    model.save_pretrained(tmp_path)
    back = NemotronModel.from_pretrained(tmp_path)
    assert back.lm_head.weight is back.embeddings.weight
    assert same(model, back)


def test_a_type_may_be_chosen(folder):
    assert NemotronModel.from_pretrained(folder, dtype=torch.float16).dtype == torch.float16


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_the_peer_reads_ours_and_we_read_the_peers(folder, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is an optional peer")
    if not hasattr(transformers, "NemotronHForCausalLM"):
        pytest.skip("this transformers has no native nemotron_h")
    ours, ids = NemotronModel.from_pretrained(folder), torch.arange(50)[None]
    peer = transformers.NemotronHForCausalLM.from_pretrained(folder).eval()
    for layer in peer.model.layers:
        if hasattr(layer.mixer, "time_step_limit"):
            layer.mixer.time_step_limit = (0.0, float("inf"))
    want = ours(ids)
    assert float((peer(ids).logits - want).abs().max() / want.abs().max()) < 2e-6
    peer.save_pretrained(tmp_path / "peer", max_shard_size="60KB")
    back = NemotronModel.from_pretrained(tmp_path / "peer")
    assert back.mtp is None  # the peer drops it
    assert back.config.time_step_limit == SHAPE.time_step_limit
    assert torch.equal(back(ids), want)


def edit(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_missing_tensors_are_named(folder):
    edit(folder, lambda t: t.pop("backbone.layers.1.mixer.experts.2.up_proj.weight"))
    with pytest.raises(InputError, match=r"missing tensors: layers\.1\.mixer\.experts\.2\.up_proj\.weight"):
        NemotronModel.from_pretrained(folder)


def test_both_shapes_are_named(folder):
    edit(folder, lambda t: t.update({"lm_head.weight": torch.zeros(59, 32)}))
    with pytest.raises(InputError, match=r"lm_head.weight is \[59, 32\], the config asks for \[60, 32\]"):
        NemotronModel.from_pretrained(folder)


def test_nan_weights_are_refused(folder):
    edit(folder, lambda t: t["lm_head.weight"].fill_(float("nan")))
    with pytest.raises(InputError, match=r"`lm_head\.weight` holds values that are not finite"):
        NemotronModel.from_pretrained(folder)


def test_an_index_may_not_point_outside(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, shard_bytes=40_000)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name, good = next(iter(index["weight_map"].items()))
    for bad in ("../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin"):
        path.write_text(json.dumps({"weight_map": {**index["weight_map"], name: bad}}))
        with pytest.raises(InputError, match="points to"):
            NemotronModel.from_pretrained(tmp_path)
    path.write_text(json.dumps(index))
    (tmp_path / good).unlink()
    with pytest.raises(InputError, match=f"missing shards: {good}"):
        NemotronModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "llama"}', '{"vocab_size": 5}', "\x00\xff"])
def test_hostile_configs_are_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"config\.json"):
        NemotronModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"hybrid_override_pattern": "MXE"},
        {"hybrid_override_pattern": ""},
        {"hidden_size": -1},
        {"hidden_size": 10**12},
        {"hidden_size": "32"},
        {"num_key_value_heads": 5},
        {"n_groups": 3},
        {"num_experts_per_tok": 9},
        {"topk_group": 2},
        {"mlp_hidden_act": "silu"},
        {"time_step_limit": [1.0]},
        {"layer_norm_epsilon": float("nan")},
        {"attention_bias": True},
    ],
)
def test_impossible_configs_are_refused(change):
    with pytest.raises(InputError, match="config"):
        NemotronConfig.from_dict({**SHAPE.to_dict(), "layers_block_type": None, **change})


@pytest.mark.parametrize("size", [0, 4, 40])
def test_broken_files_are_refused(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        NemotronModel.from_pretrained(folder)


def test_every_published_spelling_is_read():
    values = SHAPE.to_dict()
    names = {"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}
    legacy = {k: v for k, v in values.items() if "pattern" not in k and k != "layer_norm_epsilon"}
    legacy |= {
        "layers_block_type": [names[b] for b in SHAPE.pattern],
        "mtp_layers_block_type": ["attention", "moe"],
        "norm_eps": SHAPE.norm_eps,
        "mamba_n_groups": legacy.pop("n_groups"),
        "mamba_d_conv": legacy.pop("conv_kernel"),
        "mamba_dt_limit": [0.0, float("inf")],
        "mamba_chunk_size": legacy.pop("chunk_size"),
        "rope_theta": 10000,
    }
    legacy.pop("time_step_limit")
    assert NemotronConfig.from_dict(legacy) == SHAPE
    assert NemotronConfig.from_dict({"text_config": values, "model_type": "nemotron_h_omni"}) == SHAPE


def test_a_near_preset_is_suggested():
    with pytest.raises(InputError, match="did you mean 'nano'"):
        NemotronConfig.preset("nan0")
