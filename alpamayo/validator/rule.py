"""The declaration of a rule: one record that the judge, the scores, the evaluation, the reports and the docs read."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.verdict import RuleResult, failed


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule of the validator.

    Attributes:
        name: its key in verdicts, scores, reports and on the command line.
        unit: unit of its margin.
        summary: one sentence that says when the rule is kept.
        source: where the definition comes from.
        evaluate: judges motions; the result has no name and no unit yet, ``judge`` fills them in.
        hard: a run that breaks the rule has failed.
        aliases: its names in the tables of other systems, in lower case; score parts may use them.
        episode_only: it needs the driver's record, or too much time for thousands of plans.
    """

    name: str
    unit: str
    summary: str
    source: str
    evaluate: Callable[[MotionBatch], RuleResult]
    hard: bool = False
    aliases: tuple[str, ...] = ()
    episode_only: bool = False

    def judge(self, motions: MotionBatch) -> RuleResult:
        """Judge motions by this rule; if ``evaluate`` raises, the rule is failed and the reason is the exception."""
        try:
            result = motions.cached(self.evaluate)
        except Exception as error:
            result = failed(motions.count, error)
        return replace(result, name=self.name, unit=self.unit)
