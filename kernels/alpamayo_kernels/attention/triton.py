# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Grouped-query attention without a matrix of scores in memory.

- One new token: keys split over programs, parts joined by their log-sum-exp.
- Many tokens: one program a block of queries walks over the keys with a running maximum; the gradients recompute
  the scores from the log-sum-exp, ``dS = P (dP - sum(dy y))`` with ``P = exp(S - lse)`` and ``dP = dy V^T``.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _decode_kernel(
    q_ptr, k_ptr, v_ptr, mask_ptr, part_ptr, lse_ptr, keys, kv_heads, ratio, head_dim, splits, scale,
    stride_kb, stride_kh, stride_ks, HAS_MASK: tl.constexpr, BR: tl.constexpr, BS: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    split = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    r = tl.arange(0, BR)
    d = tl.arange(0, BD)
    row = (batch * kv_heads + head) * ratio + r
    inside = (r < ratio)[:, None] & (d < head_dim)[None, :]
    q = tl.load(q_ptr + row[:, None] * head_dim + d[None, :], mask=inside, other=0.0)
    m_i = tl.full((BR,), -1e30, dtype=tl.float32)
    l_i = tl.zeros((BR,), dtype=tl.float32)
    acc = tl.zeros((BR, BD), dtype=tl.float32)
    per = tl.cdiv(tl.cdiv(keys, splits), BS) * BS
    first = split * per
    for start in range(first, tl.minimum(first + per, keys), BS):
        s = start + tl.arange(0, BS)
        mask = s < keys
        if HAS_MASK:
            mask = mask & (tl.load(mask_ptr + batch * keys + s, mask=mask, other=0) != 0)
        offset = batch * stride_kb + head * stride_kh
        k = tl.load(
            k_ptr + offset + s[None, :].to(tl.int64) * stride_ks + d[:, None],
            mask=(s < keys)[None, :] & (d < head_dim)[:, None],
            other=0.0,
        )
        v = tl.load(
            v_ptr + offset + s[:, None].to(tl.int64) * stride_ks + d[None, :],
            mask=(s < keys)[:, None] & (d < head_dim)[None, :],
            other=0.0,
        )
        scores = tl.where(mask[None, :], tl.dot(q, k, input_precision="ieee") * scale, -1e30)
        m_new = tl.maximum(m_i, tl.max(scores, axis=1))
        p = tl.where(mask[None, :], tl.exp(scores - m_new[:, None]), 0.0)
        alpha = tl.exp(m_i - m_new)
        l_i = l_i * alpha + tl.sum(p, axis=1)
        acc = acc * alpha[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        m_i = m_new
    safe = tl.where(l_i > 0, l_i, 1.0)
    out = row * splits + split
    tl.store(part_ptr + out[:, None] * head_dim + d[None, :], acc / safe[:, None], mask=inside)
    tl.store(lse_ptr + out, tl.where(l_i > 0, m_i + tl.log(safe), -1e30), mask=r < ratio)


@triton.jit
def _attention_mask(
    mask_ptr, batch, i, s, queries, keys, stride_mb, stride_mq, CAUSAL: tl.constexpr, HAS_MASK: tl.constexpr
):
    """Return whether query i attends to key s, ``[len(i), len(s)]``."""
    mask = (i < queries)[:, None] & (s < keys)[None, :]
    if CAUSAL:
        mask = mask & (s[None, :] <= i[:, None] + keys - queries)
    if HAS_MASK:
        offset = mask_ptr + batch * stride_mb + i[:, None].to(tl.int64) * stride_mq + s[None, :]
        mask = mask & (tl.load(offset, mask=mask, other=0) != 0)
    return mask


@triton.jit
def _prefill_kernel(
    q_ptr, k_ptr, v_ptr, mask_ptr, y_ptr, lse_ptr, queries, keys, heads, ratio, head_dim, scale,
    stride_qb, stride_qh, stride_qs, stride_kb, stride_kh, stride_ks, stride_mb, stride_mq,
    CAUSAL: tl.constexpr, HAS_MASK: tl.constexpr, BQ: tl.constexpr, BS: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    i = block * BQ + tl.arange(0, BQ)
    d = tl.arange(0, BD)
    inside = (i < queries)[:, None] & (d < head_dim)[None, :]
    offset = q_ptr + batch * stride_qb + head * stride_qh
    q = tl.load(offset + i[:, None].to(tl.int64) * stride_qs + d[None, :], mask=inside, other=0.0)
    m_i = tl.full((BQ,), -1e30, dtype=tl.float32)
    l_i = tl.zeros((BQ,), dtype=tl.float32)
    acc = tl.zeros((BQ, BD), dtype=tl.float32)
    limit = keys
    if CAUSAL:
        limit = tl.minimum(keys, (block + 1) * BQ + keys - queries)
    offset = batch * stride_kb + (head // ratio) * stride_kh
    for start in range(0, limit, BS):
        s = start + tl.arange(0, BS)
        known = (s < keys)[:, None] & (d < head_dim)[None, :]
        k = tl.load(k_ptr + offset + s[:, None].to(tl.int64) * stride_ks + d[None, :], mask=known, other=0.0)
        v = tl.load(v_ptr + offset + s[:, None].to(tl.int64) * stride_ks + d[None, :], mask=known, other=0.0)
        mask = _attention_mask(mask_ptr, batch, i, s, queries, keys, stride_mb, stride_mq, CAUSAL, HAS_MASK)
        scores = tl.where(mask, tl.dot(q, tl.trans(k), input_precision="ieee") * scale, -1e30)
        m_new = tl.maximum(m_i, tl.max(scores, axis=1))
        p = tl.where(mask, tl.exp(scores - m_new[:, None]), 0.0)
        alpha = tl.exp(m_i - m_new)
        l_i = l_i * alpha + tl.sum(p, axis=1)
        acc = acc * alpha[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        m_i = m_new
    safe = tl.where(l_i > 0, l_i, 1.0)
    row = (batch * heads + head) * queries + i
    y = (acc / safe[:, None]).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + row[:, None] * head_dim + d[None, :], y, mask=inside)
    tl.store(lse_ptr + row, tl.where(l_i > 0, m_i + tl.log(safe), 1e30), mask=i < queries)


@triton.jit
def _query_gradient_kernel(
    q_ptr, k_ptr, v_ptr, mask_ptr, dy_ptr, lse_ptr, dots_ptr, dq_ptr, queries, keys, heads, ratio, head_dim, scale,
    stride_mb, stride_mq,
    CAUSAL: tl.constexpr, HAS_MASK: tl.constexpr, BQ: tl.constexpr, BS: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    i = block * BQ + tl.arange(0, BQ)
    d = tl.arange(0, BD)
    inside = (i < queries)[:, None] & (d < head_dim)[None, :]
    row = (batch * heads + head) * queries + i
    offset = row[:, None] * head_dim + d[None, :]
    q = tl.load(q_ptr + offset, mask=inside, other=0.0)
    dy = tl.load(dy_ptr + offset, mask=inside, other=0.0)
    lse = tl.load(lse_ptr + row, mask=i < queries, other=1e30)
    dots = tl.load(dots_ptr + row, mask=i < queries, other=0.0)
    acc = tl.zeros((BQ, BD), dtype=tl.float32)
    limit = keys
    if CAUSAL:
        limit = tl.minimum(keys, (block + 1) * BQ + keys - queries)
    first = (batch * (heads // ratio) + head // ratio) * keys
    for start in range(0, limit, BS):
        s = start + tl.arange(0, BS)
        known = (s < keys)[:, None] & (d < head_dim)[None, :]
        k = tl.load(k_ptr + (first + s[:, None]) * head_dim + d[None, :], mask=known, other=0.0)
        v = tl.load(v_ptr + (first + s[:, None]) * head_dim + d[None, :], mask=known, other=0.0)
        mask = _attention_mask(mask_ptr, batch, i, s, queries, keys, stride_mb, stride_mq, CAUSAL, HAS_MASK)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        p = tl.where(mask, tl.exp(scores - lse[:, None]), 0.0)
        dp = tl.dot(dy, tl.trans(v), input_precision="ieee")
        ds = p * (dp - dots[:, None]) * scale
        acc += tl.dot(ds.to(k.dtype), k, input_precision="ieee")
    tl.store(dq_ptr + offset, acc.to(dq_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _key_gradient_kernel(
    q_ptr, k_ptr, v_ptr, mask_ptr, dy_ptr, lse_ptr, dots_ptr, dk_ptr, dv_ptr,
    queries, keys, heads, ratio, head_dim, scale, stride_mb, stride_mq,
    CAUSAL: tl.constexpr, HAS_MASK: tl.constexpr, BQ: tl.constexpr, BS: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    s = block * BS + tl.arange(0, BS)
    d = tl.arange(0, BD)
    known = (s < keys)[:, None] & (d < head_dim)[None, :]
    offset = ((batch * (heads // ratio) + kv_head) * keys + s[:, None]) * head_dim + d[None, :]
    k = tl.load(k_ptr + offset, mask=known, other=0.0)
    v = tl.load(v_ptr + offset, mask=known, other=0.0)
    dk = tl.zeros((BS, BD), dtype=tl.float32)
    dv = tl.zeros((BS, BD), dtype=tl.float32)
    first = 0
    if CAUSAL:
        first = tl.maximum(block * BS - (keys - queries), 0) // BQ * BQ
    for member in range(ratio):
        row = (batch * heads + kv_head * ratio + member) * queries
        for start in range(first, queries, BQ):
            i = start + tl.arange(0, BQ)
            inside = (i < queries)[:, None] & (d < head_dim)[None, :]
            q = tl.load(q_ptr + (row + i[:, None]) * head_dim + d[None, :], mask=inside, other=0.0)
            dy = tl.load(dy_ptr + (row + i[:, None]) * head_dim + d[None, :], mask=inside, other=0.0)
            lse = tl.load(lse_ptr + row + i, mask=i < queries, other=1e30)
            dots = tl.load(dots_ptr + row + i, mask=i < queries, other=0.0)
            mask = _attention_mask(mask_ptr, batch, i, s, queries, keys, stride_mb, stride_mq, CAUSAL, HAS_MASK)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            p = tl.where(mask, tl.exp(scores - lse[:, None]), 0.0)
            dv += tl.dot(tl.trans(p).to(dy.dtype), dy, input_precision="ieee")
            dp = tl.dot(dy, tl.trans(v), input_precision="ieee")
            ds = p * (dp - dots[:, None]) * scale
            dk += tl.dot(tl.trans(ds).to(q.dtype), q, input_precision="ieee")
    tl.store(dk_ptr + offset, dk.to(dk_ptr.dtype.element_ty), mask=known)
    tl.store(dv_ptr + offset, dv.to(dv_ptr.dtype.element_ty), mask=known)


def gqa_decode(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, splits: int | None = None) -> Tensor:
    """Compute ``naive.gqa_attention`` for one query a sequence, without gradients.

    Args:
        q: ``[B, H, 1, P]``.
        k: ``[B, K, S, P]``, a slice of a longer buffer or not; ``v`` has the same strides.
        v: Shaped as ``k``.
        mask: True where a sequence attends, ``[B, S]``.
        splits: Programs among which the keys of a head are divided.
    """
    batch, heads, _, head_dim = q.shape
    kv_heads, keys = k.shape[1:3]
    k, v = _alike(k, v)
    ratio = heads // kv_heads
    splits = splits or max(1, min(32, keys // 256))
    part = torch.empty(batch, heads, splits, head_dim, dtype=torch.float32, device=q.device)
    lse = torch.empty(batch, heads, splits, dtype=torch.float32, device=q.device)
    blocks, launch = settings("attention.decode", q.device)
    _decode_kernel[(splits, kv_heads, batch)](
        q.contiguous(), k, v, q if mask is None else mask.to(torch.uint8).contiguous(), part, lse,
        keys, kv_heads, ratio, head_dim, splits, head_dim**-0.5, k.stride(0), k.stride(1), k.stride(2),
        mask is not None, max(16, triton.next_power_of_2(ratio)), blocks["keys"], _width(q), **launch,
    )  # fmt: skip
    return (part * lse.softmax(-1)[..., None]).sum(2).to(q.dtype)[:, :, None]


def gqa_prefill(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Compute ``naive.gqa_attention`` for many queries, with gradients; a query that sees no key gets zeros.

    Args:
        q: ``[B, H, T, P]``.
        k: ``[B, K, S, P]``, a slice of a longer buffer or not.
        v: Shaped as ``k``.
        mask: True where a query attends, ``[B or 1, 1, T, S]``.
        causal: Query i attends to keys up to ``i + keys - queries``.
    """
    y: Tensor = _Attention.apply(q, k, v, mask, causal)
    return y


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        batch, heads, queries, head_dim = q.shape
        keys, ratio = k.shape[2], heads // k.shape[1]
        q = q if q.stride(3) == 1 else q.contiguous()
        k, v = _alike(k, v)
        mask = None if mask is None else mask.contiguous().view(torch.uint8).expand(batch, 1, queries, keys)
        y = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
        blocks, launch = settings("attention.prefill", q.device)
        BQ = min(blocks["queries"], max(16, triton.next_power_of_2(queries)))
        BS = min(blocks["keys"], max(16, triton.next_power_of_2(keys)))
        _prefill_kernel[(triton.cdiv(queries, BQ), heads, batch)](
            q, k, v, q if mask is None else mask, y, lse, queries, keys, heads, ratio, head_dim, head_dim**-0.5,
            *q.stride()[:3], *k.stride()[:3], *_mask_strides(mask), causal, mask is not None, BQ, BS, _width(q),
            **launch,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, mask, y, lse)
        ctx.causal = causal
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, y, lse = ctx.saved_tensors
        q, k, v, dy = (m.contiguous() for m in (q, k, v, dy))
        batch, heads, queries, head_dim = q.shape
        keys, ratio = k.shape[2], heads // k.shape[1]
        dots = (dy.float() * y.float()).sum(-1)
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        blocks, launch = settings("attention.gradient", q.device)
        BQ = min(blocks["queries"], max(16, triton.next_power_of_2(queries)))
        BS = min(blocks["keys"], max(16, triton.next_power_of_2(keys)))
        inputs = (q, k, v, q if mask is None else mask, dy, lse, dots)
        sizes = (queries, keys, heads, ratio, head_dim, head_dim**-0.5, *_mask_strides(mask))
        flags = (ctx.causal, mask is not None, BQ, BS, _width(q))
        _query_gradient_kernel[(triton.cdiv(queries, BQ), heads, batch)](*inputs, dq, *sizes, *flags, **launch)
        _key_gradient_kernel[(triton.cdiv(keys, BS), k.shape[1], batch)](*inputs, dk, dv, *sizes, *flags, **launch)
        return dq, dk, dv, None, None


def _alike(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values with the same strides and unit stride along the head."""
    if k.stride() != v.stride() or k.stride(3) != 1:
        return k.contiguous(), v.contiguous()
    return k, v


def _mask_strides(mask: Tensor | None) -> tuple[int, int]:
    return (0, 0) if mask is None else (mask.stride(0), mask.stride(2))


def _width(q: Tensor) -> int:
    return max(16, triton.next_power_of_2(q.shape[3]))
