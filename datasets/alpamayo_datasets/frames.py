"""Coordinate frames of a recording: each moves in its parent over time, as in ROS' tf and Foxglove's transforms."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.motion import rotation_of
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS

Array = np.ndarray
Pose = tuple[float, ...]  # x, y, z (m), qw, qx, qy, qz
MAX_DEPTH = 64  # frames from one to its root


@dataclass(frozen=True)
class Transform:
    """The pose of the frame ``child`` in the frame ``parent`` at a time (s)."""

    time: float
    parent: str
    child: str
    pose: Pose


@dataclass(frozen=True, eq=False)
class _Link:
    """The parent of a frame, growing times (s) and poses in it; quaternions do not flip their signs."""

    parent: str
    times: Float64[Array, " n"]
    poses: Float64[Array, "n 7"]


class Frames:
    """Where coordinate frames are in each other; between two times poses are interpolated.

    Raises:
        InputError: A transform is not finite, beyond ``LIMITS``, or without a rotation.
    """

    def __init__(self, transforms: Iterable[Transform], where: str) -> None:
        grouped: dict[str, list[Transform]] = {}
        for each in transforms:
            grouped.setdefault(each.child, []).append(each)
        self._links = {child: _link(rows, f"{where}: frame {child[:80]!r}") for child, rows in grouped.items()}

    def __contains__(self, frame: str) -> bool:
        return frame in self._links

    def times(self, frame: str) -> Float64[Array, " n"]:
        """Return the times (s) of a frame's transforms to its parent."""
        return self._links[frame].times

    def root(self, frame: str) -> str:
        """Return the frame in which a frame moves, directly or not, and which moves in none itself."""
        for _ in range(MAX_DEPTH):
            if frame not in self._links:
                return frame
            frame = self._links[frame].parent
        raise InputError(f"frame {frame[:80]!r} is its own parent, or has more than {MAX_DEPTH} parents")

    def pose(
        self, frame: str, base: str, at: Float64[Array, " n"]
    ) -> tuple[Float64[Array, "n 3"], Float64[Array, "n 3 3"]] | None:
        """Return positions (m) and rotations of a frame in another one at times (s); None where nothing joins them."""
        if self.root(frame) != self.root(base):
            return None
        place, turn = self._in_root(frame, at)
        base_place, base_turn = self._in_root(base, at)
        back = np.swapaxes(base_turn, 1, 2)
        return _moved(back, place - base_place), back @ turn

    def _in_root(self, frame: str, at: Float64[Array, " n"]) -> tuple[Array, Array]:
        place, turn = np.zeros((len(at), 3)), np.broadcast_to(np.eye(3), (len(at), 3, 3))
        while frame in self._links:
            link = self._links[frame]
            pose = np.stack([np.interp(at, link.times, column) for column in link.poses.T], axis=1)
            rotation = rotation_of(pose[:, 3:])
            place, turn, frame = _moved(rotation, place) + pose[:, :3], rotation @ turn, link.parent
        return place, turn


def _link(rows: list[Transform], where: str) -> _Link:
    table = np.array([(row.time, *row.pose) for row in rows], np.float64)
    if not np.isfinite(table).all() or not np.all(np.abs(table[:, 1:4]) < LIMITS.coordinate_m):
        raise InputError(f"{where}: must have values within {LIMITS.coordinate_m:g} m")
    times, first = np.unique(table[:, 0], return_index=True)
    poses = table[first, 1:]
    turns = poses[:, 3:] / np.maximum(np.linalg.norm(poses[:, 3:], axis=1, keepdims=True), 1e-300)
    if not np.all(np.abs(np.linalg.norm(turns, axis=1) - 1.0) < 1e-6):
        raise InputError(f"{where}: has a rotation of length 0")
    flips = np.cumprod(np.where(np.sum(turns[1:] * turns[:-1], axis=1) < 0.0, -1.0, 1.0))
    poses[:, 3:] = turns * np.concatenate([[1.0], flips])[:, None]
    return _Link(rows[0].parent, times, poses)


def _moved(rotation: Float64[Array, "n 3 3"], points: Float64[Array, "n 3"]) -> Float64[Array, "n 3"]:
    return np.einsum("nij,nj->ni", rotation, points)
