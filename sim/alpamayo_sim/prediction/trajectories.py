"""Trajectories of agents: recorded, or predicted at constant velocity."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int8

from alpamayo_sim.datatypes.continuity import OTHERS_JUMP_M, is_jump
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Prop, Scene, Track
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import oriented

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class AgentTrajectories:
    """The agents over time in world coordinates, recorded or predicted; `size` is length and width (m).

    Times are those of the motions that they belong to, and may extend beyond them. A prediction for plans has at
    least 65 poses, the first of them now. Agents are absent where `valid` is False. `elevation` is the z (m) of the
    ground under them and `height` (m) that of their boxes; both are None where levels are unknown.
    """

    ids: tuple[str, ...]
    category: Int8[Array, " a"]
    pose: Float64[Array, "a t 3"]
    velocity: Float64[Array, "a t 2"]
    size: Float64[Array, "a 2"]
    valid: Bool[Array, "a t"]
    elevation: Float64[Array, "a t"] | None = None
    height: Float64[Array, " a"] | None = None

    def __post_init__(self) -> None:
        count, steps = len(self.ids), self.pose.shape[1]
        shapes = {"pose": (count, steps, 3), "velocity": (count, steps, 2), "valid": (count, steps)}
        shapes |= {"size": (count, 2), "category": (count,)}
        if self.elevation is not None:
            shapes |= {"elevation": (count, steps), "height": (count,)}
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise InputError(f"agent trajectories: {name} has {np.shape(getattr(self, name))}, needs {shape}")
        if not all(np.isfinite(getattr(self, name)).all() for name in ("pose", "velocity", "size")):
            raise InputError("agent trajectories: poses, velocities and sizes must be finite, also where not valid")
        if (self.size < 0.0).any():
            raise InputError("agent trajectories: sizes must not be negative")

    @cached_property
    def boxes(self) -> Float64[Array, "a t 4"]:
        """Centres, cosines and sines of the headings."""
        return oriented(self.pose)

    def take(self, rows: Array) -> "AgentTrajectories":
        """Select agents by index or mask."""
        rows = np.arange(len(self.ids))[rows]
        ids = tuple(self.ids[i] for i in rows)
        arrays = {name: getattr(self, name)[rows] for name in ("category", "pose", "velocity", "size", "valid")}
        if self.elevation is not None and self.height is not None:
            arrays |= {"elevation": self.elevation[rows], "height": self.height[rows]}
        return AgentTrajectories(ids=ids, **arrays)

    def extended(self, steps: int, dt: float) -> "AgentTrajectories":
        """Extend to at least `steps` poses at the last velocity."""
        missing = steps - self.pose.shape[1]
        if missing <= 0:
            return self
        ahead = dt * np.arange(1, missing + 1)
        pose = np.repeat(self.pose[:, -1:], missing, axis=1)
        pose[..., :2] += ahead[:, None] * self.velocity[:, -1:]
        return replace(
            self,
            pose=np.concatenate([self.pose, pose], axis=1),
            velocity=np.concatenate([self.velocity, np.repeat(self.velocity[:, -1:], missing, axis=1)], axis=1),
            valid=np.concatenate([self.valid, np.repeat(self.valid[:, -1:], missing, axis=1)], axis=1),
            elevation=None if self.elevation is None else _continued(self.elevation, missing),
        )


def _continued(values: Float64[Array, "a t"], missing: int) -> Float64[Array, "a t2"]:
    """Repeat the last column."""
    return np.concatenate([values, np.repeat(values[:, -1:], missing, axis=1)], axis=1)


def constant_velocity(truth: GroundTruth, steps: int = PLAN_STEPS + 1, dt: float = PLAN_DT) -> AgentTrajectories:
    """Predict that all agents keep their present velocity."""
    agents = truth.agents
    here = np.asarray(agents.valid, bool)
    ahead = dt * np.arange(steps)[None, :, None]
    velocity = np.repeat(agents.velocity[here].astype(np.float64)[:, None], steps, axis=1)
    pose = np.repeat(agents.pose[here].astype(np.float64)[:, None], steps, axis=1)
    pose[..., :2] += ahead * velocity
    return AgentTrajectories(
        ids=tuple(name for name, there in zip(agents.ids, here, strict=True) if there),
        category=np.asarray(agents.category)[here],
        pose=pose,
        velocity=velocity,
        size=agents.size[here, :2].astype(np.float64),
        valid=np.ones(pose.shape[:2], bool),
        elevation=None
        if agents.elevation is None
        else np.repeat(agents.elevation[here].astype(np.float64)[:, None], steps, axis=1),
        height=agents.size[here, 2].astype(np.float64),
    )


def recorded(scene: Scene, step: int, steps: int) -> AgentTrajectories:
    """Return the recorded trajectories of all agents but the ego from `step` on.

    They are absent after the recording, and at the steps at which they jump.
    """
    others = [track for track in scene.tracks if track.id != scene.ego_id]
    rows = np.arange(step, step + steps)
    inside = rows < scene.steps
    at = np.minimum(rows, scene.steps - 1)
    pose = [np.column_stack([track.position[at, :2], track.heading[at]]) for track in others]
    pose += [np.tile([*prop.position[:2], prop.heading], (steps, 1)) for prop in scene.props]
    velocity = [track.velocity[at] for track in others] + [np.zeros((steps, 2))] * len(scene.props)
    valid = [track.valid[at] & inside for track in others] + [np.ones(steps, bool)] * len(scene.props)
    elevation = [track.position[at, 2] for track in others] + [np.full(steps, prop.position[2]) for prop in scene.props]
    things: tuple[Track | Prop, ...] = (*others, *scene.props)
    agents = AgentTrajectories(
        ids=tuple(thing.id for thing in things),
        category=np.array([int(thing.category) for thing in things], np.int8),
        pose=np.array(pose, np.float64).reshape(-1, steps, 3),
        velocity=np.array(velocity, np.float64).reshape(-1, steps, 2),
        size=np.array([thing.size[:2] for thing in things], np.float64).reshape(-1, 2),
        valid=np.array(valid, bool).reshape(-1, steps),
        elevation=np.array(elevation, np.float64).reshape(-1, steps),
        height=np.array([thing.size[2] for thing in things], np.float64),
    )
    return without_jumps(agents)


def without_jumps(agents: AgentTrajectories) -> AgentTrajectories:
    """Return recorded agents, absent at the steps at which they jump: nothing was where a jump passes."""
    jumped = is_jump(agents.pose[..., :2], agents.valid, OTHERS_JUMP_M)
    return replace(agents, valid=agents.valid & ~jumped) if jumped.any() else agents
