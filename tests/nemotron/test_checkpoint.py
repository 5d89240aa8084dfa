"""Folders: ours back and forth, the peer's, and hostile ones."""

import json
import struct
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.errors import NemotronInputError
from alpamayo_vla_model.nemotron.inference.weight_only import store_weights

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
    names = ["config.json", "generation_config.json", "model.safetensors"]
    assert [p.name for p in sorted(tmp_path.iterdir())] == names
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


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 9_000])
@torch.no_grad()
def test_a_stored_head_decides_whether_the_embeddings_are_tied(tmp_path, shard_bytes):
    model = NemotronModel(SHAPE.with_(tie_word_embeddings=True)).eval()
    model.save_pretrained(tmp_path, shard_bytes=shard_bytes)
    ids = torch.arange(50)[None]
    for change, tied in ((lambda _: None, True), (lambda t: t.mul_(2), False), (None, True)):
        for path in tmp_path.glob("*.safetensors"):
            tensors = load_file(path)
            if "lm_head.weight" in tensors:
                change(tensors["lm_head.weight"]) if change else tensors.pop("lm_head.weight")
                save_file(tensors, path)
        if change is None and (tmp_path / "model.safetensors.index.json").exists():
            index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
            index["weight_map"].pop("lm_head.weight")
            (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        back = NemotronModel.from_pretrained(tmp_path).eval()
        assert back.config.tie_word_embeddings == tied
        assert (back.lm_head.weight is back.embeddings.weight) == tied
        torch.testing.assert_close(back(ids), model(ids) * (1 if tied else 2))


def test_the_end_tokens_of_the_generation_config_count(folder):
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == SHAPE.eos_token_id
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 11], "pad_token_id": None}))
    model = NemotronModel.from_pretrained(folder)
    assert model.config.eos_token_ids == (2, 11)
    assert model.config.bos_token_id == SHAPE.bos_token_id
    model.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((folder / name).read_text())["eos_token_id"] == [2, 11]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": "</s>"}))
    with pytest.raises(NemotronInputError, match="eos_token_id"):
        NemotronModel.from_pretrained(folder)


def test_a_dense_model_does_not_look_like_a_mixture(tmp_path):
    NemotronModel(SHAPE.with_(pattern="M*-", mtp_pattern="", num_nextn_predict_layers=0)).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert not [key for key in written if "expert" in key or "moe" in key or "topk" in key]
    assert NemotronModel.from_pretrained(tmp_path).config.pattern == "M*-"


def test_weights_that_no_reader_knows_are_not_written(tmp_path):
    adapted, stored, normed = (NemotronModel(SHAPE) for _ in range(3))
    adapted.layers[0].mixer.in_proj.adapter = torch.nn.Linear(4, 4)
    torch.nn.utils.parametrizations.weight_norm(normed.layers[0].mixer.in_proj)
    for model in (adapted, store_weights(stored, torch.int8), normed):
        with pytest.raises(NemotronInputError, match="must be merged before"):
            model.save_pretrained(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_type_may_be_chosen(folder):
    assert NemotronModel.from_pretrained(folder, dtype=torch.float16).dtype == torch.float16


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_the_peer_reads_ours_and_we_read_the_peers(folder, tmp_path, tied):
    transformers = pytest.importorskip("transformers", reason="transformers is an optional peer")
    if not hasattr(transformers, "NemotronHForCausalLM"):
        pytest.skip("this transformers has no native nemotron_h")
    NemotronModel(SHAPE.with_(tie_word_embeddings=tied)).save_pretrained(folder)
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


def test_missing_tensors_are_reported(folder):
    edit(folder, lambda t: t.pop("backbone.layers.1.mixer.experts.2.up_proj.weight"))
    with pytest.raises(NemotronInputError, match=r"missing tensors: layers\.1\.mixer\.experts\.2\.up_proj\.weight"):
        NemotronModel.from_pretrained(folder)


def test_both_shapes_are_reported(folder):
    edit(folder, lambda t: t.update({"lm_head.weight": torch.zeros(59, 32)}))
    with pytest.raises(NemotronInputError, match=r"lm_head.weight is \[59, 32\], the config asks for \[60, 32\]"):
        NemotronModel.from_pretrained(folder)


def test_nan_weights_are_refused(folder):
    edit(folder, lambda t: t["lm_head.weight"].fill_(float("nan")))
    with pytest.raises(NemotronInputError, match=r"`lm_head\.weight` holds values that are not finite"):
        NemotronModel.from_pretrained(folder)


def test_an_index_may_not_point_outside(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, shard_bytes=40_000)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name, good = next(iter(index["weight_map"].items()))
    for bad in ("../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin"):
        path.write_text(json.dumps({"weight_map": {**index["weight_map"], name: bad}}))
        with pytest.raises(NemotronInputError, match="points to"):
            NemotronModel.from_pretrained(tmp_path)
    path.write_text(json.dumps(index))
    (tmp_path / good).unlink()
    with pytest.raises(NemotronInputError, match=f"missing shards: {good}"):
        NemotronModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, "9" * 5000, '{"model_type": "llama"}', '{"vocab_size": 5}', "\x00\xff"]
)
def test_hostile_configs_are_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(NemotronInputError, match=r"config\.json"):
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
        {"use_bias": "yes"},
        {"eos_token_id": []},
        {"eos_token_id": "two"},
        {"layers_block_type": ["mamba", 3], "hybrid_override_pattern": None},
    ],
)
def test_impossible_configs_are_refused(change):
    with pytest.raises(NemotronInputError, match="config"):
        NemotronConfig.from_dict({**SHAPE.to_dict(), "layers_block_type": None, **change})


