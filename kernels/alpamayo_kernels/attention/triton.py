# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Grouped-query attention of one new token: keys split over programs, parts joined by their log-sum-exp."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, mask_ptr, part_ptr, lse_ptr, keys, kv_heads, ratio, head_dim, splits, scale,
    stride_kb, stride_kh, stride_ks, HAS_MASK: tl.constexpr, BR: tl.constexpr, BS: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    split = tl.program_id(0)
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    r = tl.arange(0, BR)
    d = tl.arange(0, BD)
    row = (batch * kv_heads + head) * ratio + r
    inside = (r < ratio)[:, None] & (d < head_dim)[None, :]
    q = tl.load(q_ptr + row[:, None] * head_dim + d[None, :], mask=inside, other=0.0)
    best = tl.full((BR,), -1e30, dtype=tl.float32)
    weight = tl.zeros((BR,), dtype=tl.float32)
    acc = tl.zeros((BR, BD), dtype=tl.float32)
    per = tl.cdiv(tl.cdiv(keys, splits), BS) * BS
    first = split * per
    for start in range(first, tl.minimum(first + per, keys), BS):
        s = start + tl.arange(0, BS)
        seen = s < keys
        if HAS_MASK:
            seen = seen & (tl.load(mask_ptr + batch * keys + s, mask=seen, other=0) != 0)
        place = batch * stride_kb + head * stride_kh
        k = tl.load(
            k_ptr + place + s[None, :] * stride_ks + d[:, None],
            mask=(s < keys)[None, :] & (d < head_dim)[:, None],
            other=0.0,
        )
        v = tl.load(
            v_ptr + place + s[:, None] * stride_ks + d[None, :],
            mask=(s < keys)[:, None] & (d < head_dim)[None, :],
            other=0.0,
        )
        scores = tl.where(seen[None, :], tl.dot(q, k, input_precision="ieee") * scale, -1e30)
        new = tl.maximum(best, tl.max(scores, axis=1))
        p = tl.where(seen[None, :], tl.exp(scores - new[:, None]), 0.0)
        fade = tl.exp(best - new)
        weight = weight * fade + tl.sum(p, axis=1)
        acc = acc * fade[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        best = new
    safe = tl.where(weight > 0, weight, 1.0)
    out = row * splits + split
    tl.store(part_ptr + out[:, None] * head_dim + d[None, :], acc / safe[:, None], mask=inside)
    tl.store(lse_ptr + out, tl.where(weight > 0, best + tl.log(safe), -1e30), mask=r < ratio)


def gqa_decode(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, splits: int | None = None) -> Tensor:
    """Compute `naive.gqa_attention` for one query a sequence.

    Args:
        q: `[batch, heads, 1, head_dim]`.
        k: `[batch, kv_heads, keys, head_dim]`, a slice of a longer buffer or not; `v` has the same strides.
        v: Shaped as `k`.
        mask: True where a sequence may look, `[batch, keys]`.
        splits: Programs among which the keys of a head are divided.
    """
    batch, heads, _, head_dim = q.shape
    kv_heads, keys = k.shape[1:3]
    if k.stride() != v.stride() or k.stride(3) != 1:
        k, v = k.contiguous(), v.contiguous()
    ratio = heads // kv_heads
    splits = splits or max(1, min(32, keys // 256))
    part = torch.empty(batch, heads, splits, head_dim, dtype=torch.float32, device=q.device)
    lse = torch.empty(batch, heads, splits, dtype=torch.float32, device=q.device)
    _decode_kernel[(splits, kv_heads, batch)](
        q.contiguous(), k, v, q if mask is None else mask.to(torch.uint8).contiguous(), part, lse,
        keys, kv_heads, ratio, head_dim, splits, head_dim**-0.5, k.stride(0), k.stride(1), k.stride(2),
        mask is not None, max(16, triton.next_power_of_2(ratio)), 64, max(16, triton.next_power_of_2(head_dim)),
    )  # fmt: skip
    return (part * lse.softmax(-1)[..., None]).sum(2).to(q.dtype)[:, :, None]
