"""A pool of made scenarios: resets draw from it, and a thread makes its scenarios ahead."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.settings import whole_number

MAX_POOL = 100_000


class ScenarioPool:
    """A source that draws from ``size`` numbered scenarios; each is made once and kept.

    A draw depends on the generator alone, not on how far the thread has come: a scenario that is not made yet is made
    at once. Copies and pickles begin with an empty pool and make the same scenarios.

    Args:
        make: makes the scenario of a number, always the same one.
        size: the number of scenarios.
        named: makes the scenario that an option of a reset names.
        background: make the scenarios ahead in a thread.

    Raises:
        InputError: The size is out of range.
    """

    def __init__(
        self, make: Callable[[int], Scenario], size: int, named: Callable[[Any], Scenario], background: bool = True
    ) -> None:
        size = whole_number(size, "pool", (1, MAX_POOL))
        self.make, self.size, self.named, self.background = make, size, named, background
        self._begin()

    def __call__(self, rng: np.random.Generator) -> Scenario:
        """Draw a scenario."""
        self._start()
        return self.scenario(int(rng.integers(self.size)))

    def scenario(self, number: int) -> Scenario:
        """Return the scenario of a number; make it if it is not made yet."""
        if number not in self._made:
            with self._locks[number % len(self._locks)]:
                if number not in self._made:
                    self._made[number] = self.make(number)
        return self._made[number]

    @property
    def made(self) -> int:
        """Return how many scenarios are made."""
        return len(self._made)

    def fill(self) -> None:
        """Make all scenarios now."""
        for number in range(self.size):
            self.scenario(number)

    def _begin(self) -> None:
        self._made: dict[int, Scenario] = {}
        self._locks = [threading.Lock() for _ in range(64)]
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        if self.background and self._thread is None and len(self._made) < self.size:
            self._thread = threading.Thread(target=self.fill, name="scenario-pool", daemon=True)
            self._thread.start()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("make", "size", "named", "background")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ScenarioPool":
        return self
