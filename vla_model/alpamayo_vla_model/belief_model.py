"""The trained parts of the belief driver in one file: perception, and the reasoner that speaks."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from alpamayo_vla_model.json_config import reading_config
from alpamayo_vla_model.perception.network import PerceptionConfig, PerceptionNetwork
from alpamayo_vla_model.reasoner.model import Reasoner, ReasonerConfig
from alpamayo_vla_model.weights_file import WeightsFormat


@dataclass(frozen=True)
class BeliefConfig:
    """The shapes of both parts; without a reasoner the planner gives its own reasons."""

    perception: PerceptionConfig
    reasoner: ReasonerConfig | None = None

    def to_json(self) -> str:
        """Return the record as JSON."""
        reasoner = None if self.reasoner is None else json.loads(self.reasoner.to_json())
        return json.dumps({"perception": json.loads(self.perception.to_json()), "reasoner": reasoner}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> Self:
        """Read the text of ``to_json``.

        Raises:
            InputError: it is no such record.
        """
        with reading_config(where, "configuration of a belief driver"):
            values: dict[str, Any] = json.loads(text)
            perception, reasoner = (json.dumps(values[name]) for name in ("perception", "reasoner"))
        return cls(
            PerceptionConfig.from_json(perception, where),
            None if reasoner == "null" else ReasonerConfig.from_json(reasoner, where),
        )


class BeliefModel(nn.Module):
    """Perception and, where there is one, the reasoner.

    Args:
        config: The shapes.
        seed: Of the initial weights.
        device: Where the parameters live; ``meta`` allocates nothing.
    """

    def __init__(self, config: BeliefConfig, *, seed: int = 0, device: str = "cpu") -> None:
        super().__init__()
        self.config = config
        self.perception = PerceptionNetwork(config.perception, seed=seed, device=device)
        self.reasoner = None if config.reasoner is None else Reasoner(config.reasoner, seed=seed, device=device)

    @classmethod
    def of(cls, perception: PerceptionNetwork, reasoner: Reasoner | None = None) -> Self:
        """Join parts that were trained apart."""
        model = cls(BeliefConfig(perception.config, None if reasoner is None else reasoner.config), device="meta")
        model.perception, model.reasoner = perception, reasoner
        return model


FORMAT = WeightsFormat(
    name="alpamayo-belief-driver",
    what="belief driver",
    version=1,
    read_config=BeliefConfig.from_json,
    create=lambda config, device: BeliefModel(config, device=device),
)
SHIPPED = Path(__file__).parent / "checkpoints" / "tiny.safetensors"
save_belief, load_belief = FORMAT.save, FORMAT.load
