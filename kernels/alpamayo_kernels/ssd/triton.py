# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The state-space scan by chunks in three kernels: chunk states, their passing on, and the outputs."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _chunk_state_kernel(
    x_ptr, dt_ptr, B_ptr, total_ptr, states_ptr, time, heads, ratio, head_dim, size, chunks,
    Q: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    groups = heads // ratio
    group = head // ratio
    base = ((batch * chunks + chunk) * heads + head) * Q
    last = tl.load(total_ptr + base + Q - 1)
    p = tl.arange(0, BP)
    n = tl.arange(0, BN)
    acc = tl.zeros((BP, BN), dtype=tl.float32)
    for start in range(0, Q, BK):
        k = start + tl.arange(0, BK)
        t = chunk * Q + k
        dt_k = tl.load(dt_ptr + (batch * time + t) * heads + head, mask=t < time, other=0.0).to(tl.float32)
        decay = tl.exp(last - tl.load(total_ptr + base + k)) * dt_k
        x = tl.load(
            x_ptr + ((batch * time + t[None, :]) * heads + head) * head_dim + p[:, None],
            mask=(t < time)[None, :] & (p < head_dim)[:, None],
            other=0.0,
        )
        B = tl.load(
            B_ptr + ((batch * time + t[:, None]) * groups + group) * size + n[None, :],
            mask=(t < time)[:, None] & (n < size)[None, :],
            other=0.0,
        )
        scaled = (x.to(tl.float32) * decay[None, :]).to(B.dtype)
        acc += tl.dot(scaled, B, input_precision="ieee")
    place = (((batch * chunks + chunk) * heads + head) * head_dim + p[:, None]) * size + n[None, :]
    tl.store(states_ptr + place, acc, mask=(p < head_dim)[:, None] & (n < size)[None, :])


