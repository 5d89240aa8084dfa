"""Eight-bit integer weights with one scale a row, for decoding where memory bandwidth is the limit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

FEW_ROWS = 8


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values, shaped as the weight `[..., out, in]`, and bfloat16 scales `[..., out]`."""
    scale = (weight.abs().amax(-1).float() / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    values = (weight.float() / scale.float()[..., None]).round().clamp(-127, 127)
    return values.to(torch.int8), scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``values * scale``."""
    return (values.float() * scale.float()[..., None]).to(dtype)


def linear(x: Tensor, values: Tensor, scale: Tensor) -> Tensor:
    """Return ``x W^T`` in the dtype of x.

    For few rows on a CPU the weights are read as they are and the activations rounded to bfloat16; otherwise the
    weights are dequantised first.

    Args:
        x: `[rows, in]`.
        values: `[out, in]`, int8.
        scale: `[out]`, bfloat16.
    """
    if x.shape[0] <= FEW_ROWS and not x.is_cuda:
        return torch._weight_int8pack_mm(x.bfloat16(), values, scale).to(x.dtype)
    return functional.linear(x, dequantise(values, scale, x.dtype))
