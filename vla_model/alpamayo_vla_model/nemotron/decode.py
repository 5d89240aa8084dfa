"""One token of one sequence on the CPU, in as few operations as PyTorch allows.

At this size the time goes into reading the weights and into the overhead of operators, so everything is a vector:
matrix-vector products that add into the residual, norms by one dot product, experts read one by one. The numbers
are those of the general path up to rounding. Weights are float32, or int8 with bfloat16 activations.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alpamayo_kernels.attention import gqa_attention
from alpamayo_vla_model.nemotron.cache import KeyValueState, LayerState, MambaState, NemotronCache

if TYPE_CHECKING:
    from alpamayo_vla_model.nemotron.model import MLP, Attention, Mamba2, MoE, NemotronModel, RMSNorm


def applies(x: Tensor, cache: NemotronCache | None, keep: Tensor | None) -> bool:
    """Whether a call is about one unpadded sequence on the CPU, in float32 and without gradients."""
    return (
        cache is not None
        and x.shape[0] == 1
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and keep is None
        and cache.valid is None
        and not cache.prefix_length
        and not torch.is_grad_enabled()
    )


def decode_token(model: NemotronModel, x: Tensor, cache: NemotronCache) -> Tensor:
    """Return the hidden states before the last norm, `[1, 1, hidden]`, and advance the cache's states.

    Args:
        model: On the CPU, float32.
        x: The token's embedding, `[1, 1, hidden]`.
        cache: Of one sequence; its length is left to the caller.
    """
    y = x[0, 0]
    for block, layer, state in zip(model.config.pattern, model.layers, cache.layers, strict=True):
        h = _rms_norm(layer.norm, y)  # type: ignore[arg-type]
        mixer: Any = layer.mixer
        if block == "M":
            y = _mamba(mixer, y, h, state)
        elif block == "E":
            y = _moe(mixer, y, h)
        elif block == "*":
            y = _attention(mixer, y, h, state, cache.length)
        else:
            y = _mlp(mixer, y, h)
    return y[None, None]


def _rms_norm(norm: RMSNorm, x: Tensor) -> Tensor:
    scale = 1 / math.sqrt(torch.dot(x, x).item() / x.shape[0] + norm.eps)
    return (x * norm.weight).mul_(scale)


def _linear(linear: Any, x: Tensor) -> Tensor:
    """Return ``W x + b`` in float32 for a float32 or an int8 linear map."""
    if linear.weight.dtype == torch.int8:
        return _int8_linear(linear, x).float()
    y = torch.mv(linear.weight, x)
    return y if linear.bias is None else y + linear.bias


def _int8_linear(linear: Any, x: Tensor) -> Tensor:
    """Return ``W x + b`` in bfloat16."""
    y = torch._weight_int8pack_mm(x.bfloat16()[None], linear.weight, linear.scale)[0]
    return y if linear.bias is None else y + linear.bias.bfloat16()


def _add_linear(y: Tensor, linear: Any, x: Tensor) -> Tensor:
    """Return ``y + W x + b``."""
    if linear.weight.dtype == torch.int8:
        return y + _int8_linear(linear, x)
    if linear.bias is not None:
        return y + _linear(linear, x)
    return torch.addmv(y, linear.weight, x)


def _mamba(mixer: Mamba2, residual: Tensor, h: Tensor, state: LayerState) -> Tensor:
    assert isinstance(state, MambaState)
    c = mixer.c
    heads, groups, size = c.mamba_num_heads, c.n_groups, c.ssm_state_size
    taps, A = constants(mixer)
    projected = _linear(mixer.in_proj, h)
    z, xbc, dt = projected[: c.d_inner], projected[c.d_inner : -heads], projected[-heads:]

    window = torch.cat([state.conv[0], xbc[None]])
    xbc = (window * taps).sum(0)
    if mixer.conv1d.bias is not None:
        xbc = xbc.add_(mixer.conv1d.bias)
    torch.nn.functional.silu(xbc, inplace=True)
    x = xbc[: c.d_inner].view(heads, -1)
    B, C = xbc[c.d_inner :].view(2, groups, 1, size)

    dt = torch.nn.functional.softplus(dt + mixer.dt_bias)
    if c.time_step_limit != (0.0, math.inf):
        dt = dt.clamp(*c.time_step_limit)
    decayed = state.ssm[0] * torch.exp(dt * A).view(heads, 1, 1)
    u = (x * dt[:, None]).view(groups, -1, 1)
    ssm = decayed.float().view(groups, -1, size).addcmul_(u, B)
    y = (ssm * C).sum(-1).view(heads, -1).addcmul_(x, mixer.D[:, None])
    state.conv, state.ssm = window[1:][None], state.rounded(ssm.view(1, heads, -1, size))

    gated = (y.view(-1) * torch.nn.functional.silu(z)).view(groups, -1)
    scale = torch.rsqrt(gated.square().mean(-1, keepdim=True) + c.norm_eps)
    return _add_linear(residual, mixer.out_proj, (gated * scale).view(-1) * mixer.norm.weight)


def constants(mixer: Mamba2) -> tuple[Tensor, Tensor]:
    """Return the taps `[kernel, channels]` and the decay rates `[heads]` of a block."""
    return mixer.conv1d.weight[:, 0].T, -torch.exp(mixer.A_log)


def _attention(mixer: Attention, residual: Tensor, h: Tensor, state: LayerState, start: int) -> Tensor:
    assert isinstance(state, KeyValueState)
    width = mixer.c.head_dim
    q, k, v = (_linear(p, h).view(1, -1, 1, width) for p in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
    keys, values = state.append(k, v, start)
    return _add_linear(residual, mixer.o_proj, gqa_attention(q, keys, values).view(-1))


def _mlp(mixer: MLP, residual: Tensor, h: Tensor) -> Tensor:
    up: Any = mixer.up_proj
    inner = _int8_linear(up, h) if up.weight.dtype == torch.int8 else _linear(up, h)
    return _add_linear(residual, mixer.down_proj, inner.relu_().square_())


def _moe(mixer: MoE, residual: Tensor, h: Tensor) -> Tensor:
    weights, index, _ = mixer.gate(h[None]) if mixer.gate.c.n_group > 1 else _route(mixer.gate, h)
    v = h if mixer.fc1_latent_proj is None else _linear(mixer.fc1_latent_proj, h)
    experts: Any = mixer.experts
    chosen = zip(weights[0].tolist(), index[0].tolist(), strict=True)
    mixed = _int8_experts(experts, v, chosen) if experts.up_proj.dtype == torch.int8 else _experts(experts, v, chosen)
    residual = _mlp(mixer.shared_experts, residual, h)
    if mixer.fc2_latent_proj is None:
        return residual + mixed
    return _add_linear(residual, mixer.fc2_latent_proj, mixed)


def _route(gate: Any, h: Tensor) -> tuple[Tensor, Tensor, None]:
    scores = torch.mv(gate.weight, h).sigmoid_()
    index = (scores + gate.e_score_correction_bias).topk(gate.c.num_experts_per_tok).indices
    weights = scores[index]
    total = weights.sum().item() + 1e-20 if gate.c.norm_topk_prob else 1.0
    return weights.mul_(gate.c.routed_scaling_factor / total)[None], index[None], None


def _experts(experts: Any, v: Tensor, chosen: Any) -> Tensor:
    up, down = experts.up_proj, experts.down_proj
    mixed = None
    for weight, expert in chosen:
        inner = torch.mv(up[expert], v).relu_().square_()
        if mixed is None:
            mixed = torch.mv(down[expert], inner).mul_(weight)
        else:
            mixed = torch.addmv(mixed, down[expert], inner, alpha=weight)
    assert mixed is not None
    return mixed


def _int8_experts(experts: Any, v: Tensor, chosen: Any) -> Tensor:
    row = v.bfloat16()[None]
    mixed = torch.zeros_like(v)
    for weight, expert in chosen:
        inner = torch._weight_int8pack_mm(row, experts.up_proj[expert], experts.up_scale[expert]).relu_().square_()
        y = torch._weight_int8pack_mm(inner, experts.down_proj[expert], experts.down_scale[expert])
        mixed.add_(y[0], alpha=weight)
    return mixed
