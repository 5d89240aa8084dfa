"""A whole model through the Triton kernels equals the same model through PyTorch: forward, cache and gradients."""

import importlib

import pytest
import torch

from alpamayo_kernels.operators import OPERATORS
from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel
from alpamayo_vla_model.nemotron.training.losses import mtp_loss, next_token_loss

pytest.importorskip("triton", reason="Triton is there on Linux only")

SHAPE = NemotronConfig(
    vocab_size=40,
    hidden_size=32,
    pattern="ME*-",
    mtp_pattern="*E",
    num_nextn_predict_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    mamba_num_heads=4,
    mamba_head_dim=16,
    ssm_state_size=16,
    n_groups=2,
    chunk_size=16,
    intermediate_size=32,
    n_routed_experts=4,
    num_experts_per_tok=2,
    n_group=2,
    topk_group=1,
    moe_intermediate_size=24,
    moe_shared_expert_intermediate_size=24,
    moe_latent_size=16,
)


@pytest.fixture
def through_triton(device, monkeypatch):
    """Return a function that sends every operator to its kernel, on any device."""

    def switch() -> None:
        for operator in OPERATORS:
            package = importlib.import_module(f"alpamayo_kernels.{operator.name}")
            if hasattr(package, "on_gpu"):
                monkeypatch.setattr(package, "on_gpu", lambda _: True)

    return switch


def make() -> tuple[NemotronModel, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    model = NemotronModel(SHAPE, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5)
    return model, torch.randint(0, 40, (2, 19), generator=generator)


def losses_and_gradients(model: NemotronModel, tokens: torch.Tensor) -> list[torch.Tensor]:
    hidden = model(tokens, return_hidden=True)
    loss = next_token_loss(model.logits(hidden), tokens) + mtp_loss(model, hidden, tokens)
    return [loss, *torch.autograd.grad(loss, list(model.parameters()))]


@torch.no_grad()
def read_in_every_way(model: NemotronModel, tokens: torch.Tensor) -> list[torch.Tensor]:
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, :4] = False
    cache = model.new_cache(2)
    padded = model.new_cache(2)
    outputs = [
        model(tokens[:, :7], cache=cache),
        model(tokens[:, 7:12], cache=cache),
        model(tokens[:, 12:16], cache=cache, speculative=True),
    ]
    cache.commit(2)
    outputs += [model(tokens[:, 14 + t : 15 + t], cache=cache) for t in range(3)]
    outputs += [
        model(tokens, attention_mask=mask)[1, 4:],
        model(tokens[:, :9], cache=padded, attention_mask=mask[:, :9]),
    ]
    outputs += [model(tokens[:, 9:10], cache=padded), *(s.ssm for s in cache.layers if hasattr(s, "ssm"))]
    outputs[-3] = outputs[-3][1, 4:]
    return outputs


@pytest.mark.parametrize("run", [losses_and_gradients, read_in_every_way])
def test_kernels_and_pytorch_agree(run, through_triton):
    model, tokens = make()
    want = run(model, tokens)
    through_triton()
    got = run(model, tokens)
    for one, other in zip(got, want, strict=True):
        error = (one - other).square().mean().sqrt() / other.square().mean().sqrt()
        assert float(error.detach()) < 1e-5
