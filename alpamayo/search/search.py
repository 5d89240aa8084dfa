"""Search: an optimiser looks for failures of a driver; the failures are made minimal, kept apart, and certified.

Each drive is kept in a file of the results folder, by the parameters. The search is deterministic, so a run that is
repeated takes the drives of an earlier one and goes on where that ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo.certification.certify import certify, motion_of, surroundings
from alpamayo.certification.checker import clearance
from alpamayo.certification.suite import certificate_row
from alpamayo.episode import has_collision
from alpamayo.folders import claimed
from alpamayo.json_values import read_sealed, rounded, sealed, write_json
from alpamayo.parallel import Progress
from alpamayo.provenance import code_version
from alpamayo.runs import DriverChoice, drive_run
from alpamayo.search.kinds import Kind, Side, kind_of
from alpamayo.search.optimisers import OPTIMISERS
from alpamayo.validator import score_episode
from alpamayo_scenarios.families import Family
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED, SuiteEntry
from alpamayo_sim.datatypes.scenario import Solvability
from alpamayo_sim.errors import InputError, unknown_name

Array = np.ndarray
Point = Float64[Array, " d"]

LEAST_DISTANCE = 0.25  # of two failures that count as distinct, in parts of a parameter's range
MOST_FAILURES = 5
BY_KIND = "map-elites"  # the method whose failures are distinct if their kinds are
FAILED_BONUS_M = 5.0  # by which a failure is better than any clearance


@dataclass
class _Drives:
    """The drives of a search, taken from the folder where they were made before."""

    family: Family
    choice: DriverChoice
    path: Path
    budget: int
    progress: Progress
    seed: int
    key: dict[str, Any]
    known: dict[str, list[Any]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        earlier = read_sealed(self.path)
        if earlier is not None and earlier.get("key") == rounded(self.key):
            self.known = dict(earlier["drives"])

    @property
    def left(self) -> int:
        return self.budget - len(self.used)

    def result(self, parameters: dict[str, float]) -> tuple[bool, float, Kind]:
        """Return whether the driver fails at a point, its smallest clearance (m), and the kind of that encounter."""
        name = repr(sorted(parameters.items()))
        if name not in self.known:
            self.known[name] = list(self._driven(parameters))
            write_json(sealed({"key": rounded(self.key), "drives": self.known}), self.path)
        self.used.add(name)
        self.progress("search", min(len(self.used), self.budget), self.budget)
        failed, gap, (side, band) = self.known[name]
        return bool(failed), float(gap), Kind(Side(side), int(band))

    def _driven(self, parameters: dict[str, float]) -> tuple[bool, float, Kind]:
        scenario = SuiteEntry(self.family.name, parameters, self.seed).make()
        episode = drive_run(self.choice, self.choice.make(), scenario, self.seed)
        gap = round(clearance(motion_of(episode).astype(np.float64), surroundings(episode)), 4)
        if not has_collision(episode):
            return False, gap, kind_of(episode)
        return bool(score_episode(episode).rules["at_fault_collision"].violated[0]), gap, kind_of(episode)


def search_failures(
    family: Family,
    choice: DriverChoice,
    budget: int,
    out: Path,
    *,
    seed: int = 0,
    method: str = "cma-es",
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Search for at-fault collisions of a driver in one family.

    Args:
        family: the family.
        choice: the driver.
        budget: the number of drives of the driver, including those that make failures minimal.
        out: the folder of the results; an earlier search there with the same inputs is continued.
        seed: the seed of the optimiser.
        method: cma-es or cross-entropy, or map-elites, whose failures differ in kind.
        progress: called for each drive.

    Returns:
        JSON values: the distinct, minimal failures that are certified solvable, those that are not, and the effort.

    Raises:
        InputError: an unknown method, a budget below 1, or a folder that cannot be written.
    """
    if method not in OPTIMISERS:
        raise unknown_name("search method", method, OPTIMISERS)
    if budget < 1:
        raise InputError(f"the budget is {budget} drives, must be at least 1")
    key = {"family": family.name, **choice.inputs(), "code_version": code_version(), "seed": seed, "method": method}
    with claimed(out):
        drives = _Drives(family, choice, out / "drives.json", budget, progress, FIRST_EVALUATION_SEED + seed, key)
        failures = _search(drives, method, np.random.default_rng([family.number, seed, 3]))
        rows = [_row(family, drives.seed, each) for each in failures]
        solvable = Solvability.SOLVED.value
        result = {
            "family": family.name,
            "driver": choice.name,
            "method": method,
            "drives": len(drives.used),
            "seed": drives.seed,
            "failures": [row for row in rows if row["certificate"]["solvability"] == solvable],
            "not_certified": [row for row in rows if row["certificate"]["solvability"] != solvable],
        }
        write_json(result := rounded(result), out / "search.json")
    return result


