"""Pictures of failures: a bird's-eye view at the first violation of each rule."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alpamayo.episode import Episode
from alpamayo.report.video import encoded_image
from alpamayo_sim.sensors.birdseye import BirdsEye

PICTURE_SIDE_PX = 360
PICTURE_SIDE_M = 45.0


def failure_pictures(episode: Episode, failures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Draw one picture, as a ``data:`` URL, for each time of a first violation, and list the rules violated there.

    The picture shows the plan that is driven at that time. A rule that raised has no time and no picture.
    """
    rules_at: dict[int, list[str]] = {}
    for row in failures:
        if row["violation_time"] is not None:
            step = min(round(row["violation_time"] / episode.dt), episode.steps)
            rules_at.setdefault(step, []).append(row["rule"])
    above = BirdsEye(episode.scenario.scene)
    return [
        {
            "step": step,
            "time": round(step * episode.dt, 6),
            "rules": rules,
            "image": encoded_image(_draw(above, episode, step)),
        }
        for step, rules in sorted(rules_at.items())
    ]


def _draw(above: BirdsEye, episode: Episode, step: int) -> np.ndarray:
    plan = {} if step == episode.steps else {"plans": episode.executed[step][None], "chosen": 0}
    return above.draw(episode.truth(step), width=PICTURE_SIDE_PX, height=PICTURE_SIDE_PX, metres=PICTURE_SIDE_M, **plan)
