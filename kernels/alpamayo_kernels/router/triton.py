# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Choosing the experts of each token: one program a token, one pass for each of its experts."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _route_kernel(
    logits_ptr, bias_ptr, weights_ptr, index_ptr, experts, scale,
    K: tl.constexpr, NORMALISE: tl.constexpr, BLOCK: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    e = tl.arange(0, BLOCK)
    inside = e < experts
    logits = tl.load(logits_ptr + row * experts + e, mask=inside, other=0.0)
    scores = tl.sigmoid(logits)
    choice = tl.where(inside, scores + tl.load(bias_ptr + e, mask=inside, other=0.0), -float("inf"))
    slots = tl.arange(0, BK)
    weights = tl.zeros((BK,), dtype=tl.float32)
    index = tl.zeros((BK,), dtype=tl.int64)
    for k in tl.static_range(K):
        best = tl.argmax(choice, axis=0)
        weight = tl.sum(tl.where(e == best, scores, 0.0), axis=0)
        weights = tl.where(slots == k, weight, weights)
        index = tl.where(slots == k, best.to(tl.int64), index)
        choice = tl.where(e == best, -float("inf"), choice)
    if NORMALISE:
        weights = weights / (tl.sum(weights, axis=0) + 1e-20)
    tl.store(weights_ptr + row * K + slots, weights * scale, mask=slots < K)
    tl.store(index_ptr + row * K + slots, index, mask=slots < K)


def route_top_k(
    logits: Tensor, bias: Tensor, k: int, normalise: bool = True, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Compute `naive.route_top_k` for one group, in the order of the biased scores."""
    tokens, experts = logits.shape
    weights = torch.empty(tokens, k, dtype=torch.float32, device=logits.device)
    index = torch.empty(tokens, k, dtype=torch.long, device=logits.device)
    _route_kernel[(tokens,)](
        logits.float().contiguous(), bias.float(), weights, index, experts, scale,
        k, normalise, triton.next_power_of_2(experts), triton.next_power_of_2(k),
    )  # fmt: skip
    return weights, index
