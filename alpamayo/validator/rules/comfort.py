"""Comfort: the six bounds over the motion and the poses before it."""

import numpy as np
from jaxtyping import Float64

from alpamayo.json_values import QUANTITY_DECIMALS
from alpamayo.metrics.comfort import FILTER_REACH_STEPS, MIN_SAMPLES, comfort, least_margins
from alpamayo.validator.motions import MotionBatch, by_rows
from alpamayo.validator.packed import ego_boxes
from alpamayo.validator.recorded_jumps import near_jumps, told
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import Reasons, RuleResult, first_time, not_applicable
from alpamayo_sim.geometry import oriented

Array = np.ndarray


def comfort_rule(motions: MotionBatch) -> RuleResult:
    """Judge whether all six comfort bounds hold at all times: 1, else 0 (see ``alpamayo.metrics.comfort``).

    The history takes part in the filters but is not judged. The margin is the unused part of the tightest bound: 1 at
    rest, 0 at the bound. Where an ego repeats a jump of its recording it is not judged.
    """
    past, (count, steps) = motions.history.shape[1], motions.pose.shape[:2]
    if past + steps < MIN_SAMPLES:
        return not_applicable(count, f"fewer than {MIN_SAMPLES} poses")
    left_out = near_jumps(motions, FILTER_REACH_STEPS)
    if left_out.all():
        return not_applicable(count, told("nothing is judged", left_out))
    ego = motions.cached(ego_boxes)

    def part(rows: slice) -> Float64[Array, "n t"]:
        boxes = np.concatenate([oriented(motions.history[rows]), ego[rows]], axis=1)
        heading = np.concatenate([motions.history[rows, :, 2], motions.pose[rows, :, 2]], axis=1)
        return least_margins(boxes, heading, motions.dt)[:, past:]

    margins = by_rows(part, (count, steps))
    margins[:, left_out] = np.nan
    margin = np.nanmin(margins, axis=1)
    when = first_time(margins <= 0.0, motions.times)

    def describe(k: int) -> str:
        pose = np.concatenate([motions.history[k], motions.pose[k]])
        result = comfort(pose[:, :2], pose[:, 2], motions.dt)
        parts = {name: np.where(left_out, np.inf, values[past:]) for name, values in result.margins.items()}
        name = min(parts, key=lambda name: round(float(parts[name].min()), QUANTITY_DECIMALS))  # at rest all are alike
        peak = float(result.series[name][past + int(parts[name].argmin())])
        text = f"{name.replace('_', ' ')} {peak:z.2f}, {100.0 * (1.0 - margin[k]):.0f} % of its bound"
        text = f"{text}, first exceeded at {when[k]:.1f} s" if margin[k] <= 0.0 else text
        return told(text, left_out)

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
