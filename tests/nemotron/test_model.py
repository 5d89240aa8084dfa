"""The backbone against itself: every way of feeding a sequence gives the same numbers."""

import copy
import math

import pytest
import torch

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.cache import stochastic_half

BASE = NemotronConfig(
    vocab_size=64,
    hidden_size=48,
    pattern="MEM*EMEM*-",
    mtp_pattern="*E",
    num_nextn_predict_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    mamba_num_heads=4,
    mamba_head_dim=16,
    ssm_state_size=8,
    n_groups=2,
    chunk_size=8,
    intermediate_size=64,
    n_routed_experts=8,
    num_experts_per_tok=3,
    moe_intermediate_size=24,
    moe_shared_expert_intermediate_size=40,
    moe_latent_size=16,
    max_position_embeddings=512,
)
PATTERNS = ["M", "*", "E", "-", "MEM*EMEM*-"]


def make(pattern: str = BASE.pattern, seed: int = 0, **changes) -> NemotronModel:
    """A random model whose every part matters: weights larger than at the start of training."""
    generator = torch.Generator().manual_seed(seed)
    model = NemotronModel(BASE.with_(pattern=pattern, **changes), generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "conv1d" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
        for router in model.routers():
            router.e_score_correction_bias.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


def draw(batch: int, time: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, BASE.vocab_size, (batch, time), generator=torch.Generator().manual_seed(seed))


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.parametrize("pattern", PATTERNS)
@torch.no_grad()
def test_chunked_prefill_equals_one_call_at_every_split(pattern):
    model, tokens = make(pattern), draw(2, 19)
    full = model(tokens)
    for split in range(1, 19):
        cache = model.new_cache(2)
        parts = [model(tokens[:, :split], cache=cache), model(tokens[:, split:], cache=cache)]
        assert relative(torch.cat(parts, 1), full) < 2e-6
        assert cache.tokens == 19


@torch.no_grad()
def test_a_long_context_is_continued_without_a_large_mask(monkeypatch):
    """The same from where a mask of queries by keys would be too large to make."""
    model, tokens = make("M*"), draw(2, 40)
    want = model(tokens)
    for module in ("alpamayo_kernels.attention.sdpa", "alpamayo_vla_model.nemotron.context"):
        monkeypatch.setattr(f"{module}.MASK_NUMBERS", 50)
    cache = model.new_cache(2)
    parts = [model(part, cache=cache) for part in tokens.split([15, 20, 5], dim=1)]
    assert relative(torch.cat(parts, 1), want) < 2e-6


@pytest.mark.parametrize("pattern", PATTERNS)
@torch.no_grad()
def test_decode_equals_prefill(pattern):
    model, tokens = make(pattern), draw(2, 21)
    cache = model.new_cache(2, capacity=4)
    steps = [model(tokens[:, t : t + 1], cache=cache) for t in range(21)]
    assert relative(torch.cat(steps, 1), model(tokens)) < 2e-6


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"moe_latent_size": None, "use_conv_bias": False, "norm_topk_prob": False},
        {"n_group": 4, "topk_group": 2, "use_bias": True, "mlp_bias": True, "time_step_limit": (0.01, 0.05)},
    ],
)
@torch.no_grad()
def test_single_sequence_decode_equals_prefill(changes):
    model, tokens = make(**changes), draw(1, 30)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            parameter.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(1))
    cache = model.new_cache(1, capacity=4)
    steps = [model(tokens[:, t : t + 1], cache=cache) for t in range(30)]
    assert relative(torch.cat(steps, 1), model(tokens)) < 2e-6
    model.layers[0].mixer.A_log.add_(0.5)  # nothing derived from a parameter may outlive a change of it
    model.layers[0].mixer.conv1d.weight.mul_(-1)
    cache = model.new_cache(1)
    steps = [model(tokens[:, t : t + 1], cache=cache) for t in range(30)]
    assert relative(torch.cat(steps, 1), model(tokens)) < 2e-6


@torch.no_grad()
def test_tiny_steps_and_strong_decay_do_not_part_prefill_from_decode():
    model, tokens = make("MM"), draw(1, 40)
    for layer in model.layers:
        layer.mixer.dt_bias.copy_(torch.linspace(-12.0, 3.0, 4))
        layer.mixer.A_log.copy_(torch.linspace(-1.0, 5.0, 4))
    cache = model.new_cache(1)
    steps = [model(tokens[:, t : t + 1], cache=cache) for t in range(40)]
    assert relative(torch.cat(steps, 1), model(tokens)) < 2e-6


