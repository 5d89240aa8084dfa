"""Tracks of a recording of topics (ROS 2 bags, MCAP files): the ego by its frame, others by boxes in any frame."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawTrack
from alpamayo_datasets.boxes import tracks_of_boxes
from alpamayo_datasets.fields import MAX_STEPS
from alpamayo_datasets.frames import Frames
from alpamayo_datasets.motion import resampled, rotation_of, velocities
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

EGO = "ego"
TIME_STEP_S = 0.1
MAX_BOX_GAP_S = 0.55  # boxes of an object that are farther apart in time are not interpolated

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SeenBox:
    """An object at a time (s): frame, name and category, and x, y, z, qw, qx, qy, qz, length, width, height."""

    time: float
    frame: str
    name: str
    category: Category
    values: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class EgoFrame:
    """The ego's frame, the world's frame, and where the one is in the other."""

    name: str
    world: str
    frames: Frames
    times: Float64[Array, " n"]

    def steps(self, dt: float, where: str) -> Float64[Array, " m"]:
        """Return the times (s) of the steps of a scene.

        Raises:
            InputError: There are not two times, or too many steps.
        """
        if len(self.times) < 2:
            raise InputError(f"{where}: needs poses of the ego at two times at least")
        lasts = float(self.times[-1] - self.times[0])
        count = lasts / dt + 0.05
        if not count < MAX_STEPS:
            raise InputError(f"{where}: lasts {lasts:.0f} s, longer than any scene")
        return self.times[0] + dt * np.arange(int(count) + 1)

    def place(self, at: Float64[Array, " m"]) -> tuple[Float64[Array, "m 3"], Float64[Array, "m 3 3"]]:
        """Return positions (m) and rotations in the world at times (s).

        Raises:
            InputError: No transform joins the two frames.
        """
        found = self.frames.pose(self.name, self.world, at)
        if found is None:
            raise InputError(f"frames {self.name[:80]!r} and {self.world[:80]!r} are not connected")
        return found

    def poses(self, at: Float64[Array, " m"]) -> Float64[Array, "m 4"]:
        """Return x, y, z (m), heading (rad) in the world at times (s), interpolated between those that are known."""
        place, turn = self.place(self.times)
        return resampled(self.times, np.column_stack([place, _heading(turn)]), at, angle=3)


def ego_track(
    ego: EgoFrame, at: Float64[Array, " m"], size: Sequence[float], base_to_centre: float, dt: float
) -> RawTrack:
    """Return the ego's track; its centre is ``base_to_centre`` (m) ahead of its frame."""
    pose = ego.poses(at)
    heading, valid = pose[:, 3], np.ones(len(at), bool)
    ahead = np.stack([np.cos(heading), np.sin(heading), 0.0 * heading], axis=1)
    position = pose[:, :3] + base_to_centre * ahead
    return RawTrack(EGO, Category.VEHICLE, position, heading, velocities(position, valid, dt), np.array(size), valid)


def other_tracks(where: str, boxes: Sequence[SeenBox], ego: EgoFrame, at: Float64[Array, " m"]) -> list[RawTrack]:
    """Return the tracks of boxes, each placed by its frame at its time.

    A frame that no transform joins to the world is taken as the ego's, and named in a warning.
    """
    if not boxes:
        return []
    times = np.array([box.time for box in boxes])
    table = np.array([box.values for box in boxes], np.float64)
    if not np.isfinite(times).all():
        raise InputError(f"{where}: times of boxes must be finite")
    numbers: dict[str, int] = {}
    frame = np.array([numbers.setdefault(box.frame, len(numbers)) for box in boxes])
    values = np.empty((len(boxes), 7))
    order = np.argsort(frame, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(frame[order])) + 1)
    for name, rows in zip(numbers, groups, strict=True):
        values[rows] = _placed(table[rows], name, times[rows], ego, where)
    ids = [name_of(box.name, f"{where}: id of an object") for box in boxes]
    return tracks_of_boxes(where, ids, times, values, [box.category for box in boxes], at, MAX_BOX_GAP_S)


def _placed(
    table: Float64[Array, "n 10"], frame: str, times: Float64[Array, " n"], ego: EgoFrame, where: str
) -> Float64[Array, "n 7"]:
    """Return x, y, z of the ground (m), heading (rad), length, width, height (m) of boxes in the world."""
    found = ego.frames.pose(frame, ego.world, times)
    if found is None:
        _log.warning("%s: frame %r is not connected to %r; it is taken as the ego's", where, frame[:80], ego.world)
        found = ego.place(times)
    place, turn = found
    centre = np.einsum("nij,nj->ni", turn, table[:, :3]) + place
    heading = _heading(turn @ rotation_of(table[:, 3:7]))
    return np.column_stack([centre[:, :2], centre[:, 2] - 0.5 * table[:, 9], heading, table[:, 7:]])


def _heading(rotation: Float64[Array, "n 3 3"]) -> Float64[Array, " n"]:
    return np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
