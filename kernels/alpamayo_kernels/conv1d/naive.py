"""The causal depthwise convolution of Mamba-2: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Convolve every channel over time and apply SiLU.

    Args:
        x: ``[B, T, F]``.
        weight: ``[F, kernel]``; the last column meets the current token.
        bias: ``[F]``.
        state: The ``kernel - 1`` inputs before the first, ``[B, kernel - 1, F]``; zero when None.

    Returns:
        The outputs, shaped as ``x``, and the last ``kernel - 1`` inputs.
    """
    batch, time, channels = x.shape
    kernel = weight.shape[1]
    if state is None:
        state = x.new_zeros(batch, kernel - 1, channels)
    window = torch.cat([state.to(x.dtype), x], dim=1)
    taps = [(window[:, t : t + kernel] * weight.T).sum(1) for t in range(time)]
    y = torch.stack(taps, dim=1) if taps else torch.empty_like(x)
    return functional.silu(y if bias is None else y + bias), window[:, time:]
