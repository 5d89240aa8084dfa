"""The world around an ego that moves exactly along a given motion, so that triggered actors act as they did."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import arc_length, follow, interpolate, polyline_headings

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class MotionReplay:
    """The agents at each state of the ego's motion: ids, poses (x, y, heading), sizes, and whether they are there."""

    ids: tuple[str, ...]
    ego_size: Float32[Array, "3"]
    pose: Float32[Array, "t n 3"]
    size: Float32[Array, "n 3"]
    valid: Bool[Array, "t n"]


def replay_motion(scenario: Scenario, motion: Float32[Array, "t 4"]) -> MotionReplay:
    """Drive the ego exactly along a motion (x, y, heading, speed) and return what is around it at each state."""
    world = WorldBatch([replace(scenario, scene=_with_ego(scenario.scene, motion))])
    agents = world[0].agents()
    poses, valid = [np.array(agents.pose)], [np.array(agents.valid)]
    for _ in range(len(motion) - 1):
        world.step(np.zeros((1, 2), np.float32), replay_ego=np.array([True]))
        now = world[0].agents()
        poses.append(np.array(now.pose))
        valid.append(np.array(now.valid))
    ego_size = world[0].ground_truth().ego_size
    return MotionReplay(tuple(agents.ids), ego_size, np.stack(poses), np.array(agents.size), np.stack(valid))


def steady_motion(scenario: Scenario) -> Float32[Array, "t 4"]:
    """Return the motion of an ego that follows its route at its first speed, from its first place to the end."""
    scene = scenario.scene
    assert scene.route is not None
    speed = float(np.hypot(*scene.ego.velocity[0]))
    path = scene.route.path[:, :2].astype(np.float64)
    start = float(follow(path, scene.ego.position[:1, :2].astype(np.float64))[0][0])
    along, s = arc_length(path), start + speed * scene.dt * np.arange(scenario.steps + 1)
    heading = np.interp(s, along, np.unwrap(polyline_headings(path)))
    xy = interpolate(path, np.minimum(s, along[-1]))
    return np.column_stack([xy, heading, np.full(len(s), speed)]).astype(np.float32)


def _with_ego(scene: Scene, motion: Float32[Array, "t 4"]) -> Scene:
    """Return the scene with an ego whose recording is the motion; it stands at the end for the rest."""
    ego = scene.ego
    rows = np.minimum(np.arange(len(ego.valid)), len(motion) - 1)
    heading, speed = motion[rows, 2], motion[rows, 3]
    driven = replace(
        ego,
        position=np.column_stack([motion[rows, :2], ego.position[:, 2]]),
        heading=heading,
        velocity=(speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)).astype(np.float32),
        valid=np.ones(len(rows), bool),
    )
    return replace(scene, tracks=tuple(driven if track.id == ego.id else track for track in scene.tracks))
