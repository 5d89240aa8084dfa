# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Root-mean-square normalisation, plain and gated by groups: one program a row and group."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _rms_norm_kernel(
    x_ptr, gate_ptr, weight_ptr, out_ptr, channels, width, eps, GATED: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1)
    offsets = tl.arange(0, BLOCK)
    inside = offsets < width
    place = row * channels + group * width + offsets
    u = tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        gate = tl.load(gate_ptr + place, mask=inside, other=0.0).to(tl.float32)
        u = u * gate * tl.sigmoid(gate)
    u = u / tl.sqrt(tl.sum(u * u, axis=0) / width + eps)
    weight = tl.load(weight_ptr + group * width + offsets, mask=inside, other=0.0)
    if GATED:
        u = u.to(out_ptr.dtype.element_ty).to(tl.float32)
    tl.store(out_ptr + place, (u * weight.to(tl.float32)).to(out_ptr.dtype.element_ty), mask=inside)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Compute `naive.rms_norm`."""
    return _launch(x.contiguous(), x, weight, 1, eps, False)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Compute `naive.gated_rms_norm`."""
    return _launch(x.contiguous(), gate.contiguous(), weight, groups, eps, True)


def _launch(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float, gated: bool) -> Tensor:
    out = torch.empty_like(gate, memory_format=torch.contiguous_format)
    channels = x.shape[-1]
    width = channels // groups
    block = triton.next_power_of_2(width)
    warps = 4 if block <= 2048 else 8
    grid = (x.numel() // channels, groups)
    _rms_norm_kernel[grid](x, gate, weight, out, channels, width, eps, gated, block, num_warps=warps)
    return out
