# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The state-space scan by chunks in three kernels: chunk states, their passing on, and the outputs.

The gradients take the same three steps backwards; their kernels are in ``triton_gradient.py``.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.ssd import triton_gradient
from alpamayo_kernels.ssd.chunk import LogDecaySums, by_chunk, log_decay_sums
from alpamayo_kernels.ssd.naive import unchanged
from alpamayo_kernels.tuning import settings


@triton.jit
def _chunk_state_kernel(
    v_ptr, map_ptr, weight_ptr, states_ptr, time, heads, ratio, head_dim, size, chunks,
    Q: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Sum ``weight_k v_k (x) map_k`` over a chunk."""
    chunk = tl.program_id(0)
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    groups = heads // ratio
    group = head // ratio
    row = (batch * chunks + chunk) * heads + head
    p = tl.arange(0, BP)
    n = tl.arange(0, BN)
    acc = tl.zeros((BP, BN), dtype=tl.float32)
    for start in range(0, Q, BK):
        k = start + tl.arange(0, BK)
        t = chunk * Q + k
        weight = tl.load(weight_ptr + row * Q + k)
        v = tl.load(
            v_ptr + ((batch * time + t[None, :]) * heads + head) * head_dim + p[:, None],
            mask=(t < time)[None, :] & (p < head_dim)[:, None],
            other=0.0,
        )
        m = tl.load(
            map_ptr + ((batch * time + t[:, None]) * groups + group) * size + n[None, :],
            mask=(t < time)[:, None] & (n < size)[None, :],
            other=0.0,
        )
        scaled = (v.to(tl.float32) * weight[None, :]).to(m.dtype)
        acc += tl.dot(scaled, m, input_precision="ieee")
    offset = (row * head_dim + p[:, None]) * size + n[None, :]
    tl.store(states_ptr + offset, acc, mask=(p < head_dim)[:, None] & (n < size)[None, :])


@triton.jit
def _pass_kernel(
    states_ptr, total_ptr, first_ptr, final_ptr, heads, numbers, chunks,
    HAS_FIRST: tl.constexpr, REVERSE: tl.constexpr, Q: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Replace the sum of each chunk by its initial state (its final state, in reverse)."""
    head = tl.program_id(0)
    batch = tl.program_id(1).to(tl.int64)
    i = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = i < numbers
    state = tl.zeros((BLOCK,), dtype=tl.float32)
    if HAS_FIRST:
        state += tl.load(first_ptr + (batch * heads + head) * numbers + i, mask=inside, other=0.0).to(tl.float32)
    for step in range(chunks):
        chunk = chunks - 1 - step if REVERSE else step
        row = (batch * chunks + chunk) * heads + head
        added = tl.load(states_ptr + row * numbers + i, mask=inside, other=0.0)
        tl.store(states_ptr + row * numbers + i, state, mask=inside)
        state = state * tl.exp(tl.load(total_ptr + row * Q + Q - 1)) + added
    tl.store(final_ptr + (batch * heads + head) * numbers + i, state, mask=inside)


@triton.jit
def _chunk_scan_kernel(
    x_ptr, dt_ptr, C_ptr, D_ptr, scores_ptr, total_ptr, rest_ptr, states_ptr, y_ptr,
    time, heads, ratio, head_dim, size, chunks,
    HAS_D: tl.constexpr, Q: tl.constexpr, BQ: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Compute the outputs of a block of time from the state at the chunk's start and the chunk's own tokens."""
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
    rest = tl.load(rest_ptr + row * Q + q)

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
        gap += rest[:, None] - tl.load(rest_ptr + row * Q + k)[None, :]
        decay = tl.where(q[:, None] >= k[None, :], tl.exp(tl.minimum(gap, 0.0)), 0.0)
        x = tl.load(
            x_ptr + ((batch * time + s[:, None]) * heads + head) * head_dim + p[None, :],
            mask=(s < time)[:, None] & (p < head_dim)[None, :],
            other=0.0,
        )
        acc += tl.dot((scores * decay * dt[None, :]).to(x.dtype), x, input_precision="ieee")
    offset = ((batch * time + t[:, None]) * heads + head) * head_dim + p[None, :]
    inside = (t < time)[:, None] & (p < head_dim)[None, :]
    if HAS_D:
        acc += tl.load(D_ptr + head).to(tl.float32) * tl.load(x_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + offset, acc, mask=inside)


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
    """Compute ``naive.ssd_scan``; outputs and states are float32, and every argument has its gradient.

    Args:
        x: As in ``naive.ssd_scan``; ``B`` and ``C`` have its dtype.
        dt: float32.
        A: float32.
        B: As in ``naive.ssd_scan``.
        C: As in ``naive.ssd_scan``.
        D: As in ``naive.ssd_scan``.
        state: As in ``naive.ssd_scan``.
        chunk_size: A power of two of at least 16.
    """
    if x.shape[1] == 0:
        return unchanged(x.float(), B.shape[-1], state)
    y, final = _Scan.apply(x, dt, A, B, C, D, state, chunk_size)
    return y, final


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor,
        D: Tensor | None, state: Tensor | None, chunk_size: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        x, dt, B, C = (m.contiguous() for m in (x, dt, B, C))
        Q = min(chunk_size, max(16, triton.next_power_of_2(x.shape[1])))
        sums, scores = _sums(dt, A, Q), _scores(B, C, Q)
        starts, final = _starts(x, dt, B, sums, state, Q)
        ctx.save_for_backward(x, dt, A, B, C, D, state)
        ctx.chunk_size = Q
        return _outputs(x, dt, C, D, scores, sums, starts), final

    @staticmethod
    def backward(ctx: Any, dy: Tensor, d_final: Tensor) -> tuple[Tensor | None, ...]:
        x, dt, A, B, C, D, state = ctx.saved_tensors
        Q, dy = ctx.chunk_size, dy.contiguous()
        sums, scores = _sums(dt, A, Q), _scores(B, C, Q)
        starts, _ = _starts(x, dt, B, sums, state, Q)
        ends = chunk_states(dy, C, sums.high.exp())
        d_state = pass_on(ends, sums.high, d_final, reverse=True)
        found = triton_gradient.gradients(x, dt, A, B, C, D, dy, sums, scores, starts, ends)
        return (*found, None if state is None else d_state.to(state.dtype), None)


def chunk_states(v: Tensor, maps: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of ``weight v (x) map`` over each chunk, ``[batch, chunks, heads, head_dim, state]``.

    Args:
        v: ``[B, T, H, P]``.
        maps: ``[B, T, G, N]``.
        weights: ``[batch, chunks, heads, Q]``.
    """
    batch, time, heads, head_dim = v.shape
    groups, size = maps.shape[2:]
    chunks, Q = weights.shape[1], weights.shape[3]
    states = torch.empty(batch, chunks, heads, head_dim, size, dtype=torch.float32, device=v.device)
    blocks, launch = settings("ssd.states", v.device)
    BP, BN = (max(16, triton.next_power_of_2(m)) for m in (head_dim, size))
    _chunk_state_kernel[(chunks, heads, batch)](
        v, maps, weights, states, time, heads, heads // groups, head_dim, size, chunks,
        Q, min(blocks["inner"], Q), BP, BN, **launch,
    )  # fmt: skip
    return states


def pass_on(states: Tensor, total: Tensor, first: Tensor | None, reverse: bool = False) -> Tensor:
    """Turn the sum of each chunk into the state before it (after it, in reverse), in place; return the last one."""
    batch, chunks, heads, head_dim, size = states.shape
    numbers = head_dim * size
    final = torch.empty(batch, heads, head_dim, size, dtype=torch.float32, device=states.device)
    blocks, launch = settings("ssd.passing", states.device)
    _pass_kernel[(heads, batch, triton.cdiv(numbers, blocks["numbers"]))](
        states, total, states if first is None else first.contiguous(), final, heads, numbers, chunks,
        first is not None, reverse, total.shape[3], blocks["numbers"], **launch,
    )  # fmt: skip
    return final


def _starts(
    x: Tensor, dt: Tensor, B: Tensor, sums: LogDecaySums, state: Tensor | None, Q: int
) -> tuple[Tensor, Tensor]:
    """Return the state at the start of each chunk and the final one."""
    weights = sums.to_end().exp() * by_chunk(dt, Q).transpose(2, 3)
    states = chunk_states(x, B, weights.contiguous())
    final = pass_on(states, sums.high, state)
    return states, final


def _outputs(
    x: Tensor, dt: Tensor, C: Tensor, D: Tensor | None, scores: Tensor, sums: LogDecaySums, starts: Tensor
) -> Tensor:
    batch, time, heads, head_dim = x.shape
    groups, size = C.shape[2:]
    chunks, Q = sums.high.shape[1], sums.high.shape[3]
    y = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    blocks, launch = settings("ssd.outputs", x.device)
    outer = min(blocks["outer"], Q)
    BP, BN = (max(16, triton.next_power_of_2(m)) for m in (head_dim, size))
    _chunk_scan_kernel[(chunks * (Q // outer), heads, batch)](
        x, dt, C, x if D is None else D, scores, sums.high, sums.low, starts, y,
        time, heads, heads // groups, head_dim, size, chunks,
        D is not None, Q, outer, min(blocks["inner"], outer), BP, BN, **launch,
    )  # fmt: skip
    return y


def _sums(dt: Tensor, A: Tensor, Q: int) -> LogDecaySums:
    return log_decay_sums(by_chunk(dt * A, Q).transpose(2, 3), triton_gradient.running_sum)


def _scores(B: Tensor, C: Tensor, Q: int) -> Tensor:
    """Return ``C B^T`` in each chunk and group, ``[batch, chunks, groups, Q, Q]``."""
    B, C = (by_chunk(m, Q).transpose(2, 3) for m in (B, C))
    return (C @ B.transpose(-1, -2)).contiguous()
