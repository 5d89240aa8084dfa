"""What the driver believes: where it is, what is around it and the road ahead, as a world to plan in.

All positions are in the odometry frame, which is fixed to the ground and begins at the ego's first pose. Nothing here
comes from the scene: the cameras, the ego's own motion and the route of the observation are the only sources.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_sim.datatypes.observation import Agents, GroundTruth, Observation
from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.datatypes.scene import Category, Provenance, RoadMap, Scene, Signal, SignalState, Track
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.stop_lines import RouteStop
from alpamayo_sim.planning.planner import PlanningWorld
from alpamayo_sim.planning.stops import StopMemory
from alpamayo_sim.prediction.lane_changes import LaneChangePredictor
from alpamayo_vla_model.perception.objects import CATEGORY_OF_CLASS, DEFAULT_EGO_SIZE_M, SIGNAL_OF_CONTROL
from alpamayo_vla_model.perception.perception import Answer
from alpamayo_vla_model.perception.road_memory import RoadMemory
from alpamayo_vla_model.perception.tracks import TrackMemory

Array = np.ndarray

MAP_EVERY_STEPS = 5
MOVING_MPS = 0.4  # slower tracks stand
RANGE_M = 130.0


class Belief:
    """The state of the belief between steps."""

    def __init__(self, rig: Rig, dt: float = 0.1) -> None:
        self.tracks = TrackMemory(rig)
        self.road = RoadMemory()
        self.pose = np.zeros(3)
        self._dt = dt
        self._step = -1
        self._map_step = -MAP_EVERY_STEPS - 1
        self._stops = StopMemory(())
        self._scene = _empty_scene(dt)

    def update(self, observation: Observation, answer: Answer) -> None:
        """Take in one observation and what perception says of it."""
        self._step += 1
        if self._step:
            self.pose = moved(self.pose, observation.history[-2, :3].astype(np.float64))
        self.road.follow(observation.route, self.pose)
        self.tracks.ego_size = ego_size(observation)[:2].astype(np.float64)
        self.tracks.update(answer.detections, self.pose, self._dt)
        self.road.look(answer.ground, answer.control, answer.line_distance)

    def world(self, observation: Observation) -> PlanningWorld:
        """Return the believed world of the last update."""
        if self._step - self._map_step >= MAP_EVERY_STEPS:
            self._map_step = self._step
            self._predictor = LaneChangePredictor(MapIndex(self.road.road_map()))
        self._stops.stops = (RouteStop(self.road.line_s, 0),) if self.road.controlled else ()
        agents = self._agents()
        state = GroundTruth(
            scene=self._scene,
            step=self._step,
            ego_pose=self.pose.astype(np.float32),
            ego_speed=float(observation.speed),
            ego_size=ego_size(observation),
            agents=agents,
            signals=np.array([SIGNAL_OF_CONTROL.get(self.road.state, SignalState.UNKNOWN)], np.int8),
        )
        rows = np.flatnonzero(np.linalg.norm(agents.pose[:, :2] - self.pose[:2], axis=1) < RANGE_M)
        return PlanningWorld(state, rows, self.road.frame, self.road.surroundings(), self._stops, self._predictor)

    def agents_around(self) -> Agents:
        """Return the confirmed tracks as agents, in the ego frame."""
        agents, turn = self._agents(), np.array([0.0, 0.0, self.pose[2]])
        xy = to_frame(agents.pose[:, :2].astype(np.float64), self.pose)
        pose = np.column_stack([xy, agents.pose[:, 2] - self.pose[2]]).astype(np.float32)
        return replace(
            agents, pose=pose, velocity=to_frame(agents.velocity.astype(np.float64), turn).astype(np.float32)
        )

    def _agents(self) -> Agents:
        """Return the confirmed tracks as agents; their ids are the numbers of the tracks."""
        tracks = [track for track in self.tracks.confirmed() if track.kind in CATEGORY_OF_CLASS]
        n = len(tracks)
        pose = np.array([[*track.state[:2], track.heading] for track in tracks], np.float32).reshape(n, 3)
        velocity = [track.state[2:] if track.speed > MOVING_MPS else np.zeros(2) for track in tracks]
        return Agents(
            ids=tuple(str(track.number) for track in tracks),
            category=np.array([CATEGORY_OF_CLASS[track.kind] for track in tracks], np.int8).reshape(n),
            pose=pose,
            velocity=np.array(velocity, np.float32).reshape(n, 2),
            size=np.array([track.size for track in tracks], np.float32).reshape(n, 3),
            valid=np.ones(n, bool),
        )


def ego_size(observation: Observation) -> Float32[Array, "3"]:
    """Return length, width and height (m) of the ego."""
    return np.array(DEFAULT_EGO_SIZE_M, np.float32) if observation.size is None else observation.size


def moved(pose: Float64[Array, "3"], before: Float64[Array, "3"]) -> Float64[Array, "3"]:
    """Return the present pose in the odometry frame.

    Args:
        pose: the pose of the step before, in the odometry frame.
        before: the same pose in the present ego frame.
    """
    heading = pose[2] - before[2]
    c, s = math.cos(heading), math.sin(heading)
    return np.array([pose[0] - c * before[0] + s * before[1], pose[1] - s * before[0] - c * before[1], heading])


def _empty_scene(dt: float) -> Scene:
    """Return a scene with nothing but the ego and one signal, whose state is that of the belief."""
    place = np.zeros((1, 3), np.float32)
    still = np.zeros((1, 2), np.float32)
    ego = Track(
        "ego", Category.VEHICLE, place, place[:, 0], still, np.array(DEFAULT_EGO_SIZE_M, np.float32), np.ones(1, bool)
    )
    signal = Signal("signal", place[0], np.zeros(1, np.int8))
    return Scene("belief", RoadMap(), (ego,), "ego", Provenance("belief", ""), signals=(signal,), dt=dt)
