"""The state-space scan of Mamba-2, token by token: the truth the other versions are held to."""

from __future__ import annotations

import torch
from torch import Tensor


def ssd_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run ``S_t = exp(dt_t A) S_{t-1} + dt_t x_t (x) B_t`` and ``y_t = S_t C_t + D x_t``.

    Args:
        x: Inputs, ``[batch, time, heads, head_dim]``.
        dt: Discretisation steps after softplus, ``[batch, time, heads]``; zero leaves the state as it is.
        A: Negative decay rates, ``[heads]``.
        B: Input maps, ``[batch, time, groups, state]``; head h uses group ``h // (heads / groups)``.
        C: Output maps, shaped as ``B``.
        D: Skip weights, ``[heads]``.
        state: The state to start from, ``[batch, heads, head_dim, state]``; zero when None.

    Returns:
        The outputs, shaped as ``x``, and the final state.
    """
    batch, time, heads, head_dim = x.shape
    repeats = heads // B.shape[2]
    B, C = (m.repeat_interleave(repeats, dim=2) for m in (B, C))
    if state is None:
        state = x.new_zeros(batch, heads, head_dim, B.shape[-1])
    outputs = []
    for t in range(time):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :]
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C[:, t]))
    y = torch.stack(outputs, dim=1)
    return (y if D is None else y + D[:, None] * x), state
