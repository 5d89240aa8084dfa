"""A suite: a frozen list of scenarios to evaluate on, read from a JSON file."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo_scenarios.families import get_family
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.errors import InputError, one_line
from alpamayo_sim.io.files import read_regular
from alpamayo_sim.settings import FINITE, SEEDS, path_of, real_number, whole_number

MAX_FILE_BYTES = 16 << 20
MAX_SCENARIOS = 100_000
ROUNDING_DECIMALS = 3  # of the numbers in a digest of scenes
EXTRAPOLATED = "extrapolated"  # the mark of a point out of its family's ranges
KEYS = ("name", "version", "digest", "scenarios")


@dataclass(frozen=True)
class SuiteEntry:
    """One scenario of a suite: a point of a family, and the seed of everything that is not a parameter.

    ``extrapolated`` marks a point out of the family's ranges.
    """

    family: str
    parameters: Mapping[str, float]
    seed: int
    extrapolated: bool = False

    @classmethod
    def drawn(cls, family: str, seed: int) -> "SuiteEntry":
        """Return the entry of ``make_scenario(family, seed)``, with the parameters that the seed draws.

        Raises:
            InputError: There is no such family, or the seed is not in [0, 2^63).
        """
        return cls(family, get_family(family).draw(seed), int(seed))

    def make(self) -> Scenario:
        """Make the scenario.

        Raises:
            InputError: There is no such family, or a parameter is unknown or out of range.
        """
        return get_family(self.family).build(self.parameters, self.seed, extrapolate=self.extrapolated)


@dataclass(frozen=True)
class Suite:
    """A list of scenarios, in the order in which they are driven."""

    name: str
    version: int
    entries: tuple[SuiteEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Scenario]:
        """Make the scenarios one after the other."""
        return (entry.make() for entry in self.entries)

    def first(self, count: int) -> "Suite":
        """Return the suite of the first ``count`` entries, named ``NAME[:count]``.

        Raises:
            InputError: The suite has fewer entries, or ``count`` is not positive.
        """
        if not 0 < whole_number(count, f"suite {self.name!r}: the number of scenarios") <= len(self):
            raise InputError(f"suite {self.name!r} has {len(self)} scenarios, asked for {count}")
        return self if count == len(self) else Suite(f"{self.name}[:{count}]", self.version, self.entries[:count])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the list of families, parameters and seeds. Results name it beside the suite."""
        text = json.dumps([entry_values(entry) for entry in self.entries], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def scenes_digest(self) -> str:
        """Return the SHA-256 (hex) of all scenarios that the list makes, with numbers rounded to 0.001.

        The rounding removes the last bits of sines and cosines, in which processors differ.
        """
        total = hashlib.sha256()
        for scenario in self:
            _add_rounded(total, scenario)
        return total.hexdigest()


def entry_values(entry: SuiteEntry) -> list[Any]:
    """Return an entry as the JSON values of a file."""
    values: list[Any] = [entry.family, dict(entry.parameters), entry.seed]
    return [*values, EXTRAPOLATED] if entry.extrapolated else values


def read_suite(path: Path | str) -> Suite:
    """Read the suite of a file.

    Raises:
        InputError: The file cannot be read or is larger than 16 MiB, is not a suite, or its list is not the one
            that its digest was made of.
    """
    path = path_of(path, "the path of a suite")
    record = _read_json(path)
    if not isinstance(record, dict) or set(record) != set(KEYS):
        raise InputError(f"{path}: not a suite, which has {', '.join(KEYS)} and nothing else")
    name, version, scenarios = record["name"], record["version"], record["scenarios"]
    if not isinstance(name, str) or not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{path}: name must be a text and version a whole number")
    if not isinstance(scenarios, list) or not 0 < len(scenarios) <= MAX_SCENARIOS:
        raise InputError(f"{path}: scenarios must be a list of 1 to {MAX_SCENARIOS} entries")
    suite = Suite(name, version, tuple(_entry(item, f"{path}: scenario {k}") for k, item in enumerate(scenarios)))
    if suite.digest != record["digest"]:
        raise InputError(
            f"{path}: the list has the digest {suite.digest}, the file says {record['digest']!r}. A suite never "
            "changes: give another list another name"
        )
    return suite


def _add_rounded(total: Any, value: Any) -> None:
    """Add a dataclass, container, array or plain value to a hash, numbers rounded."""
    if dataclasses.is_dataclass(value):
        _add_rounded(total, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, Mapping):
        _add_rounded(total, [each for item in value.items() for each in item])
    elif isinstance(value, list | tuple):
        total.update(f"[{len(value)}".encode())
        for item in value:
            _add_rounded(total, item)
    elif isinstance(value, np.ndarray):
        rounded = np.round(value.astype(np.float64), ROUNDING_DECIMALS) + 0.0  # -0.0 becomes 0.0
        total.update(f"{value.dtype}{value.shape}".encode() + rounded.tobytes())
    else:
        number = isinstance(value, float)
        total.update(f"{type(value).__name__}:{round(value, ROUNDING_DECIMALS) + 0.0 if number else value}".encode())


def _entry(item: Any, where: str) -> SuiteEntry:
    whole = isinstance(item, list) and len(item) in (3, 4) and isinstance(item[0], str) and isinstance(item[1], dict)
    if not whole or item[3:] not in ([], [EXTRAPOLATED]):
        raise InputError(f'{where}: must be [family, parameters, seed], or that with "{EXTRAPOLATED}"')
    family, parameters, seed = item[:3]
    values = {name: real_number(value, f"{where}: {one_line(name)}", FINITE) for name, value in parameters.items()}
    return SuiteEntry(family, values, whole_number(seed, f"{where}: seed", SEEDS), len(item) == 4)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path, MAX_FILE_BYTES))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
