# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The routed experts as two grouped matrix products over tokens sorted by expert."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _grouped_kernel(
    x_ptr, w_ptr, out_ptr, source_ptr, target_ptr, scale_ptr, expert_ptr, inner, outer,
    SQUARED_RELU: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    rows = block * BM + tl.arange(0, BM)
    source = tl.load(source_ptr + rows).to(tl.int64)
    target = tl.load(target_ptr + rows).to(tl.int64)
    expert = tl.load(expert_ptr + block).to(tl.int64)
    o = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, inner, BK):
        k = start + tl.arange(0, BK)
        x = tl.load(
            x_ptr + source[:, None] * inner + k[None, :], mask=(target >= 0)[:, None] & (k < inner)[None, :], other=0.0
        )
        w = tl.load(
            w_ptr + (expert * outer + o[None, :]) * inner + k[:, None],
            mask=(o < outer)[None, :] & (k < inner)[:, None],
            other=0.0,
        )
        acc += tl.dot(x, w, input_precision="ieee")
    if SQUARED_RELU:
        acc = tl.maximum(acc, 0.0)
        acc = acc * acc
    scale = tl.load(scale_ptr + rows)
    acc = acc * scale[:, None]
    place = out_ptr + target[:, None] * outer + o[None, :]
    tl.store(place, acc.to(out_ptr.dtype.element_ty), mask=(target >= 0)[:, None] & (o < outer)[None, :])


def routed_mlp(x: Tensor, weights: Tensor, index: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Compute `naive.routed_mlp`."""
    tokens, width = x.shape
    k, (experts, inner, _) = index.shape[1], up.shape
    BM = 16 if tokens * k <= 16 * experts else 64
    slot, expert = _aligned(index, experts, BM)
    source = torch.where(slot >= 0, slot // k, 0).to(torch.int32)
    target = slot.to(torch.int32)
    ones = torch.ones(len(slot), dtype=torch.float32, device=x.device)
    scale = weights.flatten().float()[slot.clamp(min=0)]
    hidden = torch.empty(tokens * k, inner, dtype=x.dtype, device=x.device)
    out = torch.empty(tokens * k, width, dtype=torch.float32, device=x.device)
    BN = BK = 32 if width < 64 else 64
    place = torch.where(slot >= 0, slot, 0).to(torch.int32)
    _grouped_kernel[(len(expert), triton.cdiv(inner, BN))](
        x.contiguous(), up, hidden, source, target, ones, expert, width, inner, True, BM, BN, BK
    )
    _grouped_kernel[(len(expert), triton.cdiv(width, BN))](
        hidden, down, out, place, target, scale, expert, inner, width, False, BM, BN, BK
    )
    return out.view(tokens, k, width).sum(1).to(x.dtype)


def _aligned(index: Tensor, experts: int, block: int) -> tuple[Tensor, Tensor]:
    """Sort the choices by expert and pad each expert's to whole blocks.

    Returns:
        The flat choice in each row (-1 at padding), `[rows]`, and the expert of each block, `[rows / block]`. The
        number of rows depends on shapes alone, so that no value has to come back from the GPU.
    """
    flat = index.flatten()
    count = torch.zeros(experts, dtype=torch.long, device=flat.device).index_add_(0, flat, torch.ones_like(flat))
    padded = (count + block - 1) // block * block
    blocks = min(len(flat), (len(flat) + experts * (block - 1)) // block + 1)
    ends = padded.cumsum(0)
    order = flat.argsort(stable=True)
    chosen = flat[order]
    rank = torch.arange(len(flat), device=flat.device) - (count.cumsum(0) - count)[chosen]
    slot = torch.full((blocks * block,), -1, dtype=torch.long, device=flat.device)
    slot[(ends - padded)[chosen] + rank] = order
    starts = torch.arange(blocks, device=flat.device) * block
    expert = torch.searchsorted(ends, starts, right=True).clamp(max=experts - 1)
    return slot, expert.to(torch.int32)
