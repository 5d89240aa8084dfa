"""Scenarios: a scene, the behaviour of its agents, the goal, and a certificate that it can be solved."""

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.dynamics import Dynamics
from alpamayo_sim.datatypes.scene import Category, Route, Scene, Track
from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.geometry import arc_length, follow
from alpamayo_sim.settings import check_fields, instance_of, names_of

Array = np.ndarray

STANDING_EGO_M = 5.0  # m
ROUTE_SPACING = 2.0  # m
VEHICLES = frozenset({Category.VEHICLE, Category.TRUCK, Category.BUS, Category.MOTORCYCLE})


class TriggerKind(enum.IntEnum):
    """Condition that starts a manoeuvre."""

    IMMEDIATELY = 0
    TIME = 1  # simulated time >= value (s)
    EGO_DISTANCE = 2  # distance of the ego to the point <= value (m)
    EGO_ARRIVAL = 3  # distance of the ego to the point / its speed <= value (s)
    EGO_GAP = 4  # the ego is level with this actor or up to value (m) behind it, along the actor's heading
    AFTER = 5  # value (s) have passed since the manoeuvre before (for the first: since the start)
    TIME_TO_COLLISION = 6  # circles of half their lengths about the ego and this actor would touch in value (s)
    EGO_FASTER = 7  # the ego's speed >= value (m/s)
    EGO_SLOWER = 8  # the ego's speed <= value (m/s)
    EGO_IN_REGION = 9  # the ego's centre is in a rectangle of ``size`` about the point, turned by value (rad)


@dataclass(frozen=True)
class Trigger:
    """Trigger of a manoeuvre.

    Only EGO_DISTANCE, EGO_ARRIVAL and EGO_IN_REGION use ``point`` (m); only the last uses ``size`` (m).
    """

    kind: TriggerKind = TriggerKind.IMMEDIATELY
    value: float = 0.0
    point: tuple[float, float] = (0.0, 0.0)
    size: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_fields(self, "trigger")


@described
@dataclass(frozen=True, eq=False)
class Manoeuvre:
    """Behaviour of an agent after its trigger; the manoeuvres of a script start one after the other.

    ``speed`` (m/s) is approached with at most ``acceleration`` (m/s², either sign); None keeps the speed.
    ``lateral_offset`` (m, left positive, from the path) is reached by a smooth shift over ``duration`` (s);
    None keeps the offset. ``path`` is another path, which the agent joins at its nearest point over
    ``duration`` (s). ``alpamayo_sim.datatypes.manoeuvres`` has the usual ones by name.
    """

    trigger: Trigger = Trigger()
    speed: float | None = None
    acceleration: float = 2.0
    lateral_offset: float | None = None
    duration: float = 3.0
    path: Float32[Array, "n 3"] | None = None

    def __post_init__(self) -> None:
        check_fields(self, "manoeuvre")
        if self.acceleration <= 0 or self.duration <= 0:
            raise InputError("manoeuvre: acceleration and duration must be positive")
        if self.path is not None and (self.path.ndim != 2 or self.path.shape[1] != 3 or len(self.path) < 2):
            raise InputError(f"manoeuvre: path has shape {self.path.shape}, must be [n >= 2, 3]")


@described
@dataclass(frozen=True, eq=False)
class Script:
    """Motion of a scripted agent: along ``path`` from its start, at ``speed`` (m/s), with its manoeuvres.

    ``yields`` makes it an IDM follower that wants ``speed`` and keeps its distance to any agent ahead on its
    path; otherwise it moves as scripted and ignores other agents.
    """

    track_id: str
    path: Float32[Array, "n 3"]
    speed: float
    yields: bool = False
    manoeuvres: tuple[Manoeuvre, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, f"script of {shown(self.track_id)}")
        if self.path.ndim != 2 or self.path.shape[1] != 3 or len(self.path) < 2:
            raise InputError(f"script of {self.track_id!r}: path has shape {self.path.shape}, must be [n >= 2, 3]")
        if not self.speed >= 0:
            raise InputError(f"script of {self.track_id!r}: speed is {self.speed} m/s, must not be negative")


