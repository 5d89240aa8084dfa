"""Root-mean-square normalisation, plain and gated by groups."""

from __future__ import annotations

from torch import Tensor

from alpamayo_kernels.dispatch import kernels, on_gpu
from alpamayo_kernels.norm import fused

__all__ = ["gated_rms_norm", "rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight``; see ``naive.rms_norm``."""
    if on_gpu(x):
        y: Tensor = kernels(__name__).rms_norm(x, weight, eps)
        return y
    return fused.rms_norm(x, weight, eps)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Return ``norm(x * silu(gate)) * weight``, normalised in groups; see ``naive.gated_rms_norm``."""
    if on_gpu(x):
        y: Tensor = kernels(__name__).gated_rms_norm(x, gate, weight, groups, eps)
        return y
    return fused.gated_rms_norm(x, gate, weight, groups, eps)
