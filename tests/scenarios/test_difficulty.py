import numpy as np
import pytest

from alpamayo_scenarios import FAMILIES, make_scenario
from alpamayo_sim.engine import WorldBatch

SEEDS = range(10_000, 10_012)
FIRST_SIX = [family.name for family in FAMILIES if family.number <= 6]


@pytest.mark.parametrize("family", FIRST_SIX)
def test_a_driver_that_never_reacts_mostly_fails(family: str) -> None:
    """A car that keeps its speed and direction hits something, leaves the road or both before the goal."""
    batch = WorldBatch([make_scenario(family, seed) for seed in SEEDS])
    failed, arrived = np.zeros(len(SEEDS), bool), np.zeros(len(SEEDS), bool)
    still = np.zeros((len(SEEDS), 2), np.float32)
    for _ in range(max(scenario.steps for scenario in batch.scenarios)):
        batch.step(still)
        arrived |= batch.egos.arrived[:, 0] & ~failed
        failed |= batch.egos.collided[:, 0] & ~arrived
    assert failed.mean() >= 0.75


@pytest.mark.parametrize("family", FIRST_SIX)
def test_the_first_second_is_free_of_contacts(family: str) -> None:
    batch = WorldBatch([make_scenario(family, seed) for seed in SEEDS])
    for _ in range(10):
        batch.step(np.zeros((len(SEEDS), 2), np.float32))
        assert not batch.egos.collided[:, 0].any()
