# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Root-mean-square normalisation, plain and gated by groups: one program a row and group.

With ``u = x silu(z)``, ``r = 1 / sqrt(mean(u^2) + eps)`` and ``y = w u r`` the gradients are
``du = r (w dy - u r^2 mean(w dy u))`` and ``dw = sum over rows of dy u r``; x and z get theirs through ``u``.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _rms_norm_kernel(
    x_ptr, gate_ptr, weight_ptr, out_ptr, channels, width, eps, GATED: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    inside = offsets < width
    offset = row * channels + group * width + offsets
    u = tl.load(x_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        gate = tl.load(gate_ptr + offset, mask=inside, other=0.0).to(tl.float32)
        u = u * gate * tl.sigmoid(gate)
    u = u / tl.sqrt(tl.sum(u * u, axis=0) / width + eps)
    weight = tl.load(weight_ptr + group * width + offsets, mask=inside, other=0.0)
    if GATED:
        u = u.to(out_ptr.dtype.element_ty).to(tl.float32)
    tl.store(out_ptr + offset, (u * weight.to(tl.float32)).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _gradient_kernel(
    x_ptr, gate_ptr, weight_ptr, dy_ptr, dx_ptr, d_gate_ptr, parts_ptr, rows, channels, width, eps,
    GATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of every ``num_programs``-th row, and this program's part of the weight's."""
    program = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1).to(tl.int64)
    offsets = tl.arange(0, BLOCK)
    inside = offsets < width
    weight = tl.load(weight_ptr + group * width + offsets, mask=inside, other=0.0).to(tl.float32)
    part = tl.zeros((BLOCK,), dtype=tl.float32)
    for row in range(program, rows, tl.num_programs(0)):
        offset = row * channels + group * width + offsets
        x = tl.load(x_ptr + offset, mask=inside, other=0.0).to(tl.float32)
        u = x
        if GATED:
            gate = tl.load(gate_ptr + offset, mask=inside, other=0.0).to(tl.float32)
            sigmoid = tl.sigmoid(gate)
            u = x * gate * sigmoid
        dy = tl.load(dy_ptr + offset, mask=inside, other=0.0).to(tl.float32)
        r = 1 / tl.sqrt(tl.sum(u * u, axis=0) / width + eps)
        part += dy * u * r
        dy = dy * weight
        du = r * (dy - u * (r * r * tl.sum(dy * u, axis=0) / width))
        if GATED:
            d_gate = du * x * sigmoid * (1 + gate * (1 - sigmoid))
            tl.store(d_gate_ptr + offset, d_gate.to(d_gate_ptr.dtype.element_ty), mask=inside)
            du = du * gate * sigmoid
        tl.store(dx_ptr + offset, du.to(dx_ptr.dtype.element_ty), mask=inside)
    tl.store(parts_ptr + program * channels + group * width + offsets, part, mask=inside)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Compute ``naive.rms_norm``, with gradients."""
    y: Tensor = _Norm.apply(x, None, weight, 1, eps)
    return y


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Compute ``naive.gated_rms_norm``, with gradients."""
    y: Tensor = _Norm.apply(x, gate, weight, groups, eps)
    return y


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor | None, weight: Tensor, groups: int, eps: float) -> Tensor:
        x, gate = x.contiguous(), None if gate is None else gate.contiguous()
        ctx.save_for_backward(x, gate, weight)
        ctx.groups, ctx.eps = groups, eps
        out = torch.empty_like(x if gate is None else gate)
        channels, width, block, warps = _sizes(x, groups)
        _rms_norm_kernel[(x.numel() // channels, groups)](
            x, x if gate is None else gate, weight, out, channels, width, eps, gate is not None, block, num_warps=warps
        )
        return out

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, weight = ctx.saved_tensors
        channels, width, block, warps = _sizes(x, ctx.groups)
        rows = x.numel() // channels
        programs = min(rows, settings("norm.gradient", x.device)[0]["programs"])
        dx, d_gate = torch.empty_like(x), None if gate is None else torch.empty_like(gate)
        parts = torch.empty(programs, channels, dtype=torch.float32, device=x.device)
        _gradient_kernel[(programs, ctx.groups)](
            x, x if gate is None else gate, weight, dy.contiguous(), dx, dx if d_gate is None else d_gate, parts,
            rows, channels, width, ctx.eps, gate is not None, block, num_warps=warps,
        )  # fmt: skip
        return dx, d_gate, parts.sum(0).to(weight.dtype), None, None


def _sizes(x: Tensor, groups: int) -> tuple[int, int, int, int]:
    channels = x.shape[-1]
    block = triton.next_power_of_2(channels // groups)
    return channels, channels // groups, block, 4 if block <= 2048 else 8
