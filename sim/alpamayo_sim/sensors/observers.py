"""Who looks at the engine's worlds: the egos by default, or any agents of any worlds."""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.errors import InputError
from alpamayo_sim.sensors.culling import Looks, Watch, scene_looks
from alpamayo_sim.sensors.ground_table import ground_numbers

Array = np.ndarray


class Observers:
    """The observers of a :class:`WorldBatch`, kept up to date with the scenarios that its worlds run.

    Args:
        world: what they look at.
        pairs: world and agent of each observer, where agent 0 is the ego and agent i + 1 row i of ``Agents``; the
            egos of all worlds by default.
        seed: of the sensors' noise; it is mixed with each scenario's own seed and id, not with its place in the
            batch.
        name: of the sensor, so that two of them do not share their noise.
    """

    def __init__(self, batch: WorldBatch, pairs: Sequence[tuple[int, int]] | None, seed: int, name: str) -> None:
        self.batch = batch
        self.pairs = [(w, 0) for w in range(batch.num_worlds)] if pairs is None else list(pairs)
        self._seed, self._name = seed, name
        self._scenarios: tuple[Scenario, ...] = ()
        self._looks: dict[int, tuple[Scenario, Looks]] = {}
        for w, agent in self.pairs:
            if not (0 <= w < batch.num_worlds and 0 <= agent <= len(batch[w].agents().ids)):
                raise InputError(f"{name}: there is no agent {agent} in world {w}")
        if not self.pairs:
            raise InputError(f"{name}: needs at least one observer")

    def changed(self) -> list[Watch] | None:
        """The watches where the worlds run other scenarios than at the last call, else None."""
        if self.batch.scenarios == self._scenarios:
            return None
        self._scenarios = self.batch.scenarios
        used = {id(scenario) for scenario in self._scenarios}
        self._looks = {key: kept for key, kept in self._looks.items() if key in used}
        numbers = ground_numbers(self.scenes)
        return [self._watch(w, agent, ground) for (w, agent), ground in zip(self.pairs, numbers, strict=True)]

    @property
    def scenes(self) -> list[Scene]:
        """The scene around each observer."""
        return [self.batch.scenarios[w].scene for w, _ in self.pairs]

    def turn_rates(self) -> Float32[Array, " observers"]:
        """Yaw rate (rad/s) of each observer: of egos their own; other agents are taken not to turn."""
        rates = self.batch.egos.speed * self.batch.egos.curvature
        return np.array([rates[w, a] if a < rates.shape[1] else 0.0 for w, a in self.pairs], np.float32)

    def _watch(self, w: int, agent: int, ground: int) -> Watch:
        scenario = self._scenarios[w]
        if id(scenario) not in self._looks:
            agents = self.batch[w].agents()
            looks = scene_looks(scenario.scene, agents.ids, agents.category, agents.size)
            self._looks[id(scenario)] = scenario, looks
        return Watch(w, agent, self._looks[id(scenario)][1], noise_key(self._seed, self._name, scenario, agent), ground)


def noise_key(seed: int, name: str, scenario: Scenario, agent: int) -> int:
    """The 32-bit key of the noise of one sensor in one scenario, the same in every process and batch."""
    text = f"{seed} {name} {scenario.scene.id} {scenario.seed} {agent}"
    return zlib.crc32(text.encode())
