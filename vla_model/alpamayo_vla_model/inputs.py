"""Observations as tensors, the way the model takes them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.reasoning_text import encode_navigation
from alpamayo_vla_model.vision import RigTensors

NAVIGATION_TOKENS = 12


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of observations.

    ``state`` is speed (m/s), acceleration (m/s²), curvature (1/m) and speed limit (m/s, -1 where not known);
    history and route are as in ``Observation``. The rig may be a batch of one.
    """

    images: UInt8[Tensor, "b cameras frames 3 height width"]
    rig: RigTensors
    history: Float[Tensor, "b 16 4"]
    route: Float[Tensor, "b 32 2"]
    state: Float[Tensor, "b 4"]
    navigation: Int64[Tensor, "b words"]

    def __len__(self) -> int:
        return len(self.state)

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Self:
        """Batch observations that have the same rig.

        Raises:
            InputError: an observation has no cameras.
        """
        frames = [observation.cameras for observation in observations if observation.cameras is not None]
        if not frames or len(frames) != len(observations):
            raise InputError("the driver needs images, but the observation has no cameras")
        return cls(
            images=torch.from_numpy(np.stack([frame.rgb for frame in frames])),
            rig=RigTensors.of(frames[0].rig),
            history=_floats([observation.history for observation in observations]),
            route=_floats([observation.route for observation in observations]),
            state=_floats([state_of(observation) for observation in observations]),
            navigation=torch.tensor([encode_navigation(o.navigation, NAVIGATION_TOKENS) for o in observations]),
        )

    def rows(self, index: Tensor | slice) -> Self:
        """Return the selected samples."""
        parts = {field.name: getattr(self, field.name)[index] for field in fields(self) if field.name != "rig"}
        return replace(self, **parts)


def state_of(observation: Observation) -> list[float]:
    """Return the row of ``Inputs.state`` for an observation."""
    limit = -1.0 if observation.speed_limit is None else float(observation.speed_limit)
    return [float(observation.speed), float(observation.acceleration), float(observation.curvature), limit]


def _floats(rows: Sequence[object]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, np.float32))
