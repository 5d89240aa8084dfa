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
_FOUR_OVER_SIX_MAX = 256.0  # so that a block scale for 4 instead of 6, at most 384, is in range


def quantise(weight: Tensor, four_over_six: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return packed codes, block scales and the tensor scale of a weight.

    Args:
        weight: ``[..., columns]``; 16 divides the number of columns.
        four_over_six: Let each block's largest value be 6 or 4 on the grid, whichever errs less in the mean square
            (arXiv 2512.02010). The tensor scale leaves room for the larger block scales of the latter.

    Returns:
        Codes ``[..., columns / 2]`` uint8, scales ``[..., columns / 16]`` float8_e4m3fn, tensor scale ``[]`` float32.
    """
    if weight.shape[-1] % BLOCK:
        raise ValueError(f"{weight.shape[-1]} columns are no multiple of {BLOCK}")
    blocks = torch.unflatten(weight.float(), -1, (-1, BLOCK))
    largest = _FOUR_OVER_SIX_MAX if four_over_six else _FP8_MAX
    tensor_scale = (blocks.abs().max() / (GRID[-1] * largest)).clamp(min=torch.finfo(torch.float32).tiny)
    codes, scales = _coded(blocks, tensor_scale, GRID[-1])
    if four_over_six:
        other, other_scales = _coded(blocks, tensor_scale, 4.0)
        better = _error(blocks, other, other_scales, tensor_scale) < _error(blocks, codes, scales, tensor_scale)
        codes = torch.where(better[..., None], other, codes)
        scales = torch.where(better, other_scales.float(), scales.float()).to(torch.float8_e4m3fn)
    codes = codes.flatten(-2)
    return codes[..., 0::2] | (codes[..., 1::2] << 4), scales, tensor_scale


def _coded(blocks: Tensor, tensor_scale: Tensor, top: float) -> tuple[Tensor, Tensor]:
    """Return codes ``[..., blocks, 16]`` and block scales with which the largest of each block becomes ``top``."""
    scales = blocks.abs().amax(-1) / (top * tensor_scale)
    scales = torch.where(scales == 0, torch.ones_like(scales), scales).clamp(max=_FP8_MAX).to(torch.float8_e4m3fn)
    effective = (scales.float() * tensor_scale)[..., None]
    return _codes(torch.where(effective > 0, blocks / effective, torch.zeros_like(blocks))), scales


def _error(blocks: Tensor, codes: Tensor, scales: Tensor, tensor_scale: Tensor) -> Tensor:
    """Return the squared error of each block."""
    return (_values(codes) * (scales.float() * tensor_scale)[..., None] - blocks).square().sum(-1)


def _values(codes: Tensor) -> Tensor:
    """Return the floats of four-bit codes."""
    return torch.tensor([*GRID, *(-g for g in GRID)], device=codes.device)[codes.long()]


def dequantise(codes: Tensor, scales: Tensor, tensor_scale: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the weight that ``quantise`` stored, ``[..., columns]``; exact in float32."""
    values = torch.stack([_values(codes & 15), _values(codes >> 4)], dim=-1).flatten(-2)
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
