"""Folders in Hugging Face's layout: two small JSON files and safetensors shards with the published names.

Published names start with ``backbone.`` (or ``model.``, inside wrappers also ``language_model.``), list every expert by
itself and keep the multi-token-prediction block under ``mtp.``. ``generation_config.json`` names the tokens that begin
and end a text. The head is stored even where it is tied to the embeddings: readers differ in this.

Everything is checked from the files' headers before a parameter is allocated; tensors are then copied one by one from
the memory-mapped files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alpamayo_vla_model.nemotron import quantisation
from alpamayo_vla_model.nemotron.config import NemotronConfig, read_json
from alpamayo_vla_model.nemotron.errors import NemotronInputError, unknown_name
from alpamayo_vla_model.nemotron.gathering import Writer

Model = TypeVar("Model", bound=nn.Module)

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
GENERATION = "generation_config.json"
_HEAD, _EMBEDDINGS = "lm_head.weight", "embeddings.weight"
_TEXT_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_EXPERT = re.compile(r"^(.*\.experts)\.(\d+)\.(up_proj|down_proj)\.weight$")
_PREFIX = re.compile(r"^(language_model\.)?(?:backbone\.|model\.)?")
_PIECE = 1 << 18


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies: its file, its name there, its shape and its type as safetensors names it."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def format(self) -> str | None:
        """How its values are coded: None for plain floats."""
        return {"U8": "nvfp4", "F8_E4M3": "fp8"}.get(self.dtype)


def load(
    cls: Callable[..., Model], folder: str | Path, *, dtype: torch.dtype | None = None, device: torch.device | str
) -> Model:
    """Load a model; see ``NemotronModel.from_pretrained``.

    Args:
        cls: Called with the config, ``device`` and ``dtype``.
        folder: Holds ``config.json`` and ``model.safetensors``, or shards and their index.
        dtype: Of the parameters; as stored when None.
        device: Where they go.

    Raises:
        NemotronInputError: Missing or unreadable files, missing tensors, wrong shapes, values that are not finite, a
            quantisation that cannot be read or is not what the files hold.
    """
    folder = Path(folder)
    config = _with_generation_config(NemotronConfig.from_file(folder / "config.json"), folder)
    declared = quantisation.read_declaration(folder)
    stored = headers(folder)
    if config.mtp_pattern and not any(name.startswith("mtp.") for name in stored):
        config = config.with_(mtp_pattern="", num_nextn_predict_layers=0)
    if config.tie_word_embeddings and not _same_stored(stored.get(_HEAD), stored.get(_EMBEDDINGS)):
        config = config.with_(tie_word_embeddings=False)  # the stored head is the right one
    plan = _plan(cls(config, device="meta"), stored, folder)
    for _, _, place in plan:
        quantisation.check_declared(declared, place.name, place.format, place.path)
    model = cls(config, device="meta", dtype=dtype or _stored_dtype(stored, folder))
    model.to_empty(device=device)
    if config.tie_word_embeddings:
        model._tie()  # type: ignore[operator]
    _copy(model, plan, stored)
    return model.eval()


def save(
    model: nn.Module,
    cls: Callable[..., nn.Module],
    folder: str | Path,
    *,
    shard_bytes: int = 5_000_000_000,
    recipe: str | None = None,
) -> None:
    """Write a model; see ``NemotronModel.save_pretrained``.

    Shards are quantised and written one after the other under temporary names, and renamed when all are there. All
    processes of a model under ``shard`` call this together; the first one writes.

    Args:
        model: A ``NemotronModel``.
        cls: Its class, called as in ``load``.
        folder: Created if need be; files of the same names are replaced.
        shard_bytes: No shard is larger than this, unless one tensor is.
        recipe: Which weights to store in fewer bits: a name in ``quantisation.RECIPES``.

    Raises:
        NemotronInputError: An unknown recipe, or a model with other weights than the published ones: with adapters,
            parametrisations or int8 weights.
    """
    if recipe is not None and recipe not in quantisation.RECIPES:
        raise unknown_name("recipe", recipe, quantisation.RECIPES)
    folder = Path(folder)
    config: NemotronConfig = model.config  # type: ignore[assignment]
    wanted = dict(published(cls(config, device="meta")))
    _check_names(model, {name: tuple(tensor.shape) for name, tensor in wanted.items()})
    forms = {name: quantisation.stored_as(name, tensor.shape, recipe) for name, tensor in wanted.items()}
    dtypes = {name: wanted[name].to(tensor.dtype) for name, tensor, _ in _sources(model)}
    shards = _shards(dtypes, forms, shard_bytes)
    writer = Writer(model.parameters())
    sources = {name: (tensor, expert) for name, tensor, expert in _sources(model)}
    writer.attempt(lambda: folder.mkdir(parents=True, exist_ok=True))
    for shard, names in shards.items():
        wholes = {name: writer.whole(sources[name][0]) for name in names}  # by all processes, in the same order
        weights = {name: m if (e := sources[name][1]) is None else m[e] for name, m in wholes.items()}
        writer.attempt(partial(_write_shard, folder / f".{shard}.tmp", weights, forms))
    writer.attempt(lambda: _finish(folder, shards, config.to_dict(str(model.dtype).removeprefix("torch.")), forms))
    writer.finish()


def _write_shard(path: Path, weights: Mapping[str, Tensor], forms: Mapping[str, str | None]) -> None:
    pieces: dict[str, Tensor] = {}
    for name, weight in weights.items():
        # a tied head is the same memory as the embeddings, which a file does not hold twice
        own = weight.detach().clone() if name == _HEAD else weight.detach().contiguous()
        pieces |= quantisation.encode(name, own, forms[name])
    save_file(pieces, path, metadata={"format": "pt"})


def _finish(
    folder: Path, shards: Mapping[str, list[str]], values: dict[str, Any], forms: Mapping[str, str | None]
) -> None:
    """Rename the written shards, write the small files, and take away what was there before."""
    weight_map: dict[str, str] = {}
    total = 0
    for shard in shards:
        with _opened(folder / f".{shard}.tmp") as file:
            weight_map |= dict.fromkeys(sorted(file.keys()), shard)
        total += _data_bytes(folder / f".{shard}.tmp")
    for shard in shards:
        (folder / f".{shard}.tmp").replace(folder / shard)
    declared = quantisation.declaration(forms) if any(forms.values()) else None
    _write_json(
        folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map} if len(shards) > 1 else None
    )
    _write_json(folder / quantisation.FILE, declared)
    if declared is not None:
        values["quantization_config"] = {"quant_method": "modelopt", **declared["quantization"]}
    _write_json(folder / GENERATION, {"_from_model_config": True, **{key: values[key] for key in _TEXT_TOKENS}})
    _write_json(folder / "config.json", values)
    for path in set(folder.glob("model*.safetensors")) - {folder / name for name in shards}:
        path.unlink(missing_ok=True)


def _data_bytes(path: Path) -> int:
    """Return the bytes of a safetensors file's tensors: all but the header, whose length comes first."""
    with path.open("rb") as file:
        return path.stat().st_size - 8 - int.from_bytes(file.read(8), "little")


