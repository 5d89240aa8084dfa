"""The routed experts of a mixture."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu
from alpamayo_kernels.experts import grouped

__all__ = ["routed_mlp"]


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return ``sum_k w_k down_k(relu(up_k x)^2)`` for every token.

    Args:
        x: ``[T, D]``.
        weights: ``[T, k]``, float32; the sum is computed in their dtype.
        index: Chosen experts, ``[T, k]``.
        up: ``[E, F, D]``.
        down: ``[E, D, F]``.

    Returns:
        ``[T, D]`` in the dtype of ``x``.
    """
    if on_gpu(x):
        from alpamayo_kernels.experts import triton

        return triton.routed_mlp(x, weights, index, up, down)
    return grouped.routed_mlp(x, weights, index, up, down)
