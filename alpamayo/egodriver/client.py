"""The client: drive with a driver that another process or machine serves by the egodriver contract."""

import hashlib
import re
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import grpc
import numpy as np
from jaxtyping import Float, Float64, UInt8

from alpamayo.egodriver import messages
from alpamayo.egodriver.messages import LIMITS, SECOND_US, STEP_US, contract, protocol
from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.datatypes.rig_presets import rig_by_name
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError, one_line, shown
from alpamayo_sim.geometry import rotate, to_frame, wrap_angle
from alpamayo_sim.settings import real_number, whole_number

Array = np.ndarray

SCHEME = "grpc://"
ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
FIRST_US = 10 * SECOND_US  # the time of the first step: the history before it needs times, too
TIMEOUT_S = 10.0
CLOSE_S = 1.0
WARM_UP_S = 2.0  # so long a driver may answer with no plan while it gathers frames; the ego keeps its speed
OFF_NOW_M = 2.0  # a plan that begins further away than this is not about the ego's present pose
SIDE_PIXELS = (16, 4096)
USUAL_SIZE = (224, 128)  # width and height (pixels) of images


def address_of(name: str) -> str:
    """Return HOST:PORT of ``grpc://HOST:PORT``, or of HOST:PORT itself.

    Raises:
        InputError: it is neither.
    """
    found = ADDRESS.fullmatch(name.removeprefix(SCHEME))
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise InputError(f"{shown(name)} is no address of a driver, must be grpc://HOST:PORT")
    return found[0]


class Connection:
    """Calls to one server; what goes wrong is one line.

    Args:
        address: HOST:PORT.
        timeout_s: for each call.
    """

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self.timeout_s = timeout_s
        channel = grpc.insecure_channel(address, options=messages.CHANNEL_OPTIONS)
        self._stub = protocol.EgodriverServiceStub(channel)
        self._end = weakref.finalize(self, channel.close)

    def call(self, name: str, request: Any, **options: Any) -> Any:
        """Make a call and wait for its answer.

        Raises:
            InputError: there is no answer in time, or it is an error.
        """
        try:
            return getattr(self._stub, name)(request, **{"timeout": self.timeout_s, **options})
        except grpc.RpcError as error:
            raise self._said(name, error) from None

    def version(self) -> tuple[str, int, tuple[int, int] | None]:
        """Return what the server says of itself, the revision of the contract, and the size of images if it tells it.

        Raises:
            InputError: as for ``call``, or a revision that is not known.
        """
        try:
            answer, call = self._stub.get_version.with_call(protocol.Empty(), timeout=self.timeout_s)
        except grpc.RpcError as error:
            raise self._said("get_version", error) from None
        text = one_line(f"{answer.version_id[:300]} {answer.git_hash[:100]}".strip())
        metadata = call.initial_metadata()
        return text, messages.revision_of(metadata, answer.version_id), messages.size_of(metadata)

    def close(self) -> None:
        """End the connection."""
        self._end()

    def _said(self, name: str, error: Any) -> InputError:
        code, details = error.code(), one_line(str(error.details() or ""))[:300]
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return InputError(f"{self.address} gave no answer to {name} within {self.timeout_s:g} s")
        if code == grpc.StatusCode.UNAVAILABLE:
            return InputError(f"no driver answers at {self.address}; is it served there? ({details})")
        if code == grpc.StatusCode.UNIMPLEMENTED:
            return InputError(f"{self.address} does not serve {name} of egodriver.EgodriverService")
        return InputError(f"{self.address} answered {name} with {code.name}: {details or 'no reason'}")


@dataclass(frozen=True, eq=False)
class Step:
    """What one session sends before a decision, in the local frame or the ego's: pose, dynamics, route, images."""

    stamp_us: int
    pose: Float64[Array, "3"]
    speed: float
    acceleration: float
    turning: float
    route: Float[Array, "n 2"]
    images: Sequence[UInt8[Array, "height width 3"]] = ()


