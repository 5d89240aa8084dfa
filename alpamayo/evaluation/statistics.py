"""Confidence intervals and tests for the figures of a suite: rates, means, differences of drivers, stopping.

All functions are pure; random ones take a generator. With n = 0 an interval has its largest width; a function that
has no such interval raises ``InputError``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy import stats

from alpamayo_sim.errors import InputError

Array = np.ndarray
BOOTSTRAP_SAMPLES = 2000


class Interval(NamedTuple):
    """Lower and upper bound of a value."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two drivers on the same seeds: mean difference (a minus b) with its interval, and the p value of no difference.

    ``n`` is the number of pairs, ``discordant`` the number of pairs that differ.
    """

    difference: float
    interval: Interval
    p_value: float
    n: int
    discordant: int
    method: str


@dataclass(frozen=True)
class SequentialDecision:
    """Result of a sequential test: ``decision`` is "below", "not below" or "continue"; the bounds are of the rate.

    The bounds are anytime-valid: they hold for all tests together, so a test after every run is allowed.
    """

    decision: str
    lower: float
    upper: float
    failures: int
    n: int


@dataclass(frozen=True)
class RareRate:
    """A failure probability from weighted runs: estimate, standard error, interval, effective sample size.

    ``estimate`` is the unbiased mean of weight times failure; ``self_normalised`` divides by the mean weight.
    """

    estimate: float
    standard_error: float
    interval: Interval
    effective_n: float
    self_normalised: float
    n: int


def clopper_pearson(failures: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the exact two-sided interval of a rate, ``failures`` of ``n`` independent runs (Clopper-Pearson, 1934).

    With n = 0 the interval is [0, 1].

    Raises:
        InputError: not 0 <= failures <= n, or a confidence not in (0, 1).
    """
    tail = 0.5 * (1.0 - _confidence(confidence))
    failures, n = _counts(failures, n)
    low = float(stats.beta.ppf(tail, failures, n - failures + 1)) if failures > 0 else 0.0
    high = float(stats.beta.isf(tail, failures + 1, n - failures)) if failures < n else 1.0
    return Interval(low, high)


def upper_bound(failures: int, n: int, confidence: float = 0.95) -> float:
    """Compute the exact one-sided upper bound of a rate.

    Without a failure it is 1 - (1 - confidence)^(1/n), about 3 / n at 95 %.

    Raises:
        InputError: as for ``clopper_pearson``.
    """
    failures, n = _counts(failures, n)
    tail = 1.0 - _confidence(confidence)
    return float(stats.beta.isf(tail, failures + 1, n - failures)) if failures < n else 1.0


def rule_of_three(n: int, confidence: float = 0.95) -> float:
    """Compute the upper bound of a rate without a failure in ``n`` runs: 1 - (1 - confidence)^(1/n).

    It is named after its approximation at 95 %, 3 / n. With n = 0 it is 1.
    """
    return upper_bound(0, n, confidence)


def runs_needed(rate: float, confidence: float = 0.95) -> int:
    """Compute the number of runs without a failure that shows, with ``confidence``, that a rate is below ``rate``.

    Raises:
        InputError: a rate or confidence not in (0, 1).
    """
    if not 0.0 < rate < 1.0:
        raise InputError(f"rate is {rate}, must be in (0, 1)")
    return math.ceil(math.log1p(-_confidence(confidence)) / math.log1p(-rate))


