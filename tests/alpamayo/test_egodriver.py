"""The egodriver contract on loopback: our server and client, each also against carla-driver-interface's other side."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alpamayo.closed_loop import drive
from alpamayo.drivers.registry import file_name_of, make_driver
from alpamayo_sim import testing
from alpamayo_sim.datatypes.decision import PLAN_STEPS, Decision
from alpamayo_sim.datatypes.driver import Driver, Needs
from alpamayo_sim.datatypes.observation import Observation
from alpamayo_sim.datatypes.rig import Camera, ftheta, pinhole
from alpamayo_sim.datatypes.rig_presets import front_rig
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.drivers import ConstantVelocity
from alpamayo_sim.errors import DriverError, InputError

pytest.importorskip("carla_driver_interface", reason="needs carla-driver-interface: pip install 'alpamayo[serve]'")
pytestmark = pytest.mark.filterwarnings("ignore:Protobuf gencode version:UserWarning")

STOP_WITHIN_S = 20.0  # asked are 5; the tests may share their cores
SMALL = {"rig": "front", "width": 32, "height": 32}  # images that are drawn quickly
SHIFT_M = 0.02  # between a plan and its copy that went over the wire, at float32 and finite differences


class Watching:
    """A driver that keeps its observations and plans a bend."""

    name = "watching"

    def __init__(self, frames: int = 2) -> None:
        self.needs = Needs(rig=front_rig(32, 32), frames=frames)
        self.seen: list[Observation] = []
        self.scenes: list[str] = []

    def reset(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scenes.append(scene.id)

    def act(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision(np.stack([bend(8.0, 0.02), bend(6.0, -0.01)]), np.array([0.7, 0.3], np.float32))


class Slow(ConstantVelocity):
    """A driver that takes its time."""

    def act(self, observation: Observation) -> Decision:
        time.sleep(1.0)
        return super().act(observation)


def bend(speed: float, curvature: float) -> Any:
    s = 0.1 * speed * np.arange(1, PLAN_STEPS + 1)
    turned = curvature * s
    xy = np.stack([np.sin(turned), 1.0 - np.cos(turned)], axis=1) / curvature
    return np.column_stack([xy, turned, np.full(PLAN_STEPS, speed)]).astype(np.float32)


def road(seconds: float = 2.0, speed: float = 10.0) -> Scenario:
    return testing.scenario(testing.moving("lead", x=60.0, speed=speed), duration=seconds)


@contextmanager
def served(make: Callable[[], Driver], version: str = "test") -> Iterator[str]:
    from alpamayo.egodriver.server import EgodriverService, serving

    with serving(EgodriverService(make, version), port=0) as port:
        yield f"grpc://127.0.0.1:{port}"


@contextmanager
def foreign(**methods: Callable[[Any], Any]) -> Iterator[str]:
    """Serve a driver of others: it answers every call emptily, but those in ``methods``."""
    from alpamayo.egodriver.messages import protocol
    from alpamayo.egodriver.server import serving

    empty = {
        "start_session": lambda request: protocol.SessionRequestStatus(),
        "drive": lambda request: protocol.DriveResponse(),
        "get_version": lambda request: protocol.VersionId(version_id="foreign-1"),
    }
    names = [f"submit_{what}" for what in ("image_observation", "egomotion_observation", "route")]
    names += ["submit_recording_ground_truth", "close_session", *empty]
    answers = {name: _answer(empty.get(name, lambda request: protocol.Empty())) for name in names}
    answers |= {name: _answer(method) for name, method in methods.items()}
    with serving(SimpleNamespace(**answers), port=0) as port:  # type: ignore[arg-type]
        yield f"grpc://127.0.0.1:{port}"


def _answer(method: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda request, context: method(request)


def plan_message(request: Any, count: int = 40, x: float = 1.0, **changed: float) -> Any:
    """Return a straight plan; AlpaSim's vehicle starts at the origin of the local frame."""
    from alpamayo.egodriver.messages import protocol

    answer = protocol.DriveResponse()
    for k in range(count):
        entry = answer.trajectory.poses.add(timestamp_us=request.time_now_us + 100_000 * k)
        entry.pose.vec.x, entry.pose.quat.w = x * k, 1.0
        for name, value in changed.items():
            setattr(entry.pose.vec, name, value)
    return answer


def remote(address: str, **arguments: Any) -> Driver:
    return make_driver(address, arguments={**SMALL, **arguments})


