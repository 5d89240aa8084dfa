"""Against transformers' NemotronH with the same weights: forward, cached decode, chunked prefill, files."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel

transformers = pytest.importorskip("transformers", reason="transformers is an optional peer (extra `peer`)")
nemotron_h = pytest.importorskip("transformers.models.nemotron_h", reason="this transformers has no native nemotron_h")

BOUND = 2e-6

# The peer needs an attention block for its cache.
SHAPES = {
    "mamba": {"pattern": "MM*"},
    "mamba one group": {"pattern": "M*", "n_groups": 1, "conv_kernel": 3, "use_conv_bias": False},
    "attention": {"pattern": "**"},
    "moe": {"pattern": "E*E"},
    "latent moe": {"pattern": "E*E", "moe_latent_size": 20},
    "grouped moe": {"pattern": "E*E", "n_group": 4, "topk_group": 2, "norm_topk_prob": False},
    "dense": {"pattern": "-*-"},
    "hybrid": {"pattern": "MEM*EMEM*-", "moe_latent_size": 32},
    "biases": {"pattern": "MEM*E-", "use_bias": True, "mlp_bias": True, "moe_latent_size": 32},
}


def make(**changes) -> NemotronModel:
    config = NemotronConfig(
        **{
            "vocab_size": 96,
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "mamba_num_heads": 8,
            "mamba_head_dim": 16,
            "ssm_state_size": 16,
            "n_groups": 4,
            "chunk_size": 16,
            "intermediate_size": 80,
            "n_routed_experts": 8,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 48,
            "moe_shared_expert_intermediate_size": 56,
            "max_position_embeddings": 256,
            **changes,
        }
    )
    generator = torch.Generator().manual_seed(3)
    model = NemotronModel(config, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5 if "conv1d" in name else noise * 0.1)
            elif name.endswith("bias") and "dt" not in name:
                parameter.copy_(0.1 * noise)
        for router in model.routers():
            router.e_score_correction_bias.uniform_(-0.2, 0.2, generator=generator)
    return model.eval()


def patched(peer):
    """Give the peer the published step limits; its own floor makes its prefill and decode disagree."""
    for layer in peer.model.layers:
        if hasattr(layer.mixer, "time_step_limit"):
            layer.mixer.time_step_limit = (0.0, float("inf"))
    return peer.eval()


def peer_of(model: NemotronModel):
    values = {**model.config.to_dict(), "time_step_limit": model.config.time_step_limit}
    config = transformers.NemotronHConfig(**values)
    peer = transformers.NemotronHForCausalLM(config)
    names = {f"model.{k}" if not k.startswith("lm_head") else k: v for k, v in model.state_dict().items()}
    peer.load_state_dict({k: v for k, v in names.items() if ".mtp." not in k}, strict=True)
    return patched(peer)


def relative(got, want) -> float:
    return float((got - want).abs().max() / want.abs().max())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_logits_equal_the_peers(name):
    model = make(**SHAPES[name])
    peer = peer_of(model)
    tokens = torch.randint(0, 96, (2, 37), generator=torch.Generator().manual_seed(1))
    want = peer(tokens).logits
    assert relative(model(tokens), want) < BOUND

    cache, theirs = model.new_cache(2), None
    for start, stop in [(0, 20), (20, 29), *((t, t + 1) for t in range(29, 37))]:
        ours = model(tokens[:, start:stop], cache=cache)
        reply = peer(tokens[:, start:stop], past_key_values=theirs, use_cache=True)
        theirs = reply.past_key_values
        assert relative(ours, reply.logits) < BOUND
        assert relative(ours, want[:, start:stop]) < BOUND


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_left_padding_equals_the_peers():
    model = make(**SHAPES["hybrid"])
    peer = peer_of(model)
    tokens = torch.randint(0, 96, (2, 25), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 25, dtype=torch.long)
    mask[1, :11] = 0
    ours, theirs = model(tokens, attention_mask=mask), peer(tokens, attention_mask=mask).logits
    assert relative(ours[0], theirs[0]) < BOUND
    assert relative(ours[1, 11:], theirs[1, 11:]) < BOUND


@st.composite
def shapes(draw) -> dict:
    """Any small shape that the peer can build; it needs an attention block for its cache."""
    pattern = draw(st.text("ME*-", min_size=1, max_size=4))
    groups, kv_heads = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 3]))
    expert_groups = draw(st.sampled_from([1, 1, 3]))
    kept = draw(st.integers(1, expert_groups))
    experts = expert_groups * draw(st.integers(2, 5))
    return {
        "pattern": pattern[:2] + "*" + pattern[2:],
        "hidden_size": draw(st.sampled_from([24, 40])),
        "num_key_value_heads": kv_heads,
        "num_attention_heads": kv_heads * draw(st.integers(1, 3)),
        "head_dim": draw(st.sampled_from([8, 12])),
        "mamba_num_heads": groups * draw(st.integers(1, 3)),
        "mamba_head_dim": draw(st.sampled_from([8, 20])),
        "ssm_state_size": draw(st.sampled_from([4, 16])),
        "n_groups": groups,
        "conv_kernel": draw(st.integers(2, 4)),
        "chunk_size": draw(st.sampled_from([1, 8, 13])),
        "use_conv_bias": draw(st.booleans()),
        "use_bias": draw(st.booleans()),
        "mlp_bias": draw(st.booleans()),
        "n_routed_experts": experts,
        "n_group": expert_groups,
        "topk_group": kept,
        "num_experts_per_tok": draw(st.integers(1, min(4, kept * experts // expert_groups))),
        "norm_topk_prob": draw(st.booleans()),
        "moe_latent_size": draw(st.sampled_from([None, 16])),
        "routed_scaling_factor": draw(st.sampled_from([1.0, 2.5])),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-3])),
        "tie_word_embeddings": draw(st.booleans()),
    }


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=12, deadline=None, derandomize=True)
@given(changes=shapes(), split=st.integers(1, 20))
@torch.no_grad()
def test_random_shapes_equal_the_peers(changes, split):
    model = make(**changes)
    peer = peer_of(model)
    tokens = torch.randint(0, 96, (2, 23), generator=torch.Generator().manual_seed(split))
    want = peer(tokens).logits
    assert relative(model(tokens), want) < BOUND
    cache = model.new_cache(2)
    parts = [(0, split), (split, 21), (21, 22), (22, 23)]
    ours = [model(tokens[:, start:stop], cache=cache) for start, stop in parts]
    assert relative(torch.cat(ours, 1), want) < BOUND


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_left_padded_decoding_equals_the_peers():
    model = make(**SHAPES["hybrid"])
    peer = peer_of(model)
    tokens = torch.randint(0, 96, (3, 24), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 24, dtype=torch.long)
    mask[1, :11], mask[2, :3] = 0, 0
    cache, theirs = model.new_cache(3), None
    for start, stop in [(0, 20), *((t, t + 1) for t in range(20, 24))]:
        ours = model(tokens[:, start:stop], cache=cache, attention_mask=mask[:, start:stop])
        reply = peer(tokens[:, start:stop], attention_mask=mask[:, :stop], past_key_values=theirs, use_cache=True)
        theirs, seen = reply.past_key_values, mask[:, start:stop].bool()
        assert relative(ours[seen], reply.logits[seen]) < BOUND


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 2.5e-2), (torch.float16, 4e-3)])
@torch.no_grad()
def test_half_precision_stays_near_the_peers(dtype, bound):
    """All experts are chosen: one that flips is no rounding error. Both are as far from float32 as each other."""
    model = make(**{**SHAPES["hybrid"], "num_experts_per_tok": 8})
    tokens = torch.randint(0, 96, (2, 37), generator=torch.Generator().manual_seed(1))
    want = model(tokens)
    peer = peer_of(model).to(dtype)
    for layer in peer.model.layers:
        if hasattr(layer.mixer, "gate"):
            layer.mixer.gate.e_score_correction_bias = layer.mixer.gate.e_score_correction_bias.float()
    ours = NemotronModel(model.config, dtype=dtype).eval()
    ours.load_state_dict(model.state_dict())
    mine, theirs = ours(tokens), peer(tokens).logits.float()

    def rms(got: torch.Tensor) -> float:
        return float((got - want).square().mean().sqrt() / want.square().mean().sqrt())

    assert rms(mine) < bound
    assert rms(mine) < 1.2 * rms(theirs)
    cache = ours.new_cache(2)
    steps = [ours(tokens[:, :20], cache=cache), *(ours(tokens[:, t : t + 1], cache=cache) for t in range(20, 37))]
    assert rms(torch.cat(steps, 1)) < bound
