"""A compiled model computes what the model computes, refuses a changed model, and serves several threads."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from alpamayo_kernels import cpu_step
from alpamayo_kernels.cpu_step import native, tables
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import NemotronCache
from alpamayo_vla_model.nemotron.inference.cpu_compiled import LanguageModel, can_compile, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.engine import Request, generate
from alpamayo_vla_model.nemotron.inference.execution import execution_path
from alpamayo_vla_model.nemotron.inference.weight_only import store_weights

TINY = NemotronConfig.preset("tiny").with_(vocab_size=64, chunk_size=8)
SHAPES = {
    "every block": TINY.with_(pattern="ME*-"),
    "groups of experts": TINY.with_(pattern="MEM", n_group=4, topk_group=2, num_experts_per_tok=3),
    "no latent space": TINY.with_(pattern="EM*", moe_latent_size=None, norm_topk_prob=False),
    "odd sizes": TINY.with_(
        pattern="M*E-M",
        hidden_size=37,
        head_dim=9,
        mamba_head_dim=7,
        mamba_num_heads=6,
        ssm_state_size=13,
        moe_intermediate_size=21,
        moe_latent_size=11,
        intermediate_size=19,
        moe_shared_expert_intermediate_size=5,
    ),
    "biases": TINY.with_(pattern="ME-", use_bias=True, mlp_bias=True, use_conv_bias=False),
    "limited steps": TINY.with_(pattern="MM", time_step_limit=(0.01, 0.05)),
}


@pytest.fixture(autouse=True)
def _compiled():
    assert cpu_step.available()


def make(config: NemotronConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> NemotronModel:
    generator = torch.Generator().manual_seed(seed)
    model = NemotronModel(config, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
        for router in model.routers():
            router.e_score_correction_bias.copy_(torch.randn(len(router.weight), generator=generator) * 0.1)
    return model.eval() if dtype == torch.float32 else store_weights(model.eval(), dtype)


def ids(batch: int, time: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 64, (batch, time), generator=torch.Generator().manual_seed(seed))


def scenario(model: LanguageModel) -> list[torch.Tensor]:
    """Prefill, decode, a draft of which each row keeps its own part, forks with a shared prefix, more decoding."""
    cache = model.new_cache(3, capacity=4)
    out = [model(ids(3, 21), cache=cache), model(ids(3, 1, 1), cache=cache)]
    out.append(model(ids(3, 5, 2), cache=cache, speculative=True))
    cache.commit(torch.tensor([1, 5, 3]))
    out.append(model(ids(3, 2, 3), cache=cache))
    forks = cache.select([2, 0]).fork(2)
    out += [model(ids(4, 3, 4), cache=forks), model(ids(4, 1, 5), cache=forks), model(ids(3, 1, 6), cache=cache)]
    one = model.new_cache(1)
    model(ids(1, 70, 7), cache=one)
    for keep in (0, 2, 4):
        out.append(model(ids(1, 4, keep), cache=one, speculative=True))
        one.commit(keep)
    return [*out, model(ids(1, 1, 9), cache=one)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_it_computes_what_the_model_computes(name, dtype):
    model = make(SHAPES[name], dtype=dtype)
    for a, b in zip(scenario(compile_for_cpu(model)), scenario(model), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


@torch.no_grad()
def test_the_prediction_block_is_compiled_too():
    model = make(TINY.with_(pattern="M*", mtp_pattern="*E", num_nextn_predict_layers=1))
    compiled, found = compile_for_cpu(model), []
    for each in (compiled, model):
        cache, hidden = each.new_mtp_cache(2), each(ids(2, 9), return_hidden=True)
        parts = [(hidden[:, :5], ids(2, 5, 1)), (hidden[:, 5:], ids(2, 4, 2))]
        found.append(torch.cat([each.mtp(h, each.embed(tokens), cache) for h, tokens in parts], 1))
        assert cache.length == 9
    torch.testing.assert_close(*found, rtol=2e-5, atol=2e-5)


@torch.no_grad()
def test_features_padding_and_pieces_agree_with_the_model():
    model = make(SHAPES["every block"])
    compiled, tokens = compile_for_cpu(model), ids(2, 600)
    got, want = (each.features(tokens, layers=[2, 0]) for each in (compiled, model))
    torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-5)
    mask = torch.ones(2, 600)
    mask[1, :7] = 0
    assert torch.equal(compiled(tokens, attention_mask=mask), model(tokens, attention_mask=mask))


@torch.no_grad()
def test_a_token_does_not_depend_on_the_others_in_its_call():
    model = compile_for_cpu(make(SHAPES["every block"]))
    tokens = ids(1, 24)
    single, several = model.new_cache(1), model.new_cache(1)
    one = torch.cat([model(tokens[:, t : t + 1], cache=single) for t in range(24)], 1)
    parts = [model(part, cache=several) for part in tokens.split([3, 8, 1, 5, 7], 1)]
    assert torch.equal(one, torch.cat(parts, 1))
    batch = model.new_cache(4)
    rows = torch.cat([ids(3, 24, 5), tokens])
    assert torch.equal(torch.cat([model(rows[:, t : t + 1], cache=batch) for t in range(24)], 1)[3:], one)


@torch.no_grad()
def test_undoing_a_draft_leaves_no_trace():
    model = compile_for_cpu(make(SHAPES["every block"]))
    plain, drafted = model.new_cache(1), model.new_cache(1)
    for t in range(8):
        want = model(ids(1, 1, t), cache=plain)
        wrong = torch.cat([ids(1, 1, t), ids(1, 4, 90 + t)], 1)
        got = model(wrong, cache=drafted, speculative=True)
        drafted.commit(1)
        assert torch.equal(got[:, :1], want)


def decode(model: LanguageModel, cache: NemotronCache | None = None) -> torch.Tensor:
    """Decode three tokens; return the last one's logits."""
    cache = model.new_cache(1) if cache is None else cache
    return [model(ids(1, 1, t), cache=cache) for t in range(3)][-1]


