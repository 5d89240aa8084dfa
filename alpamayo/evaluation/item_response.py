"""Item response theory: abilities of drivers, difficulty and discrimination of scenarios, from who solved what.

The model has two parameters for each scenario (Birnbaum, 1968): a driver of ability t solves a scenario of difficulty b
and discrimination a with probability 1 / (1 + exp(-a (t - b))). It is fitted by the mode of its posterior (Mislevy,
1986, Bayes modal estimation in item response models) under normal priors, and uncertainties are those of the normal
distribution with Fisher's information at the mode.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy import optimize, special, stats

from alpamayo_sim.errors import InputError

Array = np.ndarray
RANK_DRAWS = 4000


@dataclass(frozen=True)
class Priors:
    """Standard deviations of the normal priors; all means are 0.

    Attributes:
        ability_std: of abilities; it sets their scale.
        difficulty_std: of difficulties, on that scale.
        log_discrimination_std: of the logarithms of discriminations.
    """

    ability_std: float = 1.0
    difficulty_std: float = 2.0
    log_discrimination_std: float = 0.5


@dataclass(frozen=True, eq=False)
class Capability:
    """The fitted model of D drivers and S scenarios.

    ``ability_low`` and ``ability_high`` bound each ability, ``rank_low`` and ``rank_high`` each rank (1 is the best),
    at the asked confidence.
    """

    ability: Float64[Array, " d"]
    ability_low: Float64[Array, " d"]
    ability_high: Float64[Array, " d"]
    rank_low: Float64[Array, " d"]
    rank_high: Float64[Array, " d"]
    difficulty: Float64[Array, " s"]
    discrimination: Float64[Array, " s"]


def fit(
    answers: Float[Array, "d s"],
    known: Bool[Array, "d s"],
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
    priors: Priors | None = None,
) -> Capability:
    """Fit the two-parameter model.

    Args:
        answers: 1 where a driver solved a scenario, 0 where not; a share for several runs.
        known: where there is an answer.
        confidence: of the intervals.
        rng: generator of the draws for the intervals of the ranks.
        priors: standard deviations of the priors.

    Raises:
        InputError: fewer than two drivers, no scenario, answers out of [0, 1], or shapes that differ.
    """
    answers, known = np.asarray(answers, np.float64), np.asarray(known, bool)
    if answers.ndim != 2 or answers.shape != known.shape or answers.shape[0] < 2 or not answers.shape[1]:
        raise InputError(f"capability: answers have shape {answers.shape}, must be [2 or more drivers, scenarios]")
    answers = np.where(known, answers, 0.0)
    if not np.all((answers >= 0.0) & (answers <= 1.0)):
        raise InputError("capability: answers must be in [0, 1]")
    deviations = _deviations(len(answers), answers.shape[1], priors or Priors())
    found = optimize.minimize(
        _negative_log_posterior,
        np.zeros(len(deviations)),
        args=(answers, known, deviations),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-8},
    )
    ability, difficulty, log_discrimination = _split(found.x, len(answers))
    covariance = _ability_covariance(found.x, known, deviations)
    half = stats.norm.isf(0.5 * (1.0 - confidence)) * np.sqrt(np.diag(covariance))
    low, high = _rank_interval(ability, covariance, confidence, rng)
    return Capability(ability, ability - half, ability + half, low, high, difficulty, np.exp(log_discrimination))


def _split(values: Array, drivers: int) -> tuple[Array, Array, Array]:
    """Return abilities, difficulties and the logarithms of discriminations."""
    difficulty, log_discrimination = np.split(values[drivers:], 2)
    return values[:drivers], difficulty, log_discrimination


def _deviations(drivers: int, scenarios: int, priors: Priors) -> Float64[Array, " p"]:
    stds = [priors.ability_std, priors.difficulty_std, priors.log_discrimination_std]
    return np.repeat(stds, [drivers, scenarios, scenarios])


def _negative_log_posterior(values: Array, answers: Array, known: Array, deviations: Array) -> tuple[float, Array]:
    """Return the negative logarithm of the posterior, up to a constant, and its gradient."""
    ability, difficulty, log_discrimination = _split(values, len(answers))
    a = np.exp(log_discrimination)
    z = a * (ability[:, None] - difficulty)
    loss = np.where(known, np.logaddexp(0.0, z) - answers * z, 0.0).sum()
    residual = np.where(known, special.expit(z) - answers, 0.0)
    gradient = np.concatenate([(residual * a).sum(1), -(residual * a).sum(0), (residual * z).sum(0)])
    return float(loss + 0.5 * np.sum((values / deviations) ** 2)), gradient + values / deviations**2


def _ability_covariance(values: Array, known: Array, deviations: Array) -> Float64[Array, "d d"]:
    """Invert Fisher's information and return the part of the abilities.

    The scenarios' parameters are eliminated in blocks of two (Schur complement).
    """
    ability, difficulty, log_discrimination = _split(values, len(known))
    d, s = known.shape
    a = np.exp(log_discrimination)
    z = a * (ability[:, None] - difficulty)
    weight = np.where(known, special.expit(z) * special.expit(-z), 0.0)
    cross = np.stack([-weight * a**2, weight * a * z], axis=-1)  # [d, s, 2]: with difficulty and log discrimination
    blocks = np.empty((s, 2, 2))
    blocks[:, 0, 0] = (weight * a**2).sum(0) + deviations[d : d + s] ** -2
    blocks[:, 1, 1] = (weight * z**2).sum(0) + deviations[d + s :] ** -2
    blocks[:, 0, 1] = blocks[:, 1, 0] = -(weight * a * z).sum(0)
    information = np.diag((weight * a**2).sum(1) + deviations[:d] ** -2)
    information -= np.einsum("isk,skl,jsl->ij", cross, np.linalg.inv(blocks), cross, optimize=True)
    return np.linalg.inv(information)


def _rank_interval(
    ability: Array, covariance: Array, confidence: float, rng: np.random.Generator
) -> tuple[Float64[Array, " d"], Float64[Array, " d"]]:
    """Return the bounds of each driver's rank among draws of all abilities together."""
    draws = rng.multivariate_normal(ability, covariance, RANK_DRAWS, method="eigh")
    ranks = 1.0 + (draws[:, None, :] > draws[:, :, None]).sum(-1)
    tail = 0.5 * (1.0 - confidence)
    low, high = np.quantile(ranks, [tail, 1.0 - tail], axis=0, method="nearest")
    return low.astype(np.float64), high.astype(np.float64)
