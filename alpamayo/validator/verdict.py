"""The validator's results: plain data; every sub-score has its margin, and every score its parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.json_values import QUANTITY_DECIMALS, json_number
from alpamayo_sim.description import described, line, short, table_of

Array = np.ndarray
VIOLATION_MARGIN = 1e-3
"""A violation has at most minus this as its margin, also where its distance is not negative."""


class Reasons(Sequence[str]):
    """A reason for each of ``count`` motions; its text is made when it is read, since few of thousands are read."""

    def __init__(self, count: int, describe: Callable[[int], str]) -> None:
        self._count, self._describe = count, describe

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return tuple(self._describe(i) for i in range(*k.indices(self._count)))
        if not -self._count <= k < self._count:
            raise IndexError(k)
        return self._describe(int(k) % self._count)

    def __iter__(self) -> Iterator[str]:
        return (self._describe(k) for k in range(self._count))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __reduce__(self) -> Any:
        return tuple, (tuple(self),)


@described
@dataclass(frozen=True, eq=False)
class RuleResult:
    """The result of one rule for K motions of the ego.

    Attributes:
        value: sub-score in [0, 1], 1 is best; NaN where the rule does not apply.
        margin: in ``unit``, positive is safe.
        valid: whether the rule applies.
        violation_time: time (s) of the first violation on the verdict's clock, NaN without a violation.
        reasons: one sentence for each motion.
        margins: the margin at each of the verdict's times, where the rule has one.
        error: the exception of a rule that raised; the rule then counts as failed.
        name: the rule's name; ``Rule.judge`` fills it in.
        unit: the rule's unit; ``Rule.judge`` fills it in.
    """

    value: Float64[Array, " k"]
    margin: Float64[Array, " k"]
    valid: Bool[Array, " k"]
    violation_time: Float64[Array, " k"]
    reasons: Sequence[str]
    margins: Float64[Array, "k t"] | None = None
    error: str = ""
    name: str = ""
    unit: str = ""

    @property
    def violated(self) -> Bool[Array, " k"]:
        """Whether the rule applies and is broken: it has a time of first violation, or it raised."""
        return self.valid & (np.isfinite(self.violation_time) | bool(self.error))


@described
@dataclass(frozen=True, eq=False)
class Score:
    """A score made of the values of rules.

    A missing part is left out of the formula together with its weight, for each of the K motions on its own.

    Attributes:
        name: key of the score.
        value: NaN where no part applies.
        parts: the values it was computed from, NaN where they do not apply.
        missing: for each motion the names of the parts that do not apply.
        formula: in one line.
        notes: of an episode's score: what was counted and when, or why it does not apply.
    """

    name: str
    value: Float64[Array, " k"]
    parts: dict[str, Float64[Array, " k"]]
    missing: tuple[tuple[str, ...], ...]
    formula: str = ""
    notes: tuple[str, ...] = ()


class Scores(Mapping[str, Score]):
    """Scores by name; each is computed when it is read first."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Score]) -> None:
        self._names, self._make = tuple(names), make
        self._made: dict[str, Score] = {}

    def __getitem__(self, name: str) -> Score:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"Scores({', '.join(f'{name}={short(score.value)}' for name, score in self.items())})"

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


@described
@dataclass(frozen=True, eq=False)
class Verdict:
    """The results for K plans or for one episode (K is 1). ``times`` (s) are those of the timelines."""

    times: Float64[Array, " t"]
    rules: dict[str, RuleResult] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """K, the number of judged plans or episodes."""
        return len(next(iter(self.rules.values())).value) if self.rules else 0

    def table(self, k: int = 0) -> list[dict[str, Any]]:
        """Return one row for each rule, of motion ``k``; numbers are None where there is none."""
        return [
            {
                "rule": rule.name,
                "applies": bool(rule.valid[k]),
                "value": json_number(rule.value[k]),
                "margin": json_number(rule.margin[k]),
                "unit": rule.unit,
                "violation_time": json_number(rule.violation_time[k]),
                "reason": rule.reasons[k],
            }
            for rule in self.rules.values()
        ]

    def _repr_html_(self) -> str:
        """Return the rules of the first motion as a table for notebooks."""
        rows = [{name: "" if value is None else short(value) for name, value in row.items()} for row in self.table()]
        return table_of(line(self), rows[0] if rows else (), (row.values() for row in rows))

    def timeline(self, k: int = 0) -> dict[str, list[float | None]]:
        """Return the margin at each of ``times`` for each rule that has one, of motion ``k``."""
        return {
            name: [json_number(x) for x in rule.margins[k]]
            for name, rule in self.rules.items()
            if rule.margins is not None
        }

    def to_json(self, *, timelines: bool = True) -> dict[str, Any]:
        """Return the verdict as JSON values, numbers to 9 decimals; NaN is null. ``verdict_from_json`` reads it."""
        return {
            "times": [json_number(t, QUANTITY_DECIMALS) for t in self.times],
            "rules": {name: _rule_json(rule, timelines) for name, rule in self.rules.items()},
            "scores": {name: _score_json(score) for name, score in self.scores.items()},
        }


