"""Grouped-query attention by PyTorch's fused operator."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def gqa_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Compute `naive.gqa_attention`; for one query the heads of a group become its queries."""
    batch, _, queries, head_dim = q.shape
    if queries == 1 and (mask is None or mask.shape[1] == 1):
        grouped = q.view(batch, k.shape[1], -1, head_dim)
        return functional.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)
