# mypy: disable-error-code="no-untyped-def,misc,untyped-decorator,no-untyped-call"
"""The gradients of the scan by chunks.

With ``a`` the running sum of ``dt A`` in a chunk, ``L_ij = exp(a_i - a_j)`` for i >= j, ``S`` the state at its start
and ``E`` the gradient of the state at its end, an output is ``y_i = sum_j L_ij (C_i B_j) dt_j x_j + exp(a_i) S C_i``:

- ``du_j = sum_i L_ij (C_i B_j) dy_i + exp(a_Q - a_j) E B_j``, then ``dx = dt du + D dy`` and ``dt`` gets ``x du``
- ``dG_ij = L_ij dt_j (dy_i x_j)``, summed over the heads of a group; then ``dC = dG B`` and ``dB = dG^T C``, to which
  come ``exp(a_i) dy_i S`` and ``exp(a_Q - a_j) dt_j x_j E``
- ``da`` is row sums minus column sums of ``dG_ij (C_i B_j)`` without its diagonal, which cancels, plus the states' part

No number is added atomically: the same inputs give the same bytes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from alpamayo_kernels.ssd.chunk import LogDecaySums, by_chunk
from alpamayo_kernels.tuning import settings


@triton.jit
def _running_sum_kernel(in_ptr, out_ptr, rows, REVERSE: tl.constexpr, Q: tl.constexpr, BR: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
    offset = row[:, None] * Q + tl.arange(0, Q)[None, :]
    inside = (row < rows)[:, None]
    values = tl.load(in_ptr + offset, mask=inside, other=0.0)
    tl.store(out_ptr + offset, tl.cumsum(values, axis=1, reverse=REVERSE), mask=inside)


@triton.jit
def _input_gradient_kernel(
    dy_ptr, x_ptr, dt_ptr, B_ptr, D_ptr, scores_ptr, total_ptr, rest_ptr, ends_ptr, dx_ptr, ddt_ptr, skip_ptr,
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
    j = block * BQ + tl.arange(0, BQ)
    t = chunk * Q + j
    p = tl.arange(0, BP)
    n = tl.arange(0, BN)
    total = tl.load(total_ptr + row * Q + j)
    rest = tl.load(rest_ptr + row * Q + j)
    to_end = tl.load(total_ptr + row * Q + Q - 1) - total + (tl.load(rest_ptr + row * Q + Q - 1) - rest)

    B = tl.load(
        B_ptr + ((batch * time + t[:, None]) * groups + group) * size + n[None, :],
        mask=(t < time)[:, None] & (n < size)[None, :],
        other=0.0,
    )
    end = tl.load(
        ends_ptr + (row * head_dim + p[None, :]) * size + n[:, None],
        mask=(p < head_dim)[None, :] & (n < size)[:, None],
        other=0.0,
    )
    acc = tl.dot(B, end.to(B.dtype), input_precision="ieee") * tl.exp(tl.minimum(to_end, 0.0))[:, None]
    for start in range(block * BQ, Q, BK):
        i = start + tl.arange(0, BK)
        s = chunk * Q + i
        scores = tl.load(
            scores_ptr + (((batch * chunks + chunk) * groups + group) * Q + i[None, :]) * Q + j[:, None]
        ).to(tl.float32)
        gap = tl.load(total_ptr + row * Q + i)[None, :] - total[:, None]
        gap += tl.load(rest_ptr + row * Q + i)[None, :] - rest[:, None]
        decay = tl.where(i[None, :] >= j[:, None], tl.exp(tl.minimum(gap, 0.0)), 0.0)
        dy = tl.load(
            dy_ptr + ((batch * time + s[:, None]) * heads + head) * head_dim + p[None, :],
            mask=(s < time)[:, None] & (p < head_dim)[None, :],
            other=0.0,
        )
        acc += tl.dot((scores * decay).to(B.dtype), dy.to(B.dtype), input_precision="ieee")

    offset = ((batch * time + t[:, None]) * heads + head) * head_dim + p[None, :]
    inside = (t < time)[:, None] & (p < head_dim)[None, :]
    x = tl.load(x_ptr + offset, mask=inside, other=0.0).to(tl.float32)
    scalar = (batch * time + t) * heads + head
    tl.store(ddt_ptr + scalar, tl.sum(x * acc, axis=1), mask=t < time)
    dx = acc * tl.load(dt_ptr + scalar, mask=t < time, other=0.0).to(tl.float32)[:, None]
    if HAS_D:
        dy_own = tl.load(dy_ptr + offset, mask=inside, other=0.0).to(tl.float32)
        dx += tl.load(D_ptr + head).to(tl.float32) * dy_own
        tl.store(skip_ptr + scalar, tl.sum(x * dy_own, axis=1), mask=t < time)
    tl.store(dx_ptr + offset, dx.to(dx_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _score_gradient_kernel(
    dy_ptr, x_ptr, dt_ptr, scores_ptr, total_ptr, rest_ptr, out_ptr, rows_ptr, columns_ptr,
    time, heads, ratio, head_dim, chunks, Q: tl.constexpr, BQ: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    blocks = Q // BQ
    tile = tl.program_id(0) % (blocks * blocks)
    chunk = tl.program_id(0) // (blocks * blocks)
    group = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    lower = tile // blocks
    upper = tile % blocks
    if upper <= lower:
        i = lower * BQ + tl.arange(0, BQ)
        j = upper * BQ + tl.arange(0, BQ)
        t = chunk * Q + i
        s = chunk * Q + j
        p = tl.arange(0, BP)
        offset = (((batch * chunks + chunk) * (heads // ratio) + group) * Q + i[:, None]) * Q + j[None, :]
        scores = tl.load(scores_ptr + offset).to(tl.float32)
        acc = tl.zeros((BQ, BQ), dtype=tl.float32)
        for member in range(ratio):
            head = group * ratio + member
            row = (batch * chunks + chunk) * heads + head
            x = tl.load(
                x_ptr + ((batch * time + s[None, :]) * heads + head) * head_dim + p[:, None],
                mask=(s < time)[None, :] & (p < head_dim)[:, None],
                other=0.0,
            )
            dy = tl.load(
                dy_ptr + ((batch * time + t[:, None]) * heads + head) * head_dim + p[None, :],
                mask=(t < time)[:, None] & (p < head_dim)[None, :],
                other=0.0,
            )
            dt = tl.load(dt_ptr + (batch * time + s) * heads + head, mask=s < time, other=0.0).to(tl.float32)
            gap = tl.load(total_ptr + row * Q + i)[:, None] - tl.load(total_ptr + row * Q + j)[None, :]
            gap += tl.load(rest_ptr + row * Q + i)[:, None] - tl.load(rest_ptr + row * Q + j)[None, :]
            decay = tl.where(i[:, None] >= j[None, :], tl.exp(tl.minimum(gap, 0.0)), 0.0)
            product = tl.dot(dy.to(x.dtype), x, input_precision="ieee") * decay * dt[None, :]
            acc += product
            strict = tl.where(i[:, None] > j[None, :], product * scores, 0.0)
            tl.store(rows_ptr + (row * blocks + upper) * Q + i, tl.sum(strict, axis=1))
            tl.store(columns_ptr + (row * blocks + lower) * Q + j, tl.sum(strict, axis=0))
        tl.store(out_ptr + offset, acc)


@triton.jit
def _map_gradient_kernel(
    v_ptr, map_ptr, weight_ptr, states_ptr, out_ptr, dots_ptr, time, heads, ratio, head_dim, size, chunks,
    Q: tl.constexpr, BQ: tl.constexpr, BP: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Compute the states' part of the gradient of B or C: ``weight v S`` over a group's heads.

    Its product with the map is computed too.
    """
    blocks = Q // BQ
    chunk = tl.program_id(0) // blocks
    block = tl.program_id(0) % blocks
    group = tl.program_id(1).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    groups = heads // ratio
    q = block * BQ + tl.arange(0, BQ)
    t = chunk * Q + q
    p = tl.arange(0, BP)
    n = tl.arange(0, BN)
    m = tl.load(
        map_ptr + ((batch * time + t[:, None]) * groups + group) * size + n[None, :],
        mask=(t < time)[:, None] & (n < size)[None, :],
        other=0.0,
    )
    acc = tl.zeros((BQ, BN), dtype=tl.float32)
    for member in range(ratio):
        head = group * ratio + member
        row = (batch * chunks + chunk) * heads + head
        v = tl.load(
            v_ptr + ((batch * time + t[:, None]) * heads + head) * head_dim + p[None, :],
            mask=(t < time)[:, None] & (p < head_dim)[None, :],
            other=0.0,
        )
        states = tl.load(
            states_ptr + (row * head_dim + p[:, None]) * size + n[None, :],
            mask=(p < head_dim)[:, None] & (n < size)[None, :],
            other=0.0,
        )
        scaled = (v.to(tl.float32) * tl.load(weight_ptr + row * Q + q)[:, None]).to(m.dtype)
        part = tl.dot(scaled, states.to(m.dtype), input_precision="ieee")
        acc += part
        tl.store(dots_ptr + row * Q + q, tl.sum(part * m.to(tl.float32), axis=1))
    offset = (((batch * chunks + chunk) * groups + group) * Q + q[:, None]) * size + n[None, :]
    tl.store(out_ptr + offset, acc, mask=(n < size)[None, :])


