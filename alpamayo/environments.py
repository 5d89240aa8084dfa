"""Gymnasium environments of this project: ``alpamayo/LongTail-v0`` and ``alpamayo/LogReplay-v0``.

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
    """Register the ids with Gymnasium, unless they are registered."""
    makers = {LONG_TAIL: "long_tail", LOG_REPLAY: "log_replay"}
    for name, maker in makers.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                id=name,
                entry_point=f"alpamayo.environments:{maker}",
                vector_entry_point=f"alpamayo.environments:{maker}_vector",
            )


def long_tail(families: Sequence[str] | None = None, **settings: Any) -> DrivingEnv:
    """Make one world; its family is drawn uniformly from the named ones (default: all).

    Settings are those of :class:`alpamayo_sim.environments.DrivingEnv`.

    Raises:
        InputError: A family or a setting is unknown.
    """
    from alpamayo_sim.environments import DrivingEnv

    return DrivingEnv(family_source(families), **settings)


def long_tail_vector(num_envs: int = 1, families: Sequence[str] | None = None, **settings: Any) -> DrivingVectorEnv:
    """Make many worlds of the named families, with the settings of ``alpamayo_sim.environments.DrivingVectorEnv``."""
    from alpamayo_sim.environments import DrivingVectorEnv

    return DrivingVectorEnv(family_source(families), num_envs, **settings)


def log_replay(logs: Sequence[str] = (), **settings: Any) -> DrivingEnv:
    """Make one world; its recorded scene is drawn uniformly from the given paths.

    By default an episode continues outside the drivable area, since the maps of recordings have errors.

    Raises:
        InputError: There is no log, a log cannot be read or has no route, or a setting is unknown.
    """
    from alpamayo_sim.environments import DrivingEnv

    return DrivingEnv(log_source(logs), **{"ends_off_road": False, **settings})


def log_replay_vector(num_envs: int = 1, logs: Sequence[str] = (), **settings: Any) -> DrivingVectorEnv:
    """Make many worlds of the recorded scenes at the given paths; see ``log_replay``."""
    from alpamayo_sim.environments import DrivingVectorEnv

    return DrivingVectorEnv(log_source(logs), num_envs, **{"ends_off_road": False, **settings})


def log_replay_parallel(logs: Sequence[str] = (), **settings: Any) -> DrivingParallelEnv:
    """Make one recorded scene with many controlled vehicles, as a parallel environment of PettingZoo.

    Settings are those of :class:`alpamayo_sim.environments.DrivingParallelEnv`, such as ``max_agents``.

    Raises:
        InputError: As for ``log_replay``, or PettingZoo is not installed.
    """
    from alpamayo_sim.environments import DrivingParallelEnv

    return DrivingParallelEnv(log_source(logs), **{"ends_off_road": False, **settings})


class FamilySource:
    """A source of scenarios that draws a family, then a scenario of it."""

    def __init__(self, families: Sequence[str]) -> None:
        self.families = tuple(families)

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """Draw a scenario."""
        from alpamayo_scenarios.families import get_family

        return get_family(self.families[rng.integers(len(self.families))]).sample(rng)


class LogSource:
    """A source of scenarios that draws one of several recorded scenes; each is read once."""

    def __init__(self, logs: Sequence[str]) -> None:
        self.logs = tuple(logs)

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """Draw a scenario."""
        return _log_scenario(self.logs[rng.integers(len(self.logs))])


def family_source(families: Sequence[str] | None) -> Source:
    """Make a source of scenarios of these families; of all that are not held out for None.

    Raises:
        InputError: A family is unknown, or the list is empty.
    """
    from alpamayo_scenarios.families import get_family, training_family_names
    from alpamayo_sim.errors import InputError

    names = training_family_names() if families is None else _as_names(families)
    if not names:
        raise InputError("families is empty; name at least one family, or leave it out for all of them")
    for name in names:
        get_family(name)
    return FamilySource(names)


def log_source(logs: Sequence[str]) -> Source:
    """Make a source of these recorded scenes; read and check them now.

    Raises:
        InputError: There is no log, or a log cannot be read or has no route.
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
