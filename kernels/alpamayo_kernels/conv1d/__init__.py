"""The causal depthwise convolution of Mamba-2."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.conv1d import shifted
from alpamayo_kernels.dispatch import needs_gradient, on_gpu

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve every channel over time and apply SiLU.

    Args:
        x: ``[B, T, F]``.
        weight: ``[F, kernel]``; the last column multiplies the current token.
        bias: ``[F]``.
        state: The ``kernel - 1`` inputs before the first, ``[B, kernel - 1, F]``; zero when None.

    Returns:
        The outputs ``[B, T, F]`` and the last ``kernel - 1`` inputs ``[B, kernel - 1, F]``.
    """
    if not on_gpu(x):
        return shifted.causal_conv1d(x, weight, bias, state)
    from alpamayo_kernels.conv1d import triton

    if x.shape[1] == 1 and state is not None and not needs_gradient(x, weight, bias, state):
        y, tail = triton.causal_conv1d_update(x[:, 0], state, weight, bias)
        return y[:, None], tail
    return triton.causal_conv1d(x, weight, bias, state)
