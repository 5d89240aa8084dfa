"""One step, or a few, of the Mamba-2 recurrence."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu, with_reference_gradient
from alpamayo_kernels.state_update import fused

__all__ = ["selective_state_update"]


def selective_state_update(
    state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Advance the state by one token or several: ``S' = exp(dt A) S + dt x (x) B``, ``y = S' C + D x``.

    Args:
        state: ``[B, H, P, N]``; left unchanged.
        x: ``[B, H, P]``, or ``[B, T, H, P]`` for several tokens; the same holds for dt, B and C.
        dt: Discretisation step after softplus, ``[B, H]``.
        A: Negative decay rates, ``[H]``.
        B: Input maps, ``[B, G, N]``.
        C: Output maps, ``[B, G, N]``.
        D: Skip weights, ``[H]``.

    Returns:
        The outputs, shaped as ``x``, and the state after the last token, ``[B, H, P, N]``.
    """
    if on_gpu(x):
        from alpamayo_kernels.state_update import triton

        kernel = triton.selective_state_update
        return with_reference_gradient(kernel, fused.selective_state_update, state, x, dt, A, B, C, D)
    return fused.selective_state_update(state, x, dt, A, B, C, D)
