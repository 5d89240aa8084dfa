"""Root-mean-square normalisation, plain and gated by groups: the reference for the other versions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight``, in float32 up to the final cast to the dtype of x."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * weight.to(wide.dtype)).to(x.dtype)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Return ``norm(x * silu(gate)) * weight`` with the mean square taken in each of ``groups`` slices.

    Args:
        x: ``[..., D]``, usually float32.
        gate: Shaped as ``x``; the result has its dtype, and is cast to it before the weight is applied.
        weight: ``[F]``.
        groups: Divides ``channels``.
        eps: Added to the mean square.
    """
    wide = torch.float64 if gate.dtype == torch.float64 else torch.float32
    u = x.to(wide) * functional.silu(gate.to(wide))
    u = torch.unflatten(u, -1, (groups, -1))
    u = u * torch.rsqrt(u.pow(2).mean(-1, keepdim=True) + eps)
    return weight * u.flatten(-2).to(gate.dtype)
