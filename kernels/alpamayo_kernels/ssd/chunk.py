"""The state-space scan by chunks of matrix products (state-space duality, arXiv 2405.21060, section 6)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    state: Tensor | None = None,
    chunk_size: int = 128,
) -> tuple[Tensor, Tensor]:
    """Compute the scan of ``naive.ssd_scan`` in float32 (float64 for float64 inputs), chunk by chunk.

    Inside a chunk the outputs are ``(L * C B^T) (dt x)`` with ``L_ij = exp(sum of dt A over (j, i])``; between
    chunks only the states travel. B and C are never expanded from groups to heads.
    """
    batch, time, heads, head_dim = x.shape
    groups, size = B.shape[2:]
    ratio = heads // groups
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    chunk = min(chunk_size, time)
    count = -(-time // chunk)
    x_in = x.to(dtype)
    dt = dt.to(dtype)

    u = by_chunk(x_in * dt[..., None], chunk).view(batch, count, chunk, groups, ratio * head_dim)
    u = u.transpose(2, 3)  # [b, c, g, q, r p]
    B, C = (by_chunk(m.to(dtype), chunk).transpose(2, 3) for m in (B, C))  # [b, c, g, q, n]
    log_decay = by_chunk(dt * A.to(dtype), chunk).permute(0, 1, 3, 2)  # [b, c, h, q]
    total = log_decay.cumsum(-1)

    y = _within(total, C @ B.transpose(-1, -2), u, ratio)
    states = _chunk_states(total, B, u, ratio)  # [b, c, g, r p, n]
    starts, final = _carry(total[..., -1].exp(), states, state, ratio)
    carried = C @ starts.transpose(-1, -2)  # [b, c, g, q, r p]
    decay = total.exp().view(batch, count, groups, ratio, chunk).transpose(-1, -2)  # [b, c, g, q, r]
    y = y + (torch.unflatten(carried, -1, (ratio, head_dim)) * decay[..., None]).flatten(-2)
    y = y.transpose(2, 3).reshape(batch, count * chunk, heads, head_dim)[:, :time]
    if D is not None:
        y = torch.addcmul(y, x_in, D.to(dtype)[:, None])
    return y, final.view(batch, heads, head_dim, size)


def by_chunk(m: Tensor, chunk: int) -> Tensor:
    """Cut ``[batch, time, ...]`` into chunks, ``[batch, chunks, chunk, ...]``, padded with zeros."""
    pad = -m.shape[1] % chunk
    if pad:
        m = functional.pad(m, (0, 0) * (m.ndim - 2) + (0, pad))
    return torch.unflatten(m, 1, (-1, chunk))


def _within(total: Tensor, scores: Tensor, u: Tensor, ratio: int) -> Tensor:
    """Return the outputs that come from the same chunk, ``[b, c, g, q, r p]``."""
    b, c, g, q, _ = u.shape
    future = torch.ones(q, q, dtype=torch.bool, device=u.device).triu(1)
    decay = (total[..., :, None] - total[..., None, :]).masked_fill_(future, -torch.inf).exp_()
    weights = decay.view(b, c, g, ratio, q, q) * scores[:, :, :, None]
    values = torch.unflatten(u, -1, (ratio, -1)).transpose(3, 4)  # [b, c, g, r, q, p]
    return (weights @ values).transpose(3, 4).flatten(-2)


def _chunk_states(total: Tensor, B: Tensor, u: Tensor, ratio: int) -> Tensor:
    """Return what each chunk adds to the state at its end, ``[b, c, g, r p, n]``."""
    b, c, g, q, _ = u.shape
    decay = (total[..., -1:] - total).exp().view(b, c, g, ratio, q).transpose(-1, -2)
    return (torch.unflatten(u, -1, (ratio, -1)) * decay[..., None]).flatten(-2).transpose(-1, -2) @ B


def _carry(decay: Tensor, states: Tensor, state: Tensor | None, ratio: int) -> tuple[Tensor, Tensor]:
    """Return the state at the start of each chunk and the final one; ``decay`` is ``[b, c, h]``."""
    b, c, g, rows, n = states.shape
    factor = decay.repeat_interleave(rows // ratio, dim=-1).view(b, c, g, rows, 1)
    current = torch.zeros_like(states[:, 0]) if state is None else state.to(states.dtype).reshape(b, g, rows, n)
    starts = []
    for k in range(c):
        starts.append(current)
        current = torch.addcmul(states[:, k], factor[:, k], current)
    return torch.stack(starts, dim=1), current
