"""Eight-bit integer weights with one scale a row, for decoding where memory bandwidth is the limit."""

from __future__ import annotations

import torch
from torch import Tensor


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values, shaped as the weight ``[..., out, in]``, and bfloat16 scales ``[..., out]``."""
    scale = (weight.abs().amax(-1).float() / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    values = (weight.float() / scale.float()[..., None]).round().clamp(-127, 127)
    return values.to(torch.int8), scale


def dequantise(values: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return ``values * scale``."""
    return (values.float() * scale.float()[..., None]).to(dtype)
