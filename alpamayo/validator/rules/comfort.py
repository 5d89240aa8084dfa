"""Comfort: the six bounds over the motion and the poses before it."""

import numpy as np
from jaxtyping import Float64

from alpamayo.metrics.comfort import MIN_SAMPLES, comfort, least_margins
from alpamayo.validator.motions import MotionBatch, by_rows
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.geometry import oriented

Array = np.ndarray


def comfort_rule(motions: MotionBatch) -> RuleResult:
    """Judge whether all six comfort bounds hold at all times: 1, else 0 (see ``alpamayo.metrics.comfort``).

    The history takes part in the filters but is not judged. The margin is the unused part of the tightest bound: 1 at
    rest, 0 at the bound.
    """
    past, (count, steps) = motions.history.shape[1], motions.pose.shape[:2]
    if past + steps < MIN_SAMPLES:
        return not_applicable(count, f"fewer than {MIN_SAMPLES} poses")
    ego = motions.cached(ego_boxes)

    def part(rows: slice) -> Float64[Array, "n t"]:
        boxes = np.concatenate([oriented(motions.history[rows]), ego[rows]], axis=1)
        heading = np.concatenate([motions.history[rows, :, 2], motions.pose[rows, :, 2]], axis=1)
        return least_margins(boxes, heading, motions.dt)[:, past:]

    margins = by_rows(part, (count, steps))
    margin = margins.min(axis=1)
    when = first_time(margins <= 0.0, motions.times)

    def describe(k: int) -> str:
        pose = np.concatenate([motions.history[k], motions.pose[k]])
        result = comfort(pose[:, :2], pose[:, 2], motions.dt)
        name = min(result.margins, key=lambda name: float(result.margins[name][past:].min()))
        peak = float(result.series[name][past + int(result.margins[name][past:].argmin())])
        text = f"{name.replace('_', ' ')} {peak:.2f}, {100.0 * (1.0 - margin[k]):.0f} % of its bound"
        return f"{text}, first exceeded at {when[k]:.1f} s" if margin[k] <= 0.0 else text

    value = (margin > 0.0).astype(np.float64)
    return RuleResult(value, margin, np.ones(count, bool), when, Reasons(count, describe), margins)


RULES = (
    Rule(
        name="comfort",
        unit="of the bound",
        summary="Accelerations, jerks and yaw rates stay within the six comfort bounds.",
        source="nuPlan, NAVSIM HC",
        evaluate=comfort_rule,
        aliases=("c", "hc", "history_comfort"),
    ),
)
