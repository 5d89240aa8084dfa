"""One step of the Mamba-2 recurrence: the truth the other versions are held to."""

from __future__ import annotations

import torch
from torch import Tensor


def selective_state_update(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Advance the state by one token: ``S' = exp(dt A) S + dt x (x) B``, ``y = S' C + D x``.

    Args:
        state: `[batch, heads, head_dim, state]`; left as it is.
        x: `[batch, heads, head_dim]`.
        dt: Step after softplus, `[batch, heads]`.
        A: Negative decay rates, `[heads]`.
        B: `[batch, groups, state]`.
        C: Shaped as `B`.
        D: Skip weights, `[heads]`.

    Returns:
        The output, shaped as `x`, and the new state.
    """
    repeats = x.shape[1] // B.shape[1]
    B, C = (m.repeat_interleave(repeats, dim=1) for m in (B, C))
    decay = torch.exp(dt * A)[..., None, None]
    state = decay * state + (dt[..., None] * x)[..., None] * B[:, :, None, :]
    y = torch.einsum("bhpn,bhn->bhp", state, C)
    return (y if D is None else y + D[:, None] * x), state