class RemoteSession:
    """One session at a server.

    Args:
        connection: to the server.
        revision: of the contract that the server speaks.
        cameras: that images will come from.
        seed: of the session.
        scene_id: for the server's logs.
        jpeg_quality: of images; 0 is PNG.

    Raises:
        InputError: the server does not start it.
    """

    def __init__(
        self,
        connection: Connection,
        revision: int,
        cameras: Sequence[Camera],
        seed: int,
        scene_id: str,
        jpeg_quality: int = 0,
    ) -> None:
        self.uuid = str(uuid.uuid4())
        self._connection, self._cameras, self._jpeg_quality = connection, cameras, jpeg_quality
        request = protocol.DriveSessionRequest(session_uuid=self.uuid, random_seed=seed)
        request.debug_info.scene_id = scene_id
        request.rollout_spec.vehicle.available_cameras.extend(messages.camera_messages(cameras, revision))
        connection.call("start_session", request, metadata=contract.contract_metadata(revision))
        self.close = weakref.finalize(self, _close, connection, self.uuid)

    def pose(self, stamp_us: int, pose: Float64[Array, "3"], speed: float, acceleration: float, turning: float) -> None:
        """Send one pose; AlpaSim's drivers take one in a message."""
        request = protocol.RolloutEgoTrajectory(session_uuid=self.uuid)
        request.trajectory.CopyFrom(messages.trajectory_of(np.array([stamp_us]), pose[None]))
        state = request.dynamic_states.add()
        state.linear_velocity.x, state.linear_acceleration.x, state.angular_velocity.z = speed, acceleration, turning
        self._connection.call("submit_egomotion_observation", request)

    def observe(self, step: Step) -> None:
        """Send the pose, the route and the images of a step."""
        self.pose(step.stamp_us, step.pose, step.speed, step.acceleration, step.turning)
        route = messages.route_of(step.stamp_us, step.route)
        self._connection.call("submit_route", protocol.RouteRequest(session_uuid=self.uuid, route=route))
        for camera, rgb in zip(self._cameras, step.images, strict=False):
            self._connection.call("submit_image_observation", self._shot(step.stamp_us, camera, rgb))

    def drive(self, stamp_us: int) -> Any:
        """Ask for a plan; return the answer as it came."""
        request = protocol.DriveRequest(session_uuid=self.uuid, time_now_us=stamp_us, time_query_us=stamp_us + STEP_US)
        return self._connection.call("drive", request)

    def _shot(self, stamp_us: int, camera: Camera, rgb: UInt8[Array, "height width 3"]) -> Any:
        shot = protocol.RolloutCameraImage(session_uuid=self.uuid)
        image = shot.camera_image
        image.logical_id, image.frame_start_us, image.frame_end_us = camera.name, stamp_us, stamp_us
        image.image_bytes = messages.image_bytes(rgb, self._jpeg_quality)
        return shot


def plan_of(
    trajectory: Any, pose: Float64[Array, "3"], stamp_us: int, what: str = "the plan"
) -> Float64[Array, "64 4"]:
    """Return a plan in the frame of the ego, every 0.1 s to 6.4 s; beyond its end it goes on at its last speed.

    Args:
        trajectory: the message, in the local frame.
        pose: of the ego in the local frame.
        stamp_us: the time of the pose.
        what: for errors.

    Raises:
        InputError: it is no plan from here and now on.
    """
    times, poses = messages.poses_of(trajectory, what)
    ahead = times > stamp_us
    if not ahead.any():
        raise InputError(f"{what} has no pose after the time that was asked for")
    poses = np.column_stack([to_frame(poses[:, :2], pose[None]), wrap_angle(poses[:, 2] - pose[2])])
    gap = float(np.hypot(*poses[~ahead][-1, :2])) if not ahead.all() else 0.0
    if gap > OFF_NOW_M:
        raise InputError(f"{what} begins {gap:.1f} m away from the ego, must begin at its pose in the local frame")
    seconds = np.concatenate([[0.0], (times[ahead] - stamp_us) / SECOND_US])
    rows = np.concatenate([np.zeros((1, 3)), poses[ahead]])
    rows[:, 2] = np.unwrap(rows[:, 2])
    return _resampled(seconds, rows)


