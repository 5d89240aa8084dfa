"""The choice of tokens under a mask."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu
from alpamayo_kernels.sampling import naive
from alpamayo_kernels.sampling.naive import is_greedy

__all__ = ["is_greedy", "sample_masked"]


def sample_masked(
    logits: Tensor,
    mask: Tensor | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    uniform: Tensor | None = None,
) -> Tensor:
    """Choose one allowed token a row.

    With a temperature the choice is ``argmax(logits / temperature - log(-log u))``, which draws from the softmax
    (the Gumbel trick); the same uniform numbers give the same tokens.

    Args:
        logits: ``[B, V]``, float32.
        mask: True where a token is allowed, ``[B, V]``.
        temperature: Greedy below ``LEAST_TEMPERATURE``.
        top_p: Keep the smallest set of tokens with at least this probability, the likeliest one always; 0 to 1.
        uniform: Numbers in (0, 1), ``[B, V]``; needed with a temperature.

    Returns:
        Token indices ``[B]``, int64.
    """
    greedy = is_greedy(temperature, top_p)
    if on_gpu(logits) and (top_p == 1 or greedy):
        from alpamayo_kernels.sampling import triton

        return triton.sample_masked(logits, mask, 0.0 if greedy else temperature, uniform)
    return naive.sample_masked(logits, mask, temperature, top_p, uniform)
