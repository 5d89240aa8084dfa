"""One step of the Mamba-2 recurrence: the reference for the other versions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def selective_state_update(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Advance the state by one token or several: ``S' = exp(dt A) S + dt x (x) B``, ``y = S' C + D x``.

    Args:
        state: ``[B, H, P, N]``; left unchanged.
        x: ``[B, H, P]``, or ``[B, T, H, P]`` for several; so dt, B and C.
        dt: Step after softplus, ``[B, H]``.
        A: Negative decay rates, ``[H]``.
        B: ``[B, G, N]``.
        C: Shaped as ``B``.
        D: Skip weights, ``[H]``.

    Returns:
        The outputs, shaped as ``x``, and the state after the last token.
    """
    if x.ndim == 4:
        return step_by_step(selective_state_update, state, x, dt, A, B, C, D)
    repeats = x.shape[1] // B.shape[1]
    B, C = (m.repeat_interleave(repeats, dim=1) for m in (B, C))
    decay = torch.exp(dt * A)[..., None, None]
    state = decay * state + (dt[..., None] * x)[..., None] * B[:, :, None, :]
    y = torch.einsum("bhpn,bhn->bhp", state, C)
    return (y if D is None else y + D[:, None] * x), state


def step_by_step(
    update: Callable[..., tuple[Tensor, Tensor]],
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Apply a one-token ``update`` to every step of ``[B, T, ...]``."""
    if x.shape[1] == 0:
        return torch.empty_like(x), state
    outputs = []
    for x_t, dt_t, B_t, C_t in zip(*(m.unbind(1) for m in (x, dt, B, C)), strict=True):
        y, state = update(state, x_t, dt_t, A, B_t, C_t, D)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state
