"""The routed experts of a mixture."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu
from alpamayo_kernels.experts import grouped

__all__ = ["routed_mlp"]


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return the weighted sum of each token's experts; see ``naive.routed_mlp``."""
    if on_gpu(x):
        y: Tensor = kernels(__name__).routed_mlp(x, weights, index, up, down)
        return y
    return grouped.routed_mlp(x, weights, index, up, down)
