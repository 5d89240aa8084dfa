"""One session of a served driver: what has arrived of images, motion and route, and the observation that it makes."""

import time
from collections import deque
from collections.abc import Sequence
from threading import Lock

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from alpamayo.drivers import own
from alpamayo.egodriver.messages import LIMITS, SECOND_US, STEP_US, image_of
from alpamayo_datasets.recorded_cameras import RecordedCameras
from alpamayo_datasets.route import instructions
from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.observation import HISTORY_STEPS, ROUTE_POINTS, ROUTE_SPACING, CameraFrames, Observation
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.scene import Category, Instruction, Provenance, RoadMap, Route, Scene, Track
from alpamayo_sim.engine.observe import history_in_frame, navigation
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import arc_length, from_frame, interpolate, project, to_frame

Array = np.ndarray

KEPT_POSES = 1024
KEPT_US = 3 * SECOND_US  # of motion: a history, and a late call
KEPT_IMAGES = 64  # of one camera
SESSION_BYTES = 64 << 20  # of encoded images, shared by the cameras of a session
MOST_IMAGES = 1_000_000  # of one camera in one session
TURNING_MPS = 0.5  # a slower ego has no curvature
EGO_SIZE_M = (4.9, 1.9, 1.6)  # the contract does not tell it


class CameraStream:
    """One declared camera: its newest images, which stay encoded until a driver looks at them."""

    def __init__(self, camera: Camera, kept_bytes: int) -> None:
        self.camera = camera
        self.times: Float64[Array, " n"] = np.zeros(0)  # s from the first image or pose of the session
        self._kept: deque[bytes] = deque()
        self._budget = kept_bytes

    def add(self, moment: float, data: bytes) -> None:
        """Add an image of a time (s); one that is not newer than the last is left out.

        Raises:
            InputError: the image is too large, or the session has too many.
        """
        if len(data) > LIMITS.image_bytes or len(self.times) >= MOST_IMAGES:
            raise InputError(
                f"camera {self.camera.name!r}: an image of {len(data)} bytes is too large, or one too many"
            )
        if len(self.times) and moment <= self.times[-1]:
            return
        self.times = np.append(self.times, moment)
        self._kept.append(data)
        while len(self._kept) > 1 and (len(self._kept) > KEPT_IMAGES or sum(map(len, self._kept)) > self._budget):
            self._kept.popleft()

    def image(self, frame: int) -> UInt8[Array, "height width 3"]:
        """Return an image, or the oldest one that is still kept."""
        first = len(self.times) - len(self._kept)
        return image_of(self._kept[max(frame - first, 0)], self.camera)


class Motion:
    """The motion of the ego as it arrived: poses x, y, yaw (m, rad), and speeds where they are told."""

    def __init__(self) -> None:
        self._times: deque[int] = deque(maxlen=KEPT_POSES)
        self._rows: deque[tuple[float, ...]] = deque(maxlen=KEPT_POSES)

    def __len__(self) -> int:
        return len(self._times)

    def add(
        self,
        times: Int64[Array, " n"],
        poses: Float64[Array, "n 3"],
        dynamics: Sequence[tuple[float, float, float]],
    ) -> None:
        """Add poses at times (µs); ``dynamics`` are speed, acceleration and yaw rate of each, or there are none.

        Poses that are not newer than the last are left out.

        Raises:
            InputError: the numbers of poses and of states differ.
        """
        if len(dynamics) not in (0, len(times)):
            raise InputError(f"{len(times)} poses have {len(dynamics)} dynamic states, must be as many, or none")
        for row, stamp in enumerate(times.tolist()):
            if not self._times or stamp > self._times[-1]:
                self._times.append(stamp)
                self._rows.append((*poses[row].tolist(), *(dynamics[row] if len(dynamics) else (np.nan,) * 3)))
        while self._times and self._times[-1] - self._times[0] > KEPT_US:
            self._times.popleft()
            self._rows.popleft()

    def at(self, moments_us: Array) -> Float64[Array, "n 6"]:
        """Return x, y, yaw, speed, acceleration and yaw rate at times (µs).

        Before the first pose the ego is taken to have kept its speed and heading; after the last it stays there.
        """
        seconds = (np.array(self._times, np.float64) - self._times[0]) / SECOND_US
        asked = (np.asarray(moments_us, np.float64) - self._times[0]) / SECOND_US
        rows = np.array(self._rows, np.float64)
        rows[:, 2] = np.unwrap(rows[:, 2])
        _complete(seconds, rows)
        found = np.column_stack([np.interp(asked, seconds, column) for column in rows.T])
        before = np.minimum(asked, 0.0)[:, None] * rows[0, 3]
        found[:, :2] += before * np.array([np.cos(rows[0, 2]), np.sin(rows[0, 2])])
        return found


