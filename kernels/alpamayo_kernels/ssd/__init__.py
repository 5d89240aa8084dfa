"""The state-space scan of Mamba-2 over whole sequences."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu
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
    """Run the scan by chunks; see ``naive.ssd_scan`` for shapes. Outputs and final state are float32 at least."""
    power_of_two = chunk_size >= 16 and not chunk_size & (chunk_size - 1)
    if on_gpu(x) and power_of_two:
        y, final = kernels(__name__).ssd_scan(x, dt, A, B, C, D, state, chunk_size)
        return y, final
    return chunk.ssd_scan(x, dt, A, B, C, D, state, chunk_size)
