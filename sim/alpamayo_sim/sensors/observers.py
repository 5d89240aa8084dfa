"""The observers of a sensor: the egos of all worlds by default, or any agents of any worlds."""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors.culling import Appearance, ObserverEntry, scene_appearance
from alpamayo_sim.sensors.ground_table import ground_numbers

Array = np.ndarray


class Observers:
    """The observers of a :class:`WorldBatch`, kept up to date with the scenarios of its worlds.

    Args:
        batch: the worlds that they observe.
        pairs: world and agent of each observer, by default the egos of all worlds; agent 0 is the ego, agent i + 1 is
            row i of ``Agents``.
        seed: of the sensor's noise; it is mixed with the seed and the id of each scenario, not with its place in
            the batch.
        name: of the sensor, so that two sensors do not share their noise.
    """

    def __init__(self, batch: WorldBatch, pairs: Sequence[tuple[int, int]] | None, seed: int, name: str) -> None:
        self.batch = batch
        self.pairs = [(w, 0) for w in range(batch.num_worlds)] if pairs is None else list(pairs)
        self._seed, self._name = seed, name
        self._scenarios: tuple[Scenario, ...] = ()
        self._appearances: dict[int, tuple[Scenario, Appearance]] = {}
        for w, agent in self.pairs:
            if not (0 <= w < batch.num_worlds and 0 <= agent <= len(batch[w].agents().ids)):
                raise InputError(f"{name}: there is no agent {agent} in world {w}")
        if not self.pairs:
            raise InputError(f"{name}: needs at least one observer")

    def changed(self) -> list[ObserverEntry] | None:
        """Return the entries if the worlds run other scenarios than at the last call, else None."""
        if self.batch.scenarios == self._scenarios:
            return None
        self._scenarios = self.batch.scenarios
        used = {id(scenario) for scenario in self._scenarios}
        self._appearances = {key: kept for key, kept in self._appearances.items() if key in used}
        numbers = ground_numbers(self.scenes)
        return [self._entry_of(w, agent, ground) for (w, agent), ground in zip(self.pairs, numbers, strict=True)]

    @property
    def scenes(self) -> list[Scene]:
        """Return the scene around each observer."""
        return [self.batch.scenarios[w].scene for w, _ in self.pairs]

    def turn_rates(self) -> Float32[Array, " observers"]:
        """Return the yaw rate (rad/s) of each observer; agents other than egos are taken not to turn."""
        rates = self.batch.egos.speed * self.batch.egos.curvature
        return np.array([rates[w, a] if a < rates.shape[1] else 0.0 for w, a in self.pairs], np.float32)

    def _entry_of(self, w: int, agent: int, ground: int) -> ObserverEntry:
        scenario = self._scenarios[w]
        if id(scenario) not in self._appearances:
            agents = self.batch[w].agents()
            appearance = scene_appearance(scenario.scene, agents.ids, agents.category, agents.size)
            self._appearances[id(scenario)] = scenario, appearance
        key = noise_key(self._seed, self._name, scenario, agent)
        return ObserverEntry(w, agent, self._appearances[id(scenario)][1], key, ground)


def noise_key(seed: int, name: str, scenario: Scenario, agent: int) -> int:
    """Return the 32-bit key of a sensor's noise in a scenario, the same in each process and batch."""
    text = f"{seed} {name} {scenario.scene.id} {scenario.seed} {agent}"
    return zlib.crc32(text.encode())
