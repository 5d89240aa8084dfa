"""Signal temporal logic: a rule as one formula, with the margin by which it holds.

The quantitative robustness of Donzé and Maler ("Robust satisfaction of temporal logic over real-valued signals", 2010)
on sampled signals, for any batch: ``robustness("always[0, 2](gap > 1.5 or speed < 0.1)", signals, dt)``.

Formulas: comparisons (< <= > >= == !=) of arithmetic (+ - * / abs min max) on signals and numbers; ``not and or
implies iff xor`` (also ``! & | -> <->``); ``always eventually historically once next prev rise fall`` and, between two
formulas, ``until since``, with bounds ``[a, b]`` or ``[a:b]`` in seconds (``ms`` and ``s`` may follow) or without.
Times outside the record are neutral: they neither violate an ``always`` nor fulfil an ``eventually``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_sim.errors import InputError

Array = np.ndarray
Signals = Mapping[str, Float[Array, "... t"]]
Node = Callable[[Signals, float], Array]

TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|([A-Za-z_][\w.]*)|(<->|->|<=|>=|==|!=|[-+*/()\[\],:<>!&|]))"
)
UNARY = {"always": "G", "eventually": "F", "historically": "H", "once": "O", "G": "G", "F": "F", "H": "H", "O": "O"}
BINARY = {"until": "U", "since": "S", "U": "U", "S": "S"}
SHIFTS = {"next": 1, "prev": -1}
FUNCTIONS = ("abs", "min", "max")
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
MAX_CHARACTERS = 10_000
MAX_DEPTH = 30
"""Of nested brackets and operators."""
SAMPLE_TOLERANCE = 1e-6
"""Time bounds may be this part of a step off a sample."""
WORDS = {"not", "and", "or", "implies", "iff", "xor", "rise", "fall", *UNARY, *BINARY, *SHIFTS, *FUNCTIONS}


@dataclass(frozen=True)
class Formula:
    """A parsed formula.

    Attributes:
        text: the formula.
        signals: names of the signals that it needs.
        evaluate: gives the robustness at each time.
        each: gives the robustness that has to be positive at each time for the formula to hold. For ``always p`` that
            is p, for a formula without temporal operators the formula, for a conjunction of these the least of both;
            None for other formulas.
    """

    text: str
    signals: frozenset[str]
    evaluate: Node
    each: Node | None = None


def parse(text: str) -> Formula:
    """Parse a formula.

    Raises:
        InputError: the text is not a formula; the message says where.
    """
    return _Parser(text).formula()


def robustness(formula: str | Formula, signals: Signals, dt: float) -> Float64[Array, "... t"]:
    """Compute the robustness of a formula at each time; index 0 is that of the whole record.

    The formula holds where the robustness is positive and is violated where it is negative; its magnitude is the
    distance, in the units of the comparison.

    Args:
        formula: text, or a result of ``parse``.
        signals: by name, with the same number of samples along the last axis; leading axes are any batch.
        dt: time (s) between samples.

    Raises:
        InputError: an invalid formula, a missing signal, signals of different lengths or with NaN.
    """
    parsed = parse(formula) if isinstance(formula, str) else formula
    arrays = {name: np.asarray(values, np.float64) for name, values in signals.items()}
    if missing := sorted(parsed.signals - set(arrays)):
        raise InputError(f"formula {parsed.text!r} needs {', '.join(missing)}; the signals are {sorted(arrays)}")
    used = {name: arrays[name] for name in sorted(parsed.signals)}
    lengths = {array.shape[-1] if array.ndim else 0 for array in used.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise InputError(f"formula {parsed.text!r}: signals differ in the number of samples: {sorted(lengths)}")
    if any(np.isnan(array).any() for array in used.values()):
        raise InputError(f"formula {parsed.text!r}: signals must not have NaN")
    if not dt > 0.0:
        raise InputError(f"dt is {dt} s, must be positive")
    return evaluated(parsed, parsed.evaluate, used, dt)


def evaluated(formula: Formula, node: Node, signals: Signals, dt: float) -> Float64[Array, "... t"]:
    """Evaluate a part of a formula.

    Raises:
        InputError: the result has NaN (0 / 0, infinity less infinity).
    """
    with np.errstate(all="ignore"):
        values = np.asarray(node(signals, dt))
    if np.isnan(values).any():
        raise InputError(f"formula {formula.text!r}: gives NaN at {np.isnan(values).sum()} times, as 0 / 0 does")
    return values


class _Parser:
    """A recursive-descent parser; each method returns a function of signals and dt."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        if len(text) > MAX_CHARACTERS:
            raise InputError(f"formula {text[:40]!r}... has {len(text)} characters, the limit is {MAX_CHARACTERS}")
        self.tokens = self._tokens()
        self.names: set[str] = set()
        self.temporal = False
        self.each: dict[int, Node] = {}
        self.depth = 0

    def formula(self) -> Formula:
        node = self._iff()
        if self.at < len(self.tokens):
            raise self._error(f"unexpected {self.tokens[self.at][0]!r}")
        if not self.names:
            raise self._error("has no signal")
        each = self.each.get(id(node), None if self.temporal else node)
        return Formula(self.text, frozenset(self.names), node, each)

    def _iff(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        left = self._implies()
        while (word := self._take("iff", "<->", "xor")) is not None:
            left = _combine(left, self._implies(), _differ if word == "xor" else _agree)
        self.depth -= 1
        return left

    def _implies(self) -> Node:
        left = self._or()
        if self._take("implies", "->"):
            return _combine(left, self._implies(), lambda a, b: np.maximum(-a, b))
        return left

    def _or(self) -> Node:
        left = self._and()
        while self._take("or", "|"):
            left = _combine(left, self._and(), np.maximum)
        return left

    def _and(self) -> Node:
        left = self._until()
        while self._take("and", "&"):
            right = self._until()
            both = _combine(left, right, np.minimum)
            if id(left) in self.each and id(right) in self.each:
                self.each[id(both)] = _combine(self.each[id(left)], self.each[id(right)], np.minimum)
            left = both
        return left

    def _until(self) -> Node:
        left = self._not()
        while (word := self._take(*BINARY)) is not None:
            bounds, right = self._bounds(), self._not()
            self.temporal = True
            left = _binary(left, right, bounds, BINARY[word] == "U")
        return left

    def _not(self) -> Node:
        if self._take("not", "!"):
            inner = self._not_of("not")
            return lambda signals, dt: -inner(signals, dt)
        if (word := self._take(*UNARY)) is not None:
            return self._temporal(UNARY[word], self._bounds(), self._not_of(word))
        if (word := self._take(*SHIFTS)) is not None:
            self.temporal = True
            return _shift(self._not_of(word), SHIFTS[word])
        if (word := self._take("rise", "fall")) is not None:
            self.temporal = True
            return _edge(self._not_of(word), 1.0 if word == "rise" else -1.0)
        return self._comparison()

    def _temporal(self, operator: str, bounds: tuple[float, float] | None, inner: Node) -> Node:
        self.temporal = True
        node = _unary(operator, bounds, inner)
        if operator == "G" and bounds is None:
            self.each[id(node)] = inner
        return node

    def _not_of(self, word: str) -> Node:
        if self.at >= len(self.tokens):
            raise self._error(f"{word!r} needs a formula")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"is nested more than {MAX_DEPTH} deep")
        inner = self._not()
        self.depth -= 1
        return inner

    def _comparison(self) -> Node:
        left = self._sum()
        word = self._take("<", "<=", ">", ">=", "==", "!=")
        if word is None:
            return left
        measures: dict[str, Callable[[Array, Array], Array]] = {
            "<": lambda a, b: b - a,
            ">": lambda a, b: a - b,
            "=": _agree,
            "!": _differ,
        }
        return _combine(left, self._sum(), measures[word[0]])

    def _sum(self) -> Node:
        left = self._product()
        while (word := self._take("+", "-")) is not None:
            left = _combine(left, self._product(), np.add if word == "+" else np.subtract)
        return left

    def _product(self) -> Node:
        left = self._atom()
        while (word := self._take("*", "/")) is not None:
            left = _combine(left, self._atom(), np.multiply if word == "*" else np.divide)
        return left

    def _atom(self) -> Node:
        if self._take("-"):
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self._error(f"is nested more than {MAX_DEPTH} deep")
            inner = self._atom()
            self.depth -= 1
            return lambda signals, dt: -inner(signals, dt)
        if self._take("("):
            inner = self._iff()
            self._expect(")")
            return inner
        if (word := self._take(*FUNCTIONS)) is not None:
            return self._call(word)
        if self.at >= len(self.tokens):
            raise self._error("ends too early")
        token, kind = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            value = np.float64(token)
            return lambda signals, dt: np.full(next(iter(signals.values())).shape[-1:], value)
        if kind == "name" and token not in WORDS:
            self.names.add(token)
            return lambda signals, dt: signals[token]
        self.at -= 1
        raise self._error(f"unexpected {token!r}")

    def _call(self, word: str) -> Node:
        self._expect("(")
        first = self._sum()
        if word == "abs":
            self._expect(")")
            return lambda signals, dt: np.abs(first(signals, dt))
        self._expect(",")
        second = self._sum()
        self._expect(")")
        return _combine(first, second, np.minimum if word == "min" else np.maximum)

    def _bounds(self) -> tuple[float, float] | None:
        """Parse the time bounds (s) after an operator; None without bounds."""
        if not self._take("["):
            return None
        low = self._time()
        if not self._take(",", ":"):
            raise self._error("bounds need two times")
        high = self._time()
        self._expect("]")
        if high < low:
            raise self._error(f"bounds [{low}, {high}] go backwards")
        return low, high

    def _time(self) -> float:
        if self.at >= len(self.tokens) or self.tokens[self.at][1] != "number":
            raise self._error("a time is missing")
        value = float(self.tokens[self.at][0])
        self.at += 1
        unit = self._take(*UNITS)
        return value * (UNITS[unit] if unit else 1.0)

    def _take(self, *words: str) -> str | None:
        if self.at < len(self.tokens) and self.tokens[self.at][0] in words:
            self.at += 1
            return self.tokens[self.at - 1][0]
        return None

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise self._error(f"{word!r} is missing")

    def _tokens(self) -> list[tuple[str, str]]:
        out, place = [], 0
        while place < len(self.text.rstrip()):
            found = TOKEN.match(self.text, place)
            if not found:
                raise InputError(f"formula {self.text!r}: cannot read {self.text[place:].strip()[:20]!r}")
            kind = "number" if found[1] else "name" if found[2] else "sign"
            out.append((found[found.lastindex or 0], kind))
            place = found.end()
        return out

    def _error(self, what: str) -> InputError:
        before = " ".join(token for token, _ in self.tokens[: self.at])
        return InputError(f"formula {self.text!r}: {what}" + (f" after {before[-30:]!r}" if before else ""))


