"""Shapes and extents of transitions.

ASAM OpenSCENARIO XML 1.2, DynamicsShape and DynamicsDimension; a rate is the greatest one of the shape.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from alpamayo_datasets.xml_elements import number, place
from alpamayo_sim.errors import InputError

SHAPES: Mapping[str, tuple[Callable[[float], float], float]] = {
    "step": (lambda part: 1.0, 1.0),
    "linear": (lambda part: part, 1.0),
    "cubic": (lambda part: part**2 * (3.0 - 2.0 * part), 1.5),
    "sinusoidal": (lambda part: 0.5 - 0.5 * math.cos(math.pi * part), 0.5 * math.pi),
}
"""The part of the change at a part of the extent, and the greatest slope of that function."""


@dataclass(frozen=True)
class Dynamics:
    """How a value changes: by a shape, over a time (s), over a distance (m), or with a rate (per s)."""

    shape: Callable[[float], float]
    steepest: float
    dimension: str
    value: float

    def duration(self, change: float) -> float:
        """Return the duration (s) of a change by time or rate."""
        if self.steepest == 1.0 and self.shape(0.0) == 1.0:
            return 0.0
        if self.dimension == "rate":
            return self.steepest * abs(change) / max(abs(self.value), 1e-9)
        return self.value


def dynamics_of(element: Element, where: str) -> Dynamics:
    """Return the dynamics of an action.

    Raises:
        InputError: The shape or the dimension is unknown, or the value is no number.
    """
    shape, dimension = element.get("dynamicsShape", "step"), element.get("dynamicsDimension", "time")
    if shape not in SHAPES or dimension not in ("time", "rate", "distance"):
        raise InputError(
            f"{place(element, where)}: is {shape!r} by {dimension!r}, must be {', '.join(SHAPES)} by time, rate or "
            "distance"
        )
    return Dynamics(*SHAPES[shape], dimension, number(element, "value", where, 0.0))
