"""Item response theory: it finds the abilities and difficulties that answers were drawn from."""

import numpy as np
import pytest
from scipy import optimize, stats

from alpamayo.evaluation.item_response import Priors, _deviations, _negative_log_posterior, fit
from alpamayo_sim.errors import InputError


def drawn(drivers: int, scenarios: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return abilities, difficulties, discriminations, and answers drawn from the model."""
    rng = np.random.default_rng(seed)
    ability, difficulty = rng.normal(0.0, 1.0, drivers), rng.normal(0.0, 1.5, scenarios)
    discrimination = np.exp(rng.normal(0.0, 0.4, scenarios))
    chance = 1.0 / (1.0 + np.exp(-discrimination * (ability[:, None] - difficulty)))
    return ability, difficulty, discrimination, (rng.random(chance.shape) < chance).astype(np.float64)


def test_known_abilities_and_difficulties_are_found() -> None:
    ability, difficulty, _, answers = drawn(24, 300, 1)
    found = fit(answers, np.ones(answers.shape, bool), rng=np.random.default_rng(0))
    assert stats.spearmanr(found.ability, ability).statistic > 0.97
    assert stats.pearsonr(found.difficulty, difficulty).statistic > 0.85


def test_intervals_hold_as_often_as_they_say() -> None:
    """Abilities have no absolute zero, and the prior sets it: the mean of both sides is taken off."""
    inside = []
    for seed in range(20):
        ability, _, _, answers = drawn(8, 120, seed)
        found = fit(answers, np.ones(answers.shape, bool), 0.9, rng=np.random.default_rng(0))
        shift = np.mean(found.ability - ability)
        inside += list((found.ability_low - shift <= ability) & (ability <= found.ability_high - shift))
        order = (-ability).argsort().argsort() + 1
        assert np.mean((found.rank_low <= order) & (order <= found.rank_high)) > 0.6
    assert 0.8 < np.mean(inside) <= 1.0


def test_a_driver_of_easy_scenarios_is_not_better_for_that() -> None:
    """Of two equal drivers one drove the easy half and the other the hard half; others drove all."""
    rng = np.random.default_rng(3)
    ability = np.concatenate([[0.0, 0.0], np.linspace(-2.0, 2.0, 12)])
    difficulty = np.concatenate([np.full(150, -1.0), np.full(150, 1.0)])
    answers = (rng.random((14, 300)) < 1.0 / (1.0 + np.exp(difficulty - ability[:, None]))).astype(np.float64)
    known = np.ones(answers.shape, bool)
    known[0, 150:] = known[1, :150] = False
    shares = [answers[d][known[d]].mean() for d in (0, 1)]
    found = fit(answers, known, rng=np.random.default_rng(0))
    assert shares[0] - shares[1] > 0.3
    assert abs(found.ability[0] - found.ability[1]) < 0.5
    assert found.ability_low[0] < found.ability[1] < found.ability_high[0]


def test_the_gradient_is_that_of_the_posterior() -> None:
    answers = drawn(4, 6, 5)[3]
    deviations = _deviations(*answers.shape, Priors())
    known = np.random.default_rng(0).random(answers.shape) < 0.8
    point = np.random.default_rng(1).normal(0.0, 0.5, len(deviations))
    arguments = (answers, known, deviations)
    error = optimize.check_grad(
        lambda x: _negative_log_posterior(x, *arguments)[0], lambda x: _negative_log_posterior(x, *arguments)[1], point
    )
    assert error < 1e-5


def test_a_driver_without_a_failure_has_a_finite_ability() -> None:
    answers = np.array([[1.0] * 10, [0.0] * 10])
    found = fit(answers, np.ones((2, 10), bool), rng=np.random.default_rng(0))
    assert np.isfinite([found.ability, found.ability_low, found.ability_high]).all()
    assert found.ability[0] > 0.0 > found.ability[1]
    assert (found.rank_low[0], found.rank_high[1]) == (1.0, 2.0)


@pytest.mark.parametrize(("shape", "value"), [((1, 5), 1.0), ((2, 0), 1.0), ((2, 5), 1.5), ((2, 5), np.nan)])
def test_other_answers_are_refused(shape: tuple[int, int], value: float) -> None:
    with pytest.raises(InputError, match="capability"):
        fit(np.full(shape, value), np.ones(shape, bool), rng=np.random.default_rng(0))