def clustered_bootstrap(
    values: Float[Array, " n"],
    clusters: Int[Array, " n"],
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
    statistic: Callable[[Float64[Array, "... m"]], Float64[Array, "..."]] | None = None,
    samples: int = BOOTSTRAP_SAMPLES,
) -> Interval:
    """Compute the percentile interval of a statistic (default: the mean) by drawing clusters with replacement.

    Runs of the same scene are correlated, so scenes are drawn, not runs (Cameron, Gelbach and Miller, 2008). With one
    cluster the spread is unknown, and the interval is infinite.

    Args:
        values: one finite number per run.
        clusters: the scene of each run.
        confidence: confidence of the interval.
        rng: generator of the draws.
        statistic: function of the values of a draw along the last axis; default: the mean.
        samples: number of draws.

    Raises:
        InputError: no values, values that are not finite, or not as many clusters as values.
    """
    values, clusters = np.asarray(values, np.float64), np.asarray(clusters)
    if not len(values) or values.shape != clusters.shape or not np.isfinite(values).all():
        raise InputError(
            f"bootstrap: needs n >= 1 finite values and their clusters, got {values.shape}, {clusters.shape}"
        )
    tail = 0.5 * (1.0 - _confidence(confidence))
    _, member = np.unique(clusters, return_inverse=True)
    count = int(member.max()) + 1
    if count < 2:
        return Interval(-math.inf, math.inf)
    drawn = rng.integers(0, count, size=(samples, count))
    if statistic is None:
        sums, sizes = np.bincount(member, values, count), np.bincount(member, minlength=count)
        results = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    else:
        rows = [np.flatnonzero(member == i) for i in range(count)]
        results = np.array([float(statistic(values[np.concatenate([rows[i] for i in draw])])) for draw in drawn])
    low, high = np.quantile(results, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def bounded_mean(values: Float[Array, " n"], clusters: Int[Array, " n"], confidence: float = 0.95) -> Interval:
    """Compute an interval of the mean of values in [0, 1], also of few clusters: Chernoff's bound, binary entropy.

    Hoeffding (1963), theorem 1: means m with n KL(mean, m) <= log(2 / (1 - confidence)). It holds for any
    distribution in [0, 1] and any n, whereas a bootstrap of few clusters is too narrow. If all values are 0, it equals
    Clopper-Pearson's interval. Clusters count once each, by their means.

    Raises:
        InputError: no values, not as many clusters, or values outside [0, 1].
    """
    values, clusters = np.asarray(values, np.float64), np.asarray(clusters)
    if not len(values) or values.shape != clusters.shape or not ((values >= 0.0) & (values <= 1.0)).all():
        raise InputError(f"bounded mean: needs n >= 1 values in [0, 1] and their clusters, got {values.shape}")
    _, member = np.unique(clusters, return_inverse=True)
    means = np.bincount(member, values) / np.bincount(member)
    centre, limit = float(means.mean()), math.log(2.0 / (1.0 - _confidence(confidence))) / len(means)

    def excess(m: float) -> float:
        up = centre * math.log(centre / m) if centre > 0.0 else 0.0
        return up + ((1.0 - centre) * math.log((1.0 - centre) / (1.0 - m)) if centre < 1.0 else 0.0) - limit

    low = 0.0 if centre == 0.0 else _zero_between(excess, centre, 0.0)
    return Interval(low, 1.0 if centre == 1.0 else _zero_between(excess, centre, 1.0))


def ratio_bootstrap(
    numerator: Float[Array, " n"],
    denominator: Float[Array, " n"],
    clusters: Int[Array, " n"],
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
    samples: int = BOOTSTRAP_SAMPLES,
) -> Interval:
    """Compute the percentile interval of sum(numerator) / sum(denominator) by drawing clusters with replacement.

    It serves for kilometres per incident. Draws with a denominator of 0 count as infinite.

    Raises:
        InputError: no values, or arrays of different lengths.
    """
    top, bottom = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    if not len(top) or top.shape != bottom.shape or top.shape != np.shape(clusters):
        raise InputError(f"bootstrap: needs n >= 1 pairs and their clusters, got {top.shape}, {bottom.shape}")
    tail = 0.5 * (1.0 - _confidence(confidence))
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(member.max()) + 1
    drawn = rng.integers(0, count, size=(samples, count))
    tops, bottoms = (
        np.bincount(member, top, count)[drawn].sum(axis=1),
        np.bincount(member, bottom, count)[drawn].sum(axis=1),
    )
    ratios = np.sort(np.divide(tops, bottoms, out=np.full(samples, np.inf), where=bottoms > 0.0))
    last = samples - 1
    return Interval(float(ratios[math.floor(tail * last)]), float(ratios[math.ceil((1.0 - tail) * last)]))


def poisson_rate(events: int, exposure: float, confidence: float = 0.95) -> Interval:
    """Compute the exact interval of events per unit of exposure (km, h) by chi-squared quantiles (Garwood, 1936).

    Raises:
        InputError: a negative number of events, or an exposure that is not positive.
    """
    tail = 0.5 * (1.0 - _confidence(confidence))
    if events < 0 or not exposure > 0.0:
        raise InputError(f"rate: {events} events in {exposure}; needs events >= 0 and exposure > 0")
    low = 0.5 * float(stats.chi2.ppf(tail, 2 * events)) / exposure if events else 0.0
    return Interval(low, 0.5 * float(stats.chi2.isf(tail, 2 * events + 2)) / exposure)


def mcnemar(a: Bool[Array, " n"], b: Bool[Array, " n"], confidence: float = 0.95) -> PairedTest:
    """Test the difference of two drivers' failure rates on the same seeds (exact McNemar test).

    The p value is that of the binomial test of the discordant pairs. The interval of the difference of
    the rates is Tango's score interval; see ``paired_rates``.

    Raises:
        InputError: no pairs, or lengths that differ.
    """
    a, b = _pairs(np.asarray(a, bool), np.asarray(b, bool))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant, n = only_a + only_b, len(a)
    p_value = float(stats.binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    interval = paired_rates(only_a, only_b, n, confidence)
    return PairedTest((only_a - only_b) / n, interval, p_value, n, discordant, "exact McNemar")


def paired_rates(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the score interval of the difference of two rates in ``n`` pairs (Tango, Stat. Med. 17, 1998).

    ``only_a`` (b) and ``only_b`` (c) count the pairs in which only one driver failed. The interval holds all
    differences d with (b - c - n d)² <= z² n (2 q + d (1 - d)); q is the maximum-likelihood rate of "only b" given d.

    Raises:
        InputError: counts that do not fit, a confidence not in (0, 1).
    """
    _counts(only_a + only_b, n)
    if n == 0:
        return Interval(-1.0, 1.0)
    limit = float(stats.norm.isf(0.5 * (1.0 - _confidence(confidence))))

    def excess(d: float) -> float:
        linear = (2 * n - only_a + only_b) * d - only_a - only_b
        rate = (math.sqrt(max(linear**2 + 8 * n * only_b * d * (1.0 - d), 0.0)) - linear) / (4 * n)
        spread = math.sqrt(max(n * (2.0 * rate + d * (1.0 - d)), 0.0))
        return abs(only_a - only_b - n * d) - limit * spread

    best = (only_a - only_b) / n
    return Interval(_zero_between(excess, best, -1.0), _zero_between(excess, best, 1.0))


def paired_difference(
    a: Float[Array, " n"],
    b: Float[Array, " n"],
    confidence: float = 0.95,
    *,
    rng: np.random.Generator,
    clusters: Int[Array, " n"] | None = None,
    samples: int = BOOTSTRAP_SAMPLES,
) -> PairedTest:
    """Compute the mean difference of two drivers' scores on the same seeds: clustered bootstrap and sign-flip test.

    The p value is that of the permutation test that flips the signs of the clusters' differences. The observed signs
    count too, so it is never 0. Up to 2^14 assignments are enumerated exactly.

    Raises:
        InputError: no pairs, lengths that differ, values that are not finite.
    """
    a, b = _pairs(np.asarray(a, np.float64), np.asarray(b, np.float64))
    difference = a - b
    groups = np.arange(len(a)) if clusters is None else np.asarray(clusters)
    interval = clustered_bootstrap(difference, groups, confidence, rng=rng, samples=samples)
    _, member = np.unique(groups, return_inverse=True)
    p_value = _sign_flip(np.bincount(member, difference), rng, samples)
    discordant = int(np.count_nonzero(difference))
    return PairedTest(float(difference.mean()), interval, p_value, len(a), discordant, "sign-flip permutation")


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for multiple tests (Holm, 1979): the family-wise error rate stays below the level."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    out, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        out[i] = largest
    return out


def sequential(failures: int, n: int, rate: float, confidence: float = 0.95) -> SequentialDecision:
    """Test whether the failure rate is below ``rate``; the test is valid after every run.

    A confidence sequence for a Bernoulli rate (Robbins, 1970): with the uniform mixture, by Ville's inequality the
    rates p with B(k + 1, n - k + 1) / (p^k (1 - p)^(n - k)) < 1 / (1 - confidence) hold at all times together.

    Raises:
        InputError: not 0 <= failures <= n, a rate or confidence not in (0, 1).
    """
    failures, n = _counts(failures, n)
    if not 0.0 < rate < 1.0:
        raise InputError(f"rate is {rate}, must be in (0, 1)")
    lower, upper = confidence_sequence(failures, n, confidence)
    decision = "below" if upper < rate else "not below" if lower > rate else "continue"
    return SequentialDecision(decision, lower, upper, failures, n)


def confidence_sequence(failures: int, n: int, confidence: float = 0.95) -> Interval:
    """Compute the anytime-valid interval of a rate that ``sequential`` uses; it is wider than Clopper-Pearson's."""
    failures, n = _counts(failures, n)
    limit = -math.log1p(-_confidence(confidence))
    mixture = math.lgamma(failures + 1) + math.lgamma(n - failures + 1) - math.lgamma(n + 2)

    def excess(p: float) -> float:
        likelihood = failures * math.log(p) if failures else 0.0
        return mixture - likelihood - ((n - failures) * math.log1p(-p) if failures < n else 0.0) - limit

    best = failures / n if n else 0.5
    low = 0.0 if failures == 0 else _zero_between(excess, best, 0.0)
    high = 1.0 if failures == n else _zero_between(excess, best, 1.0)
    return Interval(low, high)


def importance_rate(failed: Bool[Array, " n"], weights: Float[Array, " n"], confidence: float = 0.95) -> RareRate:
    """Estimate a failure probability from runs drawn from a proposal; ``weights`` are nominal over proposal density.

    The interval is Fay and Feuer's for weighted counts (Statistics in Medicine 16, 1997); for equal weights it equals
    Garwood's. Failures are few and weights uneven, so a normal interval would be too narrow. The effective n is
    (sum w)² / sum w² of the failed runs (Kish): this number of equal weights gives the same precision.

    Raises:
        InputError: no runs, lengths that differ, weights negative or not finite.
    """
    hit, w = _pairs(np.asarray(failed, bool), np.asarray(weights, np.float64))
    if not np.isfinite(w).all() or (w < 0.0).any():
        raise InputError("importance sampling: weights must be finite and not negative")
    z, n = w * hit, len(w)
    estimate = float(z.mean())
    error = float(z.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    effective = float(z.sum() ** 2 / np.square(z).sum()) if z.any() else 0.0
    normalised = float(z.sum() / w.sum()) if w.any() else math.nan
    return RareRate(estimate, error, _weighted_count(z / n, float(w.max()) / n, confidence), effective, normalised, n)


def _weighted_count(parts: Array, heaviest: float, confidence: float) -> Interval:
    """Compute Fay and Feuer's interval of a sum of weighted Poisson counts; ``parts`` are the weights of the events."""
    tail = 0.5 * (1.0 - _confidence(confidence))
    total, square = float(parts.sum()), float(np.square(parts).sum())
    low = 0.5 * square / total * float(stats.chi2.ppf(tail, 2.0 * total**2 / square)) if total > 0.0 else 0.0
    total, square = total + heaviest, square + heaviest**2
    high = 0.5 * square / total * float(stats.chi2.isf(tail, 2.0 * total**2 / square)) if total > 0.0 else 0.0
    return Interval(min(1.0, low), min(1.0, high))


def _confidence(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}, must be in (0, 1)")
    return confidence


def _counts(failures: int, n: int) -> tuple[int, int]:
    if int(failures) != failures or int(n) != n or not 0 <= failures <= n:
        raise InputError(f"{failures} of {n}: must be whole numbers, 0 <= failures <= n")
    return int(failures), int(n)


def _pairs(a: Array, b: Array) -> tuple[Array, Array]:
    if not len(a) or a.shape != b.shape or a.ndim != 1:
        raise InputError(f"needs n >= 1 pairs, got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("pairs must be finite")
    return a, b


def _sign_flip(sums: Float64[Array, " c"], rng: np.random.Generator, samples: int) -> float:
    observed = abs(float(sums.sum())) - 1e-12
    if len(sums) <= 14:
        bits = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= observed))
    signs = rng.integers(0, 2, size=(samples, len(sums))) * 2 - 1
    return float((1 + np.count_nonzero(np.abs(signs @ sums) >= observed)) / (samples + 1))


def _zero_between(excess: Callable[[float], float], inside: float, end: float) -> float:
    """Find the zero of ``excess``, negative at ``inside``, between ``inside`` and ``end`` by bisection."""
    a, b = inside, end
    for _ in range(200):
        middle = 0.5 * (a + b)
        if middle in (a, b) or middle == end:
            break
        a, b = (middle, b) if excess(middle) < 0.0 else (a, middle)
    return b


@dataclass(frozen=True)
class KilometresPerIncident:
    """Kilometres driven per incident with their exact interval; ``value`` and ``high`` are infinite without incidents.

    Without incidents, ``low`` is the one-sided lower bound (at 97.5 % for a confidence of 95 %).
    """

    value: float
    low: float
    high: float
    kilometres: float
    incidents: int


def kilometres_per_incident(kilometres: float, incidents: int, confidence: float = 0.95) -> KilometresPerIncident:
    """Compute AlpaSim's kilometres per incident with Garwood's Poisson interval, also defined without incidents.

    Raises:
        InputError: no kilometres, or a negative number of incidents.
    """
    rate = poisson_rate(incidents, kilometres, confidence)
    value = kilometres / incidents if incidents else math.inf
    high = 1.0 / rate.low if rate.low > 0.0 else math.inf
    return KilometresPerIncident(value, 1.0 / rate.high, high, kilometres, incidents)
