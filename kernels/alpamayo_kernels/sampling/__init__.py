"""Choosing tokens under a mask."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu
from alpamayo_kernels.sampling import naive

__all__ = ["sample_masked"]


def sample_masked(
    logits: Tensor,
    mask: Tensor | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    uniform: Tensor | None = None,
) -> Tensor:
    """Choose one allowed token a row; see ``naive.sample_masked``."""
    if on_gpu(logits) and (top_p >= 1 or temperature <= 0):
        tokens: Tensor = kernels(__name__).sample_masked(logits, mask, temperature, uniform)
        return tokens
    return naive.sample_masked(logits, mask, temperature, top_p, uniform)
