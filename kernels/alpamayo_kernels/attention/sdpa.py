"""Grouped-query attention by PyTorch's fused operator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MASK_NUMBERS = 1 << 24


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Compute ``naive.gqa_attention``; for one query the heads of a group become its queries."""
    batch, _, queries, head_dim = q.shape
    if queries == 1 and (mask is None or mask.shape[1] == 1):
        grouped = q.view(batch, k.shape[1], q.shape[1] // k.shape[1], head_dim)
        return functional.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    if causal and queries < k.shape[2]:
        return _last_queries(q, k, v, mask)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)


def _last_queries(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attend causally from the last of the keys' tokens, a few queries at a time so that the mask stays small."""
    keys, first = k.shape[2], k.shape[2] - q.shape[2]
    parts = []
    for part in torch.split(q, max(1, MASK_NUMBERS // keys), dim=2):
        last = first + part.shape[2]
        causal_mask = torch.ones(part.shape[2], last, dtype=torch.bool, device=q.device).tril(first)
        if mask is not None:
            causal_mask = mask[:, :, first - keys + q.shape[2] :][:, :, : part.shape[2], :last] & causal_mask
        y = functional.scaled_dot_product_attention(
            part, k[:, :, :last], v[:, :, :last], attn_mask=causal_mask, enable_gqa=True
        )
        parts.append(y)
        first = last
    return torch.cat(parts, dim=2)
