"""Suites: named, versioned, seeded lists of scenarios to evaluate on.

Seeds below 10,000 are for training; those of suites begin there, so that no driver has trained on what it is
evaluated on. A suite of a name never changes: another list gets another name.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from alpamayo_scenarios.families import family_names, make_scenario
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError, unknown_name
from alpamayo_sim.io.document import digest

FIRST_EVALUATION_SEED = 10_000


@dataclass(frozen=True)
class Suite:
    """A list of (family, seed) pairs, in the order in which they are driven."""

    name: str
    version: int
    entries: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Scenario]:
        """The scenarios, made one after the other."""
        return (make_scenario(family, seed) for family, seed in self.entries)

    def first(self, count: int) -> "Suite":
        """The suite of the first ``count`` entries, which covers the families evenly.

        Raises:
            InputError: the suite has fewer, or ``count`` is not positive.
        """
        if not 0 < count <= len(self):
            raise InputError(f"suite {self.name!r} has {len(self)} scenarios, asked for {count}")
        return Suite(f"{self.name}[:{count}]", self.version, self.entries[:count])

    def digest(self) -> str:
        """SHA-256 over all scenarios of the suite: equal exactly when they are, to the bit."""
        total = hashlib.sha256()
        for scenario in self:
            total.update(digest(scenario).encode())
        return total.hexdigest()


def long_tail(per_family: int) -> tuple[tuple[str, int], ...]:
    """``per_family`` evaluation seeds of every family, the families in turn."""
    return tuple((family, FIRST_EVALUATION_SEED + k) for k in range(per_family) for family in family_names())


def get_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        InputError: there is none; the message offers the near names.
    """
    suites = {suite.name: suite for suite in SUITES}
    if name not in suites:
        raise unknown_name("suite", name, suites)
    return suites[name]


SUITES = (Suite("longtail-60", 1, long_tail(10)), Suite("longtail-600", 1, long_tail(100)))
