# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""Choosing a token under a mask: mask, temperature, noise and argmax in one pass over the logits."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _sample_kernel(
    logits_ptr, mask_ptr, uniform_ptr, out_ptr, vocab, inverse,
    HAS_MASK: tl.constexpr, NOISE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    best = -float("inf")
    found = tl.zeros((), dtype=tl.int32)
    for start in range(0, vocab, BLOCK):
        i = start + tl.arange(0, BLOCK)
        inside = i < vocab
        score = tl.load(logits_ptr + row * vocab + i, mask=inside, other=-float("inf")).to(tl.float32)
        if NOISE:
            u = tl.load(uniform_ptr + row * vocab + i, mask=inside, other=0.5)
            score = score * inverse - tl.log(-tl.log(u))
        if HAS_MASK:
            allowed = tl.load(mask_ptr + row * vocab + i, mask=inside, other=0) != 0
            score = tl.where(allowed, score, -float("inf"))
        top = tl.max(score, axis=0)
        where = start + tl.argmax(score, axis=0)
        better = top > best
        found = tl.where(better, where, found)
        best = tl.where(better, top, best)
    tl.store(out_ptr + row, found.to(tl.int64))


def sample_masked(
    logits: Tensor,
    mask: Tensor | None = None,
    temperature: float = 0.0,
    uniform: Tensor | None = None,
) -> Tensor:
    """Compute ``naive.sample_masked`` without ``top_p``."""
    rows, vocab = logits.shape
    noisy = temperature > 0
    if noisy and uniform is None:
        raise ValueError("sampling with a temperature needs uniform numbers")
    out = torch.empty(rows, dtype=torch.long, device=logits.device)
    blocks, launch = settings("sampling", logits.device)
    _sample_kernel[(rows,)](
        logits.contiguous(), logits if mask is None else mask.to(torch.uint8).contiguous(),
        logits if uniform is None else uniform.contiguous(), out, vocab, 1 / temperature if noisy else 1.0,
        mask is not None, noisy, min(blocks["vocabulary"], triton.next_power_of_2(vocab)), **launch,
    )  # fmt: skip
    return out
