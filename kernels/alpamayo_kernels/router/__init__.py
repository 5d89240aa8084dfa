"""Choosing the experts of each token."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu
from alpamayo_kernels.router import naive

__all__ = ["route_top_k"]


def route_top_k(
    logits: Tensor,
    bias: Tensor,
    k: int,
    groups: int = 1,
    kept_groups: int = 1,
    normalise: bool = True,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Choose k experts of each token; see ``naive.route_top_k``."""
    version = kernels(__name__) if on_gpu(logits) else naive
    weights, index = version.route_top_k(logits, bias, k, groups, kept_groups, normalise, scale)
    return weights, index
