"""Checkpoints of the reasoner: one safetensors file, as those of the driver."""

from alpamayo_vla_model.reasoner.model import Reasoner, ReasonerConfig
from alpamayo_vla_model.weights_file import WeightsFormat

FORMAT = WeightsFormat(
    name="alpamayo-reasoner",
    what="reasoner",
    version=1,
    read_config=ReasonerConfig.from_json,
    create=lambda config, device: Reasoner(config, device=device),
)
save_reasoner, load_reasoner = FORMAT.save, FORMAT.load
