"""Decisions of a driver: candidate plans, the chosen plan, and the reasoning."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_sim.errors import InputError

Array = np.ndarray

PLAN_STEPS = 64
PLAN_DT = 0.1


@dataclass(frozen=True, eq=False)
class Decision:
    """A decision: K candidate plans with weights, the chosen plan, and the reasoning.

    A plan is 64 waypoints at 0.1 s to 6.4 s: x, y, heading, speed in the ego frame at t0. ``timings`` are in s.
    ``believed`` has the road users and objects that the driver takes to be there, in the ego frame at t0; None if the
    driver does not tell.
    """

    plans: Float32[Array, "k 64 4"]
    weights: Float32[Array, " k"]
    chosen: int = 0
    reasoning: Reasoning | None = None
    timings: dict[str, float] = field(default_factory=dict)
    believed: Agents | None = None

    def __post_init__(self) -> None:
        shape = self.plans.shape
        if len(shape) != 3 or shape[0] < 1 or shape[1:] != (PLAN_STEPS, 4):
            raise InputError(f"decision: plans have shape {shape}, must be [K >= 1, {PLAN_STEPS}, 4]")
        if not np.all(np.isfinite(self.plans)):
            raise InputError("decision: plans have values that are not finite")
        if self.weights.shape != shape[:1] or not 0 <= self.chosen < shape[0]:
            raise InputError(f"decision: needs {shape[0]} weights and chosen in [0, {shape[0]})")
