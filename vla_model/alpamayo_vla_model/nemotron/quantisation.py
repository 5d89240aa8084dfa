"""Models with weights in fewer bits: in memory for the CPU, and in files as published.

Formats of a file's tensor `X`: FP8 stores `X` in e4m3 with `X_scale`; NVFP4 stores packed codes with `X_scale`
(one a block) and `X_scale_2` (one a tensor). They are dequantised on loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from alpamayo_kernels.quantisation import fp8, int8, nvfp4
from alpamayo_vla_model.nemotron.model import Experts, NemotronModel

# Which format a kind of weight is stored in; kinds that are not named stay as they are.
RECIPES: dict[str, dict[str, str]] = {
    "nvfp4": {"experts": "nvfp4", "shared_experts": "fp8", "in_proj": "fp8", "out_proj": "fp8"},
    "fp8": {"experts": "fp8", "shared_experts": "fp8", "in_proj": "fp8", "out_proj": "fp8"},
}


class Int8Linear(nn.Module):
    """A linear map with int8 weights `[out, in]` and a scale a row."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = int8.quantise(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., in]` to `[..., out]`."""
        y = int8.linear(x.flatten(0, -2), self.weight, self.scale).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


class Int8Experts(nn.Module):
    """Routed experts with int8 weights."""

    up_proj: Tensor
    down_proj: Tensor
    up_scale: Tensor
    down_scale: Tensor

    def __init__(self, experts: Experts) -> None:
        super().__init__()
        for name in ("up", "down"):
            values, scale = int8.quantise(getattr(experts, f"{name}_proj").detach())
            self.register_buffer(f"{name}_proj", values)
            self.register_buffer(f"{name}_scale", scale)

    def forward(self, x: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        """Return the weighted sum of each token's experts, `[tokens, width]`."""
        total = torch.zeros(x.shape, dtype=weights.dtype, device=x.device)
        for expert in torch.unique(index).tolist():
            token, slot = torch.where(index == expert)
            inner = int8.linear(x[token], self.up_proj[expert], self.up_scale[expert]).relu().square()
            y = int8.linear(inner, self.down_proj[expert], self.down_scale[expert])
            total.index_add_(0, token, (y * weights[token, slot, None]).to(total.dtype))
        return total.to(x.dtype)


def quantise_int8(model: NemotronModel) -> NemotronModel:
    """Replace all linear maps and experts by int8 ones, in place; embeddings, routers and norms stay.

    The model can no longer be trained or saved.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
            elif isinstance(child, Experts):
                setattr(module, name, Int8Experts(child))
    return model.requires_grad_(False)


def stored_as(name: str, recipe: Mapping[str, str]) -> str | None:
    """Return the format of a published tensor under a recipe; None for as it is."""
    if not name.endswith(".weight") or name.startswith("mtp."):
        return None
    kinds = [part for part in name.split(".")[:-1] if part in recipe]
    return recipe[kinds[0]] if kinds else None


def encode(tensors: Mapping[str, Tensor], recipe: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors of a quantised file."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        form = stored_as(name, recipe)
        if form == "nvfp4" and tensor.shape[-1] % nvfp4.BLOCK == 0:
            out[name], out[f"{name}_scale"], out[f"{name}_scale_2"] = nvfp4.quantise(tensor)
        elif form is not None:
            out[name], out[f"{name}_scale"] = fp8.quantise(tensor)
        else:
            out[name] = tensor
    return out


def decode(tensor: Tensor, scales: Mapping[str, Tensor]) -> Tensor:
    """Return the float32 weight of a stored tensor and its scales (by suffix)."""
    if tensor.dtype == torch.uint8:
        return nvfp4.dequantise(tensor, scales["_scale"], scales["_scale_2"])
    return fp8.dequantise(tensor, scales["_scale"])


def description(recipe_name: str) -> dict[str, Any]:
    """Return the contents of `hf_quant_config.json`."""
    algorithm = "NVFP4" if recipe_name == "nvfp4" else "FP8"
    layers: dict[str, Any] = {"quant_algo": algorithm, "kv_cache_quant_algo": None}
    if algorithm == "NVFP4":
        layers["group_size"] = nvfp4.BLOCK
    return {"producer": {"name": "alpamayo"}, "quantization": {**layers, "recipe": RECIPES[recipe_name]}}
