"""The server: a driver of the registry behind AlpaSim's ``egodriver.EgodriverService``."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import grpc

from alpamayo.egodriver import messages, session
from alpamayo.egodriver.messages import LIMITS, contract, protocol
from alpamayo.provenance import code_version
from alpamayo_sim.datatypes.driver import Driver
from alpamayo_sim.datatypes.rig import Camera
from alpamayo_sim.errors import DriverError, InputError, is_machine_fault, one_line

_log = logging.getLogger(__name__)

LOOPBACK, PORT = "127.0.0.1", 50051
THREADS = 8
MAX_SESSIONS = 16
IDLE_S = 600.0  # a session without a call for so long gives way to a new one
KEPT_DRIVERS = 4  # without a session, for the next ones
STOP_S = 1.0  # for calls that run when the server stops


class EgodriverService:
    """Serve sessions of one driver; each has a driver object of its own, and one of them decides at a time.

    Args:
        make: makes a driver.
        version: names driver, weights and code; a client that sees another one takes nothing from earlier runs.

    Raises:
        InputError: the driver cannot be made, or it needs the ground truth, which the contract does not carry.
    """

    def __init__(self, make: Callable[[], Driver], version: str) -> None:
        driver = make()
        if driver.needs.truth or driver.needs.replays_recording:
            raise InputError(
                f"driver {driver.name!r} needs the ground truth, which the egodriver contract does not carry; "
                "serve one that drives by cameras or by its own state"
            )
        rig = driver.needs.rig
        self._image_size = () if rig is None else messages.size_metadata(rig.image_size)
        self._make = make
        self._version = version
        self._drivers = [driver]
        self._sessions: dict[str, session.Session] = {}
        self._lock, self._turn = Lock(), Lock()

    def get_version(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answer with the version, and in the metadata with the revision of the contract."""
        context.send_initial_metadata((*contract.contract_metadata(), *self._image_size))
        api = protocol.ALPASIM_API_VERSION
        return protocol.VersionId(version_id=self._version, git_hash=code_version(), grpc_api_version=api)

    def start_session(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Start a session: its cameras, its seed, and a driver that is reset."""
        with _answering(context):
            name = messages.name_of(request.session_uuid, "the session's uuid")
            revision = contract.client_revision(context, contract.CONTRACT_REVISION)
            declared = request.rollout_spec.vehicle.available_cameras
            scene = request.debug_info.scene_id[: LIMITS.name_characters] or name
            driver = self._driver_for(name)
            try:
                cameras = messages.cameras_of(declared, revision) if driver.needs.rig else ()
                _check_cameras(driver, cameras)
                started = session.Session(driver, request.random_seed & ((1 << 63) - 1), cameras, scene)
            except BaseException:
                self._give_back(driver)
                raise
            with self._lock:
                self._sessions[name] = started
            return protocol.SessionRequestStatus()

    def close_session(self, request: Any, context: grpc.ServicerContext) -> Any:
        """End a session."""
        with _answering(context):
            self._session(request)
            with self._lock:
                ended = self._sessions.pop(request.session_uuid)
            self._give_back(ended.driver)
            return protocol.Empty()

    def submit_image_observation(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take an image."""
        with self._of(request, context) as found:
            image = request.camera_image
            found.add_image(image.logical_id, messages.time_of(image.frame_end_us, "an image"), image.image_bytes)
        return protocol.Empty()

    def submit_egomotion_observation(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take poses of the ego."""
        with self._of(request, context) as found:
            times, poses = messages.poses_of(request.trajectory, "the ego's motion")
            found.add_motion(times, poses, [messages.dynamics_of(state) for state in request.dynamic_states])
        return protocol.Empty()

    def submit_route(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take the route; waypoints that are not finite are left out."""
        with self._of(request, context) as found:
            stamp = messages.time_of(request.route.timestamp_us, "the route")
            found.set_route(stamp, messages.waypoints_of(request.route))
        return protocol.Empty()

    def submit_recording_ground_truth(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Take nothing: no served driver sees the recording."""
        with self._of(request, context):
            return protocol.Empty()

    def drive(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Answer with the plan of the driver; empty, as AlpaSim's own drivers do, before a pose and an image came."""
        with self._of(request, context) as found:
            now = messages.time_of(request.time_now_us, "drive")
            if not found.is_ready():
                return protocol.DriveResponse()
            with self._turn:
                decision, pose = found.decide(now)
        times = session.plan_times(now)
        plans = [
            messages.trajectory_of(times, session.plan_poses(decision, pose, k)) for k in range(len(decision.plans))
        ]
        candidates = plans if len(plans) > 1 else []
        debug = protocol.DriveResponse.DebugInfo(sampled_trajectories=candidates[: LIMITS.plans])
        return protocol.DriveResponse(trajectory=plans[decision.chosen], debug_info=debug)

    @contextmanager
    def _of(self, request: Any, context: grpc.ServicerContext) -> Iterator[session.Session]:
        """Give the session of a request, alone."""
        with _answering(context):
            found = self._session(request)
            with found.lock:
                found.used_s = time.monotonic()
                yield found

    def _session(self, request: Any) -> session.Session:
        with self._lock:
            found = self._sessions.get(request.session_uuid)
        if found is None:
            raise _RefusedError(grpc.StatusCode.NOT_FOUND, "there is no session with this uuid; start one first")
        return found

    def _driver_for(self, name: str) -> Driver:
        """Return a driver without a session; one is made where none is left."""
        with self._lock:
            if name in self._sessions:
                raise _RefusedError(grpc.StatusCode.ALREADY_EXISTS, "a session with this uuid is open; close it first")
            self._end_idle()
            if len(self._sessions) >= MAX_SESSIONS:
                raise _RefusedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_SESSIONS} sessions are open; close one, or try later"
                )
            if self._drivers:
                return self._drivers.pop()
        return self._make()

    def _end_idle(self) -> None:
        """End the sessions whose client has gone without a word, where there are too many."""
        if len(self._sessions) >= MAX_SESSIONS:
            now = time.monotonic()
            self._sessions = {name: one for name, one in self._sessions.items() if now - one.used_s < IDLE_S}

    def _give_back(self, driver: Driver) -> None:
        with self._lock:
            if len(self._drivers) < KEPT_DRIVERS:
                self._drivers.append(driver)


class _RefusedError(Exception):
    """A call that is refused, with the code that the contract's transport has for it."""

    def __init__(self, code: Any, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def _answering(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn what a call raises into the status of its answer: one line, never a traceback."""
    try:
        yield
    except _RefusedError as error:
        code, text = error.code, str(error)
    except DriverError as error:
        code, text = grpc.StatusCode.INTERNAL, one_line(str(error))
    except (InputError, contract.ContractError) as error:
        code, text = grpc.StatusCode.INVALID_ARGUMENT, one_line(str(error))
    except Exception as error:
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if is_machine_fault(error) else grpc.StatusCode.INTERNAL
        text = one_line(f"{type(error).__name__}: {error}")
        _log.exception("a call failed")
    else:
        return
    context.abort(code, text)


def _check_cameras(driver: Driver, cameras: tuple[Camera, ...]) -> None:
    """Check that the declared cameras show something of what each camera of the driver looks at.

    Raises:
        InputError: one shows nothing.
    """
    if driver.needs.rig is None:
        return
    names = ", ".join(camera.name for camera in cameras) or "none"
    for wanted in driver.needs.rig.cameras:
        ahead = wanted.position + 1000.0 * wanted.rotation[:, 2]
        if not any(camera.project(ahead[None])[1][0] for camera in cameras):
            raise InputError(
                f"driver {driver.name!r} looks where {wanted.name!r} looks, and no declared camera does; "
                f"declared are: {names}"
            )


@contextmanager
def serving(service: EgodriverService, host: str = LOOPBACK, port: int = PORT) -> Iterator[int]:
    """Serve within the block; give the port, which the system chooses if ``port`` is 0.

    Raises:
        InputError: the address cannot be bound.
    """
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[*messages.CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)])
    protocol.add_EgodriverServiceServicer_to_server(service, server)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = server.add_insecure_port(where)
    except RuntimeError:
        bound = 0
    if not bound:
        raise InputError(f"cannot serve at {where}: the port is taken, or this machine has no such address")
    server.start()
    try:
        yield bound
    finally:
        server.stop(STOP_S).wait(STOP_S)
