"""Checkpoints of the driver: one self-describing safetensors file, checked before anything is allocated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpamayo_vla_model.config import AlpamayoConfig
from alpamayo_vla_model.model import AlpamayoModel
from alpamayo_vla_model.weights_file import WeightsFormat, training_note

__all__ = ["FORMAT", "SHIPPED", "load", "save", "training_note"]

FORMAT = WeightsFormat(
    name="alpamayo-driver",
    what="driver",
    version=1,
    read_config=AlpamayoConfig.from_json,
    create=lambda config, device: AlpamayoModel(config, device=device),
)
SHIPPED = Path(__file__).parent / "checkpoints" / "tiny.safetensors"


def save(model: AlpamayoModel, path: Path, training: Mapping[str, Any] | None = None) -> None:
    """Write a model, its configuration and a note on its training; the file appears whole or not at all."""
    FORMAT.save(model, model.config, path, training)


def load(path: Path) -> AlpamayoModel:
    """Read a model as float32, ready to drive.

    Raises:
        InputError: no such file, none of ours, of another version, or with missing, unknown or ill-shaped tensors,
            which are named.
    """
    return FORMAT.load(path)
