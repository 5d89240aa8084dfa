"""Prediction for the expert: agents keep to their lane, finish a lane change, or go straight on."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64

from alpamayo_sim.datatypes.observation import Agents
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import arc_length, wrap_angle
from alpamayo_sim.map.frenet import FrenetFrame, central_headings
from alpamayo_sim.map.index import MapIndex
from alpamayo_sim.map.lane_tree import LaneMatch
from alpamayo_sim.prediction.lane_paths import EXPERT_LANE_FOLLOWING, LaneFollowingConfig, LaneGraph

Array = np.ndarray

STEP_S = 0.2
STEPS = 49  # poses, from now to 9.6 s
TIMES = STEP_S * np.arange(STEPS)
MOTOR_VEHICLES = (Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE)
WALKERS = (Category.PEDESTRIAN, Category.ANIMAL)


@dataclass(frozen=True)
class LaneChangeConfig:
    """Thresholds of this prediction.

    Attributes:
        lane_distance_m: the distance from a lane's centre within which an agent follows it.
        lane_change_speed_mps: the lateral speed from which a lane change is expected.
        past_centre_m: the distance behind a lane's centre from which the next lane is the goal.
        least_lateral_speed_mps: the least lateral speed of a predicted lane change.
        greatest_lateral_speed_mps: the greatest one.
        lateral_speed_factor: by which the measured lateral speed grows, because lane changes begin slowly.
        acceleration_s: the time for which a measured acceleration lasts.
        deceleration_s: the time for which a measured deceleration lasts.
        walker_deceleration_mps2: the deceleration with which walkers may stop at any time.
    """

    lane_distance_m: float = 3.0
    lane_change_speed_mps: float = 0.25
    past_centre_m: float = 0.15
    least_lateral_speed_mps: float = 1.6
    greatest_lateral_speed_mps: float = 2.5
    lateral_speed_factor: float = 1.5
    acceleration_s: float = 1.2
    deceleration_s: float = 2.5
    walker_deceleration_mps2: float = 3.0


@dataclass(frozen=True, eq=False)
class AgentPredictions:
    """Predicted poses of agents at ``TIMES``.

    Attributes:
        rows: the rows of the agents in ``Agents``; an agent may have two predictions.
        pose: x, y (m) and heading (rad).
        speed: speed (m/s).
        size: length and width (m).
        category: the categories.
        standing: whether the agent stands, or is predicted to stop now.
    """

    rows: Int64[Array, " n"]
    pose: Float64[Array, "n 49 3"]
    speed: Float64[Array, "n 49"]
    size: Float64[Array, "n 2"]
    category: Int64[Array, " n"]
    standing: Bool[Array, " n"]


class LaneChangePredictor:
    """Predicts agents on one map; the lines along lanes are computed once and kept.

    Args:
        index: the map.
        lane_following: the thresholds of lane following.
        config: the other thresholds.
    """

    def __init__(
        self,
        index: MapIndex,
        lane_following: LaneFollowingConfig = EXPERT_LANE_FOLLOWING,
        config: LaneChangeConfig | None = None,
    ) -> None:
        self.index, self.lane_following, self.config = index, lane_following, config or LaneChangeConfig()
        self._graph = LaneGraph(index.road_map)
        self._lines: dict[tuple[int, bool], tuple[FrenetFrame, float]] = {}

    def predict(self, agents: Agents, rows: Int64[Array, " n"], acceleration: Float64[Array, " n"]) -> AgentPredictions:
        """Predict some agents; walkers that move get a second prediction, in which they stop.

        Args:
            agents: all agents.
            rows: those to predict.
            acceleration: their measured accelerations (m/s²); only those of motor vehicles count.
        """
        moving_speed = self.lane_following.moving_mps
        pose = agents.pose[rows].astype(np.float64)
        velocity = agents.velocity[rows].astype(np.float64)
        speed = np.hypot(velocity[:, 0], velocity[:, 1])
        category = agents.category[rows].astype(np.int64)
        acceleration = np.where(np.isin(category, MOTOR_VEHICLES), acceleration, 0.0)
        distance, speeds = self._distances(speed, acceleration)
        moves = speed > moving_speed
        course = np.where(moves, np.arctan2(velocity[:, 1], velocity[:, 0]), pose[:, 2])
        out = np.empty((len(rows), STEPS, 3))
        out[..., 0] = pose[:, None, 0] + distance * np.cos(course)[:, None]
        out[..., 1] = pose[:, None, 1] + distance * np.sin(course)[:, None]
        out[..., 2] = pose[:, None, 2]
        on_lane = np.flatnonzero(moves & np.isin(category, (*MOTOR_VEHICLES, Category.CYCLIST)))
        if on_lane.size and self.index.road_map.lanes:
            ground = None if agents.elevation is None else agents.elevation[rows][on_lane]
            match = self.index.nearest_lane(pose[on_lane, :2], course[on_lane], elevation=ground)
            self._follow_lanes(out, on_lane, match, pose, course, speed, distance)
        size = agents.size[rows, :2].astype(np.float64)
        found = AgentPredictions(rows, out, speeds, size, category, ~moves)
        walkers = np.flatnonzero(moves & np.isin(category, WALKERS))
        return _joined(found, self._stopped(found, walkers, course, speed)) if walkers.size else found

    def _stopped(
        self,
        found: AgentPredictions,
        which: Int64[Array, " m"],
        course: Float64[Array, " n"],
        speed: Float64[Array, " n"],
    ) -> AgentPredictions:
        """Predict that some of the agents stop now."""
        deceleration = np.full(len(which), -self.config.walker_deceleration_mps2)
        distance, speeds = self._distances(speed[which], deceleration)
        pose = found.pose[which].copy()
        pose[..., 0] = pose[:, :1, 0] + distance * np.cos(course[which])[:, None]
        pose[..., 1] = pose[:, :1, 1] + distance * np.sin(course[which])[:, None]
        rest = found.rows[which], pose, speeds, found.size[which], found.category[which]
        return AgentPredictions(*rest, np.ones(len(which), bool))

    def _distances(
        self, speed: Float64[Array, " n"], acceleration: Float64[Array, " n"]
    ) -> tuple[Float64[Array, "n 49"], Float64[Array, "n 49"]]:
        """Return distance (m) and speed (m/s) at ``TIMES``; accelerations last for a while, speeds stay positive."""
        t, config = TIMES[None], self.config
        duration = np.where(acceleration < 0.0, config.deceleration_s, config.acceleration_s)[:, None]
        a = acceleration[:, None]
        until = np.where(a < 0.0, np.minimum(duration, speed[:, None] / np.maximum(-a, 1e-6)), duration)
        u = np.minimum(t, until)
        distance = speed[:, None] * u + 0.5 * a * u**2
        reached = np.maximum(speed[:, None] + a * u, 0.0)
        return distance + reached * (t - u), reached

    def _follow_lanes(
        self,
        out: Float64[Array, "n 49 3"],
        which: Int64[Array, " m"],
        match: LaneMatch,
        pose: Float64[Array, "n 3"],
        course: Float64[Array, " n"],
        speed: Float64[Array, " n"],
        distance: Float64[Array, "n 49"],
    ) -> None:
        """Bend the straight predictions of agents that drive along their nearest lane, in either direction."""
        for i, lane, s, offset, heading, gap in zip(
            which, match.index, match.s, match.offset, match.heading, match.distance, strict=True
        ):
            angle = float(wrap_angle(np.asarray(course[i] - heading)))
            aligned = self.lane_following.aligned_angle_rad
            against = abs(angle) > np.pi - aligned
            if gap > self.config.lane_distance_m or lane < 0 or not (abs(angle) < aligned or against):
                continue
            line, lane_length = self._line(int(lane), against)
            start = s if not against else lane_length - s
            d = offset if not against else -offset
            lateral_speed = speed[i] * np.sin(angle - np.pi * np.sign(angle) * against)
            width = float(np.median(self.index.road_map.lanes[lane].width))
            offsets = self._offsets(d, lateral_speed, width)
            path = line.pose_on_path(start + distance[i], straight_on=True)
            bend = path[:, 2]
            out[i, :, 0] = path[:, 0] - offsets * np.sin(bend)
            out[i, :, 1] = path[:, 1] + offsets * np.cos(bend)
            out[i, 0, :2] = pose[i, :2]
            out[i, 1:, 2] = bend[1:]

    def _offsets(self, d: float, lateral_speed: float, width: float) -> Float64[Array, "49"]:
        """Return the offset (m) over time: to the centre of the next lane if the agent moves laterally."""
        config = self.config
        if abs(lateral_speed) < config.lane_change_speed_mps:
            return np.full(STEPS, d)
        # Before a lane's centre the agent is about to settle there; behind it, it goes on to the next one.
        sign = np.sign(lateral_speed)
        goal = np.ceil((d * sign - config.past_centre_m) / width) * width * sign
        expected = config.lateral_speed_factor * abs(lateral_speed)
        expected = sign * np.clip(expected, config.least_lateral_speed_mps, config.greatest_lateral_speed_mps)
        moved = d + expected * TIMES
        return np.minimum(moved, goal) if expected > 0 else np.maximum(moved, goal)

    def _line(self, lane: int, against: bool) -> tuple[FrenetFrame, float]:
        """Return the path along a lane and its straightest continuation, and the length (m) of the lane alone."""
        key = (lane, against)
        if key not in self._lines:
            lengths = 0.0, self.lane_following.path_length_m
            chain = self._graph.chain(
                lane, against, lengths, lambda i: float(arc_length(self._points(i))[-1]), lambda _, i: self._turn(i)
            )
            own, others = self._points(lane), [self._points(i) for i in chain]
            joined = np.concatenate([*others[::-1], own])[::-1] if against else np.concatenate([own, *others])
            keep = np.concatenate([[True], np.linalg.norm(np.diff(joined, axis=0), axis=1) > 1e-3])
            joined = joined[keep]
            frame = FrenetFrame.of(joined, central_headings(joined))
            self._lines[key] = frame, float(arc_length(own)[-1])
        return self._lines[key]

    def _points(self, lane: int) -> Float64[Array, "n 2"]:
        return self.index.road_map.lanes[lane].centreline[:, :2].astype(np.float64)

    def _turn(self, lane: int) -> float:
        """Return the angle (rad) by which a lane turns."""
        step = np.diff(self.index.road_map.lanes[lane].centreline[[0, 1, -2, -1], :2].astype(np.float64), axis=0)
        angles = np.arctan2(step[[0, 2], 1], step[[0, 2], 0])
        return float(abs(wrap_angle(np.asarray(angles[1] - angles[0]))))


def _joined(a: AgentPredictions, b: AgentPredictions) -> AgentPredictions:
    return AgentPredictions(
        *(np.concatenate([getattr(a, f.name), getattr(b, f.name)]) for f in fields(AgentPredictions))
    )