def test_a_served_driver_drives_as_in_process() -> None:
    here = drive(road(), ConstantVelocity())
    with served(ConstantVelocity) as address:
        there = drive(road(), remote(address))
    assert there.driver == address
    np.testing.assert_allclose(there.ego_pose, here.ego_pose, atol=0.005)
    np.testing.assert_allclose(there.plans, here.plans, atol=SHIFT_M)


def test_it_sees_what_the_client_draws_to_the_last_bit_and_knows_where_it_is() -> None:
    watching, sent = Watching(), Watching()
    with served(lambda: watching) as address:
        driver = remote(address, candidates=2)
        act = driver.act

        def kept(observation: Observation) -> Decision:
            sent.seen.append(observation)
            return act(observation)

        driver.act = kept  # type: ignore[method-assign]
        episode = drive(road(), driver)
    assert len(watching.seen) == len(sent.seen) == episode.steps > 10
    for mine, other in zip(sent.seen, watching.seen, strict=True):
        assert mine.cameras is not None
        assert other.cameras is not None
        np.testing.assert_array_equal(other.cameras.rgb[:, -1], mine.cameras.rgb[:, -1])
        np.testing.assert_allclose(other.history, mine.history, atol=0.003)
        np.testing.assert_allclose(other.route, mine.route, atol=0.05)
        np.testing.assert_allclose(other.cameras.times, [[-0.1, 0.0]] if other.time else [[0.0, 0.0]], atol=1e-6)
        assert other.time == pytest.approx(mine.time, abs=1e-6)
        assert (other.speed, other.acceleration) == pytest.approx((mine.speed, mine.acceleration), abs=1e-4)
    assert episode.plans.shape[1] == 3  # the chosen one, and the two candidates
    np.testing.assert_allclose(episode.plans[5, 2, :, :3], bend(6.0, -0.01)[:, :3], atol=SHIFT_M)
    np.testing.assert_allclose(episode.plans[5, 0], bend(8.0, 0.02), atol=0.05)


def test_two_episodes_have_sessions_of_their_own() -> None:
    watching = Watching()
    with served(lambda: watching) as address:
        driver = remote(address)
        for _ in range(2):
            drive(road(0.5), driver)
    assert len(watching.scenes) == 2
    assert [seen.time for seen in watching.seen].count(0.0) == 2


def test_their_client_drives_with_our_server() -> None:
    from carla_driver_interface.testing import FakeCamera, FakeLoop

    watching = Watching()
    with (
        served(lambda: watching) as address,
        FakeLoop(address.removeprefix("grpc://"), [FakeCamera(width=64, height=64, fov_deg=100.0)]) as loop,
    ):
        result = loop.run(12)
    assert result.steps == 12
    assert result.ego.positions[-1, 0] == pytest.approx(11 * 0.1 * 8.0, abs=0.2)  # it follows the bend of 8 m/s
    frames = watching.seen[-1].cameras
    assert frames is not None
    assert frames.rgb[0, -1].max() > 0


def test_our_client_drives_with_their_server() -> None:
    from carla_driver_interface.policies.constant_speed import ConstantSpeedPolicy
    from carla_driver_interface.server import serving

    with serving(ConstantSpeedPolicy(cruise_speed_mps=5.0), port=0, host="127.0.0.1") as port:
        episode = drive(road(3.0), remote(f"grpc://127.0.0.1:{port}"))
    assert episode.ego_speed[-1] == pytest.approx(5.0, abs=1.0)
    np.testing.assert_allclose(episode.plans[0, 0, -1], [32.0, 0.0, 0.0, 5.0], atol=0.1)  # 4 s, and on at its speed


@pytest.mark.parametrize("alpasim", [False, True])
def test_the_preflight_passes_what_drives(alpasim: bool) -> None:
    from carla_driver_interface.policies.route_follower import RouteFollowerPolicy
    from carla_driver_interface.server import serving

    from alpamayo.egodriver.preflight import Outcome, preflight

    if alpasim:
        with serving(RouteFollowerPolicy(), port=0, host="127.0.0.1", mode="alpasim") as port:
            found = preflight(f"127.0.0.1:{port}", lenient())
        checks = [check for check in found if check.name != "NaN in the route"]
    else:
        with served(ConstantVelocity) as address:
            checks = found = preflight(address, lenient())
    assert [check.name for check in found][:2] == ["contract", "one first frame"]
    assert len(found) == 8
    assert {check.outcome for check in checks} <= {Outcome.PASS, Outcome.SKIPPED}, checks


