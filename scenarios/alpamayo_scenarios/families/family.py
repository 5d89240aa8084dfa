"""What a family is: a parametrised kind of edge case that makes the same scenario from the same seed."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError, unknown_name

Rng = np.random.Generator
Values = Mapping[str, float]

REACTION = 0.6  # s that a solvable scenario leaves an attentive driver
BRAKING = 6.0  # m/s², reachable on a wet road of friction 0.7
MAX_DRAWS = 1000


@dataclass(frozen=True)
class Parameter:
    """One axis of a family, in SI units ("1" for numbers and choices), with its range and where that comes from.

    ``typical`` is a value that is drawn with the chance ``typical_share``, such as a curvature of 0.
    """

    name: str
    unit: str
    low: float
    high: float
    source: str
    integer: bool = False
    typical: float = 0.0
    typical_share: float = 0.0

    def draw(self, rng: Rng) -> float:
        """A value from the range."""
        share, position = rng.random(2)
        if share < self.typical_share:
            return self.typical
        if self.integer:
            return float(self.low + np.floor(position * (self.high - self.low + 1.0)))
        return float(self.low + position * (self.high - self.low))

    def check(self, value: float, family: str) -> float:
        """The value as a float; ``InputError`` when it is outside of the range."""
        number = float(value)
        whole = not self.integer or number == round(number)
        if not (self.low <= number <= self.high and whole):
            kind = "a whole number " if self.integer else ""
            unit = "" if self.unit == "1" else f" {self.unit}"
            raise InputError(
                f"family {family!r}: {self.name} is {value}{unit}, must be {kind}in [{self.low:g}, {self.high:g}]{unit}"
            )
        return number


@dataclass(frozen=True)
class Family:
    """A kind of edge case.

    Attributes:
        name: what the command line calls it.
        number: enters the seed and never changes, so that a new family leaves the others as they are.
        title: two or three words for a table.
        summary: what happens, in one sentence.
        cluster: the cluster of the PhysicalAI-AV reasoning data that it belongs to.
        source: where the kind of scenario comes from.
        parameters: its axes.
        accepts: a first-order check that a careful driver can come through and a careless one does not; draws
            satisfy it. A point that the user gives need not.
        make: builds the scenario from complete parameters and a generator for all that is not a parameter.
    """

    name: str
    number: int
    title: str
    summary: str
    cluster: str
    source: str
    parameters: tuple[Parameter, ...]
    accepts: Callable[[Values], bool]
    make: Callable[[Values, Rng], Scenario]

    def build(self, parameters: Values, seed: int) -> Scenario:
        """The scenario at a point; parameters that are not given are drawn, as is all else, from ``seed``.

        The same parameters and seed give identical bytes, and ``build(scenario.parameters, scenario.seed)``
        makes a scenario again.

        Raises:
            InputError: a parameter is unknown or out of its range, or the seed is negative.
        """
        if seed < 0:
            raise InputError(f"family {self.name!r}: seed is {seed}, must not be negative")
        given = self._check(parameters)
        values = self._draw(given, np.random.default_rng([self.number, seed]))
        scenario = self.make(values, np.random.default_rng([self.number, seed, 1]))
        name = f"{self.name}-{seed}"
        provenance = dataclasses.replace(scenario.scene.provenance, id=name)
        scene = dataclasses.replace(scenario.scene, id=name, provenance=provenance)
        return dataclasses.replace(scenario, scene=scene, family=self.name, parameters=dict(values), seed=seed)

    def draw(self, seed: int) -> dict[str, float]:
        """The parameters that ``build({}, seed)`` takes, without building."""
        return self._draw({}, np.random.default_rng([self.number, seed]))

    def sample(self, rng: Rng) -> Scenario:
        """A scenario with a seed from ``rng``."""
        return self.build({}, int(rng.integers(2**31)))

    def _check(self, parameters: Values) -> dict[str, float]:
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in parameters:
            if name not in known:
                raise unknown_name(f"parameter of family {self.name!r}:", name, known)
        return {name: known[name].check(value, self.name) for name, value in parameters.items()}

    def _draw(self, given: Values, rng: Rng) -> dict[str, float]:
        """All parameters; the given ones stay. Without an accepted point in many draws the last one is taken."""
        values: dict[str, float] = {}
        for _ in range(MAX_DRAWS):
            drawn = {parameter.name: parameter.draw(rng) for parameter in self.parameters}
            values = {**drawn, **given}
            if len(given) == len(values) or self.accepts(values):
                break
        return values


def posted_limit(speed: float) -> float:
    """The speed limit (m/s) of a road that is driven at ``speed``: the next step of 10 km/h."""
    return float(np.ceil(round(speed * 3.6, 6) / 10.0) * 10.0 / 3.6)


def stopping_distance(speed: float) -> float:
    """Metres to a stop after the reaction time, at a braking that also a wet road gives."""
    return speed * REACTION + speed**2 / (2.0 * BRAKING)


CURVATURE_SOURCE = "radius of rural and urban bends, at most 2.5 m/s² lateral at the family's speeds"


def curvature(limit: float, straight_share: float = 0.5) -> Parameter:
    """The bend of the road (1/m, left positive); 0 is straight."""
    return Parameter("curvature", "1/m", -limit, limit, CURVATURE_SOURCE, typical_share=straight_share)
