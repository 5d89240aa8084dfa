"""The scenarios of an evaluation: suites, families with seeds, or recorded logs, each with a name and a digest."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpamayo.evaluation.open_loop import scene_paths
from alpamayo.mining import logs_below
from alpamayo_datasets import open_log
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED, SuiteEntry, open_suite
from alpamayo_scenarios.suites.suite import entry_values
from alpamayo_sim.datatypes.scenario import Scenario, scenario_of_log
from alpamayo_sim.errors import InputError
from alpamayo_sim.settings import SEEDS, path_of, whole_number

SUITE = "long-tail-6"
DEFAULT_EPISODES = 60  # of that suite
SEEDS_OF_A_FAMILY = 10  # unless told otherwise
MAX_SCENARIOS = 100_000
LOG = "log"  # in place of a family
MAX_NAME_CHARACTERS = 80


@dataclass(frozen=True)
class LogEntry:
    """One recorded scene to drive in; ``name`` is unique in its selection."""

    log: str
    name: str
    reactive: bool = False
    family: str = LOG
    seed: int = 0

    def make(self) -> Scenario:
        """Read the scene and make its scenario.

        Raises:
            InputError: the log cannot be read, or its scene cannot be driven.
        """
        return scenario_of_log(open_log(self.log), reactive=self.reactive)


Entry = SuiteEntry | LogEntry


@dataclass(frozen=True)
class Selection:
    """Scenarios to drive, in this order."""

    name: str
    digest: str
    entries: tuple[Entry, ...]


def select(
    *,
    suites: Sequence[str] = (),
    families: Sequence[str] = (),
    seeds: Sequence[int] = (),
    logs: Sequence[str | Path] = (),
    reactive: bool = False,
    episodes: int | None = None,
) -> Selection:
    """Return the scenarios of suites, of families and of logs together; without any, those of the default suite.

    Args:
        suites: names or files of suites.
        families: names of families; each is driven with all ``seeds``.
        seeds: of the families; the first ten for evaluation unless given.
        logs: files of recorded logs, or folders of them.
        reactive: recorded road users react where the recording has become impossible.
        episodes: take only the first ones; 60 of the default suite unless given.

    Raises:
        InputError: an unknown name, a wrong value, no scenario, too few of them, or two that differ but have one name.
    """
    if seeds and not families:
        raise InputError("seeds are for families: name one by --family, such as --family cut-in --seeds 0-9")
    if not (suites or families or logs):
        suites = (SUITE,)
    if tuple(suites) == (SUITE,) and not (families or logs) and episodes is None:
        episodes = DEFAULT_EPISODES
    parts = [_suite(name) for name in suites]
    if families:
        parts.append(_families(families, seeds or _default_seeds()))
    if logs:
        parts.append(_logs(logs, reactive))
    return _first(_joined(parts), episodes)


def seeds_of(text: str) -> list[int]:
    """Read seeds such as "0-9,42".

    Raises:
        InputError: the text is something else, or has too many seeds.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,19})\s*(?:-\s*(\d{1,19})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first >= MAX_SCENARIOS:
            raise InputError(f"--seeds {text!r}: must be whole numbers or ranges of them, such as 0-9,42")
        found |= dict.fromkeys(range(first, last + 1))
    return [whole_number(seed, "--seeds", SEEDS) for seed in found]


def entry_name(entry: Entry) -> str:
    """Return the name of a scenario, for folders and tables."""
    return entry.name if isinstance(entry, LogEntry) else f"{entry.family}-{entry.seed:05d}"


def _suite(name: str) -> Selection:
    suite = open_suite(name)
    return Selection(suite.name, suite.digest, suite.entries)


def _families(families: Iterable[str], seeds: Sequence[int]) -> Selection:
    names = list(dict.fromkeys(families))
    if len(names) * len(seeds) > MAX_SCENARIOS:
        raise InputError(f"{len(names)} families with {len(seeds)} seeds are more than {MAX_SCENARIOS} scenarios")
    entries = tuple(SuiteEntry.drawn(name, seed) for seed in seeds for name in names)
    return Selection(f"{','.join(names)} x {len(seeds)} seeds", _digest(entries), entries)


def _default_seeds() -> list[int]:
    return list(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + SEEDS_OF_A_FAMILY))


def _logs(logs: Sequence[str | Path], reactive: bool) -> Selection:
    files = [str(file) for log in logs for file in _files(path_of(log, "a log"))]
    scenes = [scene for file in dict.fromkeys(files) for scene in scene_paths(file)]
    if not scenes:
        raise InputError(f"{', '.join(map(str, logs))}: no recorded log of a known format there")
    names: dict[str, str] = {}
    for scene in scenes:
        names[_unused(_slug(scene), names)] = scene
    entries = tuple(LogEntry(scene, name, reactive) for name, scene in names.items())
    return Selection(f"{len(entries)} recorded scenes", _digest(entries), entries)


def _files(path: Path) -> list[Path]:
    """Return a log itself, or the logs in a folder that is none."""
    try:
        scene_paths(str(path))
    except InputError:
        if not path.is_dir():
            raise
        return list(logs_below(path))
    return [path]


def _slug(scene: str) -> str:
    """Return a name for folders made of the file's name and of the scene's in it."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(scene).name).strip("-.")[:MAX_NAME_CHARACTERS]
    return f"{LOG}-{text}" if text else LOG


def _unused(name: str, taken: Iterable[str]) -> str:
    number = 2
    unused = name
    while unused in taken:
        unused, number = f"{name}-{number}", number + 1
    return unused


def _joined(parts: Sequence[Selection]) -> Selection:
    if len(parts) == 1:
        return parts[0]
    entries: dict[str, Entry] = {}
    for entry in (entry for part in parts for entry in part.entries):
        name = entry_name(entry)
        if entries.setdefault(name, entry) != entry:
            raise InputError(f"two different scenarios are called {name}; evaluate them into two folders")
    found = tuple(entries.values())
    return Selection(" + ".join(part.name for part in parts), _digest(found), found)


def _first(selection: Selection, count: int | None) -> Selection:
    total = len(selection.entries)
    if count is None or count == total:
        return selection
    if not 0 < whole_number(count, "the number of scenarios") <= total:
        raise InputError(f"suite {selection.name!r} has {total} scenarios, asked for {count}")
    entries = selection.entries[:count]
    return Selection(f"{selection.name}[:{count}]", _digest(entries), entries)


def _digest(entries: Sequence[Entry]) -> str:
    """Return the digest of a list, for scenarios of families that of a suite with the same list."""
    text = json.dumps([_values(entry) for entry in entries], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _values(entry: Entry) -> list[Any]:
    return [LOG, entry.name, entry.reactive] if isinstance(entry, LogEntry) else entry_values(entry)