@dataclass(frozen=True)
class TrafficVehicle:
    """A simulated vehicle that drives on the lanes from the start of its track on.

    It keeps its distance by the intelligent driver model (Treiber, Hennecke and Helbing 2000: ``acceleration`` and
    comfortable ``deceleration`` in m/s², ``headway`` in s, standstill ``gap`` in m), wants ``wanted_speed`` (m/s;
    None: the lane's limit) but no more than the lane's limit and its bends allow, and changes lanes by MOBIL
    (Kesting, Treiber and Helbing 2007): when its own gain plus ``politeness`` times the others' is more than
    ``threshold`` (m/s²; ``right_bias`` is added for a change to the left and taken off for one to the right) and the
    new follower need not brake harder than ``safe_deceleration`` (m/s²). It obeys signals, stop signs, the right of
    way and people on crosswalks. At forks it takes a random lane that ``seed`` decides; it vanishes where the lanes
    end.
    """

    track_id: str
    wanted_speed: float | None = None
    seed: int = 0
    lane_id: str | None = None
    acceleration: float = 1.5
    deceleration: float = 2.0
    headway: float = 1.5
    gap: float = 2.0
    changes_lanes: bool = True
    politeness: float = 0.3
    threshold: float = 0.2
    safe_deceleration: float = 3.0
    right_bias: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self, f"traffic vehicle {shown(self.track_id)}", {"seed": (0, (1 << 31) - 1)})
        for name in ("acceleration", "deceleration", "headway", "gap", "safe_deceleration"):
            if not 0.0 < getattr(self, name) < 1e3:
                raise InputError(
                    f"traffic vehicle {self.track_id!r}: {name} is {getattr(self, name)}, must be positive"
                )
        if self.wanted_speed is not None and not 0.0 < self.wanted_speed < 1e3:
            raise InputError(
                f"traffic vehicle {self.track_id!r}: wanted_speed is {self.wanted_speed} m/s, must be positive"
            )


@described
@dataclass(frozen=True, eq=False)
class Walker:
    """A pedestrian: a point mass on a path that waits at the kerb, crosses, hesitates and runs.

    It walks along ``path`` at ``speed`` (m/s) with at most ``acceleration`` (m/s²). At ``kerb`` (m along the path;
    None: it does not look) it waits until no vehicle will come within the critical gap of the Highway Capacity
    Manual 2010, equation 19-69, ``width / speed + start_up`` (s), where ``width`` (m) is that of the road; vehicles
    that stand are taken to let it pass. On the road it stops before the path of a vehicle that it would meet, if it
    ``hesitates``, and runs at ``run_speed`` (m/s) out of the path of an arriving vehicle.
    """

    track_id: str
    path: Float32[Array, "n 3"]
    speed: float = 1.3
    kerb: float | None = None
    width: float = 7.0
    start_up: float = 3.0
    hesitates: bool = True
    run_speed: float = 3.0
    acceleration: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self, f"walker {shown(self.track_id)}")
        if self.path.ndim != 2 or self.path.shape[1] != 3 or len(self.path) < 2:
            raise InputError(f"walker {self.track_id!r}: path has shape {self.path.shape}, must be [n >= 2, 3]")
        for name in ("speed", "width", "run_speed", "acceleration"):
            if not 0.0 < getattr(self, name) < 1e3:
                raise InputError(f"walker {self.track_id!r}: {name} is {getattr(self, name)}, must be positive")


@dataclass(frozen=True)
class Goal:
    """Goal of the ego: ``distance`` (m) along its route, within ``duration`` (s)."""

    distance: float
    duration: float

    def __post_init__(self) -> None:
        check_fields(self, "goal")


@described
@dataclass(frozen=True, eq=False)
class Ego:
    """A further road user that is driven from outside: its route, and its goal ``distance`` (m) along the route."""

    track_id: str
    route: Route
    distance: float

    def __post_init__(self) -> None:
        check_fields(self, f"ego {shown(self.track_id)}")


class Solvability(enum.StrEnum):
    """What is known about whether an ego can complete a scenario without any contact."""

    SOLVED = "solved"  # the stored trajectory does
    UNAVOIDABLE = "unavoidable"  # no motion within the friction limit avoids a contact
    UNKNOWN = "unknown"  # the effort that was spent shows neither


@described
@dataclass(frozen=True, eq=False)
class Certificate:
    """A proof that a scenario can be solved, or that it cannot, or the statement that neither was found.

    Attributes:
        trajectory: the ego's states (x, y, heading, speed; 10 Hz, world) that solve the scenario, from its start;
            empty if none was found.
        margins: the signed margins of that trajectory by name; positive is within the limit.
        avoided_by: the reference drivers that drive the scenario without any contact.
        solvability: what the certificate says.
        solver: the driver whose trajectory it is.
        difficulty: from 0 (easy) to 1; None if the scenario is not solved.
        effort: how many episodes and steps were driven to find it.
        contact_s: when (s) an ego that keeps its speed touches something; None if it does not.
        critical_s: the last time (s) at which that ego can still avoid the contact at the friction limit; None if there
            is no contact, or no such time.
    """

    trajectory: Float32[Array, "steps 4"]
    margins: dict[str, float]
    avoided_by: tuple[str, ...] = ()
    solvability: Solvability = Solvability.SOLVED
    solver: str = ""
    difficulty: float | None = None
    effort: dict[str, int] = field(default_factory=dict)
    contact_s: float | None = None
    critical_s: float | None = None