@torch.no_grad()
def test_step_limits_are_applied():
    bounded = make("M", time_step_limit=(0.05, 0.06))
    free = make("M")
    tokens = draw(1, 12)
    assert relative(bounded(tokens), free(tokens)) > 1e-3
    cache = bounded.new_cache(1)
    steps = [bounded(tokens[:, t : t + 1], cache=cache) for t in range(12)]
    assert relative(torch.cat(steps, 1), bounded(tokens)) < 2e-6


@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch():
    model, tokens = make(), draw(5, 17)
    together = model(tokens)
    for row in range(5):
        assert relative(model(tokens[row : row + 1])[0], together[row]) < 2e-6


@torch.no_grad()
def test_left_padding_changes_nothing():
    model, tokens = make(), draw(3, 20)
    lengths = [20, 13, 5]
    mask = torch.stack([torch.arange(20) >= 20 - n for n in lengths])
    padded = model(tokens, attention_mask=mask)
    cache = model.new_cache(3)
    cached = [model(tokens[:, :18], cache=cache, attention_mask=mask[:, :18])]
    cached += [model(tokens[:, t : t + 1], cache=cache) for t in (18, 19)]
    for row, length in enumerate(lengths):
        alone = model(tokens[row : row + 1, 20 - length :])[0]
        assert relative(padded[row, 20 - length :], alone) < 2e-6
        assert relative(torch.cat(cached, 1)[row, 20 - length :], alone) < 2e-6


PADDED = {
    "left": [[1] * 12, [0] * 5 + [1] * 7, [0] * 11 + [1]],
    "right": [[1] * 12, [1] * 7 + [0] * 5, [1] + [0] * 11],
    "holes": [[1] * 5 + [0, 0] + [1] * 5, [0, 1] * 6, [0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0]],
    "none of a sequence": [[0] * 12, [1] * 12, [0] * 3 + [1] * 9],
}


@pytest.mark.parametrize("earlier", [0, 2, 9])
@pytest.mark.parametrize("name", PADDED)
@torch.no_grad()
def test_padding_anywhere_changes_nothing_now_and_later(name, earlier):
    """A padded row is the row alone: in this call, in a later turn, and when decoding goes on."""
    model = make(use_bias=True, pattern="MEM*-")
    for block in model.layers:
        if hasattr(block.mixer, "in_proj"):
            block.mixer.in_proj.bias.normal_(generator=torch.Generator().manual_seed(1))
    before, tokens, more = draw(3, earlier, seed=1), draw(3, 12), draw(3, 4, seed=2)
    mask, cache = torch.tensor(PADDED[name]), model.new_cache(3)
    if earlier:
        model(before, cache=cache)
    garbage = model.embed(tokens).masked_fill(mask[..., None] == 0, torch.nan)
    got = model(embeddings=garbage, cache=cache, attention_mask=mask)
    drafted = model(tokens, cache=cache, attention_mask=mask.flip(0), speculative=True)
    cache.commit(torch.tensor([12, 6, 9]))
    after = torch.cat([model(more[:, t : t + 1], cache=cache) for t in range(4)], 1)
    for row in range(3):
        first, second = tokens[row, mask[row] > 0], tokens[row, mask.flip(0)[row] > 0]
        kept = tokens[row, : (12, 6, 9)[row]][mask.flip(0)[row, : (12, 6, 9)[row]] > 0]
        alone = model(torch.cat([before[row], first, second])[None])[0]
        until = earlier + len(first)
        for part, want in (
            (got[row, mask[row] > 0], alone[earlier:until]),
            (drafted[row, mask.flip(0)[row] > 0], alone[until:]),
            (after[row], model(torch.cat([before[row], first, kept, more[row]])[None])[0, until + len(kept) :]),
        ):
            torch.testing.assert_close(part, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(2, 6), "other values"),  # added to scores, nothing masked
        (torch.zeros(2, 6).index_fill(1, torch.arange(2), -torch.inf), "other values"),
        (torch.full((2, 6), -1e4), "other values"),
        (torch.full((2, 6), 2), "other values"),
        (torch.ones(2, 9), r"\[2, 9\], expected one number for each token"),
        (torch.ones(1, 6), r"\[1, 6\], expected"),
        (torch.ones(2, 1, 6, 6), "expected one number"),
    ],
)
@torch.no_grad()
def test_masks_of_another_meaning_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        make()(draw(2, 6), attention_mask=mask)


