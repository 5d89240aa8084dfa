"""Linear maps, whatever their weights are stored in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from alpamayo_kernels import cpu_step
from alpamayo_kernels.cpu_step import tables

__all__ = ["linear"]

_ONEDNN = hasattr(torch.ops, "mkldnn") and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """Return ``x W^T + b``.

    On a CPU without gradients, few float32 rows read the weights in their stored form, each row with the same result
    whatever the others are; many go through oneDNN, which is a tenth faster than PyTorch's default there.

    Args:
        x: ``[..., in]``.
        weight: ``[out, in]``, of the dtype of x, bfloat16, or int8 with a scale.
        bias: ``[out]``.
        scale: ``[out]``, bfloat16, for int8.
    """
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0 and not torch.is_grad_enabled()
    if plain and x.numel() <= cpu_step.MOST_LINEAR_ROWS * x.shape[-1] and cpu_step.available():
        flat = x.reshape(-1, x.shape[-1])
        return cpu_step.linear(flat, tables.weight(weight, bias, scale)).view(*x.shape[:-1], -1)
    if scale is not None:
        weight = weight.float() * scale.float()[:, None]
    if weight.dtype != x.dtype:
        weight = weight.to(x.dtype)
    if plain and _ONEDNN:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    return functional.linear(x, weight, bias)
