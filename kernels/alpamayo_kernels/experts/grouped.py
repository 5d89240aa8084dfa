"""The routed experts over tokens sorted by expert, or one expert at a time for a single token."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Compute `naive.routed_mlp`; only the chosen experts' weights are read."""
    if x.shape[0] == 1 and not x.is_cuda:
        return _single(x, weights, index, up, down)
    return _sorted(x, weights, index, up, down)


def _single(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    chosen = index[0].tolist()
    inner = torch.cat([functional.linear(x, up[e]) for e in chosen]).relu_().square() * weights.T
    inner = inner.to(x.dtype)
    total = functional.linear(inner[:1], down[chosen[0]])
    for row, e in enumerate(chosen[1:], start=1):
        total = total + functional.linear(inner[row : row + 1], down[e])
    return total


def _sorted(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    k = index.shape[1]
    flat = index.flatten()
    order = flat.argsort(stable=True)
    token = order // k
    counts = torch.bincount(flat, minlength=up.shape[0]).tolist()
    parts = torch.split(x[token], counts)
    outputs = []
    for expert, part in enumerate(parts):
        if part.shape[0]:
            inner = functional.relu(functional.linear(part, up[expert])).square()
            outputs.append(functional.linear(inner, down[expert]))
    y = torch.cat(outputs) * weights.flatten()[order, None]
    return torch.zeros(x.shape, dtype=y.dtype, device=x.device).index_add(0, token, y).to(x.dtype)
