# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The causal depthwise convolution with SiLU: one program a block of time and channels."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _conv_kernel(
    x_ptr, state_ptr, weight_ptr, bias_ptr, y_ptr, time, channels, stride_xb, stride_xt,
    HAS_STATE: tl.constexpr, HAS_BIAS: tl.constexpr, KERNEL: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BT + tl.arange(0, BT)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    inside = c < channels
    acc = tl.zeros((BT, BC), dtype=tl.float32)
    for k in tl.static_range(KERNEL):
        source = t + k - (KERNEL - 1)
        known = (source >= 0) & (source < time)
        x = tl.load(
            x_ptr + batch * stride_xb + source[:, None] * stride_xt + c[None, :],
            mask=known[:, None] & inside[None, :],
            other=0.0,
        ).to(tl.float32)
        if HAS_STATE:
            before = tl.load(
                state_ptr + (batch * (KERNEL - 1) + source[:, None] + KERNEL - 1) * channels + c[None, :],
                mask=(source < 0)[:, None] & inside[None, :],
                other=0.0,
            )
            x += before.to(tl.float32)
        weight = tl.load(weight_ptr + c * KERNEL + k, mask=inside, other=0.0).to(tl.float32)
        acc += x * weight[None, :]
    if HAS_BIAS:
        acc += tl.load(bias_ptr + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    acc = acc * tl.sigmoid(acc)
    place = y_ptr + (batch * time + t[:, None]) * channels + c[None, :]
    tl.store(place, acc.to(y_ptr.dtype.element_ty), mask=(t < time)[:, None] & inside[None, :])


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `naive.causal_conv1d`; x may be a slice of a wider tensor."""
    batch, time, channels = x.shape
    kernel = weight.shape[1]
    if x.stride(2) != 1:
        x = x.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows = min(32, triton.next_power_of_2(time))
    grid = (batch, triton.cdiv(time, rows), triton.cdiv(channels, 64))
    before = x if state is None else state.contiguous()
    _conv_kernel[grid](
        x, before, weight.contiguous(), x if bias is None else bias, y, time, channels, x.stride(0), x.stride(1),
        state is not None, bias is not None, kernel, rows, 64,
    )  # fmt: skip
    return y, _tail(x, state, kernel - 1)


def _tail(x: Tensor, state: Tensor | None, size: int) -> Tensor:
    if x.shape[1] >= size:
        return x[:, x.shape[1] - size :].clone()
    before = x.new_zeros(x.shape[0], size, x.shape[2]) if state is None else state.to(x.dtype)
    return torch.cat([before[:, x.shape[1] :], x], dim=1)
