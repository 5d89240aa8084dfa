"""NVFP4: four-bit floats with one e4m3 scale for every 16 values and one float32 scale for the tensor.

A value is ``e2m1 * e4m3 block scale * tensor scale``. Layout and rounding are those of the published checkpoints:
even columns in the low nibble, ties to the even code.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 16
GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_BOUNDS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)
_TIES_UP = (0.75, 1.75, 3.5)
_FP8_MAX = 448.0


def quantise(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return packed codes, block scales and the tensor scale of a weight.

    Args:
        weight: `[..., columns]`; 16 divides the number of columns.

    Returns:
        Codes `[..., columns / 2]` uint8, scales `[..., columns / 16]` float8_e4m3fn, tensor scale `[]` float32.
    """
    if weight.shape[-1] % BLOCK:
        raise ValueError(f"{weight.shape[-1]} columns are no multiple of {BLOCK}")
    blocks = torch.unflatten(weight.float(), -1, (-1, BLOCK))
    tensor_scale = (blocks.abs().max() / (GRID[-1] * _FP8_MAX)).clamp(min=torch.finfo(torch.float32).tiny)
    scales = blocks.abs().amax(-1) / (GRID[-1] * tensor_scale)
    scales = torch.where(scales == 0, torch.ones_like(scales), scales).clamp(max=_FP8_MAX).to(torch.float8_e4m3fn)
    effective = scales.float() * tensor_scale
    scaled = torch.where(effective[..., None] > 0, blocks / effective[..., None], torch.zeros_like(blocks))
    codes = _codes(scaled).flatten(-2)
    return codes[..., 0::2] | (codes[..., 1::2] << 4), scales, tensor_scale


def dequantise(codes: Tensor, scales: Tensor, tensor_scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weight that `quantise` stored, `[..., columns]`; exact in float32."""
    grid = torch.tensor([*GRID, *(-g for g in GRID)], device=codes.device)
    values = torch.stack([grid[(codes & 15).long()], grid[(codes >> 4).long()]], dim=-1).flatten(-2)
    blocks = torch.unflatten(values, -1, (-1, BLOCK)) * (scales.float() * tensor_scale.float())[..., None]
    return blocks.flatten(-2).to(dtype)


def _codes(values: Tensor) -> Tensor:
    """Return the four-bit code of the nearest grid value, sign in the highest bit."""
    size = values.abs()
    bounds = torch.tensor(_BOUNDS, device=values.device)
    code = torch.bucketize(size, bounds).to(torch.uint8)  # number of bounds strictly below
    for tie in _TIES_UP:
        code += (size == tie).to(torch.uint8)
    return code | ((values < 0).to(torch.uint8) << 3)
