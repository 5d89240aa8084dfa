"""The input of the rules: K motions of the ego and the other agents, sampled at the same times."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float64, Int8

from alpamayo.episode import Episode
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.prediction.trajectories import AgentTrajectories

Array = np.ndarray
Result = TypeVar("Result")
BLOCK_ROWS = 256
"""Many motions are processed in blocks of this many, so that intermediate results stay in the processor's cache."""


class ResultCache:
    """Results of functions of one motion batch: each function is evaluated once, then its result is reused.

    The key is the function object itself, so only functions that live as long as the program (module-level functions)
    profit. A lambda or a ``functools.partial`` made at the call is a new key each time: correct, but never reused.
    Results must not be changed by their readers. A cache belongs to one batch; ``dataclasses.replace`` of a batch needs
    a new one.
    """

    def __init__(self, known: Mapping[Callable[..., Any], Any] = MappingProxyType({})) -> None:
        self._results: dict[Callable[..., Any], Any] = dict(known)

    def get(self, compute: Callable[["MotionBatch"], Result], motions: "MotionBatch") -> Result:
        """Return ``compute(motions)``, from the cache where it was computed before."""
        if compute not in self._results:
            self._results[compute] = compute(motions)
        return self._results[compute]


@dataclass(frozen=True, eq=False)
class MotionBatch:
    """K motions of the ego, with all that a rule needs to judge them.

    Attributes:
        scene: the scene.
        map_index: look-ups on the scene's map.
        times: s, from 0, one every ``dt``.
        pose: x, y, heading of the box centre in the world.
        speed: m/s.
        size: length and width of the ego (m).
        traffic: the other agents at the same times.
        history: poses before the first, one every ``dt``, oldest first.
        start_step: the scene's step at the first time.
        reference: progress (m) of a good driver; None: ``rules.progress.free_progress``.
        signals: state of each of the scene's signals at each time.
        elevation: the z (m) of the ground under the ego, one value where it is level; None where levels are unknown.
        compare: the K motions are alternatives: the best of them is a reference for progress too.
        episode: the record that the motion comes from; None for plans.
        cache: results of functions of this batch that several rules need.
    """

    scene: Scene
    map_index: MapIndex
    times: Float64[Array, " t"]
    pose: Float64[Array, "k t 3"]
    speed: Float64[Array, "k t"]
    size: Float64[Array, "2"]
    traffic: AgentTrajectories
    history: Float64[Array, "k h 3"]
    start_step: int = 0
    reference: float | None = None
    signals: Int8[Array, "t signals"] | None = None
    elevation: Float64[Array, "#k #t"] | None = None
    compare: bool = True
    episode: Episode | None = None
    cache: ResultCache = field(default_factory=ResultCache, repr=False)

    @property
    def dt(self) -> float:
        """Time step (s)."""
        return float(self.times[1] - self.times[0])

    @property
    def count(self) -> int:
        """K, the number of motions."""
        return len(self.pose)

    @property
    def ground(self) -> Float64[Array, "k t"] | None:
        """The z (m) of the ground under each pose, for questions to a map with levels; None if there is no such map."""
        if self.elevation is None or not self.map_index.has_levels:
            return None
        return np.broadcast_to(self.elevation, self.speed.shape)

    def cached(self, compute: Callable[["MotionBatch"], Result]) -> Result:
        """Return ``compute(self)``, computed once for all rules that ask; see ``ResultCache``."""
        return self.cache.get(compute, self)

    def moved_speed(self, k: Array, t: Array) -> Float64[Array, " n"]:
        """Return the larger of the reported speed (m/s) and the speed at which the box moved, for given steps."""
        step = self.pose[k, t, :2] - self.pose[k, np.maximum(t - 1, 0), :2]
        return np.maximum(np.abs(self.speed[k, t]), np.hypot(step[:, 0], step[:, 1]) / self.dt)


def driven_speed(motions: MotionBatch) -> Float64[Array, "k t"]:
    """Return the speed (m/s) at which the boxes moved since the step before; at the first time that of the next one."""
    step = np.diff(motions.pose[..., :2], axis=1)
    speed = np.hypot(step[..., 0], step[..., 1]) / motions.dt
    return np.concatenate([speed[:, :1], speed], axis=1)