class Session:
    """One rollout: a driver that was reset, and what has arrived for it.

    ``lock`` guards what arrives; calls of one session may come from several threads.
    """

    def __init__(self, driver: Driver, seed: int, cameras: Sequence[Camera], scene_id: str) -> None:
        self.driver = driver
        self.lock = Lock()
        self.used_s = time.monotonic()
        kept = SESSION_BYTES // max(len(cameras), 1)
        self._streams = {camera.name: CameraStream(camera, kept) for camera in cameras}
        self._cameras: RecordedCameras | None = None
        self._motion = Motion()
        self._start_us: int | None = None  # of what has arrived
        self._first_us: int | None = None  # of the decisions: the time 0 of observations
        self._line: Float64[Array, "n 2"] | None = None  # of the route, in the local frame
        self._instructions: tuple[Instruction, ...] = ()
        own.reset(driver, _scene(scene_id), np.random.default_rng(seed))

    def add_image(self, name: str, stamp_us: int, data: bytes) -> None:
        """Take an image of a camera.

        Raises:
            InputError: the camera was not declared, or the image is too large.
        """
        if self.driver.needs.rig is None:
            return
        stream = self._streams.get(name)
        if stream is None:
            raise InputError(f"the camera {name!r} was not declared when the session started")
        stream.add(self._seconds(stamp_us), data)

    def add_motion(
        self, times: Int64[Array, " n"], poses: Float64[Array, "n 3"], dynamics: Sequence[tuple[float, float, float]]
    ) -> None:
        """Take poses; see ``Motion.add``."""
        if len(times):
            self._seconds(int(times[0]))
        self._motion.add(times, poses, dynamics)

    def set_route(self, stamp_us: int, points: Float64[Array, "n 2"]) -> None:
        """Take a route x, y (m) in the ego frame of a time; with fewer than two points the last route stays."""
        if len(points) < 2 or not len(self._motion):
            return
        line = from_frame(points, self._motion.at(np.array([stamp_us]))[:, :3])
        if arc_length(line)[-1] > 0.0:
            self._line, self._instructions = line, instructions(_dense(line))

    def is_ready(self) -> bool:
        """Return whether there is what an observation needs: a pose, and an image of some camera that is seen."""
        return len(self._motion) > 0 and (self.driver.needs.rig is None or self._recorded() is not None)

    def decide(self, now_us: int) -> tuple[Decision, Float64[Array, "3"]]:
        """Return the decision of the driver at a time (µs), and the pose of the ego then."""
        observation, pose = self.observation(now_us)
        return own.act(self.driver, observation), pose

    def observation(self, now_us: int) -> tuple[Observation, Float64[Array, "3"]]:
        """Return what the driver observes at a time (µs), and the pose of the ego then, in the local frame."""
        ago = STEP_US * np.arange(1 - HISTORY_STEPS, 1)
        rows = self._motion.at(now_us + ago)
        self._first_us = now_us if self._first_us is None else self._first_us
        pose, (speed, acceleration, turning) = rows[-1, :3], rows[-1, 3:].tolist()
        route, text = self._route(pose)
        observation = Observation(
            time=(now_us - self._first_us) / SECOND_US,
            history=history_in_frame(rows[:, :4], pose),
            route=route,
            speed=speed,
            acceleration=acceleration,
            curvature=turning / speed if speed > TURNING_MPS else 0.0,
            size=np.array(EGO_SIZE_M, np.float32),
            navigation=text,
            cameras=self._frames(now_us),
        )
        return observation, pose

    def _seconds(self, stamp_us: int) -> float:
        if self._start_us is None:
            self._start_us = stamp_us
        return (stamp_us - self._start_us) / SECOND_US

    def _recorded(self) -> RecordedCameras | None:
        """Return the cameras that have images; None while none has."""
        streams = [stream for stream in self._streams.values() if len(stream.times)]
        if streams and (self._cameras is None or len(self._cameras.cameras) < len(streams)):
            self._cameras = RecordedCameras(streams)
        return self._cameras

    def _frames(self, now_us: int) -> CameraFrames | None:
        needs, cameras = self.driver.needs, self._recorded()
        if needs.rig is None or cameras is None:
            return None
        return cameras.observe(needs.rig, needs.frames, self._seconds(now_us), STEP_US / SECOND_US)

    def _route(self, pose: Float64[Array, "3"]) -> tuple[Float32[Array, "32 2"], str]:
        """Return the route ahead in the ego frame, and its instruction; straight on where none has arrived."""
        ahead = ROUTE_SPACING * np.arange(ROUTE_POINTS)
        if self._line is None:
            return np.column_stack([ahead, np.zeros(ROUTE_POINTS)]).astype(np.float32), ""
        (s,), _ = project(self._line, pose[None, :2])
        points = to_frame(interpolate(self._line, s + ahead), pose[None]).astype(np.float32)
        path = np.column_stack([self._line, np.zeros(len(self._line))]).astype(np.float32)
        return points, navigation(Route(path, instructions=self._instructions), float(s))


