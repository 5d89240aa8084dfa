"""Observations and ground truth at one time step."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, UInt8

from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.description import described

Array = np.ndarray

HISTORY_STEPS = 16
ROUTE_POINTS = 32
ROUTE_SPACING = 4.0  # m


@described
@dataclass(frozen=True, eq=False)
class Agents:
    """The road users and props other than the ego at one time, world frame, positions relative to the origin.

    ``pose`` is x, y, heading of the box centre; ``size`` length, width, height; ``category`` holds ``Category``
    values. Rows where ``valid`` is False are absent. ``elevation`` is the z (m) of the ground under each box; None, or
    NaN for one row, where it is unknown (see ``geometry.heights_overlap``).
    """

    ids: tuple[str, ...]
    category: Int8[Array, " n"]
    pose: Float32[Array, "n 3"]
    velocity: Float32[Array, "n 2"]
    size: Float32[Array, "n 3"]
    valid: Bool[Array, " n"]
    elevation: Float32[Array, " n"] | None = None


@described
@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The complete state of a world, which a real car cannot know; for drivers, labels and the validator.

    ``ego_elevation`` is the z (m) of the ground under the ego; None where it is unknown.
    """

    scene: Scene
    step: int
    ego_pose: Float32[Array, "3"]
    ego_speed: float
    ego_size: Float32[Array, "3"]
    agents: Agents
    signals: Int8[Array, " n"]  # SignalState of each of scene.signals
    ego_elevation: float | None = None


@described
@dataclass(frozen=True, eq=False)
class CameraFrames:
    """Images of ``rig`` at several times: uint8 RGB, oldest first, ``times`` (s) relative to now (<= 0)."""

    rig: Rig
    rgb: UInt8[Array, "cameras frames 3 height width"]
    times: Float32[Array, "cameras frames"]


@described
@dataclass(frozen=True, eq=False)
class Observation:
    """The input of a driver. The ego frame at t0 has the ego's box centre as origin and x forward.

    ``history`` is x, y, heading, speed of the last 16 poses at 10 Hz, oldest first, the last being now.
    ``route`` has 32 points every 4 m along the route from the ego on; past its end the last point repeats.
    ``speed_limit`` and ``size`` (length, width, height of the ego in m) are None where they are unknown.
    Only drivers that need ``truth`` receive it.
    """

    time: float
    history: Float32[Array, "16 4"]
    route: Float32[Array, "32 2"]
    speed: float
    acceleration: float
    curvature: float
    speed_limit: float | None = None
    size: Float32[Array, "3"] | None = None
    navigation: str = ""
    cameras: CameraFrames | None = None
    truth: GroundTruth | None = None