def gradients(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, dy: Tensor,
    sums: LogDecaySums, scores: Tensor, starts: Tensor, ends: Tensor,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return the gradients of x, dt, A, B, C and D.

    Args:
        x: As in ``naive.ssd_scan``; so the following.
        dt: float32.
        A: float32.
        B: In the dtype of x.
        C: In the dtype of x.
        D: Or None.
        dy: Gradient of the outputs, float32.
        sums: Running sums of ``dt A``.
        scores: ``C B^T``, ``[batch, chunks, groups, Q, Q]``.
        starts: States at the start of each chunk, ``[batch, chunks, heads, head_dim, state]``.
        ends: Gradients of the states at the end of each chunk, shaped as ``starts``.
    """
    Q = sums.high.shape[3]
    dx, ddt, skip = _input_gradient(x, dt, B, D, dy, sums, scores, ends)
    dG, within = _score_gradient(x, dt, dy, sums, scores)
    step = by_chunk(dt, Q).transpose(2, 3)
    dC, carried = _map_gradient(dy, C, sums.high.exp(), starts)
    dB, kept = _map_gradient(x, B, sums.to_end().exp() * step, ends)
    dC += (dG.to(B.dtype) @ by_chunk(B, Q).transpose(2, 3)).float()
    dB += (dG.transpose(-1, -2).to(C.dtype) @ by_chunk(C, Q).transpose(2, 3)).float()

    da = within.double() + carried - kept
    da[..., -1] += kept.sum(-1) + sums.high[..., -1].exp() * (starts * ends).sum((-1, -2))
    d_decay = running_sum(da, reverse=True).float() * sums.counts  # of dt A
    dA = (d_decay * step).sum((0, 1, 3)).to(A.dtype)
    ddt += d_decay.transpose(2, 3).flatten(1, 2)[:, : dt.shape[1]] * A
    dD = None if D is None or skip is None else skip.sum((0, 1)).to(D.dtype)
    return dx, ddt.to(dt.dtype), dA, _in_time(dB, B), _in_time(dC, C), dD


def running_sum(m: Tensor, reverse: bool = False) -> Tensor:
    """Return the sums of the last axis up to each place, or from it on; PyTorch's own is not always repeatable."""
    m = m.contiguous()
    out, rows = torch.empty_like(m), m.numel() // m.shape[-1]
    _running_sum_kernel[(triton.cdiv(rows, 16),)](m, out, rows, reverse, m.shape[-1], 16)
    return out


def _in_time(m: Tensor, like: Tensor) -> Tensor:
    return m.transpose(2, 3).flatten(1, 2)[:, : like.shape[1]].to(like.dtype)


def _input_gradient(
    x: Tensor, dt: Tensor, B: Tensor, D: Tensor | None, dy: Tensor, sums: LogDecaySums, scores: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    batch, time, heads, head_dim = x.shape
    groups, size = B.shape[2:]
    chunks, Q = sums.high.shape[1], sums.high.shape[3]
    dx, ddt = torch.empty_like(x), torch.empty_like(dt, dtype=torch.float32)
    skip = None if D is None else torch.empty_like(ddt)
    blocks, launch = settings("ssd.gradient", x.device)
    outer = min(blocks["outer"], Q)
    BP, BN = (max(16, triton.next_power_of_2(m)) for m in (head_dim, size))
    _input_gradient_kernel[(chunks * (Q // outer), heads, batch)](
        dy, x, dt, B, x if D is None else D, scores, sums.high, sums.low, ends, dx, ddt, ddt if skip is None else skip,
        time, heads, heads // groups, head_dim, size, chunks,
        D is not None, Q, outer, min(blocks["inner"], outer), BP, BN, **launch,
    )  # fmt: skip
    return dx, ddt, skip


def _score_gradient(x: Tensor, dt: Tensor, dy: Tensor, sums: LogDecaySums, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``dG`` and the chunk's contribution to ``da``."""
    batch, time, heads, head_dim = x.shape
    chunks, groups, Q = scores.shape[1:4]
    blocks, launch = settings("ssd.gradient", x.device)
    outer = min(blocks["outer"], Q)
    tiles = Q // outer
    out = torch.zeros(scores.shape, dtype=torch.float32, device=x.device)  # the upper triangle is not visited
    rows, columns = torch.zeros(2, batch, chunks, heads, tiles, Q, dtype=torch.float32, device=x.device)
    _score_gradient_kernel[(chunks * tiles**2, groups, batch)](
        dy, x, dt, scores, sums.high, sums.low, out, rows, columns, time, heads, heads // groups, head_dim, chunks,
        Q, outer, max(16, triton.next_power_of_2(head_dim)), **launch,
    )  # fmt: skip
    return out, (rows - columns).sum(3)


def _map_gradient(v: Tensor, maps: Tensor, weights: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states' part of a map's gradient, ``[batch, chunks, groups, Q, state]``, and its product with the map.

    The product is ``[batch, chunks, heads, Q]``.
    """
    batch, time, heads, head_dim = v.shape
    groups, size = maps.shape[2:]
    chunks, Q = weights.shape[1], weights.shape[3]
    out = torch.empty(batch, chunks, groups, Q, size, dtype=torch.float32, device=v.device)
    dots = torch.empty(batch, chunks, heads, Q, dtype=torch.float32, device=v.device)
    blocks, launch = settings("ssd.gradient", v.device)
    outer = min(blocks["outer"], Q)
    BP, BN = (max(16, triton.next_power_of_2(m)) for m in (head_dim, size))
    _map_gradient_kernel[(chunks * (Q // outer), groups, batch)](
        v, maps, weights.contiguous(), states, out, dots, time, heads, heads // groups, head_dim, size, chunks,
        Q, outer, BP, BN, **launch,
    )  # fmt: skip
    return out, dots
