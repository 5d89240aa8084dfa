"""Pictures of failures: the world from above at the first moment of each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alpamayo.episode import Episode
from alpamayo.report.video import encoded_image
from alpamayo_sim.sensors.birdseye import BirdsEye

SIDE = 360  # pixels
METRES = 45.0


def failure_pictures(episode: Episode, failures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One picture for each moment at which something failed first, as a ``data:`` address, with what failed there.

    It shows the plan that was being driven then. A rule that raised has no moment and no picture.
    """
    moments: dict[int, list[str]] = {}
    for row in failures:
        if row["violation_time"] is not None:
            step = min(round(row["violation_time"] / episode.dt), episode.steps)
            moments.setdefault(step, []).append(row["rule"])
    above = BirdsEye(episode.scenario.scene)
    return [
        {
            "step": step,
            "time": round(step * episode.dt, 6),
            "rules": rules,
            "image": encoded_image(_draw(above, episode, step)),
        }
        for step, rules in sorted(moments.items())
    ]


def _draw(above: BirdsEye, episode: Episode, step: int) -> np.ndarray:
    plan = {} if step == episode.steps else {"plans": episode.executed[step][None], "chosen": 0}
    return above.draw(episode.truth(step), width=SIDE, height=SIDE, metres=METRES, **plan)