def lenient() -> Any:
    """Return the settings of a pre-flight on a machine that has other work."""
    from alpamayo.egodriver.preflight import PreflightConfig

    return PreflightConfig(decision_s=5.0, steps=3, slow_steps=3)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda request: plan_message(request, x=np.nan), "not finite"),
        (lambda request: plan_message(request, count=3), "must reach 2 s"),
        (lambda request: plan_message(request, x=100.0), "in metres"),
        (lambda request: plan_message(request, y=50.0), "begins 50.0 m away"),
        (lambda request: SimpleNamespace(), "answered drive with"),
    ],
)
def test_the_preflight_says_what_is_wrong(answer: Callable[[Any], Any], words: str) -> None:
    from alpamayo.egodriver.preflight import Outcome, preflight

    with foreign(drive=answer) as address:
        (first,) = [check for check in preflight(address, lenient()) if check.name == "one first frame"]
    assert first.outcome == Outcome.FAIL
    assert words in first.why


@pytest.mark.parametrize(
    ("methods", "arguments", "words"),
    [
        ({"drive": lambda request: plan_message(request, x=np.nan)}, {}, "not finite"),
        ({"drive": lambda request: plan_message(request, count=0)}, {}, "gives no plan, 2.1 s"),
        ({"drive": lambda request: plan_message(request, count=5000)}, {}, "5000 poses, at most 4096"),
        ({"drive": lambda request: time.sleep(1.0)}, {"timeout_s": 0.3}, "no answer to drive within 0.3 s"),
        ({"start_session": lambda request: 1 / 0}, {}, "answered start_session with UNKNOWN"),
    ],
)
def test_a_foreign_driver_that_answers_wrongly_is_one_line(
    methods: dict[str, Callable[[Any], Any]], arguments: dict[str, Any], words: str
) -> None:
    with foreign(**methods) as address, pytest.raises(DriverError, match=words) as caught:
        drive(road(3.0), remote(address, **arguments))
    assert "\n" not in str(caught.value)
    assert address in str(caught.value)


def test_debug_bytes_of_the_other_side_are_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "exploded"),)

    def answer(request: Any) -> Any:
        found = plan_message(request, x=0.0)
        found.debug_info.unstructured_debug_info = pickle.dumps(Bomb())
        return found

    with foreign(drive=answer) as address:
        drive(road(0.5), remote(address))
    assert not list(tmp_path.iterdir())


def test_a_driver_that_is_not_there_and_a_wrong_address() -> None:
    with pytest.raises(DriverError, match=r"no driver answers at 127.0.0.1:1\b"):
        remote("grpc://127.0.0.1:1", timeout_s=5.0)
    for name in ("grpc://nowhere", "grpc://host:0", "grpc://host:99999", "grpc://a/b:1"):
        with pytest.raises(InputError, match="must be grpc://HOST:PORT"):
            remote(name)
    assert file_name_of("grpc://127.0.0.1:50051") == "grpc-127.0.0.1.50051"
    assert file_name_of("module:Class") == "module.Class"


def test_images_have_the_size_that_our_server_tells() -> None:
    with served(Watching) as address, foreign() as other:
        sizes = [make_driver(each, arguments={"rig": "front"}).needs.rig for each in (address, other)]
        wider = make_driver(address, arguments={"rig": "front", "width": 64}).needs.rig
    assert [rig.image_size for rig in (*sizes, wider) if rig] == [(32, 32), (128, 224), (32, 64)]


def test_a_version_of_the_driver_is_part_of_its_weights() -> None:
    with served(ConstantVelocity, "one") as first, served(ConstantVelocity, "two") as second:
        one, two = (remote(address).weights_digest for address in (first, second))  # type: ignore[attr-defined]
    assert one != two


def session_of(address: str, cameras: tuple[Camera, ...] = ()) -> tuple[Any, Any]:
    from alpamayo.egodriver.client import Connection, RemoteSession, address_of

    connection = Connection(address_of(address), 60.0)
    return connection, RemoteSession(connection, 2, cameras, 1, "scene")


