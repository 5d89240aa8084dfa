"""Importance sampling over seeds: unbiased, with coverage, and better than plain sampling of rare failures."""

import json

import numpy as np
import pytest

from alpamayo.evaluation import failure_probability
from alpamayo.evaluation.importance import UNIFORM_SHARE, Outcome, proposal, sample
from alpamayo_scenarios.families import FAMILIES
from alpamayo_sim.errors import InputError

EPISODES = 90


def synthetic_family(level, seed=0):
    """Return a pool of seeds with six parameters, of which three matter: a run fails if their sum is large."""
    rng = np.random.default_rng(seed)
    pool = np.column_stack([rng.random((2000, 5)), rng.integers(0, 2, 2000)])
    danger = pool[:, 0] + pool[:, 1] + 0.3 * pool[:, 5]
    fails = danger > level
    return pool, fails, lambda rows, what: [Outcome(bool(fails[i]), float(level - danger[i])) for i in rows]


@pytest.mark.parametrize("level", [1.75, 2.0])
def test_the_estimate_is_unbiased_and_better_than_plain_sampling(level):
    pool, fails, drive = synthetic_family(level)
    truth, count = fails.mean(), 150
    found = [sample(drive, pool, EPISODES, np.random.default_rng(k)).estimate for k in range(count)]
    values = np.array([each.estimate for each in found])
    plain = np.sqrt(truth * (1.0 - truth) / EPISODES)
    assert abs(values.mean() - truth) < 3.0 * values.std() / np.sqrt(count)
    assert values.std() < 0.75 * plain
    assert np.mean([each.interval.low <= truth <= each.interval.high for each in found]) >= 0.95


def test_the_uniform_share_bounds_the_weights():
    pool, _, drive = synthetic_family(1.9)
    q = proposal(pool, np.arange(30), drive(np.arange(30), ""))
    assert q.sum() == pytest.approx(1.0)
    assert q.min() >= UNIFORM_SHARE / len(pool)


def test_a_pilot_without_information_gives_plain_sampling():
    pool = np.ones((50, 2))
    q = proposal(pool, np.arange(10), [Outcome(False, 3.0)] * 10)
    assert q == pytest.approx(np.full(50, 1 / 50))


def test_seeds_are_drawn_as_they_are_built():
    for family in FAMILIES:
        assert family.draw(10_007) == family.build({}, 10_007).parameters


def test_a_real_family_is_estimated_and_resumed(tmp_path):
    first = failure_probability("constant-velocity", "cut-in", 12, tmp_path, workers=1)
    found = first["probability"]
    assert 0.0 <= found["low"] <= found["value"] <= found["high"] <= 1.0
    assert found["n"] == 12
    assert first["pilot"]["n"] == 6
    assert json.loads((tmp_path / "importance.json").read_text()) == first
    records = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("episode.npz")}
    assert len(records) == found["distinct"]
    assert failure_probability("constant-velocity", "cut-in", 12, tmp_path, workers=1) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("episode.npz")} == records


def test_too_few_episodes_are_an_error(tmp_path):
    with pytest.raises(InputError, match="at least 12"):
        failure_probability("idm", "cut-in", 5, tmp_path)
