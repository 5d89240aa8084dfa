"""Grouped-query attention, alone and over a shared prefix."""

from alpamayo_kernels.attention.naive import shared_prefix_attention
from alpamayo_kernels.attention.sdpa import gqa_attention

__all__ = ["gqa_attention", "shared_prefix_attention"]
