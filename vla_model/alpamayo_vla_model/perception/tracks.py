"""The memory of tracks: what was seen is followed, also while it is hidden.

Positions are in the odometry frame, which is fixed to the ground and begins at the ego's first pose. Each track has a
filter that tells standing from moving; its existence is a log-odds that detections raise and their absence lowers.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment

from alpamayo_sim.datatypes.rig import Rig
from alpamayo_sim.geometry import boxes_overlap, from_frame, to_frame
from alpamayo_vla_model.perception.detections import GROUPS, Detections
from alpamayo_vla_model.perception.motion_filter import MotionFilter
from alpamayo_vla_model.perception.objects import DEFAULT_EGO_SIZE_M, MOVABLE, ObjectClass

Array = np.ndarray

FULL_TURN_RAD = 2.0 * math.pi
FAR = 1e6  # cost of a pair that does not fit
VEHICLES = (ObjectClass.VEHICLE, ObjectClass.TRUCK, ObjectClass.BUS, ObjectClass.MOTORCYCLE)
DETECTED_LOG_ODDS = 0.6  # that a detection says more than its own existence: something was expected there


@dataclass(frozen=True)
class TrackConfig:
    """Thresholds of the memory.

    Attributes:
        gate: largest distance of a detection from a track, in standard deviations.
        gate_m: what is added to a standard deviation for the gate.
        reach_m: largest distance of a detection from its track, to which ``reach_share`` of its own distance adds.
        reach_share: see ``reach_m``.
        position_variance_factor: factor of the stated variances of places, which are too large.
        least_position_std_m: what the standard deviation of a place has besides.
        velocity_variance_factor: factor of the variances of velocities after a track's first detection, because their
            errors last from step to step.
        moving: chance that a new track moves.
        motion_kept: chance that a track stands or moves as it did the step before.
        new_vehicle_speed_mps: standard deviation of a new vehicle's speed, if it moves.
        new_vehicle_drift_mps: the same of its velocity across its heading.
        new_walker_speed_mps: the same of each part of the velocity of all others that move.
        vehicle_acceleration_mps2: standard deviation of the acceleration of vehicles.
        walker_acceleration_mps2: the same of all others that move.
        birth: log-odds of a new track at an existence of one half.
        confirmed: log-odds from which a track counts.
        confirming_steps: number of detections before a track counts.
        dead: log-odds at which a track is forgotten.
        most: largest log-odds.
        missed: log-odds that a step without detection takes from a track in sight.
        hidden: the same for a track that no camera can see.
        gain: largest log-odds that one detection adds.
        solid_share: share of the length and width of a thing in which nothing else can be.
        sight_m: distance beyond which a track that is not seen counts as hidden.
        class_memory: share of the class chances that a step keeps.
        size_memory: share of the size that a step keeps.
    """

    gate: float = 3.0
    gate_m: float = 0.5
    reach_m: float = 3.0
    reach_share: float = 0.3
    position_variance_factor: float = 0.25
    least_position_std_m: float = 0.15
    velocity_variance_factor: float = 20.0
    moving: float = 0.75
    motion_kept: float = 0.98
    new_vehicle_speed_mps: float = 15.0
    new_vehicle_drift_mps: float = 2.0
    new_walker_speed_mps: float = 1.5
    vehicle_acceleration_mps2: float = 3.0
    walker_acceleration_mps2: float = 1.5
    birth: float = -0.4
    confirmed: float = 0.8
    confirming_steps: int = 3
    dead: float = -2.0
    most: float = 3.5
    missed: float = 1.0
    hidden: float = 0.15
    gain: float = 1.2
    solid_share: float = 0.8
    sight_m: float = 60.0
    class_memory: float = 0.85
    size_memory: float = 0.8


@dataclass(eq=False)
class Track:
    """One followed thing; its ``motion`` is in the odometry frame."""

    number: int
    chance: Float64[Array, " classes"]
    motion: MotionFilter
    heading: float
    size: Float64[Array, "3"]
    log_odds: float
    age: int = 0
    hits: int = 1
    unseen: int = 0

    @property
    def kind(self) -> ObjectClass:
        """The likeliest class."""
        return ObjectClass(int(np.argmax(self.chance)))

    @property
    def state(self) -> Float64[Array, "4"]:
        """x, y, vx, vy in the odometry frame."""
        return self.motion.state

    @property
    def speed(self) -> float:
        """Speed (m/s)."""
        return math.hypot(self.state[2], self.state[3])


@dataclass(eq=False)
class TrackMemory:
    """All tracks of an episode."""

    rig: Rig
    config: TrackConfig = field(default_factory=TrackConfig)
    ego_size: Float64[Array, "2"] = field(default_factory=lambda: np.array(DEFAULT_EGO_SIZE_M[:2]))
    tracks: list[Track] = field(default_factory=list)
    _next: int = 0

    def update(self, found: Detections, pose: Float64[Array, "3"], dt: float) -> None:
        """Take in the detections of one step; ``pose`` is the ego's in the odometry frame."""
        for track in self.tracks:
            self._predict(track, dt)
        position = from_frame(found.position, pose)
        pairs = self._assign(found, position, pose)
        for row, track in pairs.items():
            self._correct(track, found, row, position[row], pose)
        unseen = [track for track in self.tracks if track not in pairs.values()]
        for row in range(len(found)):
            if row not in pairs:
                self._begin(found, row, position[row], pose)
        for track in unseen:
            self._miss(track, pose)
        self.tracks = [track for track in self.tracks if track.log_odds > self.config.dead]
        self.tracks = self._without_doubles(pose)

    def confirmed(self) -> list[Track]:
        """Return the tracks that count."""
        return [track for track in self.tracks if self._counts(track)]

    def _counts(self, track: Track) -> bool:
        return track.log_odds > self.config.confirmed and track.hits >= self.config.confirming_steps

    def _without_doubles(self, pose: Float64[Array, "3"]) -> list[Track]:
        """Return the tracks without those that overlap a surer one or the ego itself: solid things do not."""
        order = sorted(self.tracks, key=lambda each: (-each.hits, each.number))
        boxes = np.array([[*track.state[:2], track.heading] for track in order]).reshape(-1, 3)
        sizes = self.config.solid_share * np.array([track.size[:2] for track in order]).reshape(-1, 2)
        overlap = boxes_overlap(boxes[:, None], sizes[:, None], boxes[None], sizes[None])
        kept = ~boxes_overlap(pose, self.config.solid_share * self.ego_size, boxes, sizes)
        for row in range(len(order)):
            kept[row] &= not np.any(overlap[row, :row] & kept[:row])
        return sorted((track for track, keep in zip(order, kept, strict=True) if keep), key=lambda each: each.number)

    def _predict(self, track: Track, dt: float) -> None:
        track.motion.predict(dt, _acceleration_std(track.kind, self.config))
        track.age += 1

    def _assign(self, found: Detections, position: Array, pose: Array) -> dict[int, Track]:
        """Return the tracks of the detections, by their rows: near along and across the line of sight."""
        if not len(found) or not self.tracks:
            return {}
        config = self.config
        state = np.array([track.state[:2] for track in self.tracks])
        spread = np.array([track.motion.covariance[:2, :2] for track in self.tracks])
        offset = state[None] - position[:, None]
        angle = found.azimuth + pose[2]
        axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
        apart = np.einsum("dik,dtk->dti", axes, offset)
        variance = np.einsum("dik,tkl,dil->dti", axes, spread, axes)
        variance += config.position_variance_factor * found.position_std[:, None] ** 2
        distance = np.linalg.norm(apart / (np.sqrt(variance) + config.gate_m), axis=-1)
        reach = config.reach_m + config.reach_share * np.hypot(*(position - pose[:2]).T)
        same = GROUPS[found.kind][:, None] == GROUPS[[track.kind for track in self.tracks]][None]
        fits = (distance < config.gate) & (np.linalg.norm(offset, axis=-1) < reach[:, None]) & same
        rows, columns = linear_sum_assignment(np.where(fits, distance, FAR))
        return {int(r): self.tracks[c] for r, c in zip(rows, columns, strict=True) if fits[r, c]}

    def _correct(self, track: Track, found: Detections, row: int, position: Array, pose: Array) -> None:
        config = self.config
        velocity = _velocity(found, row, pose) if track.kind in MOVABLE else np.zeros(2)
        noise = np.eye(4) * config.velocity_variance_factor * found.velocity_std[row] ** 2
        noise[:2, :2] = self._position_noise(found, row, pose)
        track.motion.measure(np.concatenate([position, velocity]), noise)
        chance = np.clip(found.existence[row], 0.05, 0.98)
        raised = min(math.log(chance / (1.0 - chance)) + DETECTED_LOG_ODDS, config.gain)
        track.log_odds = min(track.log_odds + raised, config.most)
        track.hits += 1
        track.chance = config.class_memory * track.chance + (1.0 - config.class_memory) * found.chance[row]
        track.size = config.size_memory * track.size + (1.0 - config.size_memory) * found.size[row]
        turn = math.remainder(float(found.heading[row] + pose[2]) - track.heading, FULL_TURN_RAD)
        track.heading += 0.3 * turn if abs(turn) < 2.0 else turn * (track.age < 5)
        if track.speed > 2.0 and track.kind in MOVABLE:
            track.heading = math.atan2(track.state[3], track.state[2])
        track.unseen = 0

    def _position_noise(self, found: Detections, row: int, pose: Array) -> Array:
        least = self.config.least_position_std_m**2 * np.eye(2)
        return self.config.position_variance_factor * _position_covariance(found, row, pose) + least

    def _miss(self, track: Track, pose: Array) -> None:
        track.log_odds -= self.config.missed if self._in_sight(track, pose) else self.config.hidden
        track.unseen += 1

    def _in_sight(self, track: Track, pose: Array) -> bool:
        """Return whether some camera should see a track: it is in an image, and nothing that is likely is before it."""
        place = to_frame(track.state[:2], pose)
        distance, azimuth = math.hypot(*place), math.atan2(place[1], place[0])
        if distance > self.config.sight_m:
            return False
        point = np.array([[place[0], place[1], 0.5 * track.size[2]]])
        if not any(bool(camera.project(point)[1][0]) for camera in self.rig.cameras):
            return False
        for other in self.tracks:
            at = to_frame(other.state[:2], pose)
            nearer = math.hypot(*at)
            if other is track or other.log_odds < 0.0 or nearer > distance - 1.0:
                continue
            half = math.atan2(0.5 * max(other.size[1], 0.6 * other.size[0]), max(nearer, 1.0))
            if abs(math.remainder(math.atan2(at[1], at[0]) - azimuth, FULL_TURN_RAD)) < half:
                return False
        return True

    def _begin(self, found: Detections, row: int, position: Array, pose: Array) -> None:
        chance = np.clip(found.existence[row], 0.05, 0.98)
        track = Track(
            number=self._next,
            chance=found.chance[row].copy(),
            motion=self._new_motion(found, row, position, pose),
            heading=float(found.heading[row] + pose[2]),
            size=found.size[row].copy(),
            log_odds=self.config.birth + min(math.log(chance / (1.0 - chance)), self.config.gain),
        )
        self._next += 1
        self.tracks.append(track)

    def _new_motion(self, found: Detections, row: int, position: Array, pose: Array) -> MotionFilter:
        """Return the filter of a new track; its first measured velocity tells whether it stands."""
        kind, noise = ObjectClass(int(found.kind[row])), self._position_noise(found, row, pose)
        if kind not in MOVABLE:
            return MotionFilter.standing(position, noise)
        spread = _new_velocity_covariance(kind, float(found.heading[row] + pose[2]), self.config)
        motion = MotionFilter.movable(position, noise, spread, self.config.moving, self.config.motion_kept)
        motion.measure_velocity(_velocity(found, row, pose), np.eye(2) * found.velocity_std[row] ** 2)
        return motion


