"""Gaps and jumps of a recording, so that its faults are not taken for those of a driver."""

import numpy as np
from jaxtyping import Bool, Float, Int64

from alpamayo_sim.datatypes.scene import Scene, Track

Array = np.ndarray

EGO_JUMP_MPS2 = 30.0  # the change of velocity between steps that no car can do
OTHERS_JUMP_M = 3.0  # from where the track would be at its speed
SHOWN_TRACKS = 3


def irregularities(scene: Scene) -> list[str]:
    """Return one line for each kind of irregularity: gaps and jumps of the ego, and of the others.

    Numbers of steps count from 0.
    """
    ego = scene.ego
    lines = [f"the ego {ego.id!r} is not seen at {_steps(gap)}" for gap in [gaps(ego)] if len(gap)]
    lines += [
        f"the ego {ego.id!r} jumps at {_steps(found)}: its speed changes by more than {EGO_JUMP_MPS2:g} m/s²"
        for found in [ego_jumps(scene)]
        if len(found)
    ]
    others = [track for track in scene.tracks if track is not ego]
    found = [(track, jumps(track, OTHERS_JUMP_M)) for track in others]
    jumping = [(track, at) for track, at in found if len(at)]
    if jumping:
        named = "; ".join(f"{track.id!r} at {_steps(at)}" for track, at in jumping[:SHOWN_TRACKS])
        more = "; ..." if len(jumping) > SHOWN_TRACKS else ""
        lines.append(
            f"{len(jumping)} of {len(scene.tracks)} tracks jump by more than {OTHERS_JUMP_M:g} m: {named}{more}"
        )
    return lines


def ego_jumps(scene: Scene) -> Int64[Array, " n"]:
    """Return the steps at which the recorded ego moves as no car can."""
    return jumps(scene.ego, EGO_JUMP_MPS2 * scene.dt**2)


def gaps(track: Track) -> Int64[Array, " n"]:
    """Return the steps between a track's first and last valid step at which it is not valid."""
    valid = np.flatnonzero(track.valid)
    inside = np.arange(valid[0], valid[-1]) if len(valid) else valid
    return inside[~track.valid[inside]]


def jumps(track: Track, limit: float) -> Int64[Array, " n"]:
    """Return the steps at which a track is more than ``limit`` (m) from where its last two steps lead."""
    return np.flatnonzero(is_jump(track.position[None, :, :2], track.valid[None], limit)[0])


def is_jump(position: Float[Array, "n t 2"], valid: Bool[Array, "n t"], limit: float) -> Bool[Array, "n t"]:
    """Return whether each step of n tracks is more than ``limit`` (m) from where the two steps before lead.

    A jump is found at its own step and at the next one. Steps that are not valid tell nothing.
    """
    found = np.zeros(valid.shape, bool)
    xy = position.astype(np.float64)
    off = np.linalg.norm(xy[:, 2:] - 2.0 * xy[:, 1:-1] + xy[:, :-2], axis=-1)
    found[:, 2:] = (off > limit) & valid[:, 2:] & valid[:, 1:-1] & valid[:, :-2]
    return found


def _steps(steps: Int64[Array, " n"]) -> str:
    shown = ", ".join(str(step) for step in steps[:SHOWN_TRACKS])
    word = "step" if len(steps) == 1 else "steps"
    return f"{word} {shown}" + (f", ... ({len(steps)} in all)" if len(steps) > SHOWN_TRACKS else "")
