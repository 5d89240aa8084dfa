"""Sensor staleness: how old was what the driver saw when it decided?"""

from typing import TYPE_CHECKING

import numpy as np

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.verdict import RuleResult, first_time, not_applicable

if TYPE_CHECKING:
    from alpamayo.episode import Episode

OLDEST = 0.2  # s; two frames at 10 Hz


def sensor_staleness(episode: "Episode", motions: MotionBatch) -> RuleResult:
    """Part of the decisions for which no camera's newest frame was older than 0.2 s.

    The margin (s) is 0.2 s less the age of the oldest. Not applicable for a driver without cameras, and for a record
    that does not say how old the frames were.
    """
    name, ages = "sensor_staleness", episode.observation_age
    if ages is None or not len(ages):
        return not_applicable(name, "s", 1, "the record says nothing of the age of what the driver saw")
    margins = np.full(len(motions.times), np.nan)
    margins[: len(ages)] = OLDEST - ages.astype(np.float64)
    stale = margins < -1e-6
    value = np.array([1.0 - stale.sum() / len(ages)])
    when = first_time(stale[None], motions.times)
    text = f"the oldest frame was {float(ages.max()):.1f} s old"
    if stale.any():
        text += f"; {int(stale.sum())} of {len(ages)} decisions were made from frames older than {OLDEST} s"
    return RuleResult(name, "s", value, np.array([np.nanmin(margins)]), np.ones(1, bool), when, (text,), margins[None])