def test_the_server_refuses_what_is_hostile() -> None:
    import cv2

    from alpamayo.egodriver.messages import LIMITS, protocol

    rig = front_rig(32, 32)
    with served(Watching) as address:
        connection, session = session_of(address, rig.cameras)

        def refused(name: str, request: Any, words: str) -> None:
            with pytest.raises(InputError, match=words):
                connection.call(name, request)

        _, large = cv2.imencode(".png", np.zeros((4000, 4000, 3), np.uint8))
        shot = protocol.RolloutCameraImage(session_uuid=session.uuid)
        shot.camera_image.logical_id, shot.camera_image.image_bytes = rig.cameras[0].name, large.tobytes()
        connection.call("submit_image_observation", shot)  # taken as bytes; refused when it is decoded
        session.pose(1, np.zeros(3), 1.0, 0.0, 0.0)
        refused("drive", protocol.DriveRequest(session_uuid=session.uuid, time_now_us=1), "is 4000 by 4000 pixels")
        shot.camera_image.logical_id = "other"
        refused("submit_image_observation", shot, "'other' was not declared")
        shot.camera_image.logical_id, shot.camera_image.image_bytes = rig.cameras[0].name, bytes(LIMITS.image_bytes + 1)
        refused("submit_image_observation", shot, "too large")
        refused("drive", protocol.DriveRequest(session_uuid="unknown"), "NOT_FOUND")
        refused("drive", protocol.DriveRequest(session_uuid=session.uuid, time_now_us=1 << 63), "beyond any clock")
        motion = protocol.RolloutEgoTrajectory(session_uuid=session.uuid)
        motion.trajectory.poses.add(timestamp_us=5).pose.vec.x = float("nan")
        refused("submit_egomotion_observation", motion, "not finite")
        motion = protocol.RolloutEgoTrajectory(session_uuid=session.uuid)
        for _ in range(LIMITS.poses + 1):
            motion.trajectory.poses.add()
        refused("submit_egomotion_observation", motion, "at most")
        refused("start_session", protocol.DriveSessionRequest(session_uuid="x" * 300), "uuid must be printable")
        refused("start_session", protocol.DriveSessionRequest(session_uuid="blind"), "no declared camera does")


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from alpamayo.egodriver import server

    monkeypatch.setattr(server, "MAX_SESSIONS", 2)
    with served(ConstantVelocity) as address:
        kept = [session_of(address) for _ in range(2)]
        with pytest.raises(InputError, match="2 sessions are open"):
            session_of(address)
        monkeypatch.setattr(server, "IDLE_S", 0.0)  # their clients have gone
        session_of(address)
    assert len(kept) == 2


def test_the_ground_truth_cannot_be_served() -> None:
    with pytest.raises(InputError, match="needs the ground truth"), served(lambda: make_driver("idm")):
        pass


@pytest.mark.parametrize("revision", [1, 2])
@pytest.mark.parametrize(
    "camera", [pinhole("a", (1.0, 0.5, 1.4), 0.7, 1.2, 64, 32), ftheta("b", (0, 0, 1), 2, 2.0, 64, 32)]
)
def test_cameras_survive_the_wire(camera: Camera, revision: int) -> None:
    from alpamayo.egodriver.messages import camera_messages, cameras_of

    (found,) = cameras_of(camera_messages([camera], revision), revision)
    assert (found.name, found.width, found.height) == (camera.name, camera.width, camera.height)
    np.testing.assert_allclose(found.position, camera.position, atol=1e-6)
    np.testing.assert_allclose(found.rays, camera.rays, atol=2e-4)


def test_a_lens_that_is_not_known_is_refused() -> None:
    from alpamayo.egodriver.messages import camera_messages, cameras_of

    (message,) = camera_messages([pinhole("a", (0.0, 0.0, 1.0), 0.0, 1.0, 64, 32)], 2)
    message.intrinsics.opencv_pinhole_param.radial_coeffs.append(0.1)
    with pytest.raises(InputError, match="'a': a pinhole with distortion"):
        cameras_of([message], 2)
    message.intrinsics.opencv_fisheye_param.focal_length_x = 1.0
    with pytest.raises(InputError, match="pinhole or f-theta"):
        cameras_of([message], 2)


SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it to be ignored
from alpamayo.cli import main
main()
"""


def command(*arguments: str, cwd: Path) -> "subprocess.Popen[str]":
    line = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


@pytest.mark.slow
def test_the_command_serves_is_checked_and_ends_by_an_interrupt(tmp_path: Path) -> None:
    server = command("serve", "--driver", "constant-velocity", "--port", "0", cwd=tmp_path)
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line.startswith("constant-velocity is served at grpc://127.0.0.1:"), line
    address = line.split()[4].rstrip(";").removeprefix("grpc://")
    checked = command("serve", "--check", address, "--json", cwd=tmp_path)
    answer, errors = checked.communicate(timeout=240)
    found = json.loads(answer)
    assert not errors
    assert {row["check"]: row["outcome"] for row in found["checks"]}["no network"] == "pass"
    assert checked.returncode == (0 if found["passed"] else 1)
    start = time.monotonic()
    server.send_signal(signal.SIGINT)
    _, errors = server.communicate(timeout=STOP_WITHIN_S)
    assert server.returncode == 128 + signal.SIGINT
    assert "Traceback" not in errors
    assert time.monotonic() - start < STOP_WITHIN_S
