"""The fused step computes what the general path computes, and every token's numbers are its own."""

import pytest
import torch

from alpamayo_kernels import cpu_step as fused_step
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.inference import cpu_compiled as fused
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
    assert fused_step.available()


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


def general(monkeypatch):
    monkeypatch.setattr(fused_step, "available", lambda: False)


def scenario(model: NemotronModel) -> list[torch.Tensor]:
    """Prefill, decode, a draft of which each row keeps its own part, forks with a shared prefix, more decoding."""
    cache = model.new_cache(3, capacity=4)
    out = [model(ids(3, 21), cache=cache), model(ids(3, 1, 1), cache=cache)]
    out.append(model(ids(3, 5, 2), cache=cache, tentative=True))
    cache.commit(torch.tensor([1, 5, 3]))
    out.append(model(ids(3, 2, 3), cache=cache))
    forks = cache.select([2, 0]).fork(2)
    out += [model(ids(4, 3, 4), cache=forks), model(ids(4, 1, 5), cache=forks), model(ids(3, 1, 6), cache=cache)]
    one = model.new_cache(1)
    model(ids(1, 70, 7), cache=one)
    for keep in (0, 2, 4):
        out.append(model(ids(1, 4, keep), cache=one, tentative=True))
        one.commit(keep)
    return [*out, model(ids(1, 1, 9), cache=one)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_it_is_the_general_path(monkeypatch, name, dtype):
    model = make(SHAPES[name], dtype=dtype)
    got = scenario(model)
    assert fused._known[model].readable
    general(monkeypatch)
    for a, b in zip(got, scenario(model), strict=True):
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-5)


@torch.no_grad()
def test_a_token_does_not_feel_the_others_in_its_call():
    model = make(SHAPES["every block"])
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
    model = make(SHAPES["every block"])
    plain, drafted = model.new_cache(1), model.new_cache(1)
    for t in range(8):
        want = model(ids(1, 1, t), cache=plain)
        wrong = torch.cat([ids(1, 1, t), ids(1, 4, 90 + t)], 1)
        got = model(wrong, cache=drafted, tentative=True)
        drafted.commit(1)
        assert torch.equal(got[:, :1], want)


@torch.no_grad()
def test_changed_weights_are_seen():
    model = make(SHAPES["every block"])

    def last() -> torch.Tensor:
        cache = model.new_cache(1)
        return [model(ids(1, 1, t), cache=cache) for t in range(3)][-1]

    before = last()
    model.layers[0].mixer.A_log.add_(0.5)
    changed = last()
    assert not torch.equal(before, changed)
    model.layers[0].mixer.A_log = torch.nn.Parameter(model.layers[0].mixer.A_log - 0.5)
    torch.testing.assert_close(last(), before)
    double = model.double()
    assert last().dtype == torch.float64
    torch.testing.assert_close(last().float(), before, rtol=1e-4, atol=1e-5)
    assert double is model


@torch.no_grad()
def test_distinct_experts_are_counted():
    model = make(SHAPES["no latent space"])
    cache = model.new_cache(1)
    model(ids(1, 1), cache=cache)
    assert fused._known[model].distinct == model.config.num_experts_per_tok
    model(ids(1, 32), cache=cache)
    assert fused._known[model].distinct <= model.config.num_experts_per_tok + model.config.n_routed_experts


@torch.no_grad()
def test_tiny_steps_are_exact():
    """Where softplus is so small that 1 + e^x has no place for it."""
    model = make(TINY.with_(pattern="M"))
    model.layers[0].mixer.dt_bias.fill_(-25.0)
    wide = make(TINY.with_(pattern="M")).double()
    wide.layers[0].mixer.dt_bias.fill_(-25.0)
    caches = model.new_cache(1), wide.new_cache(1)
    for t in range(4):
        model(ids(1, 1, t), cache=caches[0])
        wide(ids(1, 1, t), cache=caches[1])
    narrow, exact = caches[0].layers[0].ssm, caches[1].layers[0].ssm
    assert float((narrow.double() - exact).norm() / exact.norm()) < 2e-6


@torch.no_grad()
def test_a_stream_may_forget_old_slots():
    model = make(SHAPES["every block"])
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
    assert torch.equal(cache.layers[0].ssm, whole.layers[0].ssm)  # in front of the attention nothing is forgotten
    torch.testing.assert_close(kept, keys[:, :, 32:42], rtol=1e-5, atol=1e-5)
