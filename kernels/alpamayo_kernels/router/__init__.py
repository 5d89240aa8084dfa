"""The choice of experts for each token."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu
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
    """Choose k experts of each token by sigmoid score plus bias, inside the best groups.

    The score of a group is the sum of its two best biased scores. The weights are the scores without the bias.

    Args:
        logits: ``[T, E]``, float32.
        bias: Correction of the choice, ``[E]``.
        k: Experts of each token.
        groups: Divides the number of experts.
        kept_groups: Number of groups that a token may choose from.
        normalise: Scale the weights of a token to a sum of one first.
        scale: Multiplies the weights.

    Returns:
        Weights ``[T, k]`` and expert indices ``[T, k]``, int64.
    """
    if on_gpu(logits):
        from alpamayo_kernels.router import triton

        return triton.route_top_k(logits, bias, k, groups, kept_groups, normalise, scale)
    return naive.route_top_k(logits, bias, k, groups, kept_groups, normalise, scale)
