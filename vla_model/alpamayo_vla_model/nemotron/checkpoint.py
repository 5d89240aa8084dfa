"""Folders in Hugging Face's layout: `config.json` and safetensors shards with the published names.

Published names start with `backbone.` (or `model.`, inside wrappers also `language_model.`), list every expert by
itself and keep the multi-token-prediction block under `mtp.`. Everything is checked from the files' headers before
a parameter is allocated; tensors are then copied one by one from the memory-mapped files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alpamayo_sim.errors import InputError
from alpamayo_vla_model.nemotron.config import NemotronConfig

Model = TypeVar("Model", bound=nn.Module)

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
QUANTISED = "hf_quant_config.json"
_EXPERT = re.compile(r"^(.*\.experts)\.(\d+)\.(up_proj|down_proj)\.weight$")
_PREFIX = re.compile(r"^(language_model\.)?(?:backbone\.|model\.)?")


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies: its file, its name there, its shape and its type as safetensors names it."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


def load(
    cls: Callable[..., Model], folder: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str
) -> Model:
    """Load a model; see `NemotronModel.from_pretrained`.

    Args:
        cls: Called with the config, `device` and `dtype`.
        folder: Holds `config.json` and `model.safetensors`, or shards and their index.
        dtype: Of the parameters; as stored when None.
        device: Where they go.

    Raises:
        InputError: Missing or unreadable files, missing tensors, wrong shapes, values that are not finite.
    """
    folder = Path(folder)
    config = NemotronConfig.from_file(folder / "config.json")
    stored = headers(folder)
    if config.mtp_pattern and not any(name.startswith("mtp.") for name in stored):
        config = config.with_(mtp_pattern="", num_nextn_predict_layers=0)
    plan = _plan(cls(config, device="meta"), stored, folder)
    model = cls(config, device="meta", dtype=dtype or _stored_dtype(stored, folder))
    model.to_empty(device=device)
    if config.tie_word_embeddings:
        model._tie()  # type: ignore[operator]
    _copy(model, plan, stored)
    return model.eval()


def save(model: nn.Module, folder: str | Path, *, shard_bytes: int = 5_000_000_000, recipe: str | None = None) -> None:
    """Write a model; see `NemotronModel.save_pretrained`.

    Args:
        model: A `NemotronModel`.
        folder: Created if need be; files of the same names are replaced.
        shard_bytes: No shard is larger than this, unless one tensor is.
        recipe: Which weights to store in fewer bits: a name in `quantisation.RECIPES`.
    """
    from alpamayo_vla_model.nemotron import quantisation

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config: NemotronConfig = model.config  # type: ignore[assignment]
    tensors = dict(published(model))
    if recipe is not None:
        if recipe not in quantisation.RECIPES:
            raise InputError(f"no recipe {recipe!r}: choose one of {', '.join(quantisation.RECIPES)}")
        tensors = quantisation.encode(tensors, quantisation.RECIPES[recipe])
        _write_json(folder / QUANTISED, quantisation.description(recipe))
    else:
        (folder / QUANTISED).unlink(missing_ok=True)
    shards = _shards(tensors, shard_bytes)
    for name, names in shards.items():
        temporary = folder / f".{name}.tmp"
        save_file({key: tensors[key].detach().contiguous() for key in names}, temporary, metadata={"format": "pt"})
        temporary.replace(folder / name)
    if len(shards) > 1:
        total = sum(tensor.nbytes for tensor in tensors.values())
        weight_map = {key: name for name, names in shards.items() for key in names}
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    dtype = str(model.dtype).removeprefix("torch.")
    _write_json(folder / "config.json", config.to_dict(dtype))
    stale = set(folder.glob("model*.safetensors")) - {folder / name for name in shards}
    for path in stale | ({folder / INDEX} if len(shards) == 1 else set()):
        path.unlink(missing_ok=True)


def published(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer under its published name; experts one by one, as views."""
    tied = model.config.tie_word_embeddings  # type: ignore[union-attr]
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        full = name if name.startswith(("lm_head.", "mtp.")) else f"backbone.{name}"
        if ".experts." in name:
            stem, projection = full.rsplit(".", 1)
            for expert, weight in enumerate(tensor):
                yield f"{stem}.{expert}.{projection}.weight", weight
        else:
            yield full, tensor


def headers(folder: Path) -> dict[str, Stored]:
    """Return where every tensor of a folder lies, by its name without prefix, from the files' headers alone."""
    found: dict[str, Stored] = {}
    for path, names in _files(folder).items():
        with _opened(path) as file:
            present = set(file.keys())
            for name in names if names is not None else present:
                if name not in present:
                    raise InputError(f"{path}: holds no tensor `{name}` that the index promises")
                piece = file.get_slice(name)
                short = _PREFIX.sub("", name, count=1)
                found[short] = Stored(path, name, tuple(piece.get_shape()), piece.get_dtype())
    return found


