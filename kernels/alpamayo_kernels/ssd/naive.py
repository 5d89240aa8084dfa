"""The state-space scan of Mamba-2, token by token: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor


def ssd_scan(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run ``S_t = exp(dt_t A) S_{t-1} + dt_t x_t (x) B_t`` and ``y_t = S_t C_t + D x_t``.

    Args:
        x: Inputs, ``[B, T, H, P]``.
        dt: Discretisation steps after softplus, ``[B, T, H]``; zero leaves the state unchanged.
        A: Negative decay rates, ``[H]``.
        B: Input maps, ``[B, T, G, N]``; head h uses group ``h // (heads / groups)``.
        C: Output maps, shaped as ``B``.
        D: Skip weights, ``[H]``.
        state: The state to start from, ``[B, H, P, N]``; zero when None.

    Returns:
        The outputs, shaped as ``x``, and the final state.
    """
    batch, time, heads, head_dim = x.shape
    repeats = heads // B.shape[2]
    B, C = (m.repeat_interleave(repeats, dim=2) for m in (B, C))
    if state is None:
        state = x.new_zeros(batch, heads, head_dim, B.shape[-1])
    if time == 0:
        return unchanged(x, B.shape[-1], state)
    outputs = []
    for t in range(time):
        decay = torch.exp(dt[:, t] * A)[..., None, None]
        state = decay * state + (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :]
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C[:, t]))
    y = torch.stack(outputs, dim=1)
    return (y if D is None else y + D[:, None] * x), state


def unchanged(x: Tensor, size: int, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the outputs of no tokens and the state as it was, both in the dtype of ``x``.

    Args:
        x: No inputs, ``[B, 0, H, P]``.
        size: Numbers of a state a channel, N.
        state: As in ``ssd_scan``.
    """
    batch, _, heads, head_dim = x.shape
    before = x.new_zeros(batch, heads, head_dim, size) if state is None else state.to(x.dtype)
    return torch.empty_like(x), before