def episode_of(motions: MotionBatch) -> Episode:
    """Return the record that the motion comes from.

    Raises:
        InputError: the motions are plans.
    """
    if motions.episode is None:
        raise InputError("this rule judges episodes, not plans")
    return motions.episode


def blocks(count: int) -> Iterator[slice]:
    """Yield the rows 0 to ``count`` in blocks of ``BLOCK_ROWS``."""
    for first in range(0, count, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, count))


def by_rows(compute: Callable[[slice], Any], shape: tuple[int, ...]) -> Float64[Array, "... k t"]:
    """Put together the results of ``compute`` for all blocks of the K rows."""
    out = np.empty(shape)
    for rows in blocks(shape[-2]):
        out[..., rows, :] = compute(rows)
    return out


def differences(values: Float64[Array, "n t d"]) -> Float64[Array, "n t d"]:
    """Compute the difference of each time from the one before; 0 at the first time."""
    out = np.zeros_like(values)
    np.subtract(values[:, 1:], values[:, :-1], out=out[:, 1:])
    return out


def plans_in_world(
    plans: Float[Array, "k 64 4"], pose: Float64[Array, "3"], speed: float
) -> tuple[Float64[Array, "k 65 3"], Float64[Array, "k 65"]]:
    """Transform plans from the ego frame to the world, with the present state in front."""
    count, steps = plans.shape[:2]
    world, speeds = np.empty((count, steps + 1, 3)), np.empty((count, steps + 1))
    world[:, 0], speeds[:, 0] = pose, speed
    for rows in blocks(count):
        x, y, heading, speeds[rows, 1:] = np.moveaxis(plans[rows].astype(np.float64), -1, 0)
        c, s = np.cos(pose[2]), np.sin(pose[2])
        world[rows, 1:, 0], world[rows, 1:, 1] = c * x - s * y + pose[0], s * x + c * y + pose[1]
        world[rows, 1:, 2] = heading + pose[2]
    return world, speeds


def checked_plans(plans: Array) -> Float[Array, "k 64 4"]:
    """Return plans as an array of floats.

    Raises:
        InputError: not [K >= 1, 64, 4], or not finite.
    """
    array = np.asarray(plans)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if array.ndim != 3 or len(array) < 1 or array.shape[1:] != (PLAN_STEPS, 4):
        raise InputError(
            f"plans have shape {array.shape}, must be [K >= 1, {PLAN_STEPS}, 4]: x, y, heading, speed every {PLAN_DT} s"
        )
    bad = ~np.isfinite(array).all(axis=(1, 2))
    if bad.any():
        raise InputError(f"plans {np.flatnonzero(bad)[:8].tolist()} must be finite")
    return array


def mirrored_history(pose: Float64[Array, "k t 3"], speed: Float64[Array, " k"], dt: float) -> Float64[Array, "k 1 3"]:
    """Return one pose before the first where none is known: at the present speed, with the turn of the first step."""
    heading = pose[:, 0, 2] - wrap_angle(pose[:, 1, 2] - pose[:, 0, 2])
    middle = 0.5 * (heading + pose[:, 0, 2])
    step = dt * speed[:, None] * np.stack([np.cos(middle), np.sin(middle)], axis=-1)
    return np.concatenate([pose[:, 0, :2] - step, heading[:, None]], axis=-1)[:, None]


def track_history(scene: Scene, step: int, steps: int = 15) -> Float64[Array, "1 h 3"]:
    """Return the recorded poses of the ego before ``step``, as far back as they are valid without a gap."""
    ego = scene.ego
    first = step
    while first > 0 and step - first < steps and ego.valid[first - 1]:
        first -= 1
    poses = np.column_stack([ego.position[first:step, :2], ego.heading[first:step]]).astype(np.float64)
    return poses[None]


def close_heading(heading: Float64[Array, "..."], to: Float64[Array, "..."]) -> Float64[Array, "..."]:
    """Shift headings (rad) by whole turns so that they are nearest to others."""
    return to + wrap_angle(np.asarray(heading - to))