def _velocity(found: Detections, row: int, pose: Array) -> Array:
    """Return the measured velocity in the odometry frame; vehicles move where they point, so never backwards."""
    velocity = from_frame(found.velocity[row], np.array([0.0, 0.0, pose[2]]))
    if GROUPS[found.kind[row]] != GROUPS[ObjectClass.VEHICLE]:
        return velocity
    heading = found.heading[row] + pose[2]
    forward = np.array([math.cos(heading), math.sin(heading)])
    return velocity - min(float(velocity @ forward), 0.0) * forward


def _acceleration_std(kind: ObjectClass, config: TrackConfig) -> float:
    return config.vehicle_acceleration_mps2 if kind in VEHICLES else config.walker_acceleration_mps2


def _new_velocity_covariance(kind: ObjectClass, heading: float, config: TrackConfig) -> Array:
    if kind not in VEHICLES:
        return np.eye(2) * config.new_walker_speed_mps**2
    return _covariance(heading, np.array([config.new_vehicle_speed_mps, config.new_vehicle_drift_mps]))


def _position_covariance(found: Detections, row: int, pose: Array) -> Array:
    return _covariance(found.azimuth[row] + pose[2], found.position_std[row])


def _covariance(direction: float, std: Array) -> Array:
    """Return the covariance that has these standard deviations along and across a direction (rad)."""
    turn = np.array([[math.cos(direction), -math.sin(direction)], [math.sin(direction), math.cos(direction)]])
    return np.asarray(turn @ np.diag(std**2) @ turn.T)
