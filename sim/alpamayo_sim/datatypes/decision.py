"""Decisions of a driver: candidate plans, the chosen plan, and the reasoning."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.reasoning import Reasoning
from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.settings import instance_of

Array = np.ndarray

PLAN_STEPS = 64
PLAN_DT = 0.1
MAX_VALUE = 1e6  # of a plan or weight: beyond it float32 has no centimetres


@described
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
        shape = _checked(self.plans, "plans").shape
        if len(shape) != 3 or shape[0] < 1 or shape[1:] != (PLAN_STEPS, 4):
            raise InputError(f"decision: plans have shape {shape}, must be [K >= 1, {PLAN_STEPS}, 4]")
        if _checked(self.weights, "weights").shape != shape[:1]:
            raise InputError(f"decision: weights have shape {self.weights.shape}, must be {shape[:1]}")
        whole = isinstance(self.chosen, int | np.integer) and not isinstance(self.chosen, bool)
        if not whole or not 0 <= self.chosen < shape[0]:
            raise InputError(f"decision: chosen is {shown(self.chosen)}, must be a whole number in [0, {shape[0]})")
        for name, kind in (("reasoning", Reasoning), ("believed", Agents)):
            if not isinstance(value := getattr(self, name), kind | None):
                raise InputError(f"decision: {name} is a {type(value).__name__}, must be {kind.__name__} or None")
        instance_of(self.timings, dict, "decision: timings")


def _checked(values: Any, name: str) -> Array:
    """Return the values of a field if they are finite numbers of moderate size in a NumPy array.

    Raises:
        InputError: they are not.
    """
    if not isinstance(values, np.ndarray):
        raise InputError(f"decision: {name} is a {type(values).__name__}, must be a NumPy array of float32")
    if values.dtype.kind not in "fiu":
        raise InputError(f"decision: {name} has the type {values.dtype}, must be float32")
    if not np.all(np.abs(values) <= MAX_VALUE):
        raise InputError(f"decision: {name} has values that are not finite, or larger than {MAX_VALUE:g}")
    return values
