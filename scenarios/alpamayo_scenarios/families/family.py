"""Family: a parametrised kind of edge case that makes the same scenario from the same seed."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError, check_known, one_line
from alpamayo_sim.settings import FINITE, SEEDS, instance_of, named_values, real_number, whole_number

Rng = np.random.Generator
Values = Mapping[str, float]

REACTION_TIME_S = 0.6  # of an attentive driver in a solvable scenario
BRAKING_MPS2 = 6.0  # possible also on a wet road of friction 0.7
MAX_DRAWS = 1000


@dataclass(frozen=True)
class Parameter:
    """One axis of a family, in SI units ("1" for numbers and choices), with its range and the source of the range.

    ``typical`` is a value that is drawn with probability ``typical_share``, such as a curvature of 0. ``default`` is
    one value; the defaults of a family's parameters together make a usual case.
    """

    name: str
    unit: str
    low: float
    high: float
    source: str
    integer: bool = False
    typical: float = 0.0
    typical_share: float = 0.0
    default: float = 0.0

    @property
    def shown_unit(self) -> str:
        """The unit for tables: nothing for numbers and choices."""
        return "" if self.unit == "1" else self.unit

    def draw(self, rng: Rng) -> float:
        """Draw a value from the range."""
        share, position = rng.random(2)
        return self.typical if share < self.typical_share else self.value(position)

    def value(self, position: float) -> float:
        """Return the value at a position in [0, 1) of the range."""
        if self.integer:
            return float(min(self.low + np.floor(position * (self.high - self.low + 1.0)), self.high))
        return float(self.low + position * (self.high - self.low))

    def contains(self, value: float) -> bool:
        """Return whether a value is in the range."""
        return self.low <= value <= self.high

    def check(self, value: Any, family: str, extrapolate: bool = False) -> float:
        """Return the value as a float; with ``extrapolate`` any finite one, else one in the range.

        Raises:
            InputError: It is no number, is out of range, or not a whole number where it must be one.
        """
        what, bounds = f"family {family!r}: {self.name}", FINITE if extrapolate else (self.low, self.high)
        number = real_number(value, what, bounds, "" if self.unit == "1" else f" {self.unit}")
        if self.integer and not number.is_integer():
            whole_number(value, what, bounds)
        return number


@dataclass(frozen=True)
class Family:
    """A kind of edge case.

    Attributes:
        name: Its name on the command line.
        number: A number of its own that enters the seed and never changes, so that a new family changes no other one.
        title: Two or three words for a table.
        summary: One sentence that says what happens.
        group: Its group in the catalogue.
        cluster: Its out-of-distribution cluster in the PhysicalAI-AV reasoning data.
        trigger: The chain-of-causation trigger that makes the ego act.
        decision: The sensible decision, longitudinal and lateral.
        critical_actors: Names of the tracks and props that make the event; ``*`` stands for any ending.
        odd: Tags of the operational design domain.
        source: The source of this kind of scenario.
        parameters: Its axes.
        accepts: A first-order check that a careful driver can avoid a collision and a careless one cannot. Drawn
            parameters satisfy it; parameters that the user gives need not.
        make: Builds the scenario from complete parameters and a generator for everything that is not a parameter.
        held_out: Whether the family is for evaluation alone; no data of it may enter training.
    """

    name: str
    number: int
    title: str
    summary: str
    group: Group
    cluster: OodCluster
    trigger: CocTrigger
    decision: tuple[Longitudinal, Lateral]
    critical_actors: tuple[str, ...]
    odd: tuple[OddTag, ...]
    source: str
    parameters: tuple[Parameter, ...]
    accepts: Callable[[Values], bool]
    make: Callable[[Values, Rng], Scenario]
    held_out: bool = False

    def build(self, parameters: Values, seed: int, *, extrapolate: bool = False) -> Scenario:
        """Make the scenario at a point; missing parameters, and everything else, are drawn from ``seed``.

        The same parameters and seed give identical bytes: ``build(scenario.parameters, scenario.seed)`` makes a
        scenario again. With ``extrapolate`` a given parameter may be out of its range; ``extrapolated`` names those.

        Raises:
            InputError: A parameter is unknown, no number or out of range, the seed is not in [0, 2^63), or there is no
                scenario at a point out of range.
        """
        seed = self._checked_seed(seed)
        generator = self._generator(seed)
        values = self._draw(self.checked(parameters, extrapolate), generator)
        scenario = self._made(values, np.random.default_rng([self.number, seed, 1]))
        name = f"{self.name}-{seed}"
        provenance = dataclasses.replace(scenario.scene.provenance, id=name)
        scene = dataclasses.replace(scenario.scene, id=name, provenance=provenance)
        return dataclasses.replace(scenario, scene=scene, family=self.name, parameters=dict(values), seed=seed)

    def twin(self, parameters: Values, seed: int) -> Scenario:
        """Make the scenario of ``build`` without its critical actors; everything else stays the same.

        Raises:
            InputError: As ``build``.
        """
        scenario = self.build(parameters, seed)
        scene = scenario.scene
        name = f"{scene.id}-twin"
        scene = dataclasses.replace(
            scene,
            id=name,
            provenance=dataclasses.replace(scene.provenance, id=name),
            tracks=tuple(track for track in scene.tracks if not self.is_critical(track.id)),
            props=tuple(prop for prop in scene.props if not self.is_critical(prop.id)),
        )
        scripts = tuple(script for script in scenario.scripts if not self.is_critical(script.track_id))
        return dataclasses.replace(scenario, scene=scene, scripts=scripts)

    def extrapolated(self, parameters: Values) -> tuple[str, ...]:
        """Return the names of the parameters that are out of their ranges."""
        known = {parameter.name: parameter for parameter in self.parameters}
        return tuple(name for name, value in parameters.items() if not known[name].contains(value))

    def checked(self, parameters: Values, extrapolate: bool = False) -> dict[str, float]:
        """Return parameters as floats.

        Raises:
            InputError: One is unknown, or out of range without ``extrapolate``.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        given = named_values(parameters, f"family {self.name!r}: parameters")
        for name in given:
            check_known(f"parameter of family {self.name!r}:", name, known)
        return {name: known[name].check(value, self.name, extrapolate) for name, value in given.items()}

    def is_critical(self, name: str) -> bool:
        """Return whether a track or prop of that name is a critical actor."""
        return any(fnmatchcase(name, pattern) for pattern in self.critical_actors)

    def defaults(self) -> dict[str, float]:
        """Return the default of each parameter."""
        return {parameter.name: parameter.default for parameter in self.parameters}

    def draw(self, seed: int) -> dict[str, float]:
        """Return the parameters of ``build({}, seed)`` without building the scenario.

        Raises:
            InputError: The seed is not in [0, 2^63).
        """
        return self._draw({}, self._generator(self._checked_seed(seed)))

    def sample(self, rng: Rng) -> Scenario:
        """Make a scenario with a seed from ``rng``."""
        instance_of(rng, np.random.Generator, f"family {self.name!r}: the generator")
        return self.build({}, int(rng.integers(2**31)))

    def _checked_seed(self, seed: Any) -> int:
        return whole_number(seed, f"family {self.name!r}: seed", SEEDS)

    def _generator(self, seed: int) -> Rng:
        return np.random.default_rng([self.number, seed])

    def _made(self, values: Values, rng: Rng) -> Scenario:
        """Make the scenario; out of the ranges its geometry may be contradictory."""
        if not (outside := self.extrapolated(values)):
            return self.make(values, rng)
        try:
            return self.make(values, rng)
        except (AssertionError, ArithmeticError, ValueError, IndexError) as error:
            where = ", ".join(f"{name}={values[name]:g}" for name in outside)
            raise InputError(
                f"family {self.name!r}: there is no scenario at {where} ({one_line(str(error))})"
            ) from error

    def _draw(self, given: Values, rng: Rng) -> dict[str, float]:
        """Draw the parameters that are not given until the point is accepted, at most ``MAX_DRAWS`` times."""
        values: dict[str, float] = {}
        for _ in range(MAX_DRAWS):
            drawn = {parameter.name: parameter.draw(rng) for parameter in self.parameters}
            values = {**drawn, **given}
            if len(given) == len(values) or self.accepts(values):
                break
        return values


def posted_limit(speed: float) -> float:
    """Return the speed limit (m/s) for a ``speed`` (m/s): rounded up to 10 km/h."""
    return float(np.ceil(round(speed * 3.6, 6) / 10.0) * 10.0 / 3.6)


def stopping_distance(speed: float) -> float:
    """Return the distance (m) to a stop from ``speed`` (m/s), with reaction time and braking for a wet road."""
    return speed * REACTION_TIME_S + speed**2 / (2.0 * BRAKING_MPS2)


CURVATURE_SOURCE = "radius of rural and urban bends, at most 2.5 m/s² lateral at the family's speeds"


def curvature(limit: float, straight_share: float = 0.5) -> Parameter:
    """Return the parameter of the road's bend (1/m, left positive), up to ``limit`` to either side; 0 is straight."""
    return Parameter("curvature", "1/m", -limit, limit, CURVATURE_SOURCE, typical_share=straight_share)