def _combine(a: Node, b: Node, how: Callable[[Array, Array], Array]) -> Node:
    return lambda signals, dt: how(a(signals, dt), b(signals, dt))


def _agree(a: Array, b: Array) -> Array:
    return -_differ(a, b)


def _differ(a: Array, b: Array) -> Array:
    """Compute the distance of two values; equal infinities have distance 0."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, np.abs(a - b))


def _steps(bounds: tuple[float, float] | None, dt: float, count: int) -> tuple[int, int]:
    """Convert time bounds to samples.

    Raises:
        InputError: a bound is between two samples.
    """
    if bounds is None:
        return 0, count
    low, high = (bound / dt for bound in bounds)
    if max(abs(low - round(low)), abs(high - round(high))) > SAMPLE_TOLERANCE:
        raise InputError(f"time bounds [{bounds[0]:g}, {bounds[1]:g}] s are not multiples of the step of {dt:g} s")
    return min(round(low), count), min(round(high), count)


def _unary(operator: str, bounds: tuple[float, float] | None, inner: Node) -> Node:
    """Return a function for the least or greatest value in a window ahead (G, F) or behind (H, O)."""

    def evaluate(signals: Signals, dt: float) -> Array:
        values = inner(signals, dt)
        first, last = _steps(bounds, dt, values.shape[-1])
        least, ahead = operator in "GH", operator in "GF"
        return _window(values if ahead else values[..., ::-1], first, last, least)[..., :: 1 if ahead else -1]

    return evaluate


def _window(values: Array, first: int, last: int, least: bool) -> Float64[Array, "... t"]:
    """Compute the least or greatest of the samples ``first`` to ``last`` ahead; samples past the end are neutral."""
    neutral = np.inf if least else -np.inf
    reduce = np.minimum if least else np.maximum
    if first == 0 and last >= values.shape[-1] - 1:
        return reduce.accumulate(values[..., ::-1], axis=-1)[..., ::-1]
    padded = np.concatenate([values[..., first:], np.full((*values.shape[:-1], last), neutral)], axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, last - first + 1, axis=-1)
    return reduce.reduce(windows[..., : values.shape[-1], :], axis=-1)


def _binary(
    left: Node,
    right: Node,
    bounds: tuple[float, float] | None,
    ahead: bool,
) -> Node:
    """Return a function for ``left until right`` (ahead) or ``left since right``.

    Right has to hold at some time in the window, left up to then.
    """

    def evaluate(signals: Signals, dt: float) -> Array:
        a, b = np.broadcast_arrays(left(signals, dt), right(signals, dt))
        if not ahead:
            a, b = a[..., ::-1], b[..., ::-1]
        count = a.shape[-1]
        first, last = _steps(bounds, dt, count)
        out = np.full(a.shape, -np.inf)
        held = np.full(a.shape, np.inf)
        for n in range(min(last, count - 1) + 1):
            stop = count - n
            if n >= first:
                out[..., :stop] = np.maximum(out[..., :stop], np.minimum(b[..., n:], held[..., :stop]))
            held[..., :stop] = np.minimum(held[..., :stop], a[..., n:])
        return out if ahead else out[..., ::-1]

    return evaluate


def _shift(inner: Node, by: int) -> Node:
    def evaluate(signals: Signals, dt: float) -> Array:
        values = inner(signals, dt)
        outside = np.full((*values.shape[:-1], 1), np.inf)
        parts = (values[..., 1:], outside) if by > 0 else (outside, values[..., :-1])
        return np.concatenate(parts, axis=-1)

    return evaluate


def _edge(inner: Node, sign: float) -> Node:
    """Return a function for rise (``sign`` 1: holds now, not at the sample before) or fall (-1: the reverse)."""

    def evaluate(signals: Signals, dt: float) -> Array:
        values = sign * inner(signals, dt)
        before = np.concatenate([np.full((*values.shape[:-1], 1), np.inf), -values[..., :-1]], axis=-1)
        return np.minimum(values, before)

    return evaluate
