"""The routed experts of a mixture: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return ``sum_k w_k down_k(relu(up_k x)^2)`` for every token.

    Args:
        x: ``[T, D]``.
        weights: ``[T, k]``, float32; the sum is taken in their dtype.
        index: Chosen experts, ``[T, k]``.
        up: ``[E, F, D]``.
        down: ``[E, D, F]``.

    Returns:
        ``[T, D]`` in the dtype of ``x``.
    """
    total = torch.zeros(x.shape, dtype=weights.dtype, device=x.device)
    for expert in range(up.shape[0]):
        token, slot = torch.where(index == expert)
        inner = functional.relu(functional.linear(x[token], up[expert])).square()
        y = functional.linear(inner, down[expert]) * weights[token, slot, None]
        total = total.index_add(0, token, y.to(total.dtype))
    return total.to(x.dtype)