def published(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every parameter and buffer under its published name; experts one by one, as views."""
    for name, tensor, expert in _sources(model):
        yield name, tensor if expert is None else tensor[expert]


def _sources(model: nn.Module) -> Iterator[tuple[str, Tensor, int | None]]:
    """Yield published name, the parameter or buffer, and which expert of it is meant (None for all)."""
    for name, tensor in model.state_dict().items():
        full = name if name.startswith(("lm_head.", "mtp.")) else f"backbone.{name}"
        if ".experts." in name:
            stem, projection = full.rsplit(".", 1)
            for expert in range(len(tensor)):
                yield f"{stem}.{expert}.{projection}.weight", tensor, expert
        else:
            yield full, tensor, None


def _check_names(model: nn.Module, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise an error for a model whose weights are not those that are published."""
    found = {n: tuple(t.shape if e is None else t.shape[1:]) for n, t, e in _sources(model)}
    other = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    other += [name for name, tensor, _ in _sources(model) if not tensor.is_floating_point()]
    if other:
        raise NemotronInputError(
            f"model: {_some(other)}: not the published weights; adapters and parametrisations must be merged before "
            "saving, and int8 weights cannot be saved"
        )


def _with_generation_config(config: NemotronConfig, folder: Path) -> NemotronConfig:
    """Return the config with the tokens that ``generation_config.json`` names, which other readers prefer too."""
    if not (folder / GENERATION).exists():
        return config
    values = read_json(folder / GENERATION)
    tokens = {key: values[key] for key in _TEXT_TOKENS if values.get(key) is not None}
    if isinstance(tokens.get("eos_token_id"), list):
        tokens["eos_token_id"] = tuple(tokens["eos_token_id"])
    return config.with_(**tokens)


def _same_stored(head: Stored | None, embeddings: Stored | None) -> bool:
    """Return whether a folder holds no head, or one that equals the embeddings."""
    if head is None or embeddings is None:
        return True
    if (head.shape, head.dtype) != (embeddings.shape, embeddings.dtype):
        return False
    with _opened(head.path) as first, _opened(embeddings.path) as second:
        a, b = first.get_slice(head.name), second.get_slice(embeddings.name)
        rows = max(1, _PIECE // max(1, math.prod(head.shape[1:])))
        return all(torch.equal(a[i : i + rows], b[i : i + rows]) for i in range(0, head.shape[0], rows))


def headers(folder: Path) -> dict[str, Stored]:
    """Return where every tensor of a folder lies, by its name without prefix, from the files' headers alone."""
    found: dict[str, Stored] = {}
    for path, names in _files(folder).items():
        with _opened(path) as file:
            present = set(file.keys())
            for name in names if names is not None else present:
                if name not in present:
                    raise NemotronInputError(f"{path}: holds no tensor `{name}` that the index promises")
                piece = file.get_slice(name)
                short = _PREFIX.sub("", name, count=1)
                found[short] = Stored(path, name, tuple(piece.get_shape()), piece.get_dtype())
    return found


def _files(folder: Path) -> dict[Path, list[str] | None]:
    """Return the files to read and the tensors that the index promises in each (None for all)."""
    if not (folder / INDEX).exists():
        if not (folder / SINGLE).exists():
            raise NemotronInputError(f"{folder}: neither `{SINGLE}` nor `{INDEX}` is there")
        return {folder / SINGLE: None}
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise NemotronInputError(f"{folder / INDEX}: no `weight_map` from tensors to files")
    pairs = [(key, str(value)) for key, value in weight_map.items()]
    files: dict[Path, list[str] | None] = {}
    for key, value in pairs:
        if Path(value).name != value or not value.endswith(".safetensors"):
            raise NemotronInputError(
                f"{folder / INDEX}: `{key}` points to {value!r}, expected a .safetensors file beside it"
            )
        (files.setdefault(folder / value, []) or files[folder / value]).append(key)  # type: ignore[union-attr]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise NemotronInputError(f"{folder}: missing shards: {_some(missing)}")
    return files


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise NemotronInputError(f"{path}: not a readable safetensors file: {error}") from error


def _plan(model: nn.Module, stored: Mapping[str, Stored], folder: Path) -> list[tuple[str, int | None, Stored]]:
    """Match every parameter with its tensor: parameter name, expert (or None for all), place."""
    wanted = [(_PREFIX.sub("", name, count=1), tensor) for name, tensor in published(model)]
    plan: list[tuple[str, int | None, Stored]] = []
    missing, wrong = [], []
    for name, tensor in wanted:
        expert = _EXPERT.match(name)
        place = stored.get(name)
        if place is None and name == _HEAD and model.config.tie_word_embeddings:  # type: ignore[union-attr]
            continue
        if place is None:
            missing.append(name)
        elif place.format is None and place.dtype not in FLOATS:
            wrong.append(f"{place.name} is stored as {place.dtype}, expected floats, F8_E4M3 or NVFP4 in U8")
        elif place.shape != (asked := quantisation.stored_shape(tuple(tensor.shape), place.format)):
            wrong.append(f"{place.name} is {list(place.shape)}, the config asks for {list(asked)}")
        elif fault := _faulty_scale(place, tuple(tensor.shape), stored):
            wrong.append(fault)
        elif expert:
            plan.append((f"{expert[1]}.{expert[3]}", int(expert[2]), place))
        else:
            plan.append((name, None, place))
    if missing:
        raise NemotronInputError(f"{folder}: missing tensors: {_some(missing)}")
    if wrong:
        raise NemotronInputError(f"{folder}: wrong tensors: {_some(wrong)}")
    return plan


def _copy(model: nn.Module, plan: list[tuple[str, int | None, Stored]], stored: Mapping[str, Stored]) -> None:
    """Fill the parameters shard by shard; a shard is unmapped before the next one is opened."""
    targets = model.state_dict()
    by_file: dict[Path, list[tuple[str, int | None, Stored]]] = {}
    for entry in plan:
        by_file.setdefault(entry[2].path, []).append(entry)
    for path, entries in by_file.items():
        with _opened(path) as file:
            for name, expert, place in entries:
                _fill(targets[name] if expert is None else targets[name][expert], file, place, stored)


def _fill(target: Tensor, file: Any, place: Stored, stored: Mapping[str, Stored]) -> None:
    tensor = _whole(file, place, stored)
    if not _finite(tensor):
        raise NemotronInputError(f"{place.path}: `{place.name}` holds values that are not finite")
    target.copy_(tensor)


def _finite(tensor: Tensor) -> bool:
    """Return whether all values are finite, without a second copy of them."""
    return all(bool(torch.isfinite(piece).all()) for piece in torch.split(tensor.flatten(), _PIECE))


def _scales(place: Stored, stored: Mapping[str, Stored]) -> dict[str, Stored | None]:
    """Return where the scales of a quantised tensor lie, by suffix."""
    short = _PREFIX.sub("", place.name, count=1)
    return {suffix: stored.get(short + suffix) for suffix in quantisation.scale_shapes(place.format, ())}


def _faulty_scale(place: Stored, shape: tuple[int, ...], stored: Mapping[str, Stored]) -> str | None:
    """Return what is wrong with a tensor's scales, if anything."""
    asked = quantisation.scale_shapes(place.format, shape)
    for suffix, scale in _scales(place, stored).items():
        if scale is None:
            return f"{place.name} is quantised, but {place.name}{suffix} is missing"
        wanted, kind = asked[suffix]
        if math.prod(scale.shape) != math.prod(wanted) or (wanted and scale.shape != wanted):
            return f"{scale.name} is {list(scale.shape)}, expected {list(wanted)}"
        if scale.dtype not in kind:
            return f"{scale.name} is stored as {scale.dtype}, expected {' or '.join(kind)}"
    return None


def _whole(file: Any, place: Stored, stored: Mapping[str, Stored]) -> Tensor:
    """Read a tensor from its opened file; a quantised one with its scales, wherever these lie."""
    tensor: Tensor = file.get_tensor(place.name)
    if place.format is None:
        return tensor
    scales = {}
    for suffix, where in _scales(place, stored).items():
        assert where is not None  # the plan would have been refused
        if where.path == place.path:
            scales[suffix] = file.get_tensor(where.name)
        else:
            with _opened(where.path) as other:
                scales[suffix] = other.get_tensor(where.name)
    return quantisation.decode(tensor, scales)


def _stored_dtype(stored: Mapping[str, Stored], folder: Path) -> torch.dtype:
    embeddings = stored["embeddings.weight"]
    if embeddings.dtype not in FLOATS:
        raise NemotronInputError(
            f"{folder}: embeddings are stored as {embeddings.dtype}, expected one of {', '.join(FLOATS)}"
        )
    return FLOATS[embeddings.dtype]


def _shards(tensors: Mapping[str, Tensor], forms: Mapping[str, str | None], limit: int) -> dict[str, list[str]]:
    groups: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        added = quantisation.stored_bytes(tensor, forms[name])
        if groups[-1] and size + added > limit:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += added
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    return {f"model-{i:05d}-of-{len(groups):05d}.safetensors": group for i, group in enumerate(groups, start=1)}


def _write_json(path: Path, values: Mapping[str, Any] | None) -> None:
    """Write a file, or take it away where there is nothing to say."""
    if values is None:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _some(names: list[str]) -> str:
    return "; ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
