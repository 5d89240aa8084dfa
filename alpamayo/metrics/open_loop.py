"""Open-loop errors of plans against a recording: nuPlan's, and AlpaGym's distance as a term of a reward."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle

Array = np.ndarray
HORIZONS_S = (3.0, 5.0, 8.0)
MISS_DISTANCES_M = (6.0, 8.0, 16.0)
"""The largest displacement within each horizon that is no miss."""
MAX_MISS_RATE = 0.3
MAX_DISPLACEMENT_M, MAX_HEADING_RAD = 8.0, 0.8
"""Mean errors of this size have the score 0."""
ALPAGYM_SCALES = {"progress": 1.0, "collision_any": -10.0, "offroad": -5.0, "distance_to_gt": -0.01}
"""The terms of AlpaGym's reward ``progress_safety``."""


@dataclass(frozen=True)
class OpenLoopScore:
    """nuPlan's open-loop score and its parts, means over horizons and plans.

    Attributes:
        score: 0 where more than 30 % of the plans miss, else the weighted mean of the four scores of the errors.
        average_displacement_m: mean error of the positions.
        final_displacement_m: error of the position at the horizon.
        average_heading_rad: mean error of the headings.
        final_heading_rad: error of the heading at the horizon.
        miss_rate: for each horizon the part of plans whose displacement is too large at some time.
    """

    score: float
    average_displacement_m: float
    final_displacement_m: float
    average_heading_rad: float
    final_heading_rad: float
    miss_rate: tuple[float, ...]


def open_loop_score(
    plans: Float[Array, "n t 3"], recorded: Float[Array, "n t 3"], dt: float, horizons: Sequence[float] = HORIZONS_S
) -> OpenLoopScore:
    """Compute nuPlan's open-loop score of plans.

    Each error has the score max(0, 1 - error / bound), with bounds of 8 m and 0.8 rad. The weights are 1 for average
    and final displacement and 2 for average and final heading.

    Args:
        plans: x, y (m) and heading (rad), the first at ``dt``.
        recorded: the recorded ego at the same times.
        dt: s.
        horizons: of 3, 5 and 8 s those to use; the plans must last that long.

    Raises:
        InputError: shapes that differ, an unknown horizon, or plans that end before it.

    Source: nuplan-devkit, open_loop_boxes_weighted_average.
    """
    ours, known = np.asarray(plans, np.float64), np.asarray(recorded, np.float64)
    last = [round(horizon / dt) for horizon in horizons]
    if ours.shape != known.shape or not set(horizons) <= set(HORIZONS_S) or not last or max(last) > ours.shape[1]:
        raise InputError(
            f"open loop: plans {ours.shape}, recorded {known.shape}, horizons {tuple(horizons)} s of {HORIZONS_S}; "
            "needs equal shapes that last for the horizons"
        )
    away = np.hypot(ours[..., 0] - known[..., 0], ours[..., 1] - known[..., 1])
    turned = np.abs(wrap_angle(ours[..., 2] - known[..., 2]))
    means = [[float(error[:, :n].mean()) for n in last] for error in (away, turned)]
    finals = [[float(error[:, n - 1].mean()) for n in last] for error in (away, turned)]
    limits = [MISS_DISTANCES_M[HORIZONS_S.index(horizon)] for horizon in horizons]
    miss = tuple(float((away[:, :n].max(axis=1) > limit).mean()) for n, limit in zip(last, limits, strict=True))
    displacement, heading, final, final_heading = (float(np.mean(x)) for x in (*means, *finals))
    bounds = MAX_DISPLACEMENT_M, MAX_HEADING_RAD, MAX_DISPLACEMENT_M, MAX_HEADING_RAD
    errors = displacement, heading, final, final_heading
    parts = [max(0.0, 1.0 - error / bound) for error, bound in zip(errors, bounds, strict=True)]
    mean = (parts[0] + 2.0 * parts[1] + parts[2] + 2.0 * parts[3]) / 6.0
    kept = all(rate <= MAX_MISS_RATE for rate in miss)
    return OpenLoopScore(mean if kept else 0.0, displacement, final, heading, final_heading, miss)


def distance_to_recording(driven: Float[Array, "t 2"], recorded: Float[Array, "t 2"]) -> float:
    """Compute AlpaGym's ``distance_to_gt``: the root mean square of the distances (m) to the recorded ego.

    Raises:
        InputError: no positions, or shapes that differ.
    """
    ours, known = np.asarray(driven, np.float64), np.asarray(recorded, np.float64)
    if ours.shape != known.shape or not len(ours):
        raise InputError(f"distance to the recording: {ours.shape} and {known.shape}, must be equal, [t >= 1, 2]")
    return float(np.sqrt(((ours - known) ** 2).sum(axis=1).mean()))


def alpagym_reward(*, progress: float, collision_any: bool, offroad: bool, distance_to_gt: float) -> float:
    """Compute AlpaGym's reward of an episode: progress - 10 collision - 5 off the road - 0.01 distance (m).

    Source: alpagym, reward ``progress_safety``.
    """
    terms = {"progress": progress, "collision_any": collision_any, "offroad": offroad, "distance_to_gt": distance_to_gt}
    return float(sum(ALPAGYM_SCALES[name] * float(value) for name, value in terms.items()))
