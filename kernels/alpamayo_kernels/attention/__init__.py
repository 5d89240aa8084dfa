"""Grouped-query attention, alone and over a shared prefix."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.attention.naive import shared_prefix_attention
from alpamayo_kernels.attention.sdpa import MASK_NUMBERS
from alpamayo_kernels.dispatch import needs_gradient, on_gpu

__all__ = ["MASK_NUMBERS", "gqa_attention", "shared_prefix_attention"]


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Return ``softmax(q k^T / sqrt(P)) v``; query head h reads key head ``h // (H / K)``.

    On a GPU a single query takes the kernel that splits the keys over programs.

    Args:
        q: ``[B, H, T, P]``.
        k: ``[B, K, S, P]``.
        v: ``[B, K, S, P]``.
        mask: True where a query attends, broadcast to ``[B, H, T, S]``.
        causal: The queries are the last of the keys' tokens: query i attends to keys up to ``i + S - T``.

    Returns:
        ``[B, H, T, P]``.
    """
    if not on_gpu(q) or (mask is not None and mask.shape[1] != 1):
        return sdpa.gqa_attention(q, k, v, mask, causal)
    from alpamayo_kernels.attention import triton

    if q.shape[2] == 1 and not needs_gradient(q, k, v):
        return triton.gqa_decode(q, k, v, None if mask is None else mask[:, 0, 0].expand(q.shape[0], -1))
    return triton.gqa_prefill(q, k, v, mask, causal)
