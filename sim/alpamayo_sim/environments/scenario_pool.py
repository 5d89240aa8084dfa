"""A pool of made scenarios: resets draw from it, and a thread makes its scenarios ahead."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from alpamayo_sim.byte_cache import array_bytes
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.settings import whole_number

MAX_POOL = 100_000
POOL_BYTES = 1 << 30  # of made scenarios that are kept


class ScenarioPool:
    """A source that draws from ``size`` numbered scenarios; each is made once and kept.

    A draw depends on the generator alone, not on how far the thread has come: a scenario that is not made yet is made
    at once. Beyond ``max_bytes`` the scenarios that were not drawn for longest are dropped, and made again when they
    are drawn. Copies and pickles begin with an empty pool and make the same scenarios.

    Args:
        make: makes the scenario of a number, always the same one.
        size: the number of scenarios.
        named: makes the scenario that an option of a reset names.
        background: make the scenarios ahead in a thread.
        max_bytes: of the arrays of scenarios that are kept.

    Attributes:
        prepare: called with each made scenario; ``EpisodeBatch`` packs it then, so that its first reset is quick.

    Raises:
        InputError: The size is out of range.
    """

    def __init__(
        self,
        make: Callable[[int], Scenario],
        size: int,
        named: Callable[[Any], Scenario],
        background: bool = True,
        max_bytes: int = POOL_BYTES,
    ) -> None:
        size = whole_number(size, "pool", (1, MAX_POOL))
        self.make, self.size, self.named, self.background = make, size, named, background
        self.max_bytes = max_bytes
        self._begin()

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """Draw a scenario."""
        self._start()
        return self.scenario(int(rng.integers(self.size)))

    def scenario(self, number: int) -> Scenario:
        """Return the scenario of a number; make it if it is not kept."""
        kept = self._kept(number)
        if kept is None:
            with self._locks[number % len(self._locks)]:
                kept = self._kept(number)
                if kept is None:
                    kept = self.make(number)
                    if self.prepare is not None:
                        self.prepare(kept)
                    self._keep(number, kept)
        return kept

    @property
    def made(self) -> int:
        """Return how many scenarios are made and kept."""
        return len(self._made)

    def fill(self) -> None:
        """Make all scenarios now, as far as there is room for them."""
        for number in range(self.size):
            if self._is_full:
                return
            self.scenario(number)

    def _kept(self, number: int) -> Scenario | None:
        with self._lock:
            if number not in self._made:
                return None
            self._made.move_to_end(number)
            return self._made[number][0]

    def _keep(self, number: int, scenario: Scenario) -> None:
        with self._lock:
            self._made[number] = scenario, array_bytes(scenario)
            self._bytes += self._made[number][1]
            while self._bytes > self.max_bytes and len(self._made) > 1:
                self._bytes -= self._made.popitem(last=False)[1][1]
                self._is_full = True

    def _begin(self) -> None:
        self.prepare: Callable[[Scenario], None] | None = None
        self._made: OrderedDict[int, tuple[Scenario, int]] = OrderedDict()
        self._bytes, self._is_full = 0, False
        self._lock: threading.Lock = threading.Lock()
        self._locks = [threading.Lock() for _ in range(64)]
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self.background and self._thread is None and len(self._made) < self.size:
            self._thread = threading.Thread(target=self.fill, name="scenario-pool", daemon=True)
            self._thread.start()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("make", "size", "named", "background", "max_bytes")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ScenarioPool":
        return self
