"""FP8: e4m3 values with one float32 scale for the tensor."""

from __future__ import annotations

import torch
from torch import Tensor


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return float8_e4m3fn values, shaped as the weight, and the scale ``[]`` that maps its largest to 448."""
    scale = (weight.abs().max().float() / 448.0).clamp(min=torch.finfo(torch.float32).tiny)
    return (weight.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn), scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``values * scale``."""
    return (values.float() * scale.float()).to(dtype)
