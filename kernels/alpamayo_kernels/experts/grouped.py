"""The routed experts over tokens sorted by expert, or one expert at a time for a single token."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Few tokens and experts that fit a processor's cache: doing all of them costs less than finding out which.
DENSE_TOKENS = 16
DENSE_NUMBERS = 1 << 18


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Compute ``naive.routed_mlp``; only the chosen experts' weights are read."""
    if x.shape[0] == 0:
        return torch.empty_like(x)
    if x.shape[0] == 1 and not x.is_cuda:
        return _single(x, weights, index, up, down)
    if index.numel() <= 4 * up.shape[0] and x.shape[0] <= DENSE_TOKENS and up.numel() <= DENSE_NUMBERS:
        return _dense(x, weights, index, up, down)
    return _sorted(x, weights, index, up, down)


def _single(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    chosen = index[0].tolist()
    inner = torch.cat([functional.linear(x, up[e]) for e in chosen]).relu_().square() * weights.T
    inner = inner.to(x.dtype)
    total = functional.linear(inner[:1], down[chosen[0]])
    for row, e in enumerate(chosen[1:], start=1):
        total = total + functional.linear(inner[row : row + 1], down[e])
    return total


def _dense(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    experts, size, _ = up.shape
    share = torch.zeros(len(x), experts, dtype=weights.dtype, device=x.device).scatter_add(1, index, weights)
    inner = functional.relu(functional.linear(x, up.flatten(0, 1))).square().view(len(x), experts, size)
    mixed = (inner * share[..., None]).to(x.dtype).transpose(0, 1)
    return (mixed @ down.transpose(1, 2)).sum(0)


def _sorted(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    k = index.shape[1]
    flat = index.flatten()
    order = flat.argsort(stable=True)
    token = order // k
    counts = torch.bincount(flat, minlength=up.shape[0]).tolist()
    outputs = []
    # Unbound, since the gradient of each ``up[expert]`` would be as large as all experts together.
    for part, up_e, down_e in zip(torch.split(x[token], counts), up.unbind(0), down.unbind(0), strict=True):
        if part.shape[0]:
            outputs.append(functional.linear(functional.relu(functional.linear(part, up_e)).square(), down_e))
    y = torch.cat(outputs) * weights.flatten()[order, None]
    return torch.zeros(x.shape, dtype=y.dtype, device=x.device).index_add(0, token, y).to(x.dtype)
