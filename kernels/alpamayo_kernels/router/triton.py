# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Choosing the experts of each token: one program a token, one pass for each group and expert that it keeps."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _route_kernel(
    logits_ptr, bias_ptr, weights_ptr, index_ptr, groups, size, scale, K: tl.constexpr, KEPT: tl.constexpr,
    NORMALISE: tl.constexpr, BG: tl.constexpr, BE: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    g = tl.arange(0, BG).to(tl.int64)
    member = tl.arange(0, BE)
    e = g[:, None] * size + member[None, :]
    inside = (g < groups)[:, None] & (member < size)[None, :]
    scores = tl.sigmoid(tl.load(logits_ptr + row * groups * size + e, mask=inside, other=0.0))
    choice = tl.where(inside, scores + tl.load(bias_ptr + e, mask=inside, other=0.0), -float("inf"))
    if KEPT > 0:
        best = tl.max(choice, axis=1)
        first = tl.argmax(choice, axis=1)
        second = tl.max(tl.where(member[None, :] == first[:, None], -float("inf"), choice), axis=1)
        value = best + tl.where(size > 1, second, 0.0)
        value = tl.where(g < groups, value, -float("inf"))
        kept = tl.zeros((BG,), dtype=tl.int32)
        for _ in tl.static_range(KEPT):
            top = tl.argmax(value, axis=0)
            kept = tl.where(g == top, 1, kept)
            value = tl.where(g == top, -float("inf"), value)
        choice = tl.where((kept > 0)[:, None], choice, -float("inf"))
    flat = tl.reshape(choice, (BG * BE,))
    scores = tl.reshape(scores, (BG * BE,))
    offset = tl.arange(0, BG * BE)
    slots = tl.arange(0, BK)
    weights = tl.zeros((BK,), dtype=tl.float32)
    index = tl.zeros((BK,), dtype=tl.int64)
    for k in tl.static_range(K):
        best_offset = tl.argmax(flat, axis=0)
        weight = tl.sum(tl.where(offset == best_offset, scores, 0.0), axis=0)
        expert = (best_offset // BE).to(tl.int64) * size + best_offset % BE
        weights = tl.where(slots == k, weight, weights)
        index = tl.where(slots == k, expert, index)
        flat = tl.where(offset == best_offset, -float("inf"), flat)
    if NORMALISE:
        weights = weights / (tl.sum(weights, axis=0) + 1e-20)
    tl.store(weights_ptr + row * K + slots, weights * scale, mask=slots < K)
    tl.store(index_ptr + row * K + slots, index, mask=slots < K)


def route_top_k(
    logits: Tensor,
    bias: Tensor,
    k: int,
    groups: int = 1,
    kept_groups: int = 1,
    normalise: bool = True,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.route_top_k``, in the order of the biased scores and with the gradient of the logits."""
    weights, index = _Route.apply(logits, bias, k, groups, kept_groups, normalise, scale)
    return weights, index


class _Route(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, bias: Tensor, k: int, groups: int, kept_groups: int, normalise: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        tokens, experts = logits.shape
        weights = torch.empty(tokens, k, dtype=torch.float32, device=logits.device)
        index = torch.empty(tokens, k, dtype=torch.long, device=logits.device)
        size = experts // groups
        _route_kernel[(tokens,)](
            logits.float().contiguous(), bias.float().contiguous(), weights, index, groups, size, scale,
            k, kept_groups if kept_groups < groups else 0, normalise,
            triton.next_power_of_2(groups), triton.next_power_of_2(size), triton.next_power_of_2(k),
        )  # fmt: skip
        ctx.save_for_backward(logits, index)
        ctx.normalise, ctx.scale = normalise, scale
        ctx.mark_non_differentiable(index)
        return weights, index

    @staticmethod
    def backward(ctx: Any, d_weights: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        logits, index = ctx.saved_tensors
        scores = logits.gather(1, index).float().sigmoid()
        d_scores = d_weights * ctx.scale
        if ctx.normalise:
            total = scores.sum(-1, keepdim=True) + 1e-20
            d_scores = (d_scores - (d_scores * scores).sum(-1, keepdim=True) / total) / total
        d_chosen = (d_scores * scores * (1 - scores)).to(logits.dtype)
        return torch.zeros_like(logits).scatter(1, index, d_chosen), None, None, None, None, None, None