@pytest.mark.parametrize("size", [0, 4, 40])
def test_broken_files_are_refused(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(NemotronInputError, match="not a readable safetensors file"):
        NemotronModel.from_pretrained(folder)


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


HOSTILE_HEADERS = {
    "longer than the file": header(b"{}", 1 << 40),
    "longer than memory": header(b"{}", (1 << 64) - 1),
    "no object": header(b"[1, 2]"),
    "not text": header(b"\xff\xfe{}"),
    "nested": header(b'{"a":' + b"[" * 100_000),
    "beyond the end": header(b'{"lm_head.weight":{"dtype":"F32","shape":[60,32],"data_offsets":[0,7680]}}'),
    "offsets backwards": header(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}') + bytes(8),
    "offsets overlap": header(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    + bytes(4),
    "shape overflows": header(b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,16],"data_offsets":[0,4]}}')
    + bytes(4),
    "negative shape": header(b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4),
    "unknown type": header(b'{"a":{"dtype":"PICKLE","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
}


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_hostile_headers_are_refused(folder, name):
    (folder / "model.safetensors").write_bytes(HOSTILE_HEADERS[name])
    with pytest.raises(NemotronInputError, match="not a readable safetensors file"):
        NemotronModel.from_pretrained(folder)


@pytest.mark.parametrize(
    "text", ["[]", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000, '{"weight_map": {"a": 3}}', "9" * 5000]
)
def test_hostile_indices_are_refused(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(NemotronInputError, match=r"index\.json"):
        NemotronModel.from_pretrained(folder)


def test_a_tensor_missing_from_its_shard_is_reported(tmp_path):
    NemotronModel(SHAPE).save_pretrained(tmp_path, shard_bytes=40_000)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["backbone.layers.77.norm.weight"] = next(iter(index["weight_map"].values()))
    path.write_text(json.dumps(index))
    with pytest.raises(NemotronInputError, match=r"holds no tensor `backbone\.layers\.77\.norm\.weight`"):
        NemotronModel.from_pretrained(tmp_path)


def test_a_config_larger_than_its_files_allocates_nothing(folder):
    """Half a million gigabytes are asked for: the files are compared with shapes alone."""
    huge = SHAPE.with_(hidden_size=1 << 20, n_routed_experts=4, moe_intermediate_size=1 << 24).to_dict()
    (folder / "config.json").write_text(json.dumps(huge))
    message = r"embeddings\.weight is \[60, 32\], the config asks for \[60, 1048576\]"
    with pytest.raises(NemotronInputError, match=message):
        NemotronModel.from_pretrained(folder)


MEMORY = """
import sys
import torch
from alpamayo_vla_model.nemotron import NemotronModel

def status(name):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(name))

torch.set_num_threads(1)
NemotronModel.from_pretrained(sys.argv[2])  # a small one first: libraries and their buffers
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here
model = NemotronModel.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3]))
print(status("VmHWM") - before, sum(p.nbytes for p in model.parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the resident memory is read from /proc")
@pytest.mark.parametrize(("recipe", "dtype"), [(None, "bfloat16"), ("nvfp4", "float32")])
def test_loading_never_holds_two_copies(folder, tmp_path, recipe, dtype):
    """The peak of the resident memory is the model, one mapped shard and the tensor that is being read."""
    shape = SHAPE.with_(hidden_size=1024, vocab_size=4096, n_routed_experts=16, moe_latent_size=None, mtp_pattern="",
                        num_nextn_predict_layers=0, moe_intermediate_size=512)  # fmt: skip
    model = NemotronModel(shape)
    model.save_pretrained(tmp_path / "large", shard_bytes=20_000_000, recipe=recipe)
    shard = max(path.stat().st_size for path in (tmp_path / "large").glob("*.safetensors"))
    arguments = [str(tmp_path / "large"), str(folder), dtype]
    done = subprocess.run([sys.executable, "-c", MEMORY, *arguments], capture_output=True, text=True, check=True)
    peak, size = map(int, done.stdout.split())
    tensor = 4 * max(p[0].numel() if p.ndim == 3 else p.numel() for p in model.parameters() if recipe or p.ndim < 3)
    assert size > 2 * shard
    assert size <= peak < size + shard + (tensor if recipe else 0) + 12_000_000


def test_an_interrupted_save_leaves_the_old_folder(folder, monkeypatch):
    old = NemotronModel.from_pretrained(folder)

    def fail(pieces, path, metadata):
        if path.name.startswith(".model-00002"):
            raise OSError("disk full")
        save_file(pieces, path, metadata)

    monkeypatch.setattr("alpamayo_vla_model.nemotron.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        NemotronModel(SHAPE, generator=torch.Generator().manual_seed(5)).save_pretrained(folder, shard_bytes=40_000)
    assert same(old, NemotronModel.from_pretrained(folder))


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
    with pytest.raises(NemotronInputError, match="did you mean nano"):
        NemotronConfig.preset("nan0")
