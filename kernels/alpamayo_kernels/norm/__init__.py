"""Root-mean-square normalisation, plain and gated by groups."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import on_gpu
from alpamayo_kernels.norm import fused

__all__ = ["gated_rms_norm", "rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight``, in float32 up to the final cast to the dtype of x.

    Args:
        x: ``[..., D]``.
        weight: ``[D]``.
        eps: Added to the mean square.

    Returns:
        ``[..., D]`` in the dtype of ``x``.
    """
    if on_gpu(x):
        from alpamayo_kernels.norm import triton

        return triton.rms_norm(x, weight, eps)
    return fused.rms_norm(x, weight, eps)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Return ``norm(x * silu(gate)) * weight`` with one mean square for each of ``groups`` slices.

    Args:
        x: ``[..., D]``, usually float32.
        gate: ``[..., D]``; the result has its dtype, and is cast to it before the weight is applied.
        weight: ``[D]``.
        groups: Divides D.
        eps: Added to the mean square.

    Returns:
        ``[..., D]`` in the dtype of ``gate``.
    """
    if on_gpu(x):
        from alpamayo_kernels.norm import triton

        return triton.gated_rms_norm(x, gate, weight, groups, eps)
    return fused.gated_rms_norm(x, gate, weight, groups, eps)
