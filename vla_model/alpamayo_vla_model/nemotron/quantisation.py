"""Files with weights in fewer bits, as published.

Formats of a file's tensor `X`: FP8 stores `X` in e4m3 with `X_scale`; NVFP4 stores packed codes with `X_scale`
(one a block) and `X_scale_2` (one a tensor). They are dequantised on loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from alpamayo_kernels.quantisation import fp8, nvfp4

# Which format a kind of weight is stored in; kinds that are not named stay as they are.
RECIPES: dict[str, dict[str, str]] = {
    "nvfp4": {"experts": "nvfp4", "shared_experts": "fp8", "in_proj": "fp8", "out_proj": "fp8"},
    "fp8": {"experts": "fp8", "shared_experts": "fp8", "in_proj": "fp8", "out_proj": "fp8"},
}


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
