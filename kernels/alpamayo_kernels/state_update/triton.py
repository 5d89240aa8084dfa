# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""One or several steps of the Mamba-2 recurrence with the state held in registers between them."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.tuning import settings


@triton.jit
def _update_kernel(
    state_ptr, x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, y_ptr, out_ptr, steps, heads, ratio, head_dim, size,
    HAS_D: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    batch = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    p = tl.program_id(2) * BP + tl.arange(0, BP)
    n = tl.arange(0, BN)
    groups = heads // ratio
    group = head // ratio
    inside = (p < head_dim)[:, None] & (n < size)[None, :]
    offset = ((batch * heads + head) * head_dim + p[:, None]) * size + n[None, :]
    state = tl.load(state_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    A = tl.load(A_ptr + head).to(tl.float32)
    for t in range(steps):
        row = batch * steps + t
        dt = tl.load(dt_ptr + row * heads + head).to(tl.float32)
        x = tl.load(x_ptr + (row * heads + head) * head_dim + p, mask=p < head_dim, other=0.0).to(tl.float32)
        B = tl.load(B_ptr + (row * groups + group) * size + n, mask=n < size, other=0.0).to(tl.float32)
        C = tl.load(C_ptr + (row * groups + group) * size + n, mask=n < size, other=0.0).to(tl.float32)
        state = state * tl.exp(dt * A) + (dt * x)[:, None] * B[None, :]
        y = tl.sum(state * C[None, :], axis=1)
        if HAS_D:
            y += tl.load(D_ptr + head).to(tl.float32) * x
        tl.store(y_ptr + (row * heads + head) * head_dim + p, y, mask=p < head_dim)
    tl.store(out_ptr + offset, state.to(out_ptr.dtype.element_ty), mask=inside)


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``naive.selective_state_update``, without gradients.

    Args:
        state: ``[B, H, P, N]``.
        x: ``[B, H, P]``, or ``[B, T, H, P]``; so the following.
        dt: Without the last axis of ``x``.
        A: ``[H]``.
        B: ``[B, G, N]`` or ``[batch, steps, groups, state]``.
        C: Shaped as ``B``.
        D: ``[H]``.
        out: Where the new state goes; may be ``state`` itself. New memory when None.
    """
    batch, heads, head_dim, size = state.shape
    steps = x.shape[1] if x.ndim == 4 else 1
    state, x, dt, A, B, C = (m.contiguous() for m in (state, x, dt, A, B, C))
    y = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    out = torch.empty_like(state) if out is None else out
    ratio = heads // B.shape[-2]
    blocks, launch = settings("state_update", x.device)
    rows = min(blocks["rows"], triton.next_power_of_2(head_dim))
    grid = (batch, heads, triton.cdiv(head_dim, rows))
    _update_kernel[grid](
        state, x, dt, A, B, C, A if D is None else D, y, out, steps, heads, ratio, head_dim, size,
        D is not None, rows, triton.next_power_of_2(size), **launch,
    )  # fmt: skip
    return y, out