@dataclass(frozen=True)
class _Failure:
    """A failure: where it is, the smallest clearance (m), and of which kind it is."""

    parameters: dict[str, float]
    gap: float
    kind: Kind


@dataclass(frozen=True)
class _Distinct:
    """What makes two failures distinct: their kinds, or else a distance of their parameters."""

    family: Family
    by_kind: bool

    def are(self, one: _Failure, others: Sequence[_Failure]) -> bool:
        """Return whether a failure is distinct from all others."""
        if self.by_kind:
            return all(one.kind != other.kind for other in others)
        return all(distance(self.family, one.parameters, each.parameters) >= LEAST_DISTANCE for each in others)


def _search(drives: _Drives, method: str, rng: np.random.Generator) -> list[_Failure]:
    """Return distinct minimal failures."""
    family = drives.family
    optimiser = OPTIMISERS[method](len(family.parameters), lambda point: family.accepts(values_at(family, point)), rng)
    distinct = _Distinct(family, by_kind=method == BY_KIND)
    failures: list[_Failure] = []
    while drives.left > 0 and len(failures) < MOST_FAILURES:
        points = optimiser.ask()
        values, kinds = [], []
        for point in points:
            if drives.left <= 0:
                return failures
            parameters = values_at(family, point)
            failed, gap, kind = drives.result(parameters)
            found = _Failure(parameters, gap, kind)
            is_new = failed and distinct.are(found, failures)
            values.append(gap + FAILED_BONUS_M * (failed and not is_new) - FAILED_BONUS_M * is_new)
            kinds.append(kind)
            if is_new:
                failures.append(_minimal(drives, found, distinct, failures))
        optimiser.tell(points, values, kinds)
    return failures


def _minimal(drives: _Drives, found: _Failure, distinct: _Distinct, others: Sequence[_Failure]) -> _Failure:
    """Set one parameter after the other to its default where the failure stays one, and stays distinct."""
    family = drives.family
    for name, usual in family.defaults().items():
        changed = {**found.parameters, name: usual}
        if changed == found.parameters or not family.accepts(changed) or drives.left <= 0:
            continue
        if not distinct.by_kind and not distinct.are(_Failure(changed, found.gap, found.kind), others):
            continue
        failed, gap, kind = drives.result(changed)
        simpler = _Failure(changed, gap, kind)
        if failed and distinct.are(simpler, others):
            found = simpler
    return found


def values_at(family: Family, point: Point) -> dict[str, float]:
    """Return the parameters at a point of the unit hypercube."""
    return {p.name: p.value(float(u)) for p, u in zip(family.parameters, point, strict=True)}


def distance(family: Family, one: dict[str, float], other: dict[str, float]) -> float:
    """Return the largest difference of two points, in parts of the parameters' ranges."""
    return max(abs(one[p.name] - other[p.name]) / (p.high - p.low) for p in family.parameters)


def _row(family: Family, seed: int, failure: _Failure) -> dict[str, Any]:
    usual = family.defaults()
    certificate = certify(SuiteEntry(family.name, failure.parameters, seed).make())
    return {
        "parameters": failure.parameters,
        "essential": [name for name, value in failure.parameters.items() if value != usual[name]],
        "clearance_m": failure.gap,
        "kind": failure.kind.described(),
        "certificate": certificate_row(certificate),
    }
