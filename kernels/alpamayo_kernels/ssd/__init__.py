"""The state-space scan of Mamba-2 over whole sequences."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu
from alpamayo_kernels.ssd import chunk

__all__ = ["ssd_scan"]


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
    """Run ``S_t = exp(dt_t A) S_{t-1} + dt_t x_t (x) B_t`` and ``y_t = S_t C_t + D x_t`` by chunks of tokens.

    Args:
        x: Inputs, ``[B, T, H, P]``.
        dt: Discretisation steps after softplus, ``[B, T, H]``; zero leaves the state unchanged.
        A: Negative decay rates, ``[H]``.
        B: Input maps, ``[B, T, G, N]``; head h uses group ``h // (H / G)``.
        C: Output maps, ``[B, T, G, N]``.
        D: Skip weights, ``[H]``.
        state: Initial state, ``[B, H, P, N]``; zero when None.
        chunk_size: Tokens of a chunk.

    Returns:
        The outputs ``[B, T, H, P]`` and the final state ``[B, H, P, N]``, float32 or float64.
    """
    power_of_two = chunk_size >= 16 and not chunk_size & (chunk_size - 1)
    if on_gpu(x) and power_of_two:
        from alpamayo_kernels.ssd import triton

        return triton.ssd_scan(x, dt, A, B, C, D, state, chunk_size)
    return chunk.ssd_scan(x, dt, A, B, C, D, state, chunk_size)
