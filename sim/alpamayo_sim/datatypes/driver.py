"""The interface of a driver: what it needs, and how it is reset and asked."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scene import Scene


@dataclass(frozen=True)
class Needs:
    """What a driver wants to be given: images of a rig (so many frames back, at 10 Hz), or the truth."""

    rig: Rig | None = None
    frames: int = 4
    truth: bool = False


@runtime_checkable
class Driver(Protocol):
    """Whoever drives. The VLA, the reference drivers and a user's own are all drivers.

    A driver with weights may say which in ``weights_digest`` (SHA-256, hex); the record of an episode keeps it.
    """

    name: str
    needs: Needs

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode; all later randomness comes from ``rng``."""
        ...

    def act(self, observation: Observation) -> Decision:
        """Decide on the next 6.4 s."""
        ...
