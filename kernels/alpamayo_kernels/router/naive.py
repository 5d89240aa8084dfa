"""Choosing the experts of each token: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor


def route_top_k(
    logits: Tensor,
    bias: Tensor,
    k: int,
    groups: int = 1,
    kept_groups: int = 1,
    normalise: bool = True,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Choose k experts of each token by sigmoid score plus bias, inside the best groups.

    A group is as good as the sum of its two best biased scores. The weights are the scores without the bias.

    Args:
        logits: ``[T, E]``, float32.
        bias: Correction of the choice, ``[E]``.
        k: Experts of each token.
        groups: Divides the number of experts.
        kept_groups: How many groups a token may choose from.
        normalise: Make the weights of a token sum to one before scaling.
        scale: Multiplies the weights.

    Returns:
        Weights ``[T, k]`` and expert indices ``[T, k]``, int64.
    """
    scores = logits.sigmoid()
    choice = scores + bias
    if kept_groups < groups:
        by_group = torch.unflatten(choice, -1, (groups, -1))
        best = by_group.topk(min(2, by_group.shape[-1]), dim=-1).values.sum(-1)
        kept = torch.zeros_like(best, dtype=torch.bool).scatter_(1, best.topk(kept_groups, dim=-1).indices, True)
        choice = by_group.masked_fill(~kept[..., None], -torch.inf).flatten(-2)
    index = choice.topk(k, dim=-1).indices
    weights = scores.gather(-1, index)
    if normalise:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return weights * scale, index
