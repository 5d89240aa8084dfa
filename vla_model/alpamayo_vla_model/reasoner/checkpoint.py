"""Checkpoints of the reasoner: one safetensors file, as those of the driver."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alpamayo_vla_model.reasoner.model import Reasoner, ReasonerConfig
from alpamayo_vla_model.weights_file import WeightsFormat

FORMAT = WeightsFormat(
    name="alpamayo-reasoner",
    what="reasoner",
    version=1,
    read_config=ReasonerConfig.from_json,
    create=lambda config, device: Reasoner(config, device=device),
)


def save_reasoner(reasoner: Reasoner, path: Path, training: Mapping[str, Any] | None = None) -> None:
    """Write a reasoner, its shape and a note on its training; the file appears whole or not at all."""
    FORMAT.save(reasoner, reasoner.config, path, training)


def load_reasoner(path: Path) -> Reasoner:
    """Read a reasoner, ready to speak.

    Raises:
        InputError: as ``WeightsFormat.load``.
    """
    return FORMAT.load(path)
