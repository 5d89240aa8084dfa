"""Root-mean-square normalisation by PyTorch's fused operator."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Compute ``naive.rms_norm``."""
    if x.dtype in (torch.float32, torch.float64):
        return functional.rms_norm(x, weight.shape, weight.to(x.dtype), eps)
    return functional.rms_norm(x.float(), weight.shape, weight.float(), eps).to(x.dtype)


def gated_rms_norm(x: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
    """Compute ``naive.gated_rms_norm``."""
    wide = torch.float64 if gate.dtype == torch.float64 else torch.float32
    u = torch.unflatten(x.to(wide) * functional.silu(gate.to(wide)), -1, (groups, -1))
    return weight * functional.rms_norm(u, u.shape[-1:], None, eps).flatten(-2).to(gate.dtype)
