"""Files with weights in fewer bits, as published.

Formats of a file's tensor ``X``: FP8 stores ``X`` in e4m3 with ``X_scale``; NVFP4 stores packed codes with ``X_scale``
(one a block) and ``X_scale_2`` (one a tensor). They are dequantised on loading. ``hf_quant_config.json`` says which
module is stored how, in the spelling of NVIDIA's ModelOpt, and so does ``quantization_config`` in ``config.json``.
Activations are not quantised here: what is written declares weights only, so that no reader looks for their scales.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alpamayo_kernels.quantisation import fp8, nvfp4
from alpamayo_vla_model.nemotron.config import read_json
from alpamayo_vla_model.nemotron.errors import NemotronInputError

FILE = "hf_quant_config.json"

# Which format a kind of weight is stored in; kinds that are not named (attention, latent projections, routers,
# embeddings, head, convolutions, the multi-token-prediction block) stay unquantised. Source: Nemotron-3 Ultra report.
_REST = {"shared_experts": "fp8", "in_proj": "fp8", "out_proj": "fp8"}
RECIPES: dict[str, dict[str, str]] = {
    "nvfp4": {"experts": "nvfp4", **_REST},
    "nvfp4-four-over-six": {"experts": "nvfp4-four-over-six", **_REST},
    "fp8": {"experts": "fp8", **_REST},
}
_ALGORITHMS = {"NVFP4": "nvfp4", "W4A16_NVFP4": "nvfp4", "FP8": "fp8", "W8A16_FP8": "fp8"}
_MIXED = "MIXED_PRECISION"
_PREFIX = re.compile(r"^(?:language_model\.)?(?:backbone\.|model\.)?")


@dataclass(frozen=True)
class Declaration:
    """The declared quantisation of a folder's weights.

    Attributes:
        source: The file that says it.
        everywhere: Format of all quantised modules; None where ``layers`` lists them.
        layers: Format of each quantised module, names without prefix.
    """

    source: Path
    everywhere: str | None
    layers: Mapping[str, str]


def stored_as(name: str, shape: Sequence[int], recipe: str | None) -> str | None:
    """Return the format of a published tensor under a recipe; None for unquantised.

    Rows that 16 does not divide cannot be NVFP4 and are stored as FP8.
    """
    if recipe is None or not name.endswith(".weight") or name.startswith("mtp."):
        return None
    kinds = [part for part in name.split(".")[:-1] if part in RECIPES[recipe]]
    form = RECIPES[recipe][kinds[0]] if kinds else None
    return "fp8" if form is not None and shape[-1] % nvfp4.BLOCK else form


def encode(name: str, tensor: Tensor, form: str | None) -> dict[str, Tensor]:
    """Return what a file holds of a tensor: itself, or its codes and scales."""
    if form is None:
        return {name: tensor}
    if form == "fp8":
        pieces: tuple[Tensor, ...] = fp8.quantise(tensor)
    else:
        pieces = nvfp4.quantise(tensor, four_over_six=form.endswith("four-over-six"))
    return {f"{name}{suffix}": piece for suffix, piece in zip(("", "_scale", "_scale_2"), pieces, strict=False)}


def decode(tensor: Tensor, scales: Mapping[str, Tensor]) -> Tensor:
    """Return the float32 weight of a stored tensor and its scales (by suffix)."""
    if tensor.dtype == torch.uint8:
        return nvfp4.dequantise(tensor, scales["_scale"], scales["_scale_2"].reshape(()))
    return fp8.dequantise(tensor, scales["_scale"].reshape(()))


def stored_shape(shape: tuple[int, ...], form: str | None) -> tuple[int, ...]:
    """Return the shape in which a weight is stored; two NVFP4 codes share a byte."""
    return (*shape[:-1], shape[-1] // 2) if form == "nvfp4" else shape


def scale_shapes(form: str | None, shape: tuple[int, ...]) -> dict[str, tuple[tuple[int, ...], tuple[str, ...]]]:
    """Return the scales that belong to a weight: by suffix their shape and their types as safetensors names them."""
    one: tuple[tuple[int, ...], tuple[str, ...]] = ((), ("F32", "F16", "BF16"))
    if form == "fp8":
        return {"_scale": one}
    if form == "nvfp4":
        blocks = (*shape[:-1], shape[-1] // nvfp4.BLOCK) if shape else ()
        return {"_scale": (blocks, ("F8_E4M3",)), "_scale_2": one}
    return {}


def stored_bytes(tensor: Tensor, form: str | None) -> int:
    """Return the bytes that a tensor takes in a file."""
    if form is None:
        return tensor.nbytes
    return tensor.numel() + 4 if form == "fp8" else tensor.numel() // 2 + tensor.numel() // nvfp4.BLOCK + 4


def declaration(forms: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the contents of ``hf_quant_config.json`` for tensors and their formats."""
    eight, four = {"quant_algo": "W8A16_FP8"}, {"quant_algo": "W4A16_NVFP4", "group_size": nvfp4.BLOCK}
    stored = {name: form for name, form in forms.items() if form is not None}
    layers = {name.removesuffix(".weight"): eight if form == "fp8" else four for name, form in stored.items()}
    what = {"quant_algo": _MIXED, "kv_cache_quant_algo": None, "quantized_layers": layers}
    return {"producer": {"name": "alpamayo"}, "quantization": what}


