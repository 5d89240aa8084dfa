"""The causal depthwise convolution of Mamba-2."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.dispatch import kernels, on_gpu, with_reference_gradient

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve over time and apply SiLU; see `naive.causal_conv1d`."""
    if on_gpu(x):
        y, tail = with_reference_gradient(
            kernels(__name__).causal_conv1d, shifted.causal_conv1d, x, weight, bias, state
        )
        return y, tail
    return shifted.causal_conv1d(x, weight, bias, state)
