"""Weights files: one self-describing safetensors file a network, checked before anything is allocated."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import nn

from alpamayo_sim.errors import InputError, is_machine_fault, one_line
from alpamayo_sim.io.files import check_regular, replacing

MAX_FILE_BYTES = 8 << 30
HEADER_LENGTH_BYTES, HEADER_ALIGNMENT_BYTES = 8, 8  # of the safetensors format
MOST_LISTED_TENSORS = 5  # in an error message


class Shape(Protocol):
    """The configuration of a network."""

    def to_json(self) -> str:
        """Return it as JSON."""


Config = TypeVar("Config", bound=Shape)
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class WeightsFormat(Generic[Config, Network]):
    """One kind of weights file.

    Attributes:
        name: the name of the format, as the file says it.
        what: what the file is of, for messages.
        version: the version that is written and read.
        read_config: makes the configuration of its JSON, given the path for messages.
        create: makes the network of a configuration on a device.
    """

    name: str
    what: str
    version: int
    read_config: Callable[[str, str], Config]
    create: Callable[[Config, str], Network]

    def save(self, network: Network, path: Path, training: Mapping[str, Any] | None = None) -> None:
        """Write weights, configuration and a note on the training; weights as float16, router biases as float32.

        The configuration is the network's ``config``. The file appears whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        path, config = Path(path), cast("Shape", network.config)
        state = network.state_dict()
        tensors = {name: value.detach().cpu().to(_stored_type(name)).contiguous() for name, value in state.items()}
        metadata = {
            "format": self.name,
            "version": str(self.version),
            "config": config.to_json(),
            "training": json.dumps(dict(training or {}), sort_keys=True),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(_ordered(serialized(tensors, metadata)))
        except OSError as error:
            raise InputError(f"{path}: cannot write the checkpoint ({error.strerror or error})") from error

    def load(self, path: Path) -> Network:
        """Read a network as float32, in evaluation mode.

        Raises:
            InputError: no such file, none of ours, of another version, or with missing, unknown or ill-shaped tensors,
                which are named.
        """
        path = Path(path)
        with opened(path) as file:
            config = self._config(path, file.metadata() or {})
            network = self._empty(path, config)
            _check(path, file, {name: tensor.shape for name, tensor in network.state_dict().items()})
            state = {name: file.get_tensor(name).float() for name in network.state_dict()}
        broken = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise InputError(f"{path}: values that are not finite in {_list(broken)}")
        network.load_state_dict(state, assign=True)
        return network.eval()

    def _config(self, path: Path, metadata: Mapping[str, str]) -> Config:
        if metadata.get("format") != self.name:
            raise InputError(f"{path}: is no checkpoint of a {self.what} (its format is {metadata.get('format')!r})")
        if metadata.get("version") != str(self.version):
            raise InputError(
                f"{path}: is of version {metadata.get('version')}, this program reads version {self.version}"
            )
        return self.read_config(metadata.get("config", ""), str(path))

    def _empty(self, path: Path, config: Config) -> Network:
        """Return a network without weights; sizes that are each allowed may still not fit each other."""
        try:
            return self.create(config, "meta")
        except Exception as error:
            if is_machine_fault(error):
                raise
            raise InputError(f"{path}: no model has this configuration ({one_line(str(error))})") from error


def training_note(path: Path) -> dict[str, Any]:
    """Return the note on the training that ``save`` stored.

    Raises:
        InputError: there is no such file, or its note is damaged.
    """
    with opened(Path(path)) as file:
        text = (file.metadata() or {}).get("training", "{}")
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its note on the training is damaged ({one_line(str(error))})") from error


def opened(path: Path) -> Any:
    """Open a file as safetensors.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such checkpoint")
    try:
        check_regular(path, MAX_FILE_BYTES)
        return safe_open(path, "pt")
    except InputError:
        raise
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error})") from error


def _ordered(data: bytes) -> bytes:
    """Return a safetensors file with its metadata in order: the library writes them in another order each time."""
    length = int.from_bytes(data[:HEADER_LENGTH_BYTES], "little")
    end = HEADER_LENGTH_BYTES + length
    header = json.loads(data[HEADER_LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT_BYTES)
    return len(text).to_bytes(HEADER_LENGTH_BYTES, "little") + text + data[end:]


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
