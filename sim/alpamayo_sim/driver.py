"""What passes between the world and whoever drives in it: observation in, decision out."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int8, UInt8

from alpamayo_sim.errors import InputError
from alpamayo_sim.reasoning import Reasoning
from alpamayo_sim.rig import Rig
from alpamayo_sim.scene import Scene

Array = np.ndarray

PLAN_STEPS = 64
PLAN_DT = 0.1
HISTORY_STEPS = 16
ROUTE_POINTS = 32
ROUTE_SPACING = 4.0  # m


@dataclass(frozen=True, eq=False)
class Agents:
    """The road users and props other than the ego at one time, world frame, positions relative to the origin.

    ``pose`` is x, y, heading of the box centre; ``size`` length, width, height; ``category`` holds ``Category``
    values. Rows where ``valid`` is False are absent.
    """

    ids: tuple[str, ...]
    category: Int8[Array, " n"]
    pose: Float32[Array, "n 3"]
    velocity: Float32[Array, "n 2"]
    size: Float32[Array, "n 3"]
    valid: Bool[Array, " n"]


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulator knows and a real car would not: for reference drivers, labels and the validator."""

    scene: Scene
    step: int
    ego_pose: Float32[Array, "3"]
    ego_speed: float
    ego_size: Float32[Array, "3"]
    agents: Agents
    signals: Int8[Array, " n"]  # SignalState of each of scene.signals


@dataclass(frozen=True, eq=False)
class CameraFrames:
    """Images of ``rig`` at several times: uint8 RGB, oldest first, ``times`` (s) relative to now (<= 0)."""

    rig: Rig
    rgb: UInt8[Array, "cameras frames 3 height width"]
    times: Float32[Array, "cameras frames"]


@dataclass(frozen=True, eq=False)
class Observation:
    """What the driver gets. The ego frame at t0 has the ego's box centre as origin and x forward.

    ``history`` is x, y, heading, speed of the last 16 poses at 10 Hz, oldest first, the last being now.
    ``route`` are 32 points every 4 m along the route from beside the ego on; past its end the last repeats.
    ``speed_limit`` is None where it is not known. ``truth`` is there only for drivers that asked for it.
    """

    time: float
    history: Float32[Array, "16 4"]
    route: Float32[Array, "32 2"]
    speed: float
    acceleration: float
    curvature: float
    speed_limit: float | None = None
    navigation: str = ""
    cameras: CameraFrames | None = None
    truth: Truth | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """What the driver decided: K candidate plans with weights, the one it would take, and why.

    A plan is 64 waypoints at 0.1 s to 6.4 s: x, y, heading, speed in the ego frame at t0. ``timings`` are in s.
    """

    plans: Float32[Array, "k 64 4"]
    weights: Float32[Array, " k"]
    chosen: int = 0
    reasoning: Reasoning | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.plans.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1:] != (PLAN_STEPS, 4):
            raise InputError(f"decision: plans have shape {shape}, must be [K >= 1, {PLAN_STEPS}, 4]")
        if not np.all(np.isfinite(self.plans)):
            raise InputError("decision: plans have values that are not finite")
        if self.weights.shape != shape[:1] or not 0 <= self.chosen < shape[0]:
            raise InputError(f"decision: needs {shape[0]} weights and chosen in [0, {shape[0]})")


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
