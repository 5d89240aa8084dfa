"""Errors of K plans against the recorded future: minADE, minFDE, misses and corner distance at several horizons."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import box_corners

Array = np.ndarray

HORIZONS_S = (1.0, 3.0, 5.0, 6.4)
MISS_DISTANCE_M = 2.0  # of the best end point, as in Argoverse's miss rate
CORNER_BOX_M = (4.0, 3.0)  # length and width of the box of Alpamayo's corner distance


@dataclass(frozen=True, eq=False)
class PlanErrors:
    """Errors at each horizon, NaN at horizons that the recording does not reach.

    Attributes:
        ade_m: mean distance of the chosen plan's positions up to the horizon.
        fde_m: distance of the chosen plan's position at the horizon.
        min_ade_m: the same mean of the best plan: the one with the least mean over all that was recorded.
        min_fde_m: the least distance of any plan's position at the horizon.
        missed: 1 where ``min_fde_m`` is more than 2 m, else 0.
        corner_m: mean distance of the corners of boxes of 4 m by 3 m up to the horizon, of the plan with the least one.
    """

    ade_m: Float64[Array, " h"]
    fde_m: Float64[Array, " h"]
    min_ade_m: Float64[Array, " h"]
    min_fde_m: Float64[Array, " h"]
    missed: Float64[Array, " h"]
    corner_m: Float64[Array, " h"]


def plan_errors(
    plans: Float[Array, "k t 3"],
    recorded: Float[Array, "t 3"],
    valid: Bool[Array, " t"],
    dt: float,
    chosen: int = 0,
    horizons: tuple[float, ...] = HORIZONS_S,
) -> PlanErrors:
    """Compute the errors of K plans.

    Args:
        plans: x, y (m) and heading (rad), the first at ``dt``.
        recorded: the recorded ego at the same times, in the same frame.
        valid: where the recording is known. A horizon counts if the recording is known at it; means are over the
            known steps up to it.
        dt: s.
        chosen: the plan that the driver chose.
        horizons: s.

    Raises:
        InputError: shapes that differ, or plans that end before the last horizon.

    Source: Alpamayo's open-loop evaluation (minADE, corner distance); Argoverse (miss).
    """
    ours, known = np.asarray(plans, np.float64), np.asarray(recorded, np.float64)
    ends = [round(horizon / dt) - 1 for horizon in horizons]
    if ours.shape[1:] != known.shape or max(ends) >= len(known) or not 0 <= chosen < len(ours):
        raise InputError(f"plan errors: plans {ours.shape}, recorded {known.shape}, horizons {horizons} s of {dt} s")
    away = np.linalg.norm(ours[..., :2] - known[:, :2], axis=-1)
    corners = _corners(ours) - _corners(known)
    apart = np.linalg.norm(corners, axis=-1).mean(axis=-1)
    mean_away, mean_apart = _running_means(away, valid), _running_means(apart, valid)
    last = int(np.flatnonzero(valid)[-1]) if valid.any() else 0
    best, best_corners = int(np.argmin(mean_away[:, last])), int(np.argmin(mean_apart[:, last]))
    reached = np.where(valid[ends], 1.0, np.nan)
    least = away[:, ends].min(axis=0)
    return PlanErrors(
        ade_m=reached * mean_away[chosen, ends],
        fde_m=reached * away[chosen, ends],
        min_ade_m=reached * mean_away[best, ends],
        min_fde_m=reached * least,
        missed=reached * (least > MISS_DISTANCE_M),
        corner_m=reached * mean_apart[best_corners, ends],
    )


def _corners(pose: Float64[Array, "*n 3"]) -> Float64[Array, "*n 4 2"]:
    return box_corners(pose, np.broadcast_to(np.array(CORNER_BOX_M), (*pose.shape[:-1], 2)))


def _running_means(errors: Float64[Array, "k t"], valid: Bool[Array, " t"]) -> Float64[Array, "k t"]:
    """Return the means over the valid steps up to each step."""
    return np.cumsum(np.where(valid, errors, 0.0), axis=1) / np.maximum(np.cumsum(valid), 1)
