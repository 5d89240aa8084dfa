"""Grouped-query attention: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Return ``softmax(q k^T / sqrt(head_dim)) v``; query head h reads key head ``h // (heads / kv_heads)``.

    Args:
        q: ``[B, H, T, P]``.
        k: ``[B, K, S, P]``.
        v: ``[B, K, S, P]``.
        mask: True where a query attends, broadcast to ``[B, H, T, S]``.
        causal: The queries are the last of the keys' tokens: query i attends to keys up to ``i + keys - queries``.

    Returns:
        Shaped as ``q``.
    """
    repeats = q.shape[1] // k.shape[1]
    k, v = (m.repeat_interleave(repeats, dim=1) for m in (k, v))
    scores = (q @ k.transpose(-1, -2)).to(torch.promote_types(q.dtype, torch.float32)) * q.shape[-1] ** -0.5
    if causal:
        past = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - q.shape[2])
        mask = past if mask is None else mask & past
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).to(q.dtype) @ v


def shared_prefix_attention(
    q: Tensor, prefix: tuple[Tensor, Tensor], k: Tensor, v: Tensor, mask: Tensor | None
) -> Tensor:
    """Attend to a prefix that several sequences share and to each one's own keys.

    Args:
        q: ``[B forks, H, T, P]``, the forks of a prefix side by side.
        prefix: Keys and values of the prefixes, ``[B, K, prefix, P]``, all visible.
        k: Own keys, ``[B forks, K, S, P]``.
        v: ``[B forks, K, S, P]``.
        mask: True where a query attends, broadcast to ``[B forks, 1, T, prefix + S]``.

    Returns:
        Shaped as ``q``.
    """
    rows, heads, queries, head_dim = q.shape
    batch, kv_heads, length, _ = prefix[0].shape
    forks, ratio = rows // batch, heads // kv_heads
    split, together = (batch, forks, kv_heads, ratio, queries), forks * ratio * queries
    grouped = q.reshape(rows, kv_heads, ratio * queries, head_dim)
    shared = q.reshape(*split, head_dim).transpose(1, 2).reshape(batch, kv_heads, together, head_dim)
    far = (shared @ prefix[0].transpose(-1, -2)).view(batch, kv_heads, forks, ratio, queries, length)
    far = far.transpose(1, 2).reshape(rows, heads, queries, length)
    near = (grouped @ k.transpose(-1, -2)).view(rows, heads, queries, k.shape[2])
    scores = torch.cat([far, near], dim=-1).to(torch.promote_types(q.dtype, torch.float32)) * head_dim**-0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    far, near = scores.softmax(-1).to(q.dtype).split([length, k.shape[2]], dim=-1)
    far = far.reshape(*split, length).transpose(1, 2).reshape(batch, kv_heads, together, length) @ prefix[1]
    far = far.view(batch, kv_heads, forks, ratio, queries, head_dim).transpose(1, 2).reshape(q.shape)
    near = near.reshape(rows, kv_heads, ratio * queries, k.shape[2]) @ v
    return far + near.view(q.shape)
