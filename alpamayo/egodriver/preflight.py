"""The pre-flight: what entrants of a closed-loop challenge stumble over, tried on a served driver before a submission.

A straight road and plain images are enough: asked is whether the server keeps the contract, not how well it drives.
"""

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from alpamayo.egodriver.client import FIRST_US, Connection, RemoteSession, Step, address_of, plan_of
from alpamayo.egodriver.messages import SECOND_US
from alpamayo_sim.datatypes.observation import HISTORY_STEPS, ROUTE_POINTS, ROUTE_SPACING
from alpamayo_sim.datatypes.rig import default_rig
from alpamayo_sim.errors import InputError, one_line

Array = np.ndarray


@dataclass(frozen=True)
class PreflightConfig:
    """Thresholds and sizes of a pre-flight."""

    answer_s: float = 60.0  # for any single call; a model may load at its first
    decision_s: float = 0.1  # for a decision, with all that is sent for it: one step of a 10 Hz loop
    share_in_time: float = 0.95
    steps: int = 20  # at 10 Hz
    slow_steps: int = 6  # at 2 Hz
    speed_mps: float = 10.0
    fastest_mps: float = 60.0  # of any step of a plan
    horizon_s: float = 2.0  # that a plan must reach: what AlpaSim's controller looks at


class Outcome(StrEnum):
    """Outcome of one check."""

    PASS = "pass"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One line of a pre-flight."""

    name: str
    outcome: Outcome
    why: str


class _Road:
    """A drive on a straight road at constant speed, through one session."""

    def __init__(self, target: "_Target", speed: float) -> None:
        self.config, self.speed = target.config, speed
        self.times: list[float] = []
        self.session = RemoteSession(target.connection, target.revision, RIG.cameras, 1, "preflight")
        self.now = FIRST_US

    def warm_up(self) -> None:
        """Send the poses before the first step, and let the driver gather the frames that it needs."""
        for ago in range(HISTORY_STEPS - 1, 0, -1):
            stamp = self.now - ago * SECOND_US // 10
            self.session.pose(stamp, self._pose(stamp), self.speed, 0.0, 0.0)
        for _ in range(HISTORY_STEPS):
            if self.step():
                return

    def must_plan(self, what: str, dt: float = 0.1, route: Array | None = None) -> None:
        """Take one step, to which a plan must be the answer.

        Raises:
            InputError: it is none.
        """
        try:
            if not self.step(dt, route):
                raise InputError("the answer is no plan")
        except InputError as error:
            raise InputError(f"{what}: {error}") from error

    def step(self, dt: float = 0.1, route: Array | None = None) -> bool:
        """Take one step; return whether a plan came.

        Raises:
            InputError: there is no answer, or it is wrong.
        """
        start = time.perf_counter()
        ahead = ROUTE_SPACING * np.arange(ROUTE_POINTS)
        points = np.column_stack([ahead, np.zeros(ROUTE_POINTS)]) if route is None else route
        step = Step(self.now, self._pose(self.now), self.speed, 0.0, 0.0, points, IMAGES)
        self.session.observe(step)
        answer = self.session.drive(self.now)
        self.times.append(time.perf_counter() - start)
        has_plan = len(answer.trajectory.poses) > 0
        if has_plan:
            self._check(answer)
        self.now += round(dt * SECOND_US)
        return has_plan

    def _check(self, answer: Any) -> None:
        if answer.terminate_session:
            raise InputError("it ended the session")
        plan = plan_of(answer.trajectory, self._pose(self.now), self.now)
        reach = (answer.trajectory.poses[-1].timestamp_us - self.now) / SECOND_US
        if reach < self.config.horizon_s:
            raise InputError(f"the plan ends after {reach:.1f} s, must reach {self.config.horizon_s:g} s")
        fastest = float(np.abs(plan[:, 3]).max())
        if fastest > self.config.fastest_mps:
            raise InputError(f"the plan moves at {fastest:.0f} m/s; is it in metres, and in the local frame?")

    def _pose(self, stamp_us: int) -> Float64[Array, "3"]:
        return np.array([self.speed * (stamp_us - FIRST_US) / SECOND_US, 0.0, 0.0])


@dataclass(frozen=True)
class _Target:
    connection: Connection
    revision: int
    config: PreflightConfig


def preflight(address: str, config: PreflightConfig | None = None) -> list[Check]:
    """Check a served driver.

    Args:
        address: HOST:PORT or ``grpc://HOST:PORT``.
        config: thresholds.

    Returns:
        A line for each check; after a failed contract, that one alone.

    Raises:
        InputError: it is no address.
    """
    config = config or PreflightConfig()
    connection = Connection(address_of(address), config.answer_s)
    try:
        version, revision, _ = connection.version()
    except InputError as error:
        return [Check("contract", Outcome.FAIL, one_line(str(error)))]
    target = _Target(connection, revision, config)
    network = _Network(connection.address)
    found = [Check("contract", Outcome.PASS, f"{version}; cameras by revision {revision}")]
    for name, check in CHECKS:
        found.append(_outcome(name, check, target))
        network.look()
    found.append(network.check())
    connection.close()
    return found


def _outcome(name: str, check: Callable[[_Target], str], target: _Target) -> Check:
    """Run a check: it returns what is good, and raises what is wrong."""
    try:
        return Check(name, Outcome.PASS, check(target))
    except InputError as error:
        return Check(name, Outcome.FAIL, one_line(str(error)))


@contextmanager
def _road(target: _Target, speed: float | None = None) -> Iterator[_Road]:
    road = _Road(target, target.config.speed_mps if speed is None else speed)
    try:
        yield road
    finally:
        road.session.close()


def _first_frame(target: _Target) -> str:
    """One pose, one route and one image of each camera, and then a decision."""
    with _road(target) as road:
        if not road.step():
            return "no plan yet, and no error: a runtime holds the ego"
    return "a plan after one image of each camera and one pose"


def _bad_route(target: _Target) -> str:
    """Some waypoints that are NaN, then all, then none."""
    partly = np.column_stack([ROUTE_SPACING * np.arange(ROUTE_POINTS), np.zeros(ROUTE_POINTS)])
    partly[8:] = np.nan
    with _road(target) as road:
        road.warm_up()
        road.must_plan("a route with some waypoints that are NaN", route=partly)
        road.must_plan("a route whose waypoints all are NaN", route=np.full((ROUTE_POINTS, 2), np.nan))
        road.must_plan("a route without waypoints", route=np.zeros((0, 2)))
    return "plans stay finite with NaN in the route, and without a route"


def _at_rate(target: _Target, steps: int, dt: float) -> str:
    with _road(target) as road:
        road.warm_up()
        for step in range(steps):
            road.must_plan(f"decision {step + 1}", dt=dt)
    return f"{steps} plans, one every {dt:g} s"


def _two_sessions(target: _Target) -> str:
    """Two sessions in turn; each keeps its own ego, and the second lives on when the first ends."""
    with _road(target, 5.0) as slow, _road(target, 15.0) as fast:
        slow.warm_up()
        fast.warm_up()
        for step in range(4):
            slow.must_plan(f"decision {step + 1} of the first session")
            fast.must_plan(f"decision {step + 1} of the second session")
        slow.session.close()
        fast.must_plan("the second session, after the first was closed")
    return "plans in turn, each from its own ego"


def _in_time(target: _Target) -> str:
    config = target.config
    with _road(target) as road:
        road.warm_up()
        road.times.clear()
        for step in range(config.steps):
            road.must_plan(f"decision {step + 1}")
        median, late = 1000.0 * np.percentile(road.times, [50.0, 100.0 * config.share_in_time])
    text = f"{median:.0f} ms median, {late:.0f} ms at {config.share_in_time:.0%}"
    limit = f"{1000.0 * config.decision_s:.0f} ms"
    if late > 1000.0 * config.decision_s:
        raise InputError(f"{text}; must be {limit} at most")
    return f"{text}, of {limit}"


CHECKS: tuple[tuple[str, Callable[[_Target], str]], ...] = (
    ("one first frame", _first_frame),
    ("NaN in the route", _bad_route),
    ("10 Hz", lambda target: _at_rate(target, target.config.steps, 0.1)),
    ("2 Hz", lambda target: _at_rate(target, target.config.slow_steps, 0.5)),
    ("two sessions", _two_sessions),
    ("time per decision", _in_time),
)


class _Network:
    """Connections of the serving process to other machines; a challenge runs its drivers without a network.

    Linux tells them for a process of this machine and user.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._outside: set[str] = set()
        self._pid = _listener(int(port)) if host in ("localhost", "127.0.0.1", "[::1]") else None

    def look(self) -> None:
        """Note which machines the process is connected to now."""
        if self._pid is not None:
            mine = _sockets(self._pid)
            self._outside |= {remote for inode, _, remote, _ in _connections() if inode in mine and _is_outside(remote)}

    def check(self) -> Check:
        """Return the outcome."""
        if self._pid is None:
            why = "the server is no process of this machine and user; run this check beside it"
            return Check("no network", Outcome.SKIPPED, why)
        if self._outside:
            return Check("no network", Outcome.FAIL, f"the server is connected to {', '.join(sorted(self._outside))}")
        return Check("no network", Outcome.PASS, "no connection to another machine was seen between the checks")


