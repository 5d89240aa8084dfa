"""Models on the CPU with weights stored in bfloat16 or int8; activations and states stay float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alpamayo_kernels.linear import linear
from alpamayo_kernels.quantisation import int8
from alpamayo_vla_model.nemotron.model import Experts, NemotronModel


class StoredLinear(nn.Module):
    """A linear map with stored weights ``[out, in]``, with a scale a row for int8."""

    weight: Tensor
    scale: Tensor | None

    def __init__(self, module: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight, scale = _stored(module.weight, dtype)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = module.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        return linear(x, self.weight, self.bias, self.scale)


class StoredExperts(nn.Module):
    """Routed experts with stored weights."""

    up_proj: Tensor
    down_proj: Tensor

    def __init__(self, experts: Experts, dtype: torch.dtype) -> None:
        super().__init__()
        for name in ("up", "down"):
            values, scale = _stored(getattr(experts, f"{name}_proj"), dtype)
            self.register_buffer(f"{name}_proj", values)
            self.register_buffer(f"{name}_scale", scale)

    def forward(self, x: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """Return the weighted sum of each token's experts, ``[tokens, width]``."""
        total = torch.zeros(x.shape, dtype=weights.dtype, device=x.device)
        for expert in torch.unique(index).tolist():
            token, slot = torch.where(index == expert)
            inner = linear(x[token], self.up_proj[expert], None, self._scale("up", expert)).relu().square()
            y = linear(inner, self.down_proj[expert], None, self._scale("down", expert))
            total.index_add_(0, token, (y * weights[token, slot, None]).to(total.dtype))
        return total.to(x.dtype)

    def _scale(self, name: str, expert: int) -> Tensor | None:
        scale: Any = getattr(self, f"{name}_scale")
        return None if scale is None else scale[expert]


def store_weights(model: NemotronModel, dtype: torch.dtype) -> NemotronModel:
    """Store the weights of all linear maps and experts as int8 or bfloat16, in place.

    Embeddings, routers and norms stay. The model can no longer be trained or saved.
    """
    if dtype not in (torch.int8, torch.bfloat16):
        raise ValueError(f"weights are stored as int8 or bfloat16, not {dtype}")
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, StoredLinear(child, dtype))
            elif isinstance(child, Experts):
                setattr(module, name, StoredExperts(child, dtype))
    return model.requires_grad_(False)


def _stored(weight: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    return int8.quantise(weight.detach()) if dtype == torch.int8 else (weight.detach().to(dtype), None)
