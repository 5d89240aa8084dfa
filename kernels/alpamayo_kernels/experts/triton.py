# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The routed experts as grouped matrix products over tokens sorted by expert.

For a token's choice s with ``a_s = relu(up x)^2`` and ``y = sum_s w_s down a_s`` the gradients are
``dw_s = a_s (down^T dy)``, ``dh_s = 2 sqrt(a_s) w_s down^T dy``, ``dx = sum_s up^T dh_s``, ``d up = sum_s dh_s (x) x``
and ``d down = sum_s w_s dy (x) a_s``: two more products of the same kind and one over each expert's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings

SQUARED_RELU, SCALED, GRADIENT = 0, 1, 2


@triton.jit
def _grouped_kernel(
    x_ptr, w_ptr, hidden_ptr, out_ptr, dots_ptr, source_ptr, target_ptr, scale_ptr, expert_ptr,
    inner, outer, stride_o, stride_k,
    KIND: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Multiply ``x w^T`` by expert; then apply squared ReLU, the router's weight, or the gradient of squared ReLU."""
    block = tl.program_id(0)
    rows = block * BM + tl.arange(0, BM)
    source = tl.load(source_ptr + rows).to(tl.int64)
    target = tl.load(target_ptr + rows).to(tl.int64)
    expert = tl.load(expert_ptr + block).to(tl.int64)
    o = (tl.program_id(1) * BN + tl.arange(0, BN)).to(tl.int64)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, inner, BK):
        k = (start + tl.arange(0, BK)).to(tl.int64)
        x = tl.load(
            x_ptr + source[:, None] * inner + k[None, :], mask=(target >= 0)[:, None] & (k < inner)[None, :], other=0.0
        )
        w = tl.load(
            w_ptr + expert * outer * inner + o[None, :] * stride_o + k[:, None] * stride_k,
            mask=(o < outer)[None, :] & (k < inner)[:, None],
            other=0.0,
        )
        acc += tl.dot(x.to(w.dtype), w, input_precision="ieee")
    mask = (target >= 0)[:, None] & (o < outer)[None, :]
    offset = target[:, None] * outer + o[None, :]
    if KIND == 0:
        acc = tl.maximum(acc, 0.0)
        acc = acc * acc
    if KIND == 2:
        hidden = tl.load(hidden_ptr + offset, mask=mask, other=0.0).to(tl.float32)
        dots = dots_ptr + target * tl.num_programs(1) + tl.program_id(1)
        tl.store(dots, tl.sum(acc * hidden, axis=1), mask=target >= 0)
        acc = acc * 2.0 * tl.sqrt(hidden)
    if KIND > 0:
        acc = acc * tl.load(scale_ptr + rows)[:, None]
    tl.store(out_ptr + offset, acc.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _weight_gradient_kernel(
    left_ptr, right_ptr, out_ptr, left_row_ptr, right_row_ptr, scale_ptr, start_ptr, end_ptr, height, width,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Sum ``scale left (x) right`` over the rows of an expert, ``[experts, height, width]``."""
    expert = tl.program_id(0).to(tl.int64)
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(2) * BN + tl.arange(0, BN)
    end = tl.load(end_ptr + expert)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(tl.load(start_ptr + expert), end, BK):
        row = start + tl.arange(0, BK)
        left_row = tl.load(left_row_ptr + row, mask=row < end, other=-1).to(tl.int64)
        right_row = tl.load(right_row_ptr + row, mask=row < end, other=-1).to(tl.int64)
        scale = tl.load(scale_ptr + row, mask=row < end, other=0.0)
        left = tl.load(
            left_ptr + left_row[None, :] * height + m[:, None],
            mask=(left_row >= 0)[None, :] & (m < height)[:, None],
            other=0.0,
        )
        right = tl.load(
            right_ptr + right_row[:, None] * width + n[None, :],
            mask=(right_row >= 0)[:, None] & (n < width)[None, :],
            other=0.0,
        )
        scaled = (left.to(tl.float32) * scale[None, :]).to(right.dtype)
        acc += tl.dot(scaled, right, input_precision="ieee")
    offset = (expert * height + m[:, None]) * width + n[None, :]
    tl.store(out_ptr + offset, acc.to(out_ptr.dtype.element_ty), mask=(m < height)[:, None] & (n < width)[None, :])


@dataclass(frozen=True)
class Layout:
    """The choices of all tokens sorted by expert, each expert's padded to whole blocks.

    The number of rows depends on shapes alone, so that no value has to come back from the GPU.

    Attributes:
        choice: Flat index ``token * k + place`` of each row, -1 at padding, ``[rows]``.
        token: Token of each row, -1 at padding, ``[rows]``.
        scale: Weight of each row's choice, float32, ``[rows]``.
        expert: Expert of each block, ``[rows / block]``.
        start: First row of each expert, ``[E]``.
        end: Row after its last, padding included, ``[E]``.
        block: Rows in a block.
    """

    choice: Tensor
    token: Tensor
    scale: Tensor
    expert: Tensor
    start: Tensor
    end: Tensor
    block: int


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Compute ``naive.routed_mlp``, with gradients."""
    y: Tensor = _Experts.apply(x, weights, index, up, down)
    return y


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
        x, up, down = x.contiguous(), up.contiguous(), down.contiguous()
        layout = _sorted(index, weights, up.shape[0])
        (tokens, width), k, inner = x.shape, index.shape[1], up.shape[1]
        hidden = torch.empty(tokens * k, inner, dtype=x.dtype, device=x.device)
        out = torch.empty(tokens * k, width, dtype=torch.float32, device=x.device)
        _product(SQUARED_RELU, x, up, layout, layout.token, hidden)
        _product(SCALED, hidden, down, layout, layout.choice, out)
        ctx.save_for_backward(x, weights, index, up, down, hidden)
        return out.view(tokens, k, width).sum(1).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, index, up, down, hidden = ctx.saved_tensors
        dy, layout = dy.contiguous(), _sorted(index, weights, up.shape[0])
        (tokens, width), k = x.shape, index.shape[1]
        d_hidden = torch.empty_like(hidden)
        d_weights = _product(GRADIENT, dy, down.transpose(1, 2), layout, layout.token, d_hidden, hidden)
        dx = torch.empty(tokens * k, width, dtype=torch.float32, device=x.device)
        ones = torch.ones_like(layout.scale)
        _product(SCALED, d_hidden, up.transpose(1, 2), layout, layout.choice, dx, scale=ones)
        d_up = _weight_gradient(d_hidden, x, layout, layout.choice, layout.token, ones, up)
        d_down = _weight_gradient(dy, hidden, layout, layout.token, layout.choice, layout.scale, down)
        dx = dx.view(tokens, k, width).sum(1).to(x.dtype)
        return dx, d_weights.view(tokens, k).to(weights.dtype), None, d_up, d_down


def _product(
    kind: int, x: Tensor, w: Tensor, layout: Layout, source: Tensor, out: Tensor,
    hidden: Tensor | None = None, scale: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Fill ``out`` with the product by expert; ``w`` is ``[experts, outer, inner]``, a transposed view or not.

    Returns:
        For the gradient of the squared ReLU: the products with ``hidden``, summed over columns, ``[tokens k]``.
    """
    outer, inner = w.shape[1:]
    blocks, launch = settings("experts", x.device)
    columns = min(blocks["columns"], max(16, triton.next_power_of_2(outer)))
    depth = min(blocks["inner"], max(16, triton.next_power_of_2(inner)))
    grid = (len(layout.expert), triton.cdiv(outer, columns))
    dots = torch.empty(len(out), grid[1], dtype=torch.float32, device=x.device) if kind == GRADIENT else x
    _grouped_kernel[grid](
        x, w, x if hidden is None else hidden, out, dots, source.clamp(min=0), layout.choice,
        layout.scale if scale is None else scale, layout.expert, inner, outer, w.stride(1), w.stride(2),
        kind, layout.block, columns, depth, **launch,
    )  # fmt: skip
    return dots.sum(1) if kind == GRADIENT else dots


def _weight_gradient(
    left: Tensor, right: Tensor, layout: Layout, left_row: Tensor, right_row: Tensor, scale: Tensor, weight: Tensor
) -> Tensor:
    experts, height, width = weight.shape
    out = torch.empty_like(weight)
    blocks, launch = settings("experts.weights", left.device)
    rows, columns = (
        min(blocks[name], max(16, triton.next_power_of_2(size)))
        for name, size in (("rows", height), ("columns", width))
    )
    _weight_gradient_kernel[(experts, triton.cdiv(height, rows), triton.cdiv(width, columns))](
        left, right, out, left_row, right_row, scale, layout.start, layout.end, height, width,
        rows, columns, blocks["inner"], **launch,
    )  # fmt: skip
    return out


def _sorted(index: Tensor, weights: Tensor, experts: int) -> Layout:
    tokens, k = index.shape
    block = 16 if tokens * k <= 16 * experts else 64
    flat = index.flatten()
    count = torch.zeros(experts, dtype=torch.long, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))
    padded = (count + block - 1) // block * block
    blocks = min(len(flat), (len(flat) + experts * (block - 1)) // block + 1)
    ends = padded.cumsum(0)
    order = flat.argsort(stable=True)
    chosen = flat[order]
    rank = torch.arange(len(flat), device=flat.device) - (count.cumsum(0) - count)[chosen]
    choice = torch.full((blocks * block,), -1, dtype=torch.long, device=flat.device)
    choice[(ends - padded)[chosen] + rank] = order
    starts = torch.arange(blocks, device=flat.device) * block
    expert = torch.searchsorted(ends, starts, right=True).clamp(max=experts - 1)
    token = torch.where(choice >= 0, choice // k, -1)
    scale = torch.where(choice >= 0, weights.flatten().float()[choice.clamp(min=0)], 0.0)
    return Layout(
        choice.int(), token.int(), scale, expert.int(), (ends - padded).int(), ends.int(), block
    )  # fmt: skip
