"""One step of the Mamba-2 recurrence in few PyTorch operations, without expanding groups to heads."""

from __future__ import annotations

import torch
from torch import Tensor

from alpamayo_kernels.state_update.naive import step_by_step


def selective_state_update(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.selective_state_update`` in the dtype of the state (float32 at least)."""
    if x.ndim == 4:
        return step_by_step(selective_state_update, state, x, dt, A, B, C, D)
    batch, heads, head_dim = x.shape
    groups, size = B.shape[1:]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    x, dt, B, C, A = (m.to(dtype) for m in (x, dt, B, C, A))
    decay = torch.exp(dt * A)[..., None, None]
    u = (x * dt[..., None]).view(batch, groups, heads // groups * head_dim, 1)  # [b, g, r p, 1]
    added = (u * B[:, :, None, :]).view(batch, heads, head_dim, size)
    new = torch.addcmul(added, state.to(dtype), decay)
    y = (new.view(batch, groups, heads // groups * head_dim, size) @ C[..., None]).view(batch, heads, head_dim)
    return (y if D is None else torch.addcmul(y, x, D.to(dtype)[:, None])), new
