# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""A matrix product with NVFP4 weights, dequantised on the way into the registers."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _value(code):
    """Return the float of a four-bit code: sign, two exponent bits, one mantissa bit."""
    size = (code & 7).to(tl.float32)
    exponent = (code & 7) >> 1
    mantissa = (code & 1).to(tl.float32)
    big = (1.0 + 0.5 * mantissa) * tl.where(exponent == 3, 4.0, tl.where(exponent == 2, 2.0, 1.0))
    number = tl.where(exponent == 0, 0.5 * size, big)
    return tl.where((code & 8) != 0, -number, number)


@triton.jit
def _e4m3(byte):
    """Return the float of a non-negative e4m3 byte; its own type is missing before compute capability 8.9."""
    exponent = (byte >> 3).to(tl.float32)
    mantissa = (byte & 7).to(tl.float32) / 8.0
    return tl.where(exponent == 0, mantissa * 0.015625, (1.0 + mantissa) * tl.exp2(exponent - 7.0))


@triton.jit
def _nvfp4_kernel(
    x_ptr, codes_ptr, scales_ptr, tensor_scale_ptr, y_ptr, rows, inner, outer,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    m = (tl.program_id(0) * BM + tl.arange(0, BM)).to(tl.int64)
    o = (tl.program_id(1) * BN + tl.arange(0, BN)).to(tl.int64)
    half = inner // 2
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, half, BK):
        k = start + tl.arange(0, BK)
        known = (k < half)[:, None] & (o < outer)[None, :]
        codes = tl.load(codes_ptr + o[None, :] * half + k[:, None], mask=known, other=0)
        scales = _e4m3(tl.load(scales_ptr + o[None, :] * (inner // 16) + (k // 8)[:, None], mask=known, other=0))
        mask = (m < rows)[:, None] & (k < half)[None, :]
        even = tl.load(x_ptr + m[:, None] * inner + 2 * k[None, :], mask=mask, other=0.0)
        odd = tl.load(x_ptr + m[:, None] * inner + 2 * k[None, :] + 1, mask=mask, other=0.0)
        acc += tl.dot(even, (_value(codes & 15) * scales).to(even.dtype), input_precision="ieee")
        acc += tl.dot(odd, (_value(codes >> 4) * scales).to(odd.dtype), input_precision="ieee")
    acc = acc * tl.load(tensor_scale_ptr)
    tl.store(
        y_ptr + m[:, None] * outer + o[None, :],
        acc.to(y_ptr.dtype.element_ty),
        mask=(m < rows)[:, None] & (o < outer)[None, :],
    )


def nvfp4_linear(x: Tensor, codes: Tensor, scales: Tensor, tensor_scale: Tensor) -> Tensor:
    """Return ``x W^T`` for a weight from ``nvfp4.quantise``, ``[rows, out]`` in the dtype of x."""
    rows, inner = x.shape
    outer = codes.shape[0]
    y = torch.empty(rows, outer, dtype=x.dtype, device=x.device)
    BM = 16 if rows <= 16 else 64
    blocks, launch = settings("quantisation", x.device)
    grid = (triton.cdiv(rows, BM), triton.cdiv(outer, blocks["columns"]))
    _nvfp4_kernel[grid](
        x.contiguous(), codes, scales.view(torch.uint8), tensor_scale, y, rows, inner, outer,
        BM, blocks["columns"], blocks["inner"], **launch,
    )  # fmt: skip
    return y