def _files(folder: Path) -> dict[Path, list[str] | None]:
    """Return the files to read and the tensors that the index promises in each (None for all)."""
    if not (folder / INDEX).exists():
        if not (folder / SINGLE).exists():
            raise InputError(f"{folder}: neither `{SINGLE}` nor `{INDEX}` is there")
        return {folder / SINGLE: None}
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        pairs = [(str(key), str(value)) for key, value in index["weight_map"].items()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / INDEX}: no readable `weight_map`: {error!r}") from error
    files: dict[Path, list[str] | None] = {}
    for key, value in pairs:
        if Path(value).name != value or not value.endswith(".safetensors"):
            raise InputError(f"{folder / INDEX}: `{key}` points to {value!r}, expected a .safetensors file beside it")
        (files.setdefault(folder / value, []) or files[folder / value]).append(key)  # type: ignore[union-attr]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{folder}: missing shards: {_some(missing)}")
    return files


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from error


def _plan(model: nn.Module, stored: Mapping[str, Stored], folder: Path) -> list[tuple[str, int | None, Stored]]:
    """Match every parameter with its tensor: parameter name, expert (or None for all), place."""
    wanted = [(_PREFIX.sub("", name, count=1), tensor) for name, tensor in published(model)]
    plan: list[tuple[str, int | None, Stored]] = []
    missing, wrong = [], []
    for name, tensor in wanted:
        expert = _EXPERT.match(name)
        place = stored.get(name)
        if place is None:
            missing.append(name)
        elif not _fits(place, tensor.shape):
            wrong.append(f"{place.name} is {list(place.shape)}, the config asks for {list(tensor.shape)}")
        elif expert:
            plan.append((f"{expert[1]}.{expert[3]}", int(expert[2]), place))
        else:
            plan.append((name, None, place))
    if missing:
        raise InputError(f"{folder}: missing tensors: {_some(missing)}")
    if wrong:
        raise InputError(f"{folder}: wrong shapes: {_some(wrong)}")
    return plan


def _copy(model: nn.Module, plan: list[tuple[str, int | None, Stored]], stored: Mapping[str, Stored]) -> None:
    targets = model.state_dict()
    by_file: dict[Path, list[tuple[str, int | None, Stored]]] = {}
    for entry in plan:
        by_file.setdefault(entry[2].path, []).append(entry)
    for path, entries in by_file.items():
        with _opened(path) as file:
            for name, expert, place in entries:
                tensor = _whole(file, place, stored)
                if not bool(torch.isfinite(tensor.sum(dtype=torch.float64))):
                    raise InputError(f"{path}: `{place.name}` holds values that are not finite")
                target = targets[name] if expert is None else targets[name][expert]
                target.copy_(tensor)


def _fits(place: Stored, shape: torch.Size) -> bool:
    """Whether a stored tensor has the shape asked for; packed codes have half the columns."""
    if place.dtype == "U8":
        return place.shape == (*shape[:-1], shape[-1] // 2)
    return place.shape == tuple(shape)


def _whole(file: Any, place: Stored, stored: Mapping[str, Stored]) -> Tensor:
    """Read a tensor from its opened file; quantised ones with their scales, wherever these lie."""
    from alpamayo_vla_model.nemotron import quantisation

    tensor: Tensor = file.get_tensor(place.name)
    if place.dtype not in ("U8", "F8_E4M3"):
        return tensor
    scales = {}
    for suffix in ("_scale", "_scale_2") if place.dtype == "U8" else ("_scale",):
        where = stored.get(_PREFIX.sub("", place.name, count=1) + suffix)
        if where is None:
            raise InputError(f"{place.path}: `{place.name}` is quantised, but `{place.name}{suffix}` is missing")
        with _opened(where.path) as other:
            scales[suffix] = other.get_tensor(where.name)
    return quantisation.decode(tensor, scales)


def _stored_dtype(stored: Mapping[str, Stored], folder: Path) -> torch.dtype:
    names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    embeddings = stored["embeddings.weight"]
    if embeddings.dtype not in names:
        raise InputError(f"{folder}: embeddings are stored as {embeddings.dtype}, expected one of {', '.join(names)}")
    return names[embeddings.dtype]


def _shards(tensors: Mapping[str, Tensor], limit: int) -> dict[str, list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if groups[-1] and size + tensor.nbytes > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += tensor.nbytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {f"model-{i:05d}-of-{len(groups):05d}.safetensors": group for i, group in enumerate(groups, start=1)}


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _some(names: list[str]) -> str:
    return "; ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
