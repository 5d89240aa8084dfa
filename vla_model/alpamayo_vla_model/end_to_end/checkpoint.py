"""Checkpoints of the end-to-end model: one self-describing safetensors file, checked before anything is allocated."""

from pathlib import Path

from alpamayo_vla_model.end_to_end.config import AlpamayoConfig
from alpamayo_vla_model.end_to_end.model import AlpamayoModel
from alpamayo_vla_model.weights_file import WeightsFormat, training_note

__all__ = ["FORMAT", "SHIPPED", "load", "save", "training_note"]

FORMAT = WeightsFormat(
    name="alpamayo-driver",
    what="driver",
    version=1,
    read_config=AlpamayoConfig.from_json,
    create=lambda config, device: AlpamayoModel(config, device=device),
)
SHIPPED = Path(__file__).parents[1] / "checkpoints" / "end_to_end.safetensors"
save, load = FORMAT.save, FORMAT.load
