"""Checkpoints of the driver: one self-describing safetensors file, checked before anything is allocated."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized

from alpamayo_sim.errors import InputError, is_machine_fault, one_line
from alpamayo_sim.io.files import check_regular, replacing
from alpamayo_vla_model.config import AlpamayoConfig
from alpamayo_vla_model.model import AlpamayoModel

FORMAT = "alpamayo-driver"
VERSION = 1
SHIPPED = Path(__file__).parent / "checkpoints" / "tiny.safetensors"
MAX_FILE_BYTES = 8 << 30
MOST_LISTED_TENSORS = 5  # in an error message


def save(model: AlpamayoModel, path: Path, training: Mapping[str, Any] | None = None) -> None:
    """Write a model, its configuration and a note on its training; weights as float16, router biases as float32.

    The file appears whole or not at all.
    """
    path = Path(path)
    tensors = {
        name: tensor.detach().cpu().to(_stored_type(name)).contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "config": model.config.to_json(),
        "training": json.dumps(dict(training or {}), sort_keys=True),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(serialized(tensors, metadata))
    except OSError as error:
        raise InputError(f"{path}: cannot write the checkpoint ({error.strerror or error})") from error


def load(path: Path) -> AlpamayoModel:
    """Read a model as float32, ready to drive.

    Raises:
        InputError: no such file, none of ours, of another version, or with missing, unknown or ill-shaped tensors,
            which are named.
    """
    path = Path(path)
    with _open(path) as file:
        config = _config(path, file.metadata() or {})
        model = _model(path, config)
        _check(path, file, {name: tensor.shape for name, tensor in model.state_dict().items()})
        state = {name: file.get_tensor(name).float() for name in model.state_dict()}
    broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise InputError(f"{path}: values that are not finite in {_list(broken)}")
    model.load_state_dict(state, assign=True)
    return model.eval()


def training_note(path: Path) -> dict[str, Any]:
    """Return the note on the training that ``save`` stored."""
    with _open(Path(path)) as file:
        text = (file.metadata() or {}).get("training", "{}")
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its note on the training is damaged ({one_line(str(error))})") from error


def _open(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path}: there is no such checkpoint")
    try:
        check_regular(path, MAX_FILE_BYTES)
        return safe_open(path, "pt")
    except InputError:
        raise
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error})") from error


def _config(path: Path, metadata: Mapping[str, str]) -> AlpamayoConfig:
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: is no checkpoint of a driver (its format is {metadata.get('format')!r})")
    if metadata.get("version") != str(VERSION):
        raise InputError(f"{path}: is of version {metadata.get('version')}, this program reads version {VERSION}")
    return AlpamayoConfig.from_json(metadata.get("config", ""), str(path))


def _model(path: Path, config: AlpamayoConfig) -> AlpamayoModel:
    """Return a model without weights; sizes that are each allowed may still not fit each other."""
    try:
        return AlpamayoModel(config, device="meta")
    except Exception as error:
        if is_machine_fault(error):
            raise
        raise InputError(f"{path}: no model has this configuration ({one_line(str(error))})") from error


def _check(path: Path, file: Any, expected: Mapping[str, torch.Size]) -> None:
    found = set(file.keys())
    if missing := sorted(set(expected) - found):
        raise InputError(f"{path}: tensors are missing: {_list(missing)}")
    if unknown := sorted(found - set(expected)):
        raise InputError(f"{path}: tensors that the model does not have: {_list(unknown)}")
    for name, shape in expected.items():
        if (stored := tuple(file.get_slice(name).get_shape())) != tuple(shape):
            raise InputError(f"{path}: tensor {name} has shape {list(stored)}, must be {list(shape)}")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - MOST_LISTED_TENSORS} more" if len(names) > MOST_LISTED_TENSORS else ""
    return ", ".join(names[:MOST_LISTED_TENSORS]) + more


def _stored_type(name: str) -> torch.dtype:
    return torch.float32 if name.endswith(("e_score_correction_bias", "A_log", "dt_bias", ".D")) else torch.float16