@described
@dataclass(frozen=True, eq=False)
class Scenario:
    """A scene, the scripts of its actors and the goal. Tracks without a script repeat their recording.

    The scene's ego and the further ``egos`` are driven from outside; all of them have the same ``dynamics``.
    ``reactive`` recorded road users repeat their recording until an agent that deviates from its own recording makes
    this impossible; then they follow their recorded path by the intelligent driver model. One that would appear
    inside such an agent, or too near to stop, stays absent until there is room.
    ``family`` is empty for a recorded log; ``parameters`` are in SI units.
    """

    scene: Scene
    goal: Goal
    scripts: tuple[Script, ...] = ()
    family: str = ""
    parameters: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    certificate: Certificate | None = None
    dynamics: Dynamics = field(default_factory=Dynamics)
    egos: tuple[Ego, ...] = ()
    traffic_vehicles: tuple[TrafficVehicle, ...] = ()
    walkers: tuple[Walker, ...] = ()
    reactive: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "scenario")
        known = {track.id for track in self.scene.tracks} - {self.scene.ego_id}
        where, free = f"scenario {self.scene.id!r}", set(known)
        for kind, acting in (
            ("script", self.scripts),
            ("traffic vehicle", self.traffic_vehicles),
            ("walker", self.walkers),
        ):
            for name in (actor.track_id for actor in acting):
                if name not in known:
                    raise InputError(f"{where}: {kind} for unknown agent {name!r}")
                if name not in free:
                    raise InputError(f"{where}: {kind} for agent {name!r}, which already has another behaviour")
                free.discard(name)
        for ego in self.egos:
            if ego.track_id not in free:
                raise InputError(f"{where}: {ego.track_id!r} cannot be an ego: no track, or not free")
            free.discard(ego.track_id)

    @property
    def steps(self) -> int:
        """Return the largest number of steps of an episode."""
        return round(self.goal.duration / self.scene.dt)


def scenario_of_log(scene: Scene, reactive: bool = False) -> Scenario:
    """Return a recorded scene as a scenario: all agents repeat the recording; the goal is the end of the ego's track.

    With ``reactive`` they do so only while it is possible (see ``Scenario``).

    The route usually goes on beyond that. For an ego that hardly moves the goal is the end of the route.

    Raises:
        InputError: The scene has no route, or only one step.
    """
    instance_of(scene, Scene, "the scene")
    if scene.route is None:
        raise InputError(f"scene {scene.id!r} has no route; a scenario needs a route to its goal")
    if scene.steps < 2:
        raise InputError(f"scene {scene.id!r} has one step; a replay needs at least two")
    driven = scene.ego.position[scene.ego.valid][:, :2].astype(np.float64)
    distance = float(follow(scene.route.path, driven)[0][-1]) if len(driven) else 0.0
    if distance < STANDING_EGO_M:
        distance = float(arc_length(scene.route.path)[-1])
    return Scenario(scene=scene, goal=Goal(distance, duration=(scene.steps - 1) * scene.dt), reactive=reactive)


def with_egos(scenario: Scenario, track_ids: Sequence[str] | None = None) -> Scenario:
    """Return the scenario with further egos: the named tracks, or all vehicles that are present at its start and move.

    The route of each ego is its recorded path, its goal the end of that path.

    Raises:
        InputError: A track is unknown, is already an ego, has a script, or hardly moves and so has no route.
    """
    scene = instance_of(scenario, Scenario, "the scenario").scene
    if track_ids is None:
        taken = {scene.ego_id} | {script.track_id for script in scenario.scripts}
        free = [track for track in scene.tracks if track.id not in taken]
        track_ids = [track.id for track in free if _drives(track)]
    by_id = {track.id: track for track in scene.tracks}
    for name in names_of(track_ids, "the tracks to drive"):
        if name not in by_id:
            raise InputError(f"scene {scene.id!r} has no track {name!r}")
    return dataclasses.replace(scenario, egos=tuple(_as_ego(by_id[name]) for name in track_ids))


def _drives(track: Track) -> bool:
    there = track.category in VEHICLES and bool(track.valid[0])
    return there and float(arc_length(_recorded_path(track))[-1]) >= STANDING_EGO_M


def _as_ego(track: Track) -> Ego:
    path = _recorded_path(track)
    length = float(arc_length(path)[-1]) if len(path) >= 2 else 0.0
    if length < STANDING_EGO_M:
        raise InputError(
            f"track {track.id!r} moves {length:.1f} m; an ego needs a route of {STANDING_EGO_M} m at least"
        )
    return Ego(track.id, Route(path), length)


def _recorded_path(track: Track) -> Float32[Array, "n 3"]:
    """Return the recorded path of a track, in points at least ``ROUTE_SPACING`` apart."""
    points = track.position[track.valid]
    s = arc_length(points)
    kept = np.unique(np.floor(s / ROUTE_SPACING), return_index=True)[1]
    return points[np.union1d(kept, [len(points) - 1])]
