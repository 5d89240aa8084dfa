"""Jumps of a recording: faults of the data are no faults of a driver, so the steps of a jump are not judged."""

import numpy as np
from jaxtyping import Bool, Float64

from alpamayo.episode import Episode
from alpamayo.validator.motions import MotionBatch
from alpamayo_sim.datatypes.continuity import ego_jumps

Array = np.ndarray
REPEATS_M = 0.05
"""An ego this near to its recorded position repeats the recording."""
TIME_TOLERANCE_S = 1e-6


def repeated_jumps(episode: Episode, times: Float64[Array, " t"]) -> Bool[Array, " t"]:
    """Return the times (s) at which the ego of an episode repeats a jump of its recording."""
    if episode.scenario.family:
        return np.zeros(len(times), bool)
    steps = [step for step in ego_jumps(episode.scenario.scene) if _repeats(episode, int(step))]
    ends = episode.dt * np.array(steps, np.float64)[:, None]
    inside = (times > ends - episode.dt - TIME_TOLERANCE_S) & (times < ends + TIME_TOLERANCE_S)
    return np.asarray(inside.any(axis=0))


def jump_times(motions: MotionBatch) -> Bool[Array, " t"]:
    """Return the times at which motions repeat a jump of a recording; plans do at none."""
    if motions.episode is None:
        return np.zeros(len(motions.times), bool)
    return repeated_jumps(motions.episode, motions.times)


def near_jumps(motions: MotionBatch, reach: int) -> Bool[Array, " t"]:
    """Return the times within ``reach`` steps of a repeated jump, at which a quantity over so many steps has it."""
    jumps = np.flatnonzero(motions.cached(jump_times))
    return np.asarray((np.abs(np.arange(len(motions.times))[:, None] - jumps) <= reach).any(axis=1))


def told(text: str, left_out: Bool[Array, " t"]) -> str:
    """Return a reason that says how many times are left out."""
    count = int(left_out.sum())
    return f"{text}; {count} of {len(left_out)} times are left out, where the recording jumps" if count else text


def _repeats(episode: Episode, step: int) -> bool:
    recorded = episode.scenario.scene.ego.position[step - 2 : step + 1, :2]
    driven = episode.ego_pose[step - 2 : step + 1, :2]
    return len(driven) == len(recorded) and bool(np.linalg.norm(driven - recorded, axis=1).max() < REPEATS_M)
