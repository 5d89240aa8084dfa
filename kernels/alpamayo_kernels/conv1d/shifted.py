"""The causal depthwise convolution as one multiply-add over the sequence for every tap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.causal_conv1d``."""
    time, kernel = x.shape[1], weight.shape[1]
    before = x.new_zeros(len(x), kernel - 1, x.shape[-1]) if state is None else state.to(x.dtype)
    window = torch.cat([before, x], dim=1)
    taps = weight.T
    y = window[:, :time] * taps[0] if bias is None else torch.addcmul(bias, window[:, :time], taps[0])
    for k in range(1, kernel):
        y = torch.addcmul(y, window[:, k : k + time], taps[k])
    return functional.silu(y), window[:, time:]