@pytest.mark.parametrize("shape", [(1, 0), (0, 5), (0, 0), (3, 0)])
@torch.no_grad()
def test_no_tokens_give_no_logits_and_leave_the_cache(shape):
    model = make()
    assert model(torch.zeros(shape, dtype=torch.long)).shape == (*shape, model.config.vocab_size)
    cache = model.new_cache(shape[0])
    more = draw(shape[0], 3)
    for part in (more[:, :2], torch.zeros(shape, dtype=torch.long)[:, :0], more[:, 2:]):
        found = model(part, cache=cache)
    torch.testing.assert_close(found, model(more)[:, 2:], rtol=1e-5, atol=1e-5)
    if shape[0]:
        assert model(more[:, :0].repeat(2, 1), cache=cache.fork(2)).shape[:2] == (2 * shape[0], 0)
    with torch.enable_grad():
        assert model(torch.zeros(shape, dtype=torch.long)).shape == (*shape, model.config.vocab_size)


WRONG_COMMITS = {
    "negative": -1,
    "one negative": torch.tensor([-1, 2]),
    "too many": 5,
    "one too many": torch.tensor([1, 5]),
    "fraction": 1.5,
    "fractions": torch.tensor([1.0, 2.0]),
    "flag": True,
    "flags": torch.tensor([True, False]),
    "three counts for two sequences": torch.tensor([1, 2, 3]),
    "column": torch.tensor([[1], [2]]),
}


