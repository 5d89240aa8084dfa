"""A few tokens of one sequence on the CPU: what verifying a draft or appending forced tokens takes.

The Mamba-2 recurrence runs token by token, as when decoding, and every state on the way is kept until the cache
knows how many tokens were right; then nothing has to be replayed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from alpamayo_kernels.attention import gqa_attention
from alpamayo_vla_model.nemotron.cache import KeyValueState, LayerState, MambaDraft, MambaState, NemotronCache
from alpamayo_vla_model.nemotron.decode import constants

if TYPE_CHECKING:
    from alpamayo_vla_model.nemotron.model import Attention, Context, Mamba2, NemotronModel, RMSNorm

MOST = 8


def decode_few(model: NemotronModel, x: Tensor, cache: NemotronCache, context: Context) -> Tensor:
    """Return the hidden states before the last norm, `[1, time, hidden]`, and advance the cache's states.

    Args:
        model: On the CPU, float32 or with int8 weights.
        x: Embeddings, `[1, time, hidden]` with at most `MOST` tokens.
        cache: Of one sequence; its length is left to the caller.
        context: Of the call.
    """
    y = x[0]
    for block, layer, state in zip(model.config.pattern, model.layers, cache.layers, strict=True):
        h = _rms_norm(layer.norm, y)  # type: ignore[arg-type]
        mixer: Any = layer.mixer
        if block == "M":
            y = y + _mamba(mixer, h, state, context.tentative)
        elif block == "*":
            y = y + _attention(mixer, h, state, context)
        else:
            y = y + mixer(h)
    return y[None]


def _rms_norm(norm: RMSNorm, x: Tensor) -> Tensor:
    scale = x.square().mean(-1, keepdim=True).add_(norm.eps).rsqrt_()
    return (x * scale).mul_(norm.weight)


def _mamba(mixer: Mamba2, h: Tensor, state: LayerState, tentative: bool) -> Tensor:
    assert isinstance(state, MambaState)
    c = mixer.c
    time, heads, groups, size = len(h), c.mamba_num_heads, c.n_groups, c.ssm_state_size
    taps, A = constants(mixer)
    projected = mixer.in_proj(h)
    z, xbc, dt = projected[:, : c.d_inner], projected[:, c.d_inner : -heads], projected[:, -heads:]

    window = torch.cat([state.conv[0], xbc])
    xbc = (window.unfold(0, c.conv_kernel, 1).transpose(1, 2) * taps).sum(1)
    if mixer.conv1d.bias is not None:
        xbc = xbc.add_(mixer.conv1d.bias)
    functional.silu(xbc, inplace=True)
    x = xbc[:, : c.d_inner].view(time, heads, -1)
    B, C = xbc[:, c.d_inner :].view(time, 2, groups, 1, size).unbind(1)
    dt = functional.softplus(dt + mixer.dt_bias)
    if c.time_step_limit != (0.0, math.inf):
        dt = dt.clamp(*c.time_step_limit)
    decay = torch.exp(dt * A).view(time, heads, 1, 1)
    u = (x * dt[..., None]).view(time, groups, -1, 1)

    states, outputs, ssm = [], [], state.ssm[0].float()
    for t in range(time):
        ssm = (ssm * decay[t]).view(groups, -1, size).addcmul_(u[t], B[t])
        outputs.append((ssm * C[t]).sum(-1))
        ssm = ssm.view(heads, -1, size)
        states.append(ssm)
    y = torch.stack(outputs).view(time, heads, -1).addcmul_(x, mixer.D[:, None])
    if tentative:
        state.draft = MambaDraft(window[None], x[None], dt[None], A, B[None, :, :, 0], states=states)
    else:
        state.conv, state.ssm = window[time:][None], state.rounded(ssm[None])

    gated = (y.view(time, -1) * functional.silu(z)).view(time, groups, -1)
    scale = gated.square().mean(-1, keepdim=True).add_(c.norm_eps).rsqrt_()
    return mixer.out_proj((gated * scale).view(time, -1).mul_(mixer.norm.weight))


def _attention(mixer: Attention, h: Tensor, state: LayerState, context: Context) -> Tensor:
    assert isinstance(state, KeyValueState)
    shape = (1, len(h), -1, mixer.c.head_dim)
    q, k, v = (p(h).view(shape).transpose(1, 2) for p in (mixer.q_proj, mixer.k_proj, mixer.v_proj))
    keys, values = state.append(k, v, context.start)
    y = gqa_attention(q, keys, values, context.mask, context.causal)
    return mixer.o_proj(y[0].transpose(0, 1).flatten(1))
