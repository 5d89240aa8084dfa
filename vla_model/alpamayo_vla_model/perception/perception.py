"""Perception step by step: the network with the features of half a second ago."""

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.inputs import state_of
from alpamayo_vla_model.perception.detections import Detections, detections
from alpamayo_vla_model.perception.network import Features, PerceptionNetwork
from alpamayo_vla_model.vision import RigTensors

Array = np.ndarray

EARLIER_STEPS = 5  # of 0.1 s, between the two frames that are compared


@dataclass(frozen=True, eq=False)
class Answer:
    """What one step shows: things, probabilities of ``Ground`` and ``Control``, and the distance (m) to the line."""

    detections: Detections
    ground: Float64[Array, "16 17 4"]
    control: Float64[Array, " controls"]
    line_distance: float


class Perception:
    """Looks at the newest frames of the cameras; keep one for each episode."""

    def __init__(self, network: PerceptionNetwork) -> None:
        self._network = network.eval()
        self._features: deque[Features] = deque(maxlen=EARLIER_STEPS + 1)

    def copied(self) -> "Perception":
        """Return a perception with the same past; both share the network."""
        other = Perception(self._network)
        other._features.extend(self._features)
        return other

    @torch.inference_mode()
    def look(self, observation: Observation) -> Answer:
        """Return what the newest frames show.

        Raises:
            InputError: the observation has no cameras.
        """
        if observation.cameras is None:
            raise InputError("perception needs images, but the observation has no cameras")
        rig = RigTensors.of(observation.cameras.rig)
        images = np.ascontiguousarray(observation.cameras.rgb[:, -1].transpose(0, 2, 3, 1))
        now = self._network.features(torch.from_numpy(images)[None], rig)
        self._features.append(now)
        motion = observation.history[-len(self._features), :3]
        numbers = (_row(motion), _row(np.array(state_of(observation))), _row(observation.route))
        cells, road = self._network(now, self._features[0], *numbers)
        return Answer(
            detections(cells, rig),
            road.ground[0].softmax(-1).double().numpy(),
            road.control[0].softmax(-1).double().numpy(),
            float(road.log_distance[0].exp()),
        )


def _row(values: Array) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[None]