LISTENING = "0A"


def _listener(port: int) -> int | None:
    """Return the process that listens at a port; None where it cannot be seen."""
    inodes = {inode for inode, local, _, state in _connections() if state == LISTENING and local == port}
    for folder in Path("/proc").glob("[0-9]*"):
        if inodes & _sockets(int(folder.name)):
            return int(folder.name)
    return None


def _sockets(pid: int) -> set[str]:
    """Return the inodes of the sockets of a process."""
    try:
        links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return set()
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def _connections() -> Iterator[tuple[str, int, str, str]]:
    """Yield inode, local port, remote address and state of the machine's TCP sockets."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            yield words[9], int(words[1].rpartition(":")[2], 16), words[2].rpartition(":")[0], words[3]


def _is_outside(remote: str) -> bool:
    """Return whether an address, in the kernel's hexadecimal words, is of another machine."""
    words = [bytes.fromhex(remote[k : k + 8])[::-1] for k in range(0, len(remote), 8)]
    address = ipaddress.ip_address(b"".join(words))
    plain = getattr(address, "ipv4_mapped", None) or address
    return not (plain.is_loopback or plain.is_unspecified)


def _plain_image() -> UInt8[Array, "height width 3"]:
    """Return an image of a sky above a road."""
    image = np.full((*RIG.image_size, 3), (150, 180, 210), np.uint8)
    image[RIG.image_size[0] // 2 :] = (90, 90, 92)
    return image


RIG = default_rig()
IMAGES = [_plain_image()] * len(RIG.cameras)