class Adapter(torch.nn.Linear):
    """Stands for a layer that another library puts in place of one of ours."""


def replace(module: torch.nn.Module, name: str) -> None:
    """Put a copy in place of a parameter."""
    setattr(module, name, copy.deepcopy(getattr(module, name)))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Return a view on the memory of a tensor, through which PyTorch does not see changes."""
    return tensor.detach().numpy()


CHANGES = {
    "in-place": lambda model: model.layers[0].mixer.A_log.add_(0.5),
    "new parameter": lambda model: setattr(
        model.layers[1].mixer.gate, "weight", copy.deepcopy(model.layers[1].mixer.gate.weight)
    ),
    "new type": lambda model: model.double(),
    "training mode": lambda model: model.train(),
    "hook": lambda model: model.layers[0].mixer.in_proj.register_forward_hook(lambda *_: None),
    "hook on the last norm": lambda model: model.norm_f.register_forward_pre_hook(lambda *_: None),
    "adapter": lambda model: setattr(
        model.layers[2].mixer, "q_proj", Adapter(*model.layers[2].mixer.q_proj.weight.shape)
    ),
    "patched": lambda model: setattr(model.layers[3], "forward", lambda x, state, context: x),
    "patched inside": lambda model: setattr(model.layers[0].mixer, "_scan", model.layers[0].mixer._scan),
    "patched as a whole": lambda model: setattr(model, "forward", model.forward),
    "hook on the model": lambda model: model.register_forward_hook(lambda *_: None),
    "weight norm": lambda model: torch.nn.utils.parametrizations.weight_norm(model.layers[0].mixer.in_proj),
    "scaled data": lambda model: model.layers[0].mixer.in_proj.weight.data.mul_(3),
    "replaced data": lambda model: setattr(model.norm_f.weight, "data", model.norm_f.weight.data * 2),
    "averaged": lambda model: [p.data.lerp_(torch.ones_like(p), 0.01) for p in model.parameters()],
    "numpy": lambda model: np.multiply(
        model.norm_f.weight.detach().numpy(), 2, out=model.norm_f.weight.detach().numpy()
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_a_changed_model_is_refused(name):
    model = make(SHAPES["every block"])
    compiled = compile_for_cpu(model)
    cache = compiled.new_cache(1)
    decode(compiled, cache)
    CHANGES[name](model)
    for use in (lambda: decode(compiled, cache), lambda: decode(compiled)):
        with pytest.raises(ValueError, match="out of date"):
            use()
    values = ("in-place", "new parameter", "scaled data", "replaced data", "averaged", "numpy")
    may_be_compiled_again = name in values
    assert can_compile(model) == may_be_compiled_again
    if may_be_compiled_again:
        torch.testing.assert_close(decode(compile_for_cpu(model)), decode(model), rtol=2e-5, atol=2e-5)
    else:
        with pytest.raises(ValueError, match="cannot be compiled"):
            compile_for_cpu(model)


@torch.no_grad()
def test_a_patched_class_is_refused(monkeypatch):
    model = make(SHAPES["every block"])
    compiled = compile_for_cpu(model)
    for owner, name in ((type(model.layers[0]), "forward"), (type(model.layers[2].mixer), "forward"),
                        (torch.nn.Module, "__call__")):  # fmt: skip
        with monkeypatch.context() as patch:
            original = getattr(owner, name)
            patch.setattr(owner, name, lambda *a, original=original, **k: original(*a, **k))
            with pytest.raises(ValueError, match="class is patched"):
                compiled(ids(1, 3))
            assert not can_compile(model)
    assert can_compile(model)


@torch.no_grad()
def test_one_changed_number_or_attribute_is_found_when_a_sequence_begins():
    for change, message in (
        (
            lambda m: m.layers[1].mixer.experts.up_proj.detach().numpy()[3].__setitem__((0, 1), 9.0),
            "values of its weights",
        ),
        (lambda m: setattr(m.layers[0].norm, "eps", 0.5), "attribute of a module"),
    ):
        model = make(SHAPES["every block"])
        compiled = compile_for_cpu(model)
        change(model)
        with pytest.raises(ValueError, match=message):
            compiled(ids(1, 3))


POISON = {
    "embedding": lambda model: model.embeddings.weight[5],
    "projection": lambda model: model.layers[0].mixer.in_proj.weight[-1],  # of a step size
    "step bias": lambda model: model.layers[0].mixer.dt_bias[:1],
    "router": lambda model: model.layers[1].mixer.gate.weight[3],
    "correction": lambda model: model.layers[1].mixer.gate.e_score_correction_bias[2:3],
    "shared expert": lambda model: model.layers[1].mixer.shared_experts.up_proj.weight[0],
    "dense": lambda model: model.layers[3].mixer.up_proj.weight[0],
    "norm": lambda model: model.norm_f.weight[:1],
}


@pytest.mark.parametrize("name", POISON)
@torch.no_grad()
def test_what_is_not_a_number_shows_where_it_does_in_the_model(name):
    model, tokens = make(SHAPES["every block"]), ids(2, 12)
    POISON[name](model).fill_(torch.nan)
    compiled = compile_for_cpu(model)
    for each in (lambda m: m(tokens), lambda m: decode(m)):
        got, want = each(compiled), each(model)
        assert torch.equal(torch.isnan(got), torch.isnan(want))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4, equal_nan=True)
    assert torch.isnan(want).any() or name in ("embedding", "correction")  # those that are not read


@torch.no_grad()
def test_the_path_is_named():
    model = make(SHAPES["every block"])
    plain, compiled = execution_path(model), execution_path(compile_for_cpu(model))
    assert (plain["path"], compiled["path"], plain["weights"], plain["device"]) == (
        "plain",
        "compiled",
        "float32",
        "cpu",
    )
    assert {**plain, "path": "compiled"} == compiled
    assert execution_path(compile_for_cpu(make(SHAPES["every block"], dtype=torch.int8)))["weights"] == "int8"
    assert cpu_step.processor_features()


@torch.no_grad()
def test_a_global_hook_is_refused():
    compiled = compile_for_cpu(make(SHAPES["every block"]))
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ValueError, match="forward hook"):
            compiled(ids(1, 3))
    finally:
        handle.remove()
    assert compiled(ids(1, 3)).shape == (1, 3, 64)


@pytest.mark.parametrize("value", [3.0, -1.0])
@torch.no_grad()
def test_changes_that_pytorch_does_not_count_are_found_when_a_sequence_begins(value):
    model = make(SHAPES["every block"])
    compiled = compile_for_cpu(model)
    model.layers[0].mixer.in_proj.weight.data.mul_(value)
    with pytest.raises(ValueError, match="values of its weights"):
        compiled.new_cache(1)
    with pytest.raises(ValueError, match="values of its weights"):
        compiled(ids(1, 3))


def test_gradients_and_other_caches_are_refused():
    model = make(SHAPES["every block"])
    compiled = compile_for_cpu(model)
    with pytest.raises(ValueError, match="no gradients"):
        compiled(ids(1, 3))
    with torch.no_grad(), pytest.raises(ValueError, match="float32"):
        compiled(ids(1, 3), cache=model.new_cache(1, state_dtype=torch.float16))
    with pytest.raises(ValueError, match="training mode"):
        compile_for_cpu(model.train())
    with pytest.raises(ValueError, match=r"torch\.bfloat16 on cpu, expected torch\.float32"):
        compile_for_cpu(make(SHAPES["every block"]).to(torch.bfloat16))


@torch.no_grad()
def test_a_copy_is_compiled_again():
    compiled = compile_for_cpu(make(SHAPES["every block"]))
    copies = [copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))]
    want = decode(compiled)
    assert all(torch.equal(decode(each), want) for each in copies)
    copies[0].model.layers[0].mixer.A_log.add_(0.5)
    assert torch.equal(decode(compiled), want)


@torch.no_grad()
def test_threads_share_a_compiled_model():
    models = [compile_for_cpu(make(SHAPES["every block"], seed)) for seed in (0, 1)]
    tokens = [ids(1, 6, seed) for seed in range(4)]
    want = [[each(t) for t in tokens] for each in models]

    def run(thread: int) -> int:
        with torch.no_grad():
            each, row = models[thread % 2], thread % 4
            return sum(not torch.equal(each(tokens[row]), want[thread % 2][row]) for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(8))) == [0] * 8


def test_threads_generate_with_one_model_and_with_several():
    models = [make(SHAPES["every block"], seed) for seed in (0, 1)]
    compiled = [compile_for_cpu(model) for model in models]
    asked = [Request([1, 2, i], max_tokens=6, eos=()) for i in range(4)]
    for pair in (compiled, models):
        want = [[r.tokens for r in generate(model, asked)] for model in pair]
        with ThreadPoolExecutor(4) as pool:
            jobs = [(i % 2, pool.submit(generate, pair[i % 2], asked)) for i in range(12)]
        assert all([r.tokens for r in job.result()] == want[which] for which, job in jobs)


@torch.no_grad()
def test_distinct_experts_are_counted():
    read: list[int] = []
    model = make(SHAPES["no latent space"])
    compiled = compile_for_cpu(model, on_experts_read=read.append)
    cache = compiled.new_cache(1)
    compiled(ids(1, 1), cache=cache)
    assert read == [model.config.num_experts_per_tok]
    compiled(ids(1, 32), cache=cache)
    assert read[0] < read[1] <= model.config.n_routed_experts


def test_the_layouts_of_python_and_c_agree_and_a_slipped_field_is_caught(monkeypatch):
    compiled = native._compiled_layout(native._compiled())
    native.check_layout(tables.layout(), compiled)
    assert {structure for structure, _ in compiled} == {structure.__name__ for structure in tables.STRUCTURES}

    pointer, weight = tables.ctypes.c_void_p, tables.Weight
    old = {structure.__name__: list(structure._fields_) for structure in tables.STRUCTURES}
    wrong = {
        "State": [*old["State"][:2], ("renamed", pointer), *old["State"][3:]],
        "Mamba": [*old["Mamba"][:8], old["Mamba"][9], old["Mamba"][8], *old["Mamba"][10:]],
        "Dense": [("up", weight), ("down", weight), ("one_too_many", weight)],
    }
    for name, fields in wrong.items():
        kept = [each for each in tables.STRUCTURES if each.__name__ != name]
        slipped = type(name, (tables.ctypes.Structure,), {"_fields_": fields})
        monkeypatch.setattr(tables, "STRUCTURES", (*kept, slipped))
        with pytest.raises(RuntimeError, match=f"disagree on {name}"):
            native.check_layout(tables.layout(), compiled)
        monkeypatch.undo()


def test_the_checksum_sees_every_byte_and_the_order():
    tensors = [torch.arange(37.0), torch.arange(5, dtype=torch.int8), torch.ones(64)]
    found = {cpu_step.checksum(tensors), cpu_step.checksum(tensors[::-1])}
    for tensor, place in ((tensors[0], 36), (tensors[1], 4), (tensors[2], 0)):
        before = tensor[place].clone()
        tensor[place] = 9
        found.add(cpu_step.checksum(tensors))
        tensor[place] = before
    tensors[0][:2] = torch.tensor([1.0, 0.0])
    found.add(cpu_step.checksum(tensors))
    assert len(found) == 6


@torch.no_grad()
def test_tiny_steps_are_exact():
    """Softplus is exact where it is so small that 1 + e^x rounds to 1."""
    model = make(TINY.with_(pattern="M"))
    model.layers[0].mixer.dt_bias.fill_(-25.0)
    wide = make(TINY.with_(pattern="M")).double()
    wide.layers[0].mixer.dt_bias.fill_(-25.0)
    compiled = compile_for_cpu(model)
    caches = compiled.new_cache(1), wide.new_cache(1)
    for t in range(4):
        compiled(ids(1, 1, t), cache=caches[0])
        wide(ids(1, 1, t), cache=caches[1])
    narrow, exact = caches[0].layers[0].ssm, caches[1].layers[0].ssm
    assert float((narrow.double() - exact).norm() / exact.norm()) < 2e-6


@torch.no_grad()
def test_a_stream_may_forget_old_slots():
    model = compile_for_cpu(make(SHAPES["every block"]))
    cache = model.new_cache(2)
    model(ids(2, 7, 0), cache=cache)
    point = cache.snapshot()
    for t in range(1, 6):
        model(ids(2, 7, t), cache=cache)
        cache.forget(10)
        assert cache.length == min(10, 7 * (t + 1))
    with pytest.raises(ValueError, match="given up"):
        cache.restore(point)
    slots = [state.keys.shape[2] for state in cache.layers if hasattr(state, "keys")]
    assert slots == [10]
    whole = model.new_cache(2)
    model(torch.cat([ids(2, 7, t) for t in range(6)], 1), cache=whole)
    keys, kept = (c.layers[2].keys for c in (whole, cache))
    assert torch.equal(cache.layers[0].ssm, whole.layers[0].ssm)  # blocks before the attention forget nothing
    torch.testing.assert_close(kept, keys[:, :, 32:42], rtol=1e-5, atol=1e-5)
