"""One step, or a few, of the Mamba-2 recurrence."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu, with_reference_gradient
from alpamayo_kernels.state_update import fused

__all__ = ["selective_state_update"]


def selective_state_update(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Advance the state by one token or several; see ``naive.selective_state_update``."""
    if on_gpu(x):
        kernel = kernels(__name__).selective_state_update
        y, new = with_reference_gradient(kernel, fused.selective_state_update, state, x, dt, A, B, C, D)
        return y, new
    return fused.selective_state_update(state, x, dt, A, B, C, D)