def verdict_from_json(document: dict[str, Any]) -> Verdict:
    """Return the verdict of JSON values that ``Verdict.to_json`` made."""
    rules = {name: _rule_from_json(name, rule) for name, rule in document["rules"].items()}
    scores = {name: _score_from_json(name, score) for name, score in document["scores"].items()}
    return Verdict(times=_array(document["times"]), rules=rules, scores=scores)


def not_applicable(count: int, reason: str) -> RuleResult:
    """Return the result of a rule that cannot be evaluated on any of ``count`` motions."""
    nan = np.full(count, np.nan)
    return RuleResult(nan, nan.copy(), np.zeros(count, bool), nan.copy(), (reason,) * count)


def failed(count: int, error: Exception) -> RuleResult:
    """Return the result of a rule that raised: it applies, it is failed, and the reason is the exception."""
    text = f"{type(error).__name__}: {error}"
    nan = np.full(count, np.nan)
    reasons = (f"the rule raised an exception: {text}",) * count
    return RuleResult(np.zeros(count), nan, np.ones(count, bool), nan.copy(), reasons, error=text)


def first_time(violated: Bool[Array, "k t"], times: Float64[Array, " t"]) -> Float64[Array, " k"]:
    """Return the time (s) of the first violation of each row, NaN where there is none."""
    return np.where(violated.any(axis=1), times[np.argmax(violated, axis=1)], np.nan)


def _array(values: list[Any]) -> Array:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _rule_json(rule: RuleResult, timelines: bool) -> dict[str, Any]:
    out: dict[str, Any] = {
        "unit": rule.unit,
        "value": [json_number(x, QUANTITY_DECIMALS) for x in rule.value],
        "margin": [json_number(x, QUANTITY_DECIMALS) for x in rule.margin],
        "valid": [bool(x) for x in rule.valid],
        "violation_time": [json_number(x, QUANTITY_DECIMALS) for x in rule.violation_time],
        "reasons": list(rule.reasons),
        "error": rule.error,
    }
    if timelines and rule.margins is not None:
        out["margins"] = [[json_number(x, QUANTITY_DECIMALS) for x in row] for row in rule.margins]
    return out


def _rule_from_json(name: str, rule: dict[str, Any]) -> RuleResult:
    margins = rule.get("margins")
    return RuleResult(
        name=name,
        unit=rule["unit"],
        value=_array(rule["value"]),
        margin=_array(rule["margin"]),
        valid=np.array(rule["valid"], bool),
        violation_time=_array(rule["violation_time"]),
        reasons=tuple(rule["reasons"]),
        margins=None if margins is None else np.stack([_array(row) for row in margins]),
        error=rule["error"],
    )


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "value": [json_number(x, QUANTITY_DECIMALS) for x in score.value],
        "parts": {name: [json_number(x, QUANTITY_DECIMALS) for x in part] for name, part in score.parts.items()},
        "missing": [list(names) for names in score.missing],
        "formula": score.formula,
        "notes": list(score.notes),
    }


def _score_from_json(name: str, score: dict[str, Any]) -> Score:
    return Score(
        name=name,
        value=_array(score["value"]),
        parts={part: _array(values) for part, values in score["parts"].items()},
        missing=tuple(tuple(names) for names in score["missing"]),
        formula=score["formula"],
        notes=tuple(score.get("notes", ())),
    )
