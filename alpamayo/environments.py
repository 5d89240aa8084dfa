"""Gymnasium environments of this project: ``alpamayo/LongTail-v0`` and ``alpamayo/LogReplay-v0``.

``gymnasium.make("alpamayo/LongTail-v0", families=["cut-in"])`` and ``gymnasium.make_vec(..., num_envs=8)`` work once
this module is imported, and without an import as ``"alpamayo.environments:alpamayo/LongTail-v0"``. Registering
imports nothing of the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

if TYPE_CHECKING:
    from alpamayo_sim.datatypes.scenario import Scenario
    from alpamayo_sim.environments import DrivingEnv, DrivingParallelEnv, DrivingVectorEnv, Source

LONG_TAIL = "alpamayo/LongTail-v0"
LOG_REPLAY = "alpamayo/LogReplay-v0"
LOG_BYTES = 512 << 20  # of recorded scenes that are kept


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


def long_tail(
    families: Sequence[str] | str | None = None, *, pool: int | None = None, pool_seed: int = 0, **settings: Any
) -> DrivingEnv:
    """Make one world; its family is drawn uniformly from the named ones (default: all).

    ``reset(options={"scenario": (family, seed)})`` drives what ``make_scenario(family, seed)`` makes.

    Args:
        families: Names of the families.
        pool: Draw from this many scenarios, which a thread makes ahead, instead of making a new one at each reset.
        pool_seed: Seed of the pool; scenario ``k`` of a pool of ``n`` families is ``make_scenario(families[k % n],
            pool_seed + k // n)``.
        **settings: Those of :class:`alpamayo_sim.environments.DrivingEnv`.

    Raises:
        InputError: A family or a setting is unknown.
    """
    from alpamayo_sim.environments import DrivingEnv

    return DrivingEnv(family_source(families, pool, pool_seed), **settings)


def long_tail_vector(
    num_envs: int = 1,
    families: Sequence[str] | None = None,
    *,
    pool: int | None = None,
    pool_seed: int = 0,
    **settings: Any,
) -> DrivingVectorEnv:
    """Make many worlds of the named families; see ``long_tail`` and ``alpamayo_sim.environments.DrivingVectorEnv``."""
    from alpamayo_sim.environments import DrivingVectorEnv

    return DrivingVectorEnv(family_source(families, pool, pool_seed), num_envs, **settings)


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

    def named(self, choice: Any) -> Scenario:
        """Make the scenario that an option of a reset names.

        That is a pair of family and seed, a mapping of ``family``, ``seed`` and ``parameters``, or an id: ``cut-in-3``.

        Raises:
            InputError: It names no scenario.
        """
        from alpamayo_scenarios.families import get_family

        family, seed, parameters = _family_and_seed(choice)
        return get_family(family).build(parameters, seed)


class NumberedFamilies:
    """Make the numbered scenarios of a pool: the families in turn, with growing seeds."""

    def __init__(self, families: Sequence[str], seed: int) -> None:
        self.families, self.seed = tuple(families), seed

    def __call__(self, number: int) -> Scenario:
        """Make the scenario of a number."""
        from alpamayo_scenarios.families import make_scenario

        turn, place = divmod(number, len(self.families))
        return make_scenario(self.families[place], self.seed + turn)


def _family_and_seed(choice: Any) -> tuple[Any, Any, Any]:
    """Return the family, the seed and the parameters that a choice names; the family checks them."""
    from alpamayo_sim.errors import InputError, shown

    parts: Any = choice
    if isinstance(choice, str):
        family, _, seed = choice.rpartition("-")
        parts = {"family": family, "seed": int(seed)} if seed.isdecimal() else {}
    elif isinstance(choice, (tuple, list)) and len(choice) == 2:
        parts = {"family": choice[0], "seed": choice[1]}
    if not (isinstance(parts, Mapping) and {"family", "seed"} <= set(parts) <= {"family", "seed", "parameters"}):
        raise InputError(
            f"options['scenario'] is {shown(choice)}, must be a Scenario, a family and a seed such as ('cut-in', 3), "
            "a mapping of family, seed and parameters, or an id such as 'cut-in-3'"
        )
    return parts["family"], parts["seed"], parts.get("parameters", {})


class LogSource:
    """A source of scenarios that draws one of several recorded scenes; each is read once."""

    def __init__(self, logs: Sequence[str]) -> None:
        self.logs = tuple(logs)

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """Draw a scenario."""
        return _log_scenario(self.logs[rng.integers(len(self.logs))])

    def named(self, choice: Any) -> Scenario:
        """Return the scene of one of the logs: by its path, or by its id.

        Raises:
            InputError: There is no such log.
        """
        from alpamayo_sim.errors import check_known

        name = str(choice) if isinstance(choice, Path) else choice
        if isinstance(name, str) and name in self.logs:
            return _log_scenario(name)
        by_id = {_log_scenario(path).scene.id: path for path in self.logs}
        check_known("log", name, (*self.logs, *by_id))
        return _log_scenario(by_id[name])


def family_source(families: Sequence[str] | None, pool: int | None = None, pool_seed: int = 0) -> Source:
    """Make a source of scenarios of these families; of all that are not held out for None.

    With ``pool`` it draws from so many scenarios, see ``long_tail``.

    Raises:
        InputError: A family is unknown, the list is empty, or the pool has no size.
    """
    from alpamayo_scenarios.families import get_family, training_family_names
    from alpamayo_sim.errors import InputError
    from alpamayo_sim.settings import SEEDS, names_of, whole_number

    names = training_family_names() if families is None else names_of(families, "families")
    if not names:
        raise InputError("families is empty; name at least one family, or leave it out for all of them")
    for name in names:
        get_family(name)
    source, first = FamilySource(names), whole_number(pool_seed, "pool_seed", SEEDS)
    if pool is None:
        return source
    from alpamayo_sim.environments.scenario_pool import ScenarioPool

    return ScenarioPool(NumberedFamilies(names, first), pool, source.named)


def log_source(logs: Sequence[str]) -> Source:
    """Make a source of these recorded scenes; read and check them now.

    Raises:
        InputError: There is no log, or a log cannot be read or has no route.
    """
    from alpamayo_sim.errors import InputError
    from alpamayo_sim.settings import instance_of, path_of

    given = (logs,) if isinstance(logs, (str, Path)) else instance_of(logs, Sequence, "logs")
    paths = tuple(str(path_of(path, "a log")) for path in given)
    if not paths:
        raise InputError("logs is empty; give the paths of recorded scenes, such as logs=['scene.pkl']")
    for path in paths:
        _log_scenario(path)
    return LogSource(paths)


def _log_scenario(path: str) -> Scenario:
    found = Path(path)
    status = found.stat() if found.exists() else None
    return _log_cache()(path, (status.st_mtime_ns, status.st_size) if status else (0, 0))


@cache
def _log_cache() -> Callable[[str, tuple[int, int]], Scenario]:
    """Return the reader that keeps the last logs until their files change; made late: it imports the simulator."""
    from alpamayo_datasets import open_log
    from alpamayo_sim.byte_cache import byte_cache
    from alpamayo_sim.datatypes.scenario import scenario_of_log

    @byte_cache(LOG_BYTES)
    def read(path: str, stamp: tuple[int, int]) -> Scenario:
        return scenario_of_log(open_log(Path(path)))

    return read


register_environments()
