"""Sensor staleness: how old the camera frames of each decision were."""

import numpy as np

from alpamayo.validator.motions import MotionBatch, episode_of
from alpamayo.validator.recorded_states import decision_rows
from alpamayo.validator.rule import Rule
from alpamayo.validator.verdict import RuleResult, first_time, not_applicable

MAX_FRAME_AGE_S = 0.2
"""Two frames at 10 Hz."""
AGE_TOLERANCE_S = 1e-6


def sensor_staleness(motions: MotionBatch) -> RuleResult:
    """Compute the share of decisions for which each camera's newest frame was at most 0.2 s old.

    The margin (s) is 0.2 s less the age of the oldest frame. Not applicable to a driver without cameras, and to a
    record without frame ages.
    """
    ages = episode_of(motions).observation_age
    if ages is None or not len(ages):
        return not_applicable(1, "the record has no age of the driver's observations")
    margins = np.full(len(motions.times), np.nan)
    unused, episode = MAX_FRAME_AGE_S - ages.astype(np.float64), episode_of(motions)
    np.fmin.at(margins, decision_rows(episode), unused)
    stale = margins < -AGE_TOLERANCE_S
    late = int((unused < -AGE_TOLERANCE_S).sum())
    value = np.array([1.0 - late / len(ages)])
    when = first_time(stale[None], motions.times)
    text = f"the oldest frame was {float(ages.max()):.1f} s old"
    if stale.any():
        text += f"; {late} of {len(ages)} decisions used frames older than {MAX_FRAME_AGE_S} s"
    return RuleResult(value, np.array([np.nanmin(margins)]), np.ones(1, bool), when, (text,), margins[None])


RULES = (
    Rule(
        name="sensor_staleness",
        unit="s",
        summary="Every decision uses camera frames that are at most 0.2 s old.",
        source="ours",
        evaluate=sensor_staleness,
        episode_only=True,
    ),
)
