"""The state-space scan by chunks of matrix products (state-space duality, arXiv 2405.21060, section 6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from alpamayo_kernels.ssd.naive import unchanged

# A logarithm of a decay below this counts as this: its exponential is zero in either case, and sums stay small.
LEAST_LOG_DECAY = {torch.float32: -128.0, torch.float64: -800.0}


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
    """Compute the scan of ``naive.ssd_scan`` in float32 (float64 for float64 inputs), chunk by chunk.

    Inside a chunk the outputs are ``(L * C B^T) (dt x)`` with ``L_ij = exp(sum of dt A over (j, i])``; between
    chunks only the states travel. B and C are never expanded from groups to heads.
    """
    batch, time, heads, head_dim = x.shape
    groups, size = B.shape[2:]
    ratio = heads // groups
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    if time == 0:
        return unchanged(x.to(dtype), size, state)
    chunk = min(chunk_size, time)
    count = -(-time // chunk)
    x_in = x.to(dtype)
    dt = dt.to(dtype)

    u = by_chunk(x_in * dt[..., None], chunk).view(batch, count, chunk, groups, ratio * head_dim)
    u = u.transpose(2, 3)  # [b, c, g, q, r p]
    B, C = (by_chunk(m.to(dtype), chunk).transpose(2, 3) for m in (B, C))  # [b, c, g, q, n]
    sums = log_decay_sums(by_chunk(dt * A.to(dtype), chunk).permute(0, 1, 3, 2), lambda m: m.cumsum(-1))

    y = _within(sums, C @ B.transpose(-1, -2), u, ratio)
    states = _chunk_states(sums.to_end().exp(), B, u, ratio)  # [b, c, g, r p, n]
    from_start = sums.high.exp()  # [b, c, h, q]
    starts, final = _carry(from_start[..., -1], states, state, ratio)
    carried = C @ starts.transpose(-1, -2)  # [b, c, g, q, r p]
    decay = from_start.view(batch, count, groups, ratio, chunk).transpose(-1, -2)  # [b, c, g, q, r]
    y = y + (torch.unflatten(carried, -1, (ratio, head_dim)) * decay[..., None]).flatten(-2)
    y = y.transpose(2, 3).reshape(batch, count * chunk, heads, head_dim)[:, :time]
    if D is not None:
        y = torch.addcmul(y, x_in, D.to(dtype)[:, None])
    return y, final.view(batch, heads, head_dim, size)


@dataclass(frozen=True)
class LogDecaySums:
    """Running sums of the logarithms of decays in each chunk, in two parts; ``[batch, chunks, heads, Q]`` each.

    The sum over the tokens (j, i] is the difference of two running sums. Where these are large and it is small, float32
    loses it (cancellation); the difference of both parts keeps it, as a sum of the few terms would.

    Attributes:
        high: The sums, rounded.
        low: The errors of that rounding; no gradient.
        counts: One where a logarithm counts as it is, zero at or below ``LEAST_LOG_DECAY``.
    """

    high: Tensor
    low: Tensor
    counts: Tensor

    def gaps(self) -> Tensor:
        """Return the sums over the tokens (j, i], ``[batch, chunks, heads, Q, Q]``; not valid for j > i."""
        return (self.high[..., :, None] - self.high[..., None, :]).add_(self.low[..., :, None] - self.low[..., None, :])

    def to_end(self) -> Tensor:
        """Return the sums from after each token to the end of its chunk, at most zero."""
        gap = self.high[..., -1:] - self.high + (self.low[..., -1:] - self.low)
        return gap.clamp(max=0.0)


def log_decay_sums(log_decay: Tensor, running_sum: Callable[[Tensor], Tensor]) -> LogDecaySums:
    """Sum logarithms of decays up to each token, in float64.

    Args:
        log_decay: Zero or less, ``[batch, chunks, heads, Q]``.
        running_sum: Sums the last axis up to each place.
    """
    least = LEAST_LOG_DECAY[log_decay.dtype]
    total = running_sum(log_decay.clamp(min=least).double())
    high = total.to(log_decay.dtype)
    low = (total.detach() - high.detach()).to(log_decay.dtype)
    return LogDecaySums(high, low, (log_decay.detach() > least).to(log_decay.dtype))


def by_chunk(m: Tensor, chunk: int) -> Tensor:
    """Cut ``[batch, time, ...]`` into chunks, ``[batch, chunks, chunk, ...]``, padded with zeros."""
    pad = -m.shape[1] % chunk
    if pad:
        m = functional.pad(m, (0, 0) * (m.ndim - 2) + (0, pad))
    return torch.unflatten(m, 1, (-1, chunk))


def _within(sums: LogDecaySums, scores: Tensor, u: Tensor, ratio: int) -> Tensor:
    """Return the outputs that come from the same chunk, ``[b, c, g, q, r p]``."""
    b, c, g, q, _ = u.shape
    future = torch.ones(q, q, dtype=torch.bool, device=u.device).triu(1)
    decay = sums.gaps().masked_fill_(future, -torch.inf).exp_()
    weights = decay.view(b, c, g, ratio, q, q) * scores[:, :, :, None]
    values = torch.unflatten(u, -1, (ratio, -1)).transpose(3, 4)  # [b, c, g, r, q, p]
    return (weights @ values).transpose(3, 4).flatten(-2)


def _chunk_states(to_end: Tensor, B: Tensor, u: Tensor, ratio: int) -> Tensor:
    """Return what each chunk adds to the state at its end, ``[b, c, g, r p, n]``; ``to_end`` decays up to there."""
    b, c, g, q, _ = u.shape
    decay = to_end.view(b, c, g, ratio, q).transpose(-1, -2)
    return (torch.unflatten(u, -1, (ratio, -1)) * decay[..., None]).flatten(-2).transpose(-1, -2) @ B


def _carry(decay: Tensor, states: Tensor, state: Tensor | None, ratio: int) -> tuple[Tensor, Tensor]:
    """Return the state at the start of each chunk and the final one; ``decay`` is ``[b, c, h]``."""
    b, c, g, rows, n = states.shape
    factor = decay.repeat_interleave(rows // ratio, dim=-1).view(b, c, g, rows, 1)
    current = torch.zeros_like(states[:, 0]) if state is None else state.to(states.dtype).reshape(b, g, rows, n)
    starts = []
    for k in range(c):
        starts.append(current)
        current = torch.addcmul(states[:, k], factor[:, k], current)
    return torch.stack(starts, dim=1), current