@pytest.mark.parametrize("name", WRONG_COMMITS)
@torch.no_grad()
def test_commits_without_a_meaning_are_refused_and_change_nothing(name):
    model = make()
    cache = model.new_cache(2)
    model(draw(2, 4), cache=cache)
    model(draw(2, 4, seed=1), cache=cache, speculative=True)
    with pytest.raises(ValueError, match="cannot commit"):
        cache.commit(WRONG_COMMITS[name])
    cache.commit(torch.tensor([4, 1]))
    want = model(torch.cat([draw(2, 4), draw(2, 4, seed=1), draw(2, 1, seed=2)], 1)[:1])[:, -1]
    torch.testing.assert_close(model(draw(2, 1, seed=2), cache=cache)[:1, -1], want, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_only_the_last_call_can_be_committed_and_only_once():
    model = make()
    cache = model.new_cache(2)
    uses = {
        "plain": lambda: model(draw(2, 1), cache=cache),
        "commit": lambda: cache.commit(2),
        "restore": lambda: cache.restore(point),
        "nothing": lambda: model(draw(2, 0), cache=cache),
    }
    for use in uses.values():
        model(draw(2, 4), cache=cache)
        point = cache.snapshot()
        model(draw(2, 4, seed=1), cache=cache, speculative=True)
        use()
        length = cache.length
        with pytest.raises(ValueError, match="nothing to commit"):
            cache.commit(1)
        assert cache.length == length
    with pytest.raises(ValueError, match="nothing to commit"):
        cache.select([0]).commit(0)


@torch.no_grad()
def test_caches_check_their_arguments():
    model = make()
    cache, other = model.new_cache(2), model.new_cache(2)
    model(draw(2, 4), cache=cache)
    for wrong, message in (
        (lambda: cache.fork(0), "fork"),
        (lambda: cache.select([0, -1]), "no sequences"),
        (lambda: cache.select([2]), "no sequences"),
        (lambda: cache.forget(-1), "keep"),
        (lambda: other.restore(cache.snapshot()), "another cache"),
        (lambda: model(draw(2, 1), cache=model.new_mtp_cache(2)), "blocks"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


@torch.no_grad()
def test_decay_rates_stay_finite():
    """The exponential of A_log passes float32 from 89 on; a state then forgets all, in every path."""
    model = make(pattern="M*M")
    for block in model.layers:
        if hasattr(block.mixer, "A_log"):
            block.mixer.A_log[::2] = 95.0
    tokens = draw(2, 20)
    wide = copy.deepcopy(model).double()
    want, whole = wide(tokens), model(tokens)
    cache = model.new_cache(2)
    steps = torch.cat([model(tokens[:, t : t + 1], cache=cache) for t in range(20)], 1)
    for found in (whole, steps):
        torch.testing.assert_close(found.double(), want, rtol=1e-4, atol=1e-5)
    with torch.enable_grad():
        model(tokens).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@torch.no_grad()
def test_forks_share_the_prefill_and_go_their_own_ways():
    model, prompt, more = make(), draw(2, 15), draw(6, 7, seed=2)
    cache = model.new_cache(2)
    model(prompt, cache=cache)
    forks = cache.fork(3)
    assert forks.layers[3].prefix[0].data_ptr() == cache.layers[3].keys.data_ptr()
    got = torch.cat([model(more[:, :4], cache=forks), model(more[:, 4:5], cache=forks)], 1)
    model(draw(2, 5, seed=9), cache=cache)  # the parent moves on without disturbing its forks
    got = torch.cat([got, model(more[:, 5:], cache=forks)], 1)
    want = model(torch.cat([prompt.repeat_interleave(3, 0), more], 1))[:, 15:]
    assert relative(got, want) < 2e-6
    picked = forks.select([4])
    again = model(draw(1, 2, seed=3), cache=picked)
    row = torch.cat([prompt[1:], more[4:5], draw(1, 2, seed=3)], 1)
    assert relative(again, model(row)[:, -2:]) < 2e-6


@torch.no_grad()
def test_a_rewound_parent_does_not_disturb_its_forks():
    model, prompt, more = make("M*"), draw(1, 9), draw(2, 3, seed=2)
    cache = model.new_cache(1)
    model(prompt[:, :4], cache=cache)
    point = cache.snapshot()
    model(prompt[:, 4:], cache=cache)
    forks = cache.fork(2)
    cache.restore(point)
    model(draw(1, 5, seed=5), cache=cache)
    got = model(more, cache=forks)
    assert relative(got, model(torch.cat([prompt.repeat(2, 1), more], 1))[:, 9:]) < 2e-6


@torch.no_grad()
def test_snapshot_and_restore_are_exact():
    model, tokens = make(), draw(2, 16)
    cache = model.new_cache(2)
    model(tokens[:, :6], cache=cache)
    point = cache.snapshot()
    first = model(tokens[:, 6:], cache=cache)
    later = cache.snapshot()
    cache.restore(point)
    model(draw(2, 3, seed=4), cache=cache)
    cache.restore(point)
    assert torch.equal(model(tokens[:, 6:], cache=cache), first)
    with pytest.raises(ValueError, match="given up"):
        cache.restore(later)


@pytest.mark.parametrize("accepted", range(6))
@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_a_rejected_draft_leaves_no_trace(accepted, batch):
    model, tokens, tail = make(), draw(batch, 14), draw(batch, 4, seed=3)
    cache = model.new_cache(batch)
    model(tokens[:, :9], cache=cache)
    drafted = model(tokens[:, 9:], cache=cache, speculative=True)
    cache.commit(accepted)
    whole = torch.cat([tokens[:, : 9 + accepted], tail], 1)
    assert relative(drafted, model(tokens)[:, 9:]) < 2e-6
    assert relative(model(tail, cache=cache), model(whole)[:, 9 + accepted :]) < 2e-6


@torch.no_grad()
def test_each_sequence_keeps_its_own_part_of_a_draft():
    model, tokens, tail = make(), draw(3, 14), draw(3, 4, seed=3)
    cache = model.new_cache(3)
    model(tokens[:, :9], cache=cache)
    model(tokens[:, 9:], cache=cache, speculative=True)
    accepted = [0, 5, 2]
    cache.commit(torch.tensor(accepted))
    got = torch.cat([model(tail[:, :1], cache=cache), model(tail[:, 1:], cache=cache)], 1)
    for row, n in enumerate(accepted):
        alone = torch.cat([tokens[row : row + 1, : 9 + n], tail[row : row + 1]], 1)
        assert relative(got[row], model(alone)[0, 9 + n :]) < 2e-6


@torch.no_grad()
def test_sequences_of_unequal_length_are_stacked():
    model = make()
    rows = [draw(1, n, seed=n) for n in (3, 11, 7)]
    caches = [model.new_cache(1) for _ in rows]
    for row, cache in zip(rows, caches, strict=True):
        model(row, cache=cache)
    both = type(caches[0]).stack(caches)
    tail = draw(3, 4, seed=5)
    got = torch.cat([model(tail[:, :2], cache=both), model(tail[:, 2:], cache=both)], 1)
    for index, row in enumerate(rows):
        want = model(torch.cat([row, tail[index : index + 1]], 1))[0, -4:]
        assert relative(got[index], want) < 2e-6


@torch.no_grad()
def test_half_states_are_rounded_without_bias_and_stay_near():
    for value in (1.0003, -1.0003, 3.3e-6, 60000.3, 2.0**-14 * 1.0003):
        x = torch.full((200_000,), value)
        rounded = stochastic_half(x, torch.Generator().manual_seed(0)).float()
        assert len(rounded.unique()) == 2
        gap = float(rounded.unique().diff())
        assert abs(float(rounded.double().mean()) - value) < 0.01 * gap
    exact = torch.tensor([0.0, 1.0, -2.5, 2.0**-24])
    assert torch.equal(stochastic_half(exact, torch.Generator().manual_seed(0)).float(), exact)
    model, tokens = make(num_experts_per_tok=8), draw(1, 60)
    want, runs = model(tokens), []
    for _ in range(2):
        cache = model.new_cache(1, state_dtype=torch.float16)
        runs.append(torch.cat([model(tokens[:, t : t + 1], cache=cache) for t in range(60)], 1))
        assert cache.layers[0].ssm.dtype == torch.float16
    assert torch.equal(*runs)
    assert 0 < relative(runs[0], want) < 1e-2


def test_gradients_reach_every_parameter_and_match_float64_differences():
    model = make("ME*M-").double()
    tokens = draw(2, 11)

    def loss() -> torch.Tensor:
        return model(tokens).square().mean()

    loss().backward()
    generator = torch.Generator().manual_seed(7)
    for name, parameter in model.named_parameters():
        if name.startswith("mtp"):
            continue
        assert parameter.grad is not None, name
        with torch.no_grad():
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            ahead = parameter.add_(1e-6 * direction) is not None and loss()
            behind = parameter.sub_(2e-6 * direction) is not None and loss()
            parameter.add_(1e-6 * direction)
        want = float((ahead - behind) / 2e-6)
        got = float((parameter.grad * direction).sum())
        assert math.isclose(got, want, rel_tol=1e-4, abs_tol=1e-7), name


def test_activation_checkpointing_gives_the_same_gradients():
    grads = []
    for recompute in (False, True):
        model = make()
        model.checkpoint_activations = recompute
        model(draw(2, 12)).square().mean().backward()
        grads.append([p.grad for n, p in model.named_parameters() if not n.startswith("mtp")])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_gradients_flow_through_a_cache():
    model, tokens = make("M*E"), draw(1, 8)
    x = model.embed(tokens).detach().requires_grad_()
    model(embeddings=x, return_hidden=True)[:, -2:].sum().backward()
    want, x.grad = x.grad.clone(), None
    cache = model.new_cache(1)
    model(embeddings=x[:, :5], cache=cache, return_hidden=True)
    model(embeddings=x[:, 5:], cache=cache, return_hidden=True)[:, -2:].sum().backward()
    assert relative(x.grad, want) < 1e-5


@torch.no_grad()
def test_features_and_embeddings_agree_with_tokens():
    model, tokens = make(), draw(2, 9)
    hidden, (third, last) = model.features(embeddings=model.embed(tokens), layers=[3, 9])
    assert torch.equal(model.logits(hidden), model(tokens))
    assert torch.equal(model.norm_f(last), hidden)
    assert third.shape == hidden.shape


@torch.no_grad()
def test_the_same_generator_gives_the_same_bytes():
    state = torch.random.get_rng_state()
    one, two = (NemotronModel(BASE, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 6e-2), (torch.float16, 8e-3)])
@torch.no_grad()
def test_half_precision_stays_near_float32(dtype, bound):
    every = {"num_experts_per_tok": 8}  # a choice of experts may flip, which is no rounding error
    model, tokens = make(**every), draw(2, 24)
    want = model(tokens)
    low = make(**every).to(dtype)
    for router in low.routers():
        router.e_score_correction_bias = router.e_score_correction_bias.float()
    got = low(tokens)
    assert got.dtype == torch.float32
    assert float((got - want).square().mean().sqrt() / want.square().mean().sqrt()) < bound


@torch.no_grad()
def test_mtp_step_by_step_equals_one_call():
    model, tokens = make(), draw(2, 13)
    hidden = model(tokens, return_hidden=True)
    whole = model.mtp(hidden[:, :-1], model.embed(tokens[:, 1:]))
    cache = model.new_mtp_cache(2)
    steps = [model.mtp(hidden[:, t : t + 1], model.embed(tokens[:, t + 1 : t + 2]), cache) for t in range(12)]
    assert relative(torch.cat(steps, 1), whole) < 2e-6
