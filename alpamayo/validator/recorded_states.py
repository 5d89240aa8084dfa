"""The states of a record at the validator's time step: what has another step is resampled, in this one place.

Positions are cubic between two records (Hermite, with the recorded velocities), headings too (with the slopes of the
neighbours), speeds are linear. A motion of constant acceleration and of constant curvature is kept.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from alpamayo.episode import Episode
from alpamayo_sim.datatypes.decision import PLAN_DT
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.prediction.trajectories import AgentTrajectories

Array = np.ndarray
TIME_STEP_TOLERANCE_S = 1e-6
MAX_TIME_STEP_S = 0.5
"""Records with longer steps do not tell enough of a motion."""


@dataclass(frozen=True, eq=False)
class Between:
    """Times as places in a record: each is ``part`` of the way from row ``before`` to the row after it."""

    before: Int64[Array, " t"]
    part: Float64[Array, " t"]
    dt: float

    @property
    def after(self) -> Int64[Array, " t"]:
        """The next row, or the same where a time is exactly that of a row."""
        return self.before + (self.part > 0.0)


def between_records(count: int, dt: float, what: str) -> Between:
    """Return the times every 0.1 s of a record of ``count`` rows every ``dt`` (s).

    Raises:
        InputError: ``dt`` is more than 0.5 s, or the record ends before 0.1 s.
    """
    if not dt <= MAX_TIME_STEP_S + TIME_STEP_TOLERANCE_S:
        raise InputError(f"{what} has steps of {dt:g} s; up to {MAX_TIME_STEP_S} s can be judged")
    duration = (count - 1) * dt
    steps = int(np.floor(duration / PLAN_DT + TIME_STEP_TOLERANCE_S))
    if steps < 1:
        raise InputError(f"{what} lasts {duration:g} s, needs {PLAN_DT} s or more to be judged")
    at = PLAN_DT * np.arange(steps + 1) / dt
    nearest = np.rint(at)
    at = np.where(np.abs(at - nearest) < TIME_STEP_TOLERANCE_S, nearest, at)
    before = np.minimum(np.floor(at), count - 1).astype(np.int64)
    return Between(before, at - before, dt)


def is_judged_step(dt: float) -> bool:
    """Return whether a time step is the validator's own."""
    return abs(dt - PLAN_DT) <= TIME_STEP_TOLERANCE_S


def resampled_poses(
    pose: Float64[Array, "a t 3"], velocity: Float64[Array, "a t 2"], at: Between
) -> Float64[Array, "a n 3"]:
    """Interpolate poses (m, rad) with their velocities (m/s) at other times."""
    heading = np.unwrap(pose[..., 2], axis=1)
    rate = np.gradient(heading, at.dt, axis=1) if heading.shape[1] > 1 else np.zeros_like(heading)
    values = np.concatenate([pose[..., :2], heading[..., None]], axis=-1)
    slope = at.dt * np.concatenate([velocity, rate[..., None]], axis=-1)
    u = at.part[:, None]
    start, end = values[:, at.before], values[:, at.after]
    mixed = start + (3.0 * u**2 - 2.0 * u**3) * (end - start)
    return mixed + (u - 2.0 * u**2 + u**3) * slope[:, at.before] + (u**3 - u**2) * slope[:, at.after]


def resampled(values: Float64[Array, "a t *d"], at: Between) -> Float64[Array, "a n *d"]:
    """Interpolate values linearly at other times."""
    part = at.part.reshape(-1, *[1] * (values.ndim - 2))
    return values[:, at.before] + part * (values[:, at.after] - values[:, at.before])


def resampled_traffic(traffic: AgentTrajectories, at: Between) -> AgentTrajectories:
    """Interpolate agents at other times; they are present where they are at both records around a time."""
    straight = np.asarray(wrap_angle(traffic.pose[:, at.after, 2] - traffic.pose[:, at.before, 2]))
    pose = resampled_poses(traffic.pose, traffic.velocity, at)
    pose[..., 2] = traffic.pose[:, at.before, 2] + at.part * straight
    valid = traffic.valid[:, at.before] & traffic.valid[:, at.after]
    pose = np.where(valid[..., None], pose, traffic.pose[:, at.before])
    elevation = None if traffic.elevation is None else resampled(traffic.elevation, at)
    return replace(traffic, pose=pose, velocity=resampled(traffic.velocity, at), valid=valid, elevation=elevation)


def decision_rows(episode: Episode) -> Int64[Array, " steps"]:
    """Return the row, among the judged times, of each decision of an episode."""
    return np.rint(np.arange(episode.steps) * episode.dt / PLAN_DT).astype(np.int64)


def check_times(scene: Scene, t: float) -> int:
    """Return the step of a scene with the validator's time step at a time (s).

    Raises:
        InputError: the scene has another time step.
    """
    if not is_judged_step(scene.dt):
        raise InputError(
            f"scene {scene.id!r} has steps of {scene.dt} s, plans {PLAN_DT} s: pass the truth and a forecast"
        )
    return round(t / scene.dt) if np.isfinite(t) else -1
