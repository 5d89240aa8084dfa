"""Grouped-query attention, alone and over a shared prefix."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.attention.naive import shared_prefix_attention
from alpamayo_kernels.attention.sdpa import MASK_NUMBERS
from alpamayo_kernels.dispatch import kernels, needs_gradient, on_gpu

__all__ = ["MASK_NUMBERS", "gqa_attention", "shared_prefix_attention"]


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Attend; see ``naive.gqa_attention``. On a GPU a single query takes the split-key kernel."""
    if not on_gpu(q) or (mask is not None and mask.shape[1] != 1):
        return sdpa.gqa_attention(q, k, v, mask, causal)
    if q.shape[2] == 1 and not needs_gradient(q, k, v):
        seen = None if mask is None else mask[:, 0, 0].expand(q.shape[0], -1)
        y: Tensor = kernels(__name__).gqa_decode(q, k, v, seen)
    else:
        y = kernels(__name__).gqa_prefill(q, k, v, mask, causal)
    return y
