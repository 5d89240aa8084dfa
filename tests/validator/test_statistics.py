"""Intervals and tests, compared with SciPy, closed forms and their nominal coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from alpamayo.evaluation import statistics
from alpamayo_sim.errors import InputError


@given(st.integers(0, 200), st.integers(0, 200), st.floats(0.5, 0.999))
def test_clopper_pearson_equals_scipy(failures, passes, confidence):
    n = failures + passes
    low, high = statistics.clopper_pearson(failures, n, confidence)
    assert 0.0 <= low <= high <= 1.0
    if n:
        exact = stats.binomtest(failures, n).proportion_ci(confidence, "exact")
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    else:
        assert (low, high) == (0.0, 1.0)


def test_clopper_pearson_covers():
    rng = np.random.default_rng(1)
    rate, n = 0.07, 40
    covered = [
        low <= rate <= high for k in rng.binomial(n, rate, 2000) for low, high in [statistics.clopper_pearson(k, n)]
    ]
    assert np.mean(covered) > 0.94


def test_rule_of_three():
    assert statistics.rule_of_three(300) == pytest.approx(3.0 / 300, rel=0.01)
    assert statistics.rule_of_three(0) == 1.0
    n = statistics.runs_needed(0.01)
    assert statistics.rule_of_three(n) < 0.01 <= statistics.rule_of_three(n - 1)


def test_bootstrap_treats_runs_of_a_scene_as_a_cluster():
    rng = np.random.default_rng(2)
    scenes = np.repeat(np.arange(20), 10)
    values = rng.normal(size=20)[scenes]
    clustered = statistics.clustered_bootstrap(values, scenes, rng=np.random.default_rng(0))
    naive = statistics.clustered_bootstrap(values, np.arange(200), rng=np.random.default_rng(0))
    assert clustered.high - clustered.low > 2.0 * (naive.high - naive.low)


def test_bootstrap_covers_and_repeats():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        low, high = statistics.clustered_bootstrap(rng.normal(1.0, 2.0, 50), np.arange(50), rng=rng, samples=300)
        covered += low <= 1.0 <= high
    assert covered >= 180
    values = rng.normal(size=30)
    same = [statistics.clustered_bootstrap(values, np.arange(30), rng=np.random.default_rng(7)) for _ in range(2)]
    assert same[0] == same[1]


def test_bootstrap_takes_any_statistic():
    values, scenes = np.arange(40.0), np.arange(40) // 2
    by_mean = statistics.clustered_bootstrap(values, scenes, rng=np.random.default_rng(0), samples=200)
    given_mean = statistics.clustered_bootstrap(
        values, scenes, rng=np.random.default_rng(0), samples=200, statistic=lambda x: np.mean(x)
    )
    assert given_mean == pytest.approx(by_mean)


def test_one_scene_says_nothing_about_the_spread():
    low, high = statistics.clustered_bootstrap(np.ones(5), np.zeros(5, int), rng=np.random.default_rng(0))
    assert (low, high) == (-np.inf, np.inf)


def test_kilometres_per_incident_without_incidents():
    km, incidents = np.full(10, 0.5), np.zeros(10)
    low, high = statistics.ratio_bootstrap(km, incidents, np.arange(10), rng=np.random.default_rng(0))
    assert low == high == np.inf
    rate = statistics.poisson_rate(0, 5.0)
    assert rate.low == 0.0
    assert rate.high == pytest.approx(-np.log(0.025) / 5.0)


@given(st.integers(0, 50))
def test_poisson_rate_is_exact(events):
    low, high = statistics.poisson_rate(events, 2.0)
    assert stats.poisson.cdf(events, 2.0 * high) == pytest.approx(0.025, abs=1e-9)
    if events:
        assert stats.poisson.sf(events - 1, 2.0 * low) == pytest.approx(0.025, abs=1e-9)


def test_mcnemar():
    a = np.array([1, 1, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    b = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], bool)
    test = statistics.mcnemar(a, b)
    assert test.p_value == pytest.approx(2 * 0.5**7)
    assert test.difference == pytest.approx(0.7)
    assert test.interval.low > 0.0
    assert statistics.mcnemar(a, a).p_value == 1.0


@pytest.mark.parametrize("rates", [(0.3, 0.2), (0.05, 0.02), (0.0, 0.1), (0.02, 0.02)])
def test_the_interval_of_paired_rates_covers(rates):
    """Tango's interval has its nominal coverage on average; at single rates it may be slightly lower."""
    rng, n = np.random.default_rng(4), 60
    only_a, only_b = rates
    drawn = rng.multinomial(n, [only_a, only_b, 1.0 - only_a - only_b], size=1500)
    covered = [
        low <= only_a - only_b <= high
        for b, c, _ in drawn
        for low, high in [statistics.paired_rates(int(b), int(c), n)]
    ]
    assert np.mean(covered) > 0.93


