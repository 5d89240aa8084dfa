"""Grouped-query attention, alone and over a shared prefix."""

from __future__ import annotations

import torch
from torch import Tensor

from alpamayo_kernels.attention import sdpa
from alpamayo_kernels.attention.naive import shared_prefix_attention
from alpamayo_kernels.dispatch import kernels, on_gpu

__all__ = ["gqa_attention", "shared_prefix_attention"]


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Attend; see `naive.gqa_attention`. On a GPU a single query takes the split-key kernel."""
    single = q.shape[2] == 1 and (mask is None or mask.shape[1:3] == (1, 1))
    if on_gpu(q) and single and not (torch.is_grad_enabled() and q.requires_grad):
        seen = None if mask is None else mask[:, 0, 0].expand(q.shape[0], -1)
        y: Tensor = kernels(__name__).gqa_decode(q, k, v, seen)
        return y
    return sdpa.gqa_attention(q, k, v, mask, causal)
