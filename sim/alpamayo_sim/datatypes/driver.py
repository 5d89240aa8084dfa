"""The interface of a driver: its needs, its reset and its decisions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from alpamayo_sim.datatypes.decision import Decision
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scene import Scene


@dataclass(frozen=True)
class Needs:
    """The inputs of a driver in addition to its own state and the route.

    Attributes:
        rig: the cameras it looks through; None for a driver without cameras.
        frames: number of camera frames, at 10 Hz, the newest included.
        truth: whether it gets the ground truth.
        replays_recording: whether the closed loop moves the ego along its recorded track and ignores the plans.
    """

    rig: Rig | None = None
    frames: int = 4
    truth: bool = False
    replays_recording: bool = False


@runtime_checkable
class Driver(Protocol):
    """A driver. The VLA, the reference drivers and a user's own drivers have this interface.

    A driver with weights may say which in ``weights_digest`` (SHA-256, hex), and by which path and on which
    processor it computes in ``execution`` (one line of text); the record of an episode keeps both.
    """

    name: str
    needs: Needs

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a new episode; all later randomness comes from ``rng``."""
        ...

    def act(self, observation: Observation) -> Decision:
        """Decide on the next 6.4 s."""
        ...
