"""Linear maps whose weights are stored in fewer bits; activations keep theirs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from alpamayo_kernels import fused_step
from alpamayo_kernels.fused_step import tables


def linear(x: Tensor, weight: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Return ``x W^T + b``; few float32 rows on a CPU read the weights as they are stored.

    Args:
        x: `[rows, in]`.
        weight: `[out, in]`, int8, bfloat16 or float32.
        scale: `[out]`, bfloat16, for int8.
        bias: `[out]`.
    """
    few = x.shape[0] <= fused_step.FEW_ROWS and x.dtype == torch.float32 and not x.is_cuda
    if few and not (torch.is_grad_enabled() and x.requires_grad) and fused_step.available():
        return fused_step.linear(x, tables.weight(weight, bias, scale))
    wide = weight.float() if scale is None else weight.float() * scale.float()[:, None]
    return functional.linear(x, wide.to(x.dtype), bias)
