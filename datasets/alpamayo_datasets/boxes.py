"""Tracks from boxes that a recording gives one by one, each at its own time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawTrack
from alpamayo_datasets.motion import covered, resampled, velocities
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS

Array = np.ndarray


def tracks_of_boxes(
    where: str,
    ids: Sequence[str],
    times: Float64[Array, " n"],
    boxes: Float64[Array, "n 7"],
    categories: Sequence[Category],
    at: Float64[Array, " m"],
    max_gap_s: float,
) -> list[RawTrack]:
    """Return one track for each id, interpolated to the times ``at`` (s), by their first appearance.

    Args:
        where: The file, for messages.
        ids: The track of each box.
        times: s.
        boxes: x, y of the centre, z of the ground (m), heading (rad), length, width, height (m).
        categories: Of each box; the first one of a track counts.
        at: The equally spaced times of the steps (s).
        max_gap_s: Boxes of a track that are farther apart in time leave a gap.

    Raises:
        InputError: A value is not finite, or a size not positive.
    """
    if not np.isfinite(boxes).all() or not np.all((boxes[:, 4:] > 0.0) & (boxes[:, 4:] < LIMITS.size_m)):
        raise InputError(f"{where}: boxes must be finite, with sizes from 0 to {LIMITS.size_m:g} m")
    if not len(ids):
        return []
    names, first, number = np.unique(np.asarray(ids, dtype=str), return_index=True, return_inverse=True)
    order = np.lexsort((times, number))
    groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    dt = float(at[1] - at[0]) if len(at) > 1 else 1.0
    made = []
    for name, start, rows in zip(names, first, groups, strict=True):
        own, kept = np.unique(times[rows], return_index=True)
        values = resampled(own, boxes[rows][kept, :4], at, angle=3)
        valid = covered(own, at, max_gap_s, 0.5 * dt)
        size = np.median(boxes[rows, 4:], axis=0)
        speed = velocities(values[:, :3], valid, dt)
        made.append((start, RawTrack(str(name), categories[start], values[:, :3], values[:, 3], speed, size, valid)))
    return [track for _, track in sorted(made, key=lambda pair: int(pair[0]))]