@triton.jit
def _pass_kernel(
    states_ptr, total_ptr, first_ptr, final_ptr, heads, numbers, chunks,
    HAS_FIRST: tl.constexpr, Q: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    batch = tl.program_id(1).to(tl.int64)
    i = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = i < numbers
    state = tl.zeros((BLOCK,), dtype=tl.float32)
    if HAS_FIRST:
        state += tl.load(first_ptr + (batch * heads + head) * numbers + i, mask=inside, other=0.0).to(tl.float32)
    for chunk in range(chunks):
        row = (batch * chunks + chunk) * heads + head
        added = tl.load(states_ptr + row * numbers + i, mask=inside, other=0.0)
        tl.store(states_ptr + row * numbers + i, state, mask=inside)
        state = state * tl.exp(tl.load(total_ptr + row * Q + Q - 1)) + added
    tl.store(final_ptr + (batch * heads + head) * numbers + i, state, mask=inside)


@triton.jit
def _chunk_scan_kernel(
    x_ptr, dt_ptr, C_ptr, D_ptr, scores_ptr, total_ptr, states_ptr, y_ptr,
    time, heads, ratio, head_dim, size, chunks,
    HAS_D: tl.constexpr, Q: tl.constexpr, BQ: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    blocks = Q // BQ
    chunk = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    groups = heads // ratio
    group = head // ratio
    row = (batch * chunks + chunk) * heads + head
    q = block * BQ + tl.arange(0, BQ)
    t = chunk * Q + q
    p = tl.arange(0, BP)
    n = tl.arange(0, BN)
    total = tl.load(total_ptr + row * Q + q)

    C = tl.load(
        C_ptr + ((batch * time + t[:, None]) * groups + group) * size + n[None, :],
        mask=(t < time)[:, None] & (n < size)[None, :],
        other=0.0,
    )
    start_state = tl.load(
        states_ptr + (row * head_dim + p[None, :]) * size + n[:, None],
        mask=(p < head_dim)[None, :] & (n < size)[:, None],
        other=0.0,
    )
    acc = tl.dot(C, start_state.to(C.dtype), input_precision="ieee") * tl.exp(total)[:, None]
    for start in range(0, (block + 1) * BQ, BK):
        k = start + tl.arange(0, BK)
        s = chunk * Q + k
        scores = tl.load(
            scores_ptr + (((batch * chunks + chunk) * groups + group) * Q + q[:, None]) * Q + k[None, :]
        ).to(tl.float32)
        dt = tl.load(dt_ptr + (batch * time + s) * heads + head, mask=s < time, other=0.0).to(tl.float32)
        gap = total[:, None] - tl.load(total_ptr + row * Q + k)[None, :]
        decay = tl.where(q[:, None] >= k[None, :], tl.exp(tl.minimum(gap, 0.0)), 0.0)
        x = tl.load(
            x_ptr + ((batch * time + s[:, None]) * heads + head) * head_dim + p[None, :],
            mask=(s < time)[:, None] & (p < head_dim)[None, :],
            other=0.0,
        )
        acc += tl.dot((scores * decay * dt[None, :]).to(x.dtype), x, input_precision="ieee")
    place = ((batch * time + t[:, None]) * heads + head) * head_dim + p[None, :]
    inside = (t < time)[:, None] & (p < head_dim)[None, :]
    if HAS_D:
        acc += tl.load(D_ptr + head).to(tl.float32) * tl.load(x_ptr + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + place, acc, mask=inside)


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    state: Tensor | None = None,
    chunk_size: int = 128,
) -> tuple[Tensor, Tensor]:
    """Compute `naive.ssd_scan`; outputs and states are float32.

    Args:
        x: As in `naive.ssd_scan`; `B` and `C` have its dtype.
        dt: float32.
        A: float32.
        B: As in `naive.ssd_scan`.
        C: As in `naive.ssd_scan`.
        D: As in `naive.ssd_scan`.
        state: As in `naive.ssd_scan`.
        chunk_size: A power of two of at least 16.
    """
    batch, time, heads, head_dim = x.shape
    groups, size = B.shape[2:]
    x, dt, B, C = (m.contiguous() for m in (x, dt, B, C))
    Q = chunk_size
    chunks = triton.cdiv(time, Q)
    total = _total(dt, A, chunks, Q)
    states = torch.empty(batch, chunks, heads, head_dim, size, dtype=torch.float32, device=x.device)
    final = torch.empty(batch, heads, head_dim, size, dtype=torch.float32, device=x.device)
    y = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    BP, BN = (max(16, triton.next_power_of_2(m)) for m in (head_dim, size))
    inner = min(32, Q)
    _chunk_state_kernel[(chunks, heads, batch)](
        x, dt, B, total, states, time, heads, heads // groups, head_dim, size, chunks, Q, inner, BP, BN
    )
    numbers = head_dim * size
    _pass_kernel[(heads, batch, triton.cdiv(numbers, 1024))](
        states, total, states if state is None else state.contiguous(), final, heads, numbers, chunks,
        state is not None, Q, 1024,
    )  # fmt: skip
    outer = min(64, Q)
    _chunk_scan_kernel[(chunks * (Q // outer), heads, batch)](
        x, dt, C, A if D is None else D, _scores(B, C, chunks, Q), total, states, y,
        time, heads, heads // groups, head_dim, size, chunks, D is not None, Q, outer, inner, BP, BN,
    )  # fmt: skip
    return y, final


def _total(dt: Tensor, A: Tensor, chunks: int, Q: int) -> Tensor:
    """Return the running sum of `dt A` in each chunk, `[batch, chunks, heads, Q]`."""
    decay = torch.nn.functional.pad(dt * A, (0, 0, 0, chunks * Q - dt.shape[1]))
    return torch.unflatten(decay, 1, (chunks, Q)).transpose(2, 3).contiguous().cumsum(-1)


def _scores(B: Tensor, C: Tensor, chunks: int, Q: int) -> Tensor:
    """Return `C B^T` in each chunk and group, `[batch, chunks, groups, Q, Q]`."""
    pad = chunks * Q - B.shape[1]
    B, C = (
        torch.unflatten(torch.nn.functional.pad(m, (0, 0, 0, 0, 0, pad)), 1, (chunks, Q)).transpose(2, 3)
        for m in (B, C)
    )
    return (C @ B.transpose(-1, -2)).contiguous()
