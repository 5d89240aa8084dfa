"""Gymnasium's ids of this project: ``alpamayo/LongTail-v0`` and ``alpamayo/LogReplay-v0``.

``gymnasium.make("alpamayo/LongTail-v0", families=["cut-in"])`` and ``gymnasium.make_vec(..., num_envs=8)`` work once
this module is imported, and without an import as ``"alpamayo.environments:alpamayo/LongTail-v0"``. Registering
imports nothing of the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

if TYPE_CHECKING:
    from alpamayo_sim.datatypes.scenario import Scenario
    from alpamayo_sim.environments import DrivingEnv, DrivingParallelEnv, DrivingVectorEnv, Source

LONG_TAIL = "alpamayo/LongTail-v0"
LOG_REPLAY = "alpamayo/LogReplay-v0"


def register_environments() -> None:
    """Make the ids known to Gymnasium; once is enough, more do no harm."""
    makers = {LONG_TAIL: "long_tail", LOG_REPLAY: "log_replay"}
    for name, maker in makers.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point=f"alpamayo.environments:{maker}",
                vector_entry_point=f"alpamayo.environments:{maker}_vector",
            )


def long_tail(families: Sequence[str] | None = None, **settings: Any) -> DrivingEnv:
    """One world of the named families, drawn with equal chance; all of them by default.

    Settings are those of :class:`alpamayo_sim.environments.DrivingEnv`.

    Raises:
        InputError: an unknown family or setting.
    """
    from alpamayo_sim.environments import DrivingEnv

    return DrivingEnv(family_source(families), **settings)


def long_tail_vector(num_envs: int = 1, families: Sequence[str] | None = None, **settings: Any) -> DrivingVectorEnv:
    """Many worlds of the named families; settings as of :class:`alpamayo_sim.environments.DrivingVectorEnv`."""
    from alpamayo_sim.environments import DrivingVectorEnv

    return DrivingVectorEnv(family_source(families), num_envs, **settings)


def log_replay(logs: Sequence[str] = (), **settings: Any) -> DrivingEnv:
    """One world of the recorded scenes at the given paths, drawn with equal chance.

    Leaving the drivable area does not end the episode by default: the maps of recordings have faults.

    Raises:
        InputError: no log, one that cannot be read or has no route, or an unknown setting.
    """
    from alpamayo_sim.environments import DrivingEnv

    return DrivingEnv(log_source(logs), **{"ends_off_road": False, **settings})


def log_replay_vector(num_envs: int = 1, logs: Sequence[str] = (), **settings: Any) -> DrivingVectorEnv:
    """Many worlds of the recorded scenes at the given paths; see ``log_replay``."""
    from alpamayo_sim.environments import DrivingVectorEnv

    return DrivingVectorEnv(log_source(logs), num_envs, **{"ends_off_road": False, **settings})


def log_replay_parallel(logs: Sequence[str] = (), **settings: Any) -> DrivingParallelEnv:
    """Many cars of one recorded scene, each driven by an agent of its own, in PettingZoo's parallel API.

    Settings are those of :class:`alpamayo_sim.environments.DrivingParallelEnv`, such as ``max_agents``.

    Raises:
        InputError: as ``log_replay``, or PettingZoo is not installed.
    """
    from alpamayo_sim.environments import DrivingParallelEnv

    return DrivingParallelEnv(log_source(logs), **{"ends_off_road": False, **settings})


class FamilySource:
    """Draws a family, then a scenario of it."""

    def __init__(self, families: Sequence[str]) -> None:
        self.families = tuple(families)

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """The next scenario."""
        from alpamayo_scenarios.families import get_family

        return get_family(self.families[rng.integers(len(self.families))]).sample(rng)


class LogSource:
    """Draws one of several recorded scenes; each is read once."""

    def __init__(self, logs: Sequence[str]) -> None:
        self.logs = tuple(logs)

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """The next scenario."""
        return _log_scenario(self.logs[rng.integers(len(self.logs))])


def family_source(families: Sequence[str] | None) -> Source:
    """A source of scenarios of these families; all of them for None.

    Raises:
        InputError: an unknown family, or an empty list.
    """
    from alpamayo_scenarios.families import family_names, get_family
    from alpamayo_sim.errors import InputError

    names = family_names() if families is None else _as_names(families)
    if not names:
        raise InputError("families is empty; name at least one family, or leave it out for all of them")
    for name in names:
        get_family(name)
    return FamilySource(names)


def log_source(logs: Sequence[str]) -> Source:
    """A source of these recorded scenes, which are read and checked now.

    Raises:
        InputError: no log, or one that cannot be read or has no route.
    """
    from alpamayo_sim.errors import InputError

    paths = _as_names(logs)
    if not paths:
        raise InputError("logs is empty; give the paths of recorded scenes, such as logs=['scene.pkl']")
    for path in paths:
        _log_scenario(path)
    return LogSource(paths)


def _as_names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(str(name) for name in names)


@lru_cache(maxsize=256)
def _log_scenario(path: str) -> Scenario:
    from pathlib import Path

    from alpamayo_datasets import open_log
    from alpamayo_sim.datatypes.scenario import scenario_of_log

    return scenario_of_log(open_log(Path(path)))


register_environments()
