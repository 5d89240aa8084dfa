"""The record of one closed-loop drive: enough to replay it bit for bit and to recompute every score."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int8

from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError

Array = np.ndarray


@described
@dataclass(frozen=True, eq=False)
class Episode:
    """States at ``steps + 1`` times and decisions at ``steps`` times (``t`` in the shapes is ``steps``).

    Poses are x, y, heading (m, rad) of box centres in the world, relative to the scene's origin. ``chosen`` is
    the index of the driver's choice among its K plans; ``executed`` is the plan that was driven, which
    differs from the choice where ``intervened``. Plans are in the ego frame of their step. ``guard_reasons`` are empty
    where the guard accepted the choice. ``timings`` (s, one value per step) depend on the machine and enter no score.
    ``code_version`` and ``model``, the SHA-256 of the driver's weights (empty for a driver without weights), identify
    the code and the driver. ``execution`` says by which path and on which processor a driver with a model computed; the
    same bytes come back on the same ones.

    ``rig`` holds the driver's cameras. ``observation_age`` (s) is the age of the newest frame of the most delayed
    camera at each decision. Both are None for a driver without cameras. ``guard_config`` holds the
    guard's thresholds by name, mostly one value each; None for a drive without a guard. ``driver_choice`` and
    ``driver_arguments`` (JSON) make the driver again; both are empty for a driver that was given as an object.
    ``ego_elevation`` and ``agent_elevation`` are the z (m) of the ground under the boxes; None if levels are unknown.
    """

    scenario: Scenario
    driver: str
    seed: int
    guarded: bool
    ego_size: Float32[Array, "3"]
    ego_pose: Float32[Array, "t1 3"]
    ego_speed: Float32[Array, " t1"]
    ego_acceleration: Float32[Array, " t1"]
    ego_curvature: Float32[Array, " t1"]
    progress: Float32[Array, " t1"]  # arc length along the route (m)
    agent_ids: tuple[str, ...]
    agent_category: Int8[Array, " agents"]
    agent_size: Float32[Array, "agents 3"]
    agent_pose: Float32[Array, "t1 agents 3"]
    agent_velocity: Float32[Array, "t1 agents 2"]
    agent_valid: Bool[Array, "t1 agents"]
    signals: Int8[Array, "t1 signals"]
    plans: Float32[Array, "t k 64 4"]
    weights: Float32[Array, "t k"]
    chosen: Int8[Array, " t"]
    executed: Float32[Array, "t 64 4"]
    intervened: Bool[Array, " t"]
    guard_reasons: tuple[str, ...]
    reasoning: tuple[Reasoning | None, ...]
    arrived: bool
    code_version: str = ""
    model: str = ""
    execution: str = ""
    rig: Rig | None = None
    guard_config: dict[str, tuple[float, ...]] | None = None
    observation_age: Float32[Array, " t"] | None = None
    ego_elevation: Float32[Array, " t1"] | None = None
    agent_elevation: Float32[Array, "t1 agents"] | None = None
    timings: dict[str, Float32[Array, " t"]] = field(default_factory=dict)
    driver_choice: str = ""
    driver_arguments: str = ""

    def __post_init__(self) -> None:
        states, decisions = len(self.ego_pose), len(self.chosen)
        if states != decisions + 1:
            raise InputError(f"episode: {states} states and {decisions} decisions; needs one more state than decisions")
        if decisions and not (self.chosen.min() >= 0 and self.chosen.max() < self.plans.shape[1]):
            raise InputError(f"episode: chosen must be in [0, {self.plans.shape[1]})")
        for name in ("ego_pose", "ego_speed", "agent_pose", "agent_velocity", "plans", "executed"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputError(f"episode: {name} has non-finite values")

    @property
    def steps(self) -> int:
        """Number of decisions."""
        return len(self.chosen)

    @property
    def guard_on_belief(self) -> bool:
        """Whether the guard was told what the driver believes, instead of the truth."""
        return self.guard_config is not None and bool(self.guard_config.get("on_belief", (0.0,))[0])

    @property
    def dt(self) -> float:
        """Length of a step (s)."""
        return self.scenario.scene.dt

    @cached_property
    def times(self) -> Float32[Array, " t1"]:
        """Time of each state (s)."""
        return (np.arange(self.steps + 1) * self.dt).astype(np.float32)

    def agents(self, step: int) -> Agents:
        """Return the road users and props at a step."""
        return Agents(
            ids=self.agent_ids,
            category=self.agent_category,
            pose=self.agent_pose[step],
            velocity=self.agent_velocity[step],
            size=self.agent_size,
            valid=self.agent_valid[step],
            elevation=None if self.agent_elevation is None else self.agent_elevation[step],
        )

    def truth(self, step: int) -> GroundTruth:
        """Return the ground truth at a step."""
        return GroundTruth(
            scene=self.scenario.scene,
            step=step,
            ego_pose=self.ego_pose[step],
            ego_speed=float(self.ego_speed[step]),
            ego_size=self.ego_size,
            agents=self.agents(step),
            signals=self.signals[step],
            ego_elevation=None if self.ego_elevation is None else float(self.ego_elevation[step]),
        )