class RemoteDriver:
    """A driver behind ``grpc://HOST:PORT``.

    Every step sends the pose, the route and one image of each camera. The server learns nothing of the ground truth,
    and what it answers is read as numbers: its free-form debug bytes are never looked at. The plan comes first, then
    the candidates that the server tells, with equal weights.

    Args:
        address: ``grpc://HOST:PORT``.
        timeout_s: for each call.
        rig: the cameras that are declared and drawn, by the name of a preset.
        width: of their images (pixels); as the server tells, or 224.
        height: of their images (pixels); as the server tells, or 128.
        candidates: how many further plans of an answer are taken, at most; a guard chooses among them.
        jpeg_quality: 1 to 100 sends images as JPEG, for long ways; 0 as PNG without compression, which loses nothing.

    Raises:
        InputError: no server, or one that does not speak the contract.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = TIMEOUT_S,
        rig: str = "alpamayo",
        width: int | None = None,
        height: int | None = None,
        candidates: int = 0,
        jpeg_quality: int = 0,
    ) -> None:
        self.name = address
        self._connection = Connection(address_of(address), real_number(timeout_s, "timeout_s", (0.001, 3600.0), " s"))
        version, self._revision, told = self._connection.version()
        usual = told or USUAL_SIZE
        size = [
            whole_number(usual[k] if given is None else given, what, SIDE_PIXELS)
            for k, (what, given) in enumerate((("width", width), ("height", height)))
        ]
        self.needs = Needs(rig=rig_by_name(rig, *size), frames=1)
        self.weights_digest = hashlib.sha256(version.encode()).hexdigest()
        self.execution = f"served: {version}"
        self._candidates = whole_number(candidates, "candidates", (0, LIMITS.plans))
        self._jpeg_quality = whole_number(jpeg_quality, "jpeg_quality", (0, 100))
        self._session: RemoteSession | None = None
        self._scene, self._seed = "", 0
        self._pose: Array = np.zeros(3)  # of the ego, in the local frame of the session
        self._last_us: int | None = None

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        """Start a session for a scene; the server's seed comes from ``rng``."""
        self._scene, self._seed = scene.id[: LIMITS.name_characters], int(rng.integers(1 << 62))
        self._begin()

    def act(self, observation: Observation) -> Decision:
        """Send what the ego sees and where it is, and return the plan of the answer.

        Raises:
            InputError: no answer in time, or one that is no plan.
        """
        session, now = self._session, FIRST_US + round(observation.time * SECOND_US)
        if session is None:
            raise InputError("the driver must be reset before it acts")
        history = observation.history.astype(np.float64)
        steps = 0 if self._last_us is None else round((now - self._last_us) / STEP_US)
        if 0 < steps < len(history):
            self._pose = _led_on(self._pose, history[-1 - steps, :3])
        else:
            session = self._first_step(history, now)
        self._last_us = now
        frames = observation.cameras
        shots = () if frames is None else frames.rgb[:, -1]
        images = [cv2.merge(tuple(np.ascontiguousarray(rgb))) for rgb in shots]
        moving = observation.speed, observation.acceleration, observation.speed * observation.curvature
        session.observe(Step(now, self._pose, *moving, observation.route, images))
        return self._decision(session.drive(now), observation, now)

    def _begin(self) -> RemoteSession:
        if self._session is not None:
            self._session.close()
        rig = self.needs.rig
        cameras = rig.cameras if rig else ()
        self._session = RemoteSession(
            self._connection, self._revision, cameras, self._seed, self._scene, self._jpeg_quality
        )
        self._pose, self._last_us = np.zeros(3), None
        return self._session

    def _first_step(self, history: Float64[Array, "n 4"], now: int) -> RemoteSession:
        """Send the poses before the first step; the local frame of a session is that of the ego in this step."""
        session = self._session if self._last_us is None and self._session else self._begin()
        turning = np.gradient(np.unwrap(history[:, 2]), PLAN_DT)
        acceleration = np.gradient(history[:, 3], PLAN_DT)
        rows = np.column_stack([history, acceleration, turning])[:-1]
        for ago, row in zip(range(len(rows), 0, -1), rows, strict=True):
            session.pose(now - STEP_US * ago, row[:3], *row[3:].tolist())
        return session

    def _decision(self, answer: Any, observation: Observation, now: int) -> Decision:
        if answer.terminate_session:
            raise InputError("it has ended the session")
        if not len(answer.trajectory.poses):
            if observation.time > WARM_UP_S:
                raise InputError(f"it gives no plan, {observation.time:.1f} s after its first image")
            plans = [_straight(observation.speed)]
        else:
            sampled = answer.debug_info.sampled_trajectories[: self._candidates]
            plans = [plan_of(answer.trajectory, self._pose, now)]
            plans += [plan_of(each, self._pose, now, "a candidate") for each in sampled]
        share = np.full(len(plans), 1.0 / len(plans), np.float32)
        return Decision(np.stack(plans).astype(np.float32), share)


def _close(connection: Connection, name: str) -> None:
    """Close a session; a server that is gone has closed it."""
    try:
        connection.call("close_session", protocol.DriveSessionCloseRequest(session_uuid=name), timeout=CLOSE_S)
    except (InputError, ValueError):  # ValueError: the channel was closed before
        return


def _led_on(pose: Float64[Array, "3"], seen: Float64[Array, "3"]) -> Float64[Array, "3"]:
    """Return the present pose in the frame of an earlier ``pose``, which is ``seen`` from the present one."""
    turn = pose[2] - seen[2]
    return np.array([*(pose[:2] - rotate(seen[:2], turn)), turn])


def _straight(speed: float) -> Float64[Array, "64 4"]:
    plan = np.zeros((PLAN_STEPS, 4))
    plan[:, 0], plan[:, 3] = speed * PLAN_DT * np.arange(1, PLAN_STEPS + 1), speed
    return plan


def _resampled(seconds: Float64[Array, " n"], rows: Float64[Array, "n 3"]) -> Float64[Array, "64 4"]:
    """Return poses at the times of a plan, with speeds; ``seconds`` begin at 0."""
    asked = PLAN_DT * np.arange(PLAN_STEPS + 1)
    found = np.column_stack([np.interp(asked, seconds, column) for column in rows.T])
    last = rows[-1] - rows[-2]
    rate = last[:2] / (seconds[-1] - seconds[-2])
    found[:, :2] += np.maximum(asked - seconds[-1], 0.0)[:, None] * rate
    moved = np.diff(found[:, :2], axis=0)
    forward = np.sign(np.sum(moved * np.column_stack([np.cos(found[1:, 2]), np.sin(found[1:, 2])]), axis=1))
    between = forward * np.hypot(*moved.T) / PLAN_DT  # mean speeds from step to step
    after = np.concatenate([between[1:], between[-1:]])
    return np.column_stack([found[1:], 0.5 * (between + after)])