def test_paired_rates_are_antisymmetric_and_solve_their_equation():
    low, high = statistics.paired_rates(7, 2, 50)
    assert statistics.paired_rates(2, 7, 50) == pytest.approx((-high, -low))
    for d in (low, high):  # by the definition, with the constrained likelihood maximised numerically
        rates = np.linspace(max(-d, 0.0) + 1e-9, (1.0 - d) / 2.0 - 1e-9, 200_001)
        likelihood = 7 * np.log(rates + d) + 2 * np.log(rates) + 41 * np.log(1.0 - 2.0 * rates - d)
        q = rates[np.argmax(likelihood)]
        statistic = (7 - 2 - 50 * d) / np.sqrt(50 * (2 * q + d * (1 - d)))
        assert abs(statistic) == pytest.approx(stats.norm.isf(0.025), abs=1e-4)
    assert statistics.paired_rates(0, 0, 0) == (-1.0, 1.0)


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("n", [2, 5, 9])
def test_a_bounded_mean_of_few_values_covers(n):
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(1000):
        values = np.where(rng.random(n) < 0.3, 0.0, rng.beta(5.0, 2.0, n))  # scores: some zero, the rest good
        low, high = statistics.bounded_mean(values, np.arange(n))
        covered += low <= 0.7 * 5.0 / 7.0 <= high
    assert covered >= 950


def test_a_bounded_mean_at_the_end_of_its_range_equals_clopper_pearson():
    assert statistics.bounded_mean(np.zeros(4), np.arange(4)) == pytest.approx(statistics.clopper_pearson(0, 4))
    assert statistics.bounded_mean(np.ones(4), np.arange(4)) == pytest.approx(statistics.clopper_pearson(4, 4))
    alike = statistics.bounded_mean(np.repeat([0.2, 0.8], 5), np.repeat([0, 1], 5))
    assert alike == pytest.approx(statistics.bounded_mean(np.array([0.2, 0.8]), np.arange(2)))


def test_paired_difference():
    rng = np.random.default_rng(5)
    scene = rng.normal(size=60)
    a, b = scene + 0.3 + 0.1 * rng.normal(size=60), scene + 0.1 * rng.normal(size=60)
    better = statistics.paired_difference(a, b, rng=rng)
    assert better.p_value < 0.01
    assert better.interval.low > 0.2
    few = statistics.paired_difference(a[:6], b[:6], rng=rng)
    assert few.p_value == pytest.approx(2 / 2**6)
    assert statistics.paired_difference(a, a, rng=rng).p_value == 1.0


def test_sequential_is_valid_after_every_run():
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(100):
        failures = np.cumsum(rng.random(300) < 0.1)
        decisions = {statistics.sequential(int(failures[n]), n + 1, 0.1).decision for n in range(9, 300, 10)}
        wrong += "below" in decisions
    assert wrong <= 5
    assert statistics.sequential(0, 1000, 0.01).decision == "below"
    assert statistics.sequential(30, 100, 0.1).decision == "not below"
    assert statistics.sequential(0, 10, 0.1).decision == "continue"


@given(st.integers(0, 100), st.integers(0, 100))
def test_repeated_looks_widen_the_interval(failures, passes):
    n = failures + passes
    anytime, once = statistics.confidence_sequence(failures, n), statistics.clopper_pearson(failures, n)
    assert 0.0 <= anytime.low <= (failures / n if n else 0.5) <= anytime.high <= 1.0
    assert anytime.high >= once.high - 1e-9
    assert anytime.low <= once.low + 1e-9


def test_importance_sampling_finds_a_rare_rate():
    rng = np.random.default_rng(8)
    x = rng.normal(3.0, 1.0, 4000)
    weights = np.exp(-0.5 * x**2 + 0.5 * (x - 3.0) ** 2)
    rare = statistics.importance_rate(x > 3.5, weights)
    assert rare.interval.low < stats.norm.sf(3.5) < rare.interval.high
    assert rare.standard_error < 0.1 * rare.estimate
    assert 10 < rare.effective_n < 4000
    nothing = statistics.importance_rate(np.zeros(300, bool), np.ones(300))
    assert nothing.interval == pytest.approx(statistics.poisson_rate(0, 300.0))
    plain = statistics.importance_rate(np.arange(300) < 7, np.ones(300))
    assert plain.interval == pytest.approx(statistics.poisson_rate(7, 300.0))
    assert plain.effective_n == pytest.approx(7.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: statistics.clopper_pearson(3, 2),
        lambda: statistics.clopper_pearson(1, 2, 1.0),
        lambda: statistics.clustered_bootstrap(np.zeros(0), np.zeros(0, int), rng=np.random.default_rng(0)),
        lambda: statistics.clustered_bootstrap(np.array([np.nan]), np.zeros(1, int), rng=np.random.default_rng(0)),
        lambda: statistics.mcnemar(np.zeros(2, bool), np.zeros(3, bool)),
        lambda: statistics.sequential(0, 10, 0.0),
        lambda: statistics.bounded_mean(np.array([1.5]), np.zeros(1, int)),
        lambda: statistics.paired_rates(3, 3, 5),
        lambda: statistics.importance_rate(np.ones(2, bool), np.array([1.0, -1.0])),
        lambda: statistics.poisson_rate(0, 0.0),
    ],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_bad_input_is_an_error(call):
    with pytest.raises(InputError):
        call()
