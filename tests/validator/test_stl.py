"""Signal temporal logic, compared with rtamt on random formulas, and its laws."""

import logging
import warnings

import numpy as np
import pytest

from alpamayo.metrics import stl
from alpamayo_sim.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    rtamt = pytest.importorskip("rtamt", reason="rtamt is the judge here; pip install rtamt")

DT = 0.1


def judged(text, signals):
    logging.disable(logging.WARNING)
    try:
        specification = rtamt.StlDiscreteTimeSpecification()
        for name in signals:
            specification.declare_var(name, "float")
        specification.set_sampling_period(100, "ms", 0.1)
        specification.spec = text
        specification.parse()
        times = (np.arange(len(signals["x"])) * DT).tolist()
        rows = specification.evaluate({"time": times} | {name: values.tolist() for name, values in signals.items()})
    finally:
        logging.disable(logging.NOTSET)
    return np.array([value for _, value in rows])


def random_formula(rng, depth):
    def bounds():
        low = int(rng.integers(0, 4))
        return "" if rng.random() < 0.3 else f"[{100 * low}ms:{100 * (low + int(rng.integers(0, 5)))}ms]"

    if depth == 0:
        left = rng.choice(["x", "y", "z", "x + y", "x - 2 * z", "abs(y)", "x * y", "z / 2"])
        return f"({left} {rng.choice(['<', '<=', '>', '>=', '=='])} {rng.choice(['y', '0.3', '1', 'z'])})"
    inner = random_formula(rng, depth - 1)
    kind = rng.integers(0, 4)
    if kind == 0:
        return f"({rng.choice(['always', 'eventually', 'historically', 'once'])}{bounds()}{inner})"
    other = random_formula(rng, rng.integers(0, depth))
    if kind == 1:
        return f"({inner} {rng.choice(['until', 'since'])}{bounds()} {other})"
    if kind == 2:
        # of two infinite values rtamt makes NaN in iff and xor, so these get comparisons alone
        plain = ["and", "or", "implies"]
        return f"({inner} {rng.choice(plain if depth > 1 else [*plain, 'iff', 'xor'])} {other})"
    return f"({rng.choice(['not', 'rise', 'fall', 'prev', 'next'])}{inner})"


def test_random_formulas_equal_rtamt():
    rng = np.random.default_rng(0)
    for _ in range(300):
        signals = {name: rng.normal(size=12) for name in "xyz"}
        text = random_formula(rng, int(rng.integers(1, 4)))
        ours, theirs = stl.robustness(text, signals, DT), judged(text, signals)
        assert ours.shape == theirs.shape
        assert np.allclose(ours, theirs, atol=1e-9, equal_nan=True), text


def test_a_batch_equals_its_single_items():
    rng = np.random.default_rng(1)
    signals = {name: rng.normal(size=(3, 5, 40)) for name in "xyz"}
    text = "always[0, 0.5](x > 0 or (y < 1) until[0.1, 0.4] (z > 0.2))"
    together = stl.robustness(text, signals, DT)
    for i in np.ndindex(3, 5):
        alone = stl.robustness(text, {name: values[i] for name, values in signals.items()}, DT)
        assert np.array_equal(together[i], alone)


def test_a_rule_is_one_formula():
    speed = np.concatenate([np.linspace(10, 0, 30), np.zeros(20), np.linspace(0, 5, 30)])
    position = np.concatenate([[0.0], np.cumsum(0.05 * (speed[1:] + speed[:-1]))])
    signals = {"speed": speed, "before": 16.0 - position}
    text = "always((before < 0) -> once(speed < 0.1 and before > 0 and before < 4))"
    assert stl.robustness(text, signals, DT)[0] > 0
    signals["speed"] = np.maximum(speed, 1.0)
    assert stl.robustness(text, signals, DT)[0] == pytest.approx(-0.9)


def test_robustness_bounds_the_change_that_violates_a_formula():
    rng = np.random.default_rng(2)
    text = "always[0, 1](x > -2) and eventually[0, 2](y > 0.5)"
    for _ in range(50):
        signals = {name: rng.normal(size=30) for name in "xy"}
        margin = stl.robustness(text, signals, DT)[0]
        moved = {name: values + rng.uniform(-1, 1, 30) * abs(margin) * 0.999 for name, values in signals.items()}
        assert np.sign(stl.robustness(text, moved, DT)[0]) == np.sign(margin)


def test_laws():
    rng = np.random.default_rng(3)
    signals = {name: rng.normal(size=25) for name in "xy"}

    def same(a, b):
        assert np.allclose(stl.robustness(a, signals, DT), stl.robustness(b, signals, DT))

    same("not always[0,0.5](x > 0)", "eventually[0,0.5](not (x > 0))")
    same("(x > 0) -> (y > 0)", "!(x > 0) | (y > 0)")
    same("G[0:0.3](x > 0)", "always[0 s, 300 ms](x > 0)")
    same("min(x, y) > 0", "x > 0 and y > 0")
    same("x > 0 and y > 0 or x > 1", "(x > 0 and y > 0) or x > 1")


def test_equal_infinities_agree():
    signals = {"x": np.array([1.0, 2.0])}
    assert stl.robustness("next(x > 0) iff next(x > 1)", signals, DT).tolist() == [-1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends"),
        ("x >", "ends"),
        ("always[0.5, 0.1](x > 0)", "backwards"),
        ("always[0, 0.25](x > 0)", "multiples"),
        ("(x > 0", "missing"),
        ("x > 0)", "unexpected"),
        ("x ? 0", "cannot read"),
        ("speed > 0", "needs speed"),
        ("1 > 0", "no signal"),
        ("always", "needs a formula"),
    ],
)
def test_bad_formulas_are_errors(text, message):
    with pytest.raises(InputError, match=message):
        stl.robustness(text, {"x": np.zeros(10)}, DT)


def test_bad_signals_are_errors():
    with pytest.raises(InputError, match="number of samples"):
        stl.robustness("x > y", {"x": np.zeros(3), "y": np.zeros(4)}, DT)
    with pytest.raises(InputError, match="NaN"):
        stl.robustness("x > 0", {"x": np.array([0.0, np.nan])}, DT)
    with pytest.raises(InputError, match="dt"):
        stl.robustness("x > 0", {"x": np.zeros(2)}, 0.0)
