"""Comfort as a rule: the six bounds over the motion and what went before it."""

import numpy as np

from alpamayo.validator.comfort import FEWEST, comfort
from alpamayo.validator.situation import Situation
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable


def comfort_rule(situation: Situation) -> RuleResult:
    """All six comfort bounds hold at all times: 1, else 0 (NAVSIM's HC; see ``alpamayo.validator.comfort``).

    The past takes part in the filters but is not judged. The margin is the part of the tightest bound that is
    left, 1 at rest and 0 at the bound.
    """
    past = situation.history.shape[1]
    pose = np.concatenate([situation.history, situation.pose], axis=1)
    if pose.shape[1] < FEWEST:
        return not_applicable("comfort", "of the bound", situation.count, f"fewer than {FEWEST} poses")
    result = comfort(pose[..., :2], pose[..., 2], situation.dt)
    worst = np.full(situation.pose.shape[:2], np.inf)
    for each in result.margins.values():
        np.minimum(worst, each[:, past:], out=worst)
    margin = worst.min(axis=1)
    when = first_time(worst <= 0.0, situation.times)

    def say(k: int) -> str:
        name = min(result.margins, key=lambda name: float(result.margins[name][k, past:].min()))
        peak = float(result.series[name][k, past + int(result.margins[name][k, past:].argmin())])
        text = f"{name.replace('_', ' ')} {peak:.2f}, {100.0 * (1.0 - margin[k]):.0f} % of its bound"
        return f"{text}, over it first at {when[k]:.1f} s" if margin[k] <= 0.0 else text

    value = (margin > 0.0).astype(np.float64)
    valid, reasons = np.ones(situation.count, bool), Reasons(situation.count, say)
    return RuleResult("comfort", "of the bound", value, margin, valid, when, reasons, worst)
