# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The causal depthwise convolution with SiLU: one program a block of time and channels.

With ``pre_t = sum_k w_k x_{t + k - K + 1} + bias`` and ``y = silu(pre)`` the gradients are ``g_t = dy_t silu'(pre_t)``,
``dx_s = sum_k w_k g_{s + K - 1 - k}`` and ``dw_k = sum_t g_t x_{t + k - K + 1}``.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _input(x_ptr, state_ptr, source, c, batch, time, channels, stride_b, stride_t, HAS_STATE: tl.constexpr, KERNEL):
    """Load the inputs at times ``source`` (int64); those before the first come from the state."""
    inside = (c < channels)[None, :]
    known = (source >= 0) & (source < time)
    x = tl.load(
        x_ptr + batch * stride_b + source[:, None] * stride_t + c[None, :], mask=known[:, None] & inside, other=0.0
    ).to(tl.float32)
    if HAS_STATE:
        before = tl.load(
            state_ptr + (batch * (KERNEL - 1) + source[:, None] + KERNEL - 1) * channels + c[None, :],
            mask=(source < 0)[:, None] & inside,
            other=0.0,
        )
        x += before.to(tl.float32)
    return x


@triton.jit
def _conv_kernel(
    x_ptr, state_ptr, weight_ptr, bias_ptr, y_ptr, time, channels, stride_b, stride_t,
    HAS_STATE: tl.constexpr, HAS_BIAS: tl.constexpr, KERNEL: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    t = (tl.program_id(1) * BT + tl.arange(0, BT)).to(tl.int64)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    inside = c < channels
    acc = tl.zeros((BT, BC), dtype=tl.float32)
    for k in tl.static_range(KERNEL):
        source = t + k - (KERNEL - 1)
        x = _input(x_ptr, state_ptr, source, c, batch, time, channels, stride_b, stride_t, HAS_STATE, KERNEL)
        acc += x * tl.load(weight_ptr + c * KERNEL + k, mask=inside, other=0.0).to(tl.float32)[None, :]
    if HAS_BIAS:
        acc += tl.load(bias_ptr + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    acc = acc * tl.sigmoid(acc)
    offset = y_ptr + (batch * time + t[:, None]) * channels + c[None, :]
    tl.store(offset, acc.to(y_ptr.dtype.element_ty), mask=(t < time)[:, None] & inside[None, :])


@triton.jit
def _gate_gradient_kernel(
    x_ptr, state_ptr, weight_ptr, bias_ptr, dy_ptr, gate_ptr, parts_ptr, time, channels, stride_b, stride_t,
    HAS_STATE: tl.constexpr, HAS_BIAS: tl.constexpr, KERNEL: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute the gradient before the activation, and this block's part of the gradients of weight and bias."""
    batch = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1)
    t = (block * BT + tl.arange(0, BT)).to(tl.int64)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    inside = c < channels
    acc = tl.zeros((BT, BC), dtype=tl.float32)
    for k in tl.static_range(KERNEL):
        source = t + k - (KERNEL - 1)
        x = _input(x_ptr, state_ptr, source, c, batch, time, channels, stride_b, stride_t, HAS_STATE, KERNEL)
        acc += x * tl.load(weight_ptr + c * KERNEL + k, mask=inside, other=0.0).to(tl.float32)[None, :]
    if HAS_BIAS:
        acc += tl.load(bias_ptr + c, mask=inside, other=0.0).to(tl.float32)[None, :]
    mask = (t < time)[:, None] & inside[None, :]
    offset = (batch * time + t[:, None]) * channels + c[None, :]
    sigmoid = tl.sigmoid(acc)
    gate = tl.load(dy_ptr + offset, mask=mask, other=0.0).to(tl.float32) * sigmoid * (1 + acc * (1 - sigmoid))
    tl.store(gate_ptr + offset, gate, mask=mask)
    parts = parts_ptr + (batch * tl.num_programs(1) + block) * (KERNEL + 1) * channels + c
    for k in tl.static_range(KERNEL):
        source = t + k - (KERNEL - 1)
        x = _input(x_ptr, state_ptr, source, c, batch, time, channels, stride_b, stride_t, HAS_STATE, KERNEL)
        tl.store(parts + k * channels, tl.sum(gate * x, axis=0), mask=inside)
    tl.store(parts + KERNEL * channels, tl.sum(gate, axis=0), mask=inside)


@triton.jit
def _window_gradient_kernel(
    gate_ptr, weight_ptr, out_ptr, time, channels, KERNEL: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr
):
    """Compute the gradient of the inputs and, before them, of the state: ``kernel - 1 + time`` rows."""
    batch = tl.program_id(0).to(tl.int64)
    row = (tl.program_id(1) * BT + tl.arange(0, BT)).to(tl.int64)
    c = tl.program_id(2) * BC + tl.arange(0, BC)
    inside = c < channels
    acc = tl.zeros((BT, BC), dtype=tl.float32)
    for k in tl.static_range(KERNEL):
        t = row - k
        gate = tl.load(
            gate_ptr + (batch * time + t[:, None]) * channels + c[None, :],
            mask=((t >= 0) & (t < time))[:, None] & inside[None, :],
            other=0.0,
        )
        acc += gate * tl.load(weight_ptr + c * KERNEL + k, mask=inside, other=0.0).to(tl.float32)[None, :]
    rows = time + KERNEL - 1
    offset = out_ptr + (batch * rows + row[:, None]) * channels + c[None, :]
    tl.store(offset, acc.to(out_ptr.dtype.element_ty), mask=(row < rows)[:, None] & inside[None, :])


@triton.jit
def _update_kernel(
    x_ptr, state_ptr, weight_ptr, bias_ptr, y_ptr, out_ptr, channels, stride_b,
    HAS_BIAS: tl.constexpr, KERNEL: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = c < channels
    state = batch * (KERNEL - 1) * channels + c
    x = tl.load(x_ptr + batch * stride_b + c, mask=inside, other=0.0)
    acc = x.to(tl.float32) * tl.load(weight_ptr + c * KERNEL + KERNEL - 1, mask=inside, other=0.0).to(tl.float32)
    for k in tl.static_range(KERNEL - 1):
        before = tl.load(state_ptr + state + k * channels, mask=inside, other=0.0)
        acc += before.to(tl.float32) * tl.load(weight_ptr + c * KERNEL + k, mask=inside, other=0.0).to(tl.float32)
        if k > 0:
            tl.store(out_ptr + state + (k - 1) * channels, before.to(out_ptr.dtype.element_ty), mask=inside)
    if KERNEL > 1:
        tl.store(out_ptr + state + (KERNEL - 2) * channels, x.to(out_ptr.dtype.element_ty), mask=inside)
    if HAS_BIAS:
        acc += tl.load(bias_ptr + c, mask=inside, other=0.0).to(tl.float32)
    acc = acc * tl.sigmoid(acc)
    tl.store(y_ptr + batch * channels + c, acc.to(y_ptr.dtype.element_ty), mask=inside)


def causal_conv1d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.causal_conv1d``, with gradients; x may be a slice of a wider tensor."""
    y, tail = _Convolution.apply(x, weight, bias, state)
    return y, tail


def causal_conv1d_update(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.causal_conv1d`` for one token, without gradients.

    Args:
        x: ``[batch, channels]``, a slice of a wider tensor or not.
        state: The last ``kernel - 1`` inputs, ``[B, kernel - 1, F]``.
        weight: ``[F, kernel]``.
        bias: ``[F]``.
        out: Where the new state goes; may be ``state`` itself. New memory when None.
    """
    batch, channels = x.shape
    x = x if x.stride(1) == 1 else x.contiguous()
    state = state.contiguous()
    y = torch.empty(batch, channels, dtype=x.dtype, device=x.device)
    out = torch.empty(state.shape, dtype=x.dtype, device=x.device) if out is None else out
    blocks, launch = settings("conv1d.update", x.device)
    _update_kernel[(batch, triton.cdiv(channels, blocks["channels"]))](
        x, state, weight.contiguous(), x if bias is None else bias, y, out, channels, x.stride(0),
        bias is not None, weight.shape[1], blocks["channels"], **launch,
    )  # fmt: skip
    return y, out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        x = x if x.stride(2) == 1 else x.contiguous()
        weight, state = weight.contiguous(), None if state is None else state.contiguous()
        ctx.save_for_backward(x, weight, bias, state)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        grid, sizes, launch = _grid(x, x.shape[1])
        _conv_kernel[grid](*_arguments(x, weight, bias, state), y, *_shape(x, weight, bias, state), *sizes, **launch)
        return y, _tail(x, state, weight.shape[1] - 1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, d_tail: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, state = ctx.saved_tensors
        (batch, time, channels), kernel = x.shape, weight.shape[1]
        gate = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        grid, sizes, launch = _grid(x, time)
        parts = torch.empty(batch, grid[1], kernel + 1, channels, dtype=torch.float32, device=x.device)
        _gate_gradient_kernel[grid](
            *_arguments(x, weight, bias, state), dy.contiguous(), gate, parts,
            *_shape(x, weight, bias, state), *sizes, **launch,
        )  # fmt: skip
        window = torch.empty(batch, time + kernel - 1, channels, dtype=x.dtype, device=x.device)
        grid, sizes, launch = _grid(x, time + kernel - 1)
        _window_gradient_kernel[grid](gate, weight, window, time, channels, kernel, *sizes, **launch)
        window[:, time:] += d_tail.to(window.dtype)
        summed = parts.sum((0, 1))
        d_state = None if state is None else window[:, : kernel - 1].to(state.dtype)
        d_bias = None if bias is None else summed[kernel].to(bias.dtype)
        return window[:, kernel - 1 :], summed[:kernel].T.to(weight.dtype), d_bias, d_state


def _grid(x: Tensor, rows: int) -> tuple[tuple[int, int, int], tuple[int, int], dict[str, int]]:
    """Return the grid over a number of rows of time, the block sizes and the launch options."""
    blocks, launch = settings("conv1d", x.device)
    BT, BC = min(blocks["time"], triton.next_power_of_2(rows)), blocks["channels"]
    return (len(x), triton.cdiv(rows, BT), triton.cdiv(x.shape[2], BC)), (BT, BC), dict(launch)


def _arguments(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None) -> tuple[Tensor, ...]:
    return x, x if state is None else state, weight, x if bias is None else bias


def _shape(x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None) -> tuple[int | bool, ...]:
    return x.shape[1], x.shape[2], x.stride(0), x.stride(1), state is not None, bias is not None, weight.shape[1]


def _tail(x: Tensor, state: Tensor | None, size: int) -> Tensor:
    if x.shape[1] >= size:
        return x[:, x.shape[1] - size :].clone()
    before = x.new_zeros(x.shape[0], size, x.shape[2]) if state is None else state.to(x.dtype)
    return torch.cat([before[:, x.shape[1] :], x], dim=1)
