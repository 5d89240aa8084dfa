"""What a writer gets: a scene, its sensors at each step, and what the driver planned and said."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from alpamayo_sim.datatypes.lidar import Lidar, spinning_32
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.rig_presets import nuscenes_rig
from alpamayo_sim.datatypes.scenario import scenario_of_log
from alpamayo_sim.datatypes.scene import Prop, Scene, Track

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class SensorFrame:
    """What the sensors give at one step: images of the rig's cameras, and one turn of the lidar.

    ``points`` are x, y, z (m, ego frame) and intensity in [0, 1]; ``rings`` are the ring of each point. The rows are
    those of ``recorded_truth(...).agents`` that a pixel or a point shows; negative ones show no road user or prop.
    """

    rgb: UInt8[Array, "cameras height width 3"]
    points: Float32[Array, "n 4"]
    rings: Int32[Array, " n"]
    pixel_rows: Int32[Array, "cameras height width"]
    point_rows: Int32[Array, " n"]


class Sensors(Protocol):
    """Cameras and a lidar of a recording, whether they were recorded or are drawn."""

    @property
    def rig(self) -> Rig:
        """Return the cameras."""
        ...

    @property
    def lidar(self) -> Lidar:
        """Return the lidar."""
        ...

    def frames(self, scene: Scene) -> Iterator[SensorFrame]:
        """Yield what the sensors give at each step of the scene."""
        ...


@dataclass(frozen=True, eq=False)
class DrawnSensors:
    """Cameras and a lidar in the drawn world of a scene, from its recorded ego."""

    rig: Rig = field(default_factory=nuscenes_rig)
    lidar: Lidar = field(default_factory=spinning_32)
    seed: int = 0

    def frames(self, scene: Scene) -> Iterator[SensorFrame]:
        """Yield what the sensors see at each step, while all road users repeat their recording."""
        from alpamayo_sim.engine import WorldBatch
        from alpamayo_sim.sensors import WorldCameras, WorldLidar

        world = WorldBatch([scenario_of_log(scene)])
        cameras = WorldCameras(world, self.rig, seed=self.seed)
        lidar = WorldLidar(world, self.lidar, seed=self.seed)
        for step in range(scene.steps):
            if step:
                world.step(np.zeros((1, 2), np.float32), replay_ego=np.ones(1, bool))
            images, scan = cameras.render(), lidar.scan()
            hit = np.isfinite(scan.range[0])
            rings = np.broadcast_to(np.arange(len(hit), dtype=np.int32)[:, None], hit.shape)
            yield SensorFrame(images.rgb[0], scan.points(), rings[hit], images.instance[0], scan.instance[0][hit])


@dataclass(frozen=True, eq=False)
class Recording:
    """A scene to write, with what is known about it beyond the motions.

    Without ``sensors`` a format that has sensor data gets drawn ones (``DrawnSensors``). ``words`` are the driver's
    reasoning at each step, empty where there is none. ``plans`` are the plan that was driven at each step: x, y,
    heading, speed (ego frame).
    """

    scene: Scene
    sensors: Sensors | None = None
    words: tuple[str, ...] = ()
    plans: Float32[Array, "t 64 4"] | None = None


def others_of(scene: Scene) -> list[Track | Prop]:
    """Return the tracks other than the ego, then the props: the order of ``recorded_truth(...).agents``."""
    return [*(track for track in scene.tracks if track.id != scene.ego_id), *scene.props]


def steps_of(thing: Track | Prop, count: int) -> Array:
    """Return the steps at which a road user is there; a prop is always."""
    return np.flatnonzero(thing.valid) if isinstance(thing, Track) else np.arange(count)


def state_of(thing: Track | Prop, step: int) -> tuple[Array, float, Array]:
    """Return position (m, ground), heading (rad) and velocity (m/s) at a step, in float64."""
    if isinstance(thing, Prop):
        return thing.position.astype(np.float64), float(thing.heading), np.zeros(2)
    position, velocity = thing.position[step].astype(np.float64), thing.velocity[step].astype(np.float64)
    return position, float(thing.heading[step]), velocity


def recorded_truth(scene: Scene, step: int) -> GroundTruth:
    """Return the ground truth of a recording at a step: the tracks other than the ego in their order, then the props.

    Where the ego is not seen at the step it has its nearest known pose.
    """
    things = others_of(scene)
    others = [thing for thing in things if isinstance(thing, Track)]
    seen = np.flatnonzero(scene.ego.valid)
    at = int(seen[np.argmin(np.abs(seen - step))])
    ego = scene.ego
    pose = [*(_pose(track.position[step], track.heading[step]) for track in others)]
    pose += [_pose(prop.position, prop.heading) for prop in scene.props]
    still = np.zeros(2, np.float32)
    heights = [*(track.position[step, 2] for track in others), *(prop.position[2] for prop in scene.props)]
    agents = Agents(
        ids=(*(track.id for track in others), *(prop.id for prop in scene.props)),
        category=np.array([each.category for each in things], np.int8),
        pose=np.array(pose, np.float32).reshape(-1, 3),
        velocity=np.array([*(t.velocity[step] for t in others), *(still for _ in scene.props)], np.float32).reshape(
            -1, 2
        ),
        size=np.array([each.size for each in things], np.float32).reshape(-1, 3),
        valid=np.array([*(bool(track.valid[step]) for track in others), *(True for _ in scene.props)], bool),
        elevation=np.array(heights, np.float32),
    )
    return GroundTruth(
        scene=scene,
        step=step,
        ego_pose=_pose(ego.position[at], ego.heading[at]),
        ego_speed=float(np.hypot(*ego.velocity[at])),
        ego_size=ego.size,
        agents=agents,
        signals=np.array([signal.states[min(step, len(signal.states) - 1)] for signal in scene.signals], np.int8),
        ego_elevation=float(ego.position[at, 2]),
    )


def _pose(position: Float32[Array, "3"], heading: float | np.floating) -> Float32[Array, "3"]:
    return np.array([position[0], position[1], heading], np.float32)
