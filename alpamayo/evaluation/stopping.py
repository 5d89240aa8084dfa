"""Stop rules: a claim on a rate, such as "at-fault < 5%", tested after every scenario.

The bound is a confidence sequence, so a test after every run keeps the confidence; see ``sequential``.
"""

import bisect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alpamayo.evaluation.statistics import SequentialDecision, sequential
from alpamayo_sim.errors import InputError

EVENTS = {"at-fault": "at_fault_collision", "collision": "collision", "off-road": "off_road", "arrived": "arrived"}
CLAIM_PATTERN = re.compile(r"\s*([a-z-]+)\s*([<>])\s*([0-9.]+)\s*%\s*")


@dataclass(frozen=True)
class StopRule:
    """A claim that the rate of ``event`` is below ``rate``; for arrivals, that the rate of non-arrivals is."""

    text: str
    event: str
    rate: float

    def failed(self, row: Mapping[str, Any] | None) -> bool | None:
        """Return whether a run counts against the claim, as a run that could not be driven does; None if unknown."""
        if row is None:
            return True
        happened = row[self.event]
        return happened if happened is None else bool(happened) != (self.event == "arrived")


class ClaimMonitor:
    """Count runs for and against a claim."""

    def __init__(self, rule: StopRule, confidence: float) -> None:
        self.rule, self.confidence = rule, confidence
        self.failures = self.n = 0

    def add(self, row: Mapping[str, Any] | None) -> bool:
        """Add a run, None for one that could not be driven; return True when the claim is decided."""
        failed = self.rule.failed(row)
        if failed is not None:
            self.n, self.failures = self.n + 1, self.failures + failed
        return self.decision.decision != "continue"

    @property
    def decision(self) -> SequentialDecision:
        """Return the decision after the runs so far."""
        return sequential(self.failures, self.n, self.rule.rate, self.confidence)

    def as_json(self) -> dict[str, Any]:
        """Return the claim and its outcome: "shown", "refuted" or "open"."""
        found = self.decision
        words = {"below": "shown", "not below": "refuted", "continue": "open"}
        return {
            "claim": self.rule.text,
            "outcome": words[found.decision],
            "against": found.failures,
            "n": found.n,
            "low": found.lower,
            "high": found.upper,
        }


def clean_runs_needed(rule: StopRule, confidence: float) -> int:
    """Return how many runs show a claim if none of them counts against it."""

    def is_enough(runs: int) -> bool:
        return sequential(0, runs, rule.rate, confidence).decision == "below"

    most = next(2**k for k in itertools.count() if is_enough(2**k))
    return bisect.bisect_left(range(most + 1), True, lo=1, key=is_enough)


def parse(text: str) -> StopRule:
    """Read ``at-fault < 5%``, ``collision < 5%``, ``off-road < 1%`` or ``arrived > 90%``.

    Raises:
        InputError: the text has another form, or the rate is not in (0, 100) %.
    """
    match = CLAIM_PATTERN.fullmatch(text)
    form = "must be 'at-fault < 5%', 'collision < 5%', 'off-road < 1%' or 'arrived > 90%', with your rate"
    if match is None or match[1] not in EVENTS or (match[2] == ">") != (match[1] == "arrived"):
        raise InputError(f"stop rule {text!r}: {form}")
    try:
        rate = float(match[3]) / 100.0
    except ValueError:
        raise InputError(f"stop rule {text!r}: {form}") from None
    if not 0.0 < rate < 1.0:
        raise InputError(f"stop rule {text!r}: the rate must be above 0 % and below 100 %")
    return StopRule(" ".join(text.split()), EVENTS[match[1]], 1.0 - rate if match[1] == "arrived" else rate)