def plan_poses(decision: Decision, pose: Float64[Array, "3"], plan: int) -> Float64[Array, "65 3"]:
    """Return a plan as poses of the local frame, led by the present one."""
    rows = decision.plans[plan].astype(np.float64)
    ahead = np.column_stack([from_frame(rows[:, :2], pose[None]), rows[:, 2] + pose[2]])
    return np.concatenate([pose[None], ahead])


def plan_times(now_us: int) -> Int64[Array, " 65"]:
    """Return the times (µs) of ``plan_poses``."""
    return now_us + STEP_US * np.arange(PLAN_STEPS + 1, dtype=np.int64)


def _complete(seconds: Float64[Array, " n"], rows: Float64[Array, "n 6"]) -> None:
    """Put speeds, accelerations and yaw rates where they were not told: from the positions."""
    missing = np.isnan(rows[:, 3])
    if not missing.any():
        return
    rows[missing, 3] = np.hypot(_rate(rows[:, 0], seconds), _rate(rows[:, 1], seconds))[missing]
    rows[missing, 4] = _rate(rows[:, 3], seconds)[missing]
    rows[missing, 5] = _rate(rows[:, 2], seconds)[missing]


def _rate(values: Float64[Array, " n"], seconds: Float64[Array, " n"]) -> Float64[Array, " n"]:
    return np.gradient(values, seconds) if len(seconds) > 1 else np.zeros(len(values))


def _dense(line: Float64[Array, "n 2"]) -> Float64[Array, "m 2"]:
    """Return a line with a point every metre."""
    return interpolate(line, np.linspace(0.0, (length := arc_length(line)[-1]), 2 + int(min(length, LIMITS.waypoints))))


def _scene(name: str) -> Scene:
    """Return the scene of a world that is elsewhere: it holds the ego alone."""
    zeros = np.zeros((1, 3), np.float32)
    size, seen = np.array(EGO_SIZE_M, np.float32), np.ones(1, bool)
    track = Track("ego", Category.VEHICLE, zeros, zeros[:, 0], zeros[:, :2], size, seen)
    return Scene(name, RoadMap(), (track,), "ego", Provenance("egodriver", "of the other side"))