def read_declaration(folder: Path) -> Declaration | None:
    """Read how a folder declares its weights: ``hf_quant_config.json`` or ``quantization_config`` in ``config.json``.

    Raises:
        NemotronInputError: A method or an algorithm that cannot be read here.
    """
    if (folder / FILE).exists():
        return _declaration(read_json(folder / FILE).get("quantization"), folder / FILE)
    values = read_json(folder / "config.json").get("quantization_config")
    if values is None:
        return None
    source = folder / "config.json"
    method = values.get("quant_method") if isinstance(values, Mapping) else values
    if method != "modelopt":
        raise NemotronInputError(f"{source}: weights are quantised by {method!r}, expected 'modelopt' or none")
    return _declaration(values, source)


def check_declared(declared: Declaration | None, name: str, form: str | None, path: Path) -> None:
    """Raise an error for a tensor whose storage differs from the folder's declaration."""
    if declared is None:
        return
    wanted = _wanted(declared, _PREFIX.sub("", name.removesuffix(".weight"), count=1))
    if wanted is None and declared.everywhere is not None and form is None:
        return
    if form != (wanted or declared.everywhere):
        said, found = wanted or declared.everywhere or "not quantised", form or "not quantised"
        raise NemotronInputError(f"{path}: `{name}` is {found}, but {declared.source.name} says {said}")


def _wanted(declared: Declaration, module: str) -> str | None:
    """Return the format of a module, or of the nearest module above it that is listed."""
    while module:
        if module in declared.layers:
            return declared.layers[module]
        module = module.rpartition(".")[0]
    return None


def _declaration(values: Any, source: Path) -> Declaration | None:
    if not isinstance(values, Mapping):
        raise NemotronInputError(f"{source}: no `quantization` object")
    if values.get("quant_algo") is None:
        return None
    if values["quant_algo"] != _MIXED:
        return Declaration(source, _format(values, source), {})
    listed = values.get("quantized_layers")
    if not isinstance(listed, Mapping) or not all(isinstance(v, Mapping) for v in listed.values()):
        raise NemotronInputError(f"{source}: {_MIXED} needs `quantized_layers`, from modules to their `quant_algo`")
    return Declaration(source, None, {_PREFIX.sub("", k, count=1): _format(v, source) for k, v in listed.items()})


def _format(values: Mapping[str, Any], source: Path) -> str:
    algorithm = values.get("quant_algo")
    form = _ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    if form is None:
        raise NemotronInputError(
            f"{source}: unknown `quant_algo` {algorithm!r}, expected one of {', '.join(_ALGORITHMS)}"
        )
    group = values.get("group_size", nvfp4.BLOCK)
    if form == "nvfp4" and group != nvfp4.BLOCK:
        raise NemotronInputError(f"{source}: `group_size` is {group!r}, NVFP4 has {nvfp4.BLOCK}")
    return form
