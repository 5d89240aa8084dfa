"""The causal depthwise convolution of Mamba-2."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.dispatch import kernels, needs_gradient, on_gpu

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve over time and apply SiLU; see ``naive.causal_conv1d``. On a GPU one token takes the update kernel."""
    if not on_gpu(x):
        return shifted.causal_conv1d(x, weight, bias, state)
    if x.shape[1] == 1 and state is not None and not needs_gradient(x, weight, bias, state):
        y, tail = kernels(__name__).causal_conv1d_update(x[:, 0], state, weight, bias)
        return y[:, None], tail
    y, tail = kernels(__name__).causal_conv1d(x, weight, bias, state)
    return y, tail
