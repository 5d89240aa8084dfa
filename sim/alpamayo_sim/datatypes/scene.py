"""Scenes as plain data: checked once when they are made, never changed after.

Axes: right-handed, x east, y north, z up; heading in radians from x, counter-clockwise; metres, seconds, m/s.
Coordinates are float32 relative to ``Scene.origin`` (float64), so that a map in UTM keeps its millimetres.
A road user's position is the centre of its box in the plane, and the ground under it in z.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8

from alpamayo_sim.constants import DEFAULT_FRICTION
from alpamayo_sim.description import described
from alpamayo_sim.errors import InputError

Array = np.ndarray
NO_POINTS = np.zeros((0, 3), np.float32)


class Category(enum.IntEnum):
    """Category of a road user or prop."""

    UNKNOWN = 0
    VEHICLE = 1
    TRUCK = 2
    BUS = 3
    MOTORCYCLE = 4
    CYCLIST = 5
    PEDESTRIAN = 6
    ANIMAL = 7
    CONE = 8
    BARRIER = 9
    DEBRIS = 10
    BUILDING = 11
    VEGETATION = 12


STATIC = frozenset({Category.CONE, Category.BARRIER, Category.DEBRIS, Category.BUILDING, Category.VEGETATION})
IS_STATIC = np.array([category in STATIC for category in Category])


def is_static(category: Int8[Array, " a"]) -> Bool[Array, " a"]:
    """Return whether a category cannot move by itself (props)."""
    return IS_STATIC[category]


class LaneKind(enum.IntEnum):
    """Kind of road users that a lane is for."""

    DRIVING = 0
    BICYCLE = 1
    BUS = 2
    PARKING = 3
    SHOULDER = 4
    OTHER = 5


class LineKind(enum.IntEnum):
    """Paint of a lane marking."""

    UNKNOWN = 0
    BROKEN_WHITE = 1
    SOLID_WHITE = 2
    DOUBLE_WHITE = 3
    BROKEN_YELLOW = 4
    SOLID_YELLOW = 5
    DOUBLE_YELLOW = 6


class SignalState(enum.IntEnum):
    """State that a traffic light shows to its lanes."""

    UNKNOWN = 0
    RED = 1
    YELLOW = 2
    GREEN = 3
    OFF = 4


@described
@dataclass(frozen=True, eq=False)
class Lane:
    """A lane: its centreline in driving direction, its boundaries and its connections.

    ``width`` (m) is given at each point of the centreline. ``speed_limit`` is in m/s, None when not known.
    Boundaries may be empty. ``successors`` and the neighbours may name lanes outside the map's crop.
    """

    id: str
    centreline: Float32[Array, "n 3"]
    width: Float32[Array, " n"]
    left_boundary: Float32[Array, "left 3"] = field(default_factory=lambda: NO_POINTS)
    right_boundary: Float32[Array, "right 3"] = field(default_factory=lambda: NO_POINTS)
    kind: LaneKind = LaneKind.DRIVING
    speed_limit: float | None = None
    successors: tuple[str, ...] = ()
    left_neighbours: tuple[str, ...] = ()
    right_neighbours: tuple[str, ...] = ()
    in_intersection: bool = False

    def __post_init__(self) -> None:
        _check_points(self.centreline, f"lane {self.id!r}: centreline", at_least=2)
        _check_points(self.left_boundary, f"lane {self.id!r}: left boundary")
        _check_points(self.right_boundary, f"lane {self.id!r}: right boundary")
        if self.width.shape != self.centreline.shape[:1] or not np.all(self.width > 0):
            raise InputError(f"lane {self.id!r}: width must be positive at each of the centreline's points")
        if self.speed_limit is not None and not self.speed_limit > 0:
            raise InputError(f"lane {self.id!r}: speed limit is {self.speed_limit} m/s, must be positive or None")


@described
@dataclass(frozen=True, eq=False)
class StopLine:
    """A line that vehicles of ``lane_ids`` stop at, for a sign or a signal: lanes that end or begin at it."""

    id: str
    line: Float32[Array, "n 3"]
    lane_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_points(self.line, f"stop line {self.id!r}", at_least=2)


@described
@dataclass(frozen=True, eq=False)
class RoadLine:
    """A painted line."""

    line: Float32[Array, "n 3"]
    kind: LineKind = LineKind.UNKNOWN

    def __post_init__(self) -> None:
        _check_points(self.line, "road line", at_least=2)


@described
@dataclass(frozen=True, eq=False)
class RoadMap:
    """A road map. Polygons are rings without the repeated last point; edges run with the road on their left.

    ``MapIndex`` derives the drivable area of a map without ``drivable_areas`` from lanes and edges.
    """

    lanes: tuple[Lane, ...] = ()
    drivable_areas: tuple[Float32[Array, "_ 3"], ...] = ()
    crosswalks: tuple[Float32[Array, "_ 3"], ...] = ()
    stop_lines: tuple[StopLine, ...] = ()
    road_edges: tuple[Float32[Array, "_ 3"], ...] = ()
    road_lines: tuple[RoadLine, ...] = ()

    def __post_init__(self) -> None:
        _check_unique((lane.id for lane in self.lanes), "lane")
        _check_unique((line.id for line in self.stop_lines), "stop line")
        for name, least in (("drivable_areas", 3), ("crosswalks", 3), ("road_edges", 2)):
            for i, points in enumerate(getattr(self, name)):
                _check_points(points, f"road map: {name}[{i}]", at_least=least)

    @cached_property
    def lane_by_id(self) -> dict[str, Lane]:
        """Return the lanes by their ids."""
        return {lane.id: lane for lane in self.lanes}


@described
@dataclass(frozen=True, eq=False)
class Signal:
    """A traffic light over time: its state for ``lane_ids`` at each step, as ``SignalState`` values.

    As in the Waymo Open Motion Dataset these are the lanes that begin at its stop line, within the intersection.
    """

    id: str
    position: Float32[Array, "3"]
    states: Int8[Array, " steps"]
    lane_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_finite(self.position, f"signal {self.id!r}: position")
        if self.states.size and not np.isin(self.states, list(SignalState)).all():
            raise InputError(f"signal {self.id!r}: states must be {[int(s) for s in SignalState]}")


@described
@dataclass(frozen=True, eq=False)
class Track:
    """One road user over time; rows where ``valid`` is False carry zeros and no meaning.

    ``size`` is length, width, height (m); ``velocity`` is in the world's axes (m/s).
    """

    id: str
    category: Category
    position: Float32[Array, "steps 3"]
    heading: Float32[Array, " steps"]
    velocity: Float32[Array, "steps 2"]
    size: Float32[Array, "3"]
    valid: Bool[Array, " steps"]

    def __post_init__(self) -> None:
        where = f"track {self.id!r}"
        steps = len(self.valid)
        shapes = {"position": (steps, 3), "heading": (steps,), "velocity": (steps, 2), "size": (3,)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise InputError(f"{where}: {name} has shape {array.shape}, must be {shape}")
            _check_finite(array, f"{where}: {name}")
        if not np.all(self.size > 0):
            raise InputError(f"{where}: size is {self.size.tolist()} m, must be positive")


@described
@dataclass(frozen=True, eq=False)
class Prop:
    """An object that does not move (a cone, a barrier, debris, a building): an upright box on the ground."""

    id: str
    category: Category
    position: Float32[Array, "3"]
    heading: float
    size: Float32[Array, "3"]

    def __post_init__(self) -> None:
        _check_finite(self.position, f"prop {self.id!r}: position")
        if not (np.isfinite(self.heading) and np.all(np.isfinite(self.size)) and np.all(self.size > 0)):
            raise InputError(f"prop {self.id!r}: needs a finite heading and a positive size")


@dataclass(frozen=True)
class Environment:
    """Friction, light and weather. Angles in radians, rain in mm/h, visibility in m (None is unlimited)."""

    friction: float = DEFAULT_FRICTION
    sun_elevation: float = 0.9
    sun_azimuth: float = 0.6
    rain: float = 0.0
    visibility: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.friction <= 1.5:
            raise InputError(f"environment: friction is {self.friction}, must be in (0, 1.5]")
        if self.rain < 0 or (self.visibility is not None and self.visibility <= 0):
            raise InputError("environment: rain must not be negative and visibility must be positive")


@dataclass(frozen=True)
class Instruction:
    """Navigation text that holds from arc length ``start`` (m) of the route on."""

    start: float
    text: str


@described
@dataclass(frozen=True, eq=False)
class Route:
    """The route of the ego: a path to follow, its lanes, and navigation instructions."""

    path: Float32[Array, "n 3"]
    lane_ids: tuple[str, ...] = ()
    instructions: tuple[Instruction, ...] = ()

    def __post_init__(self) -> None:
        _check_points(self.path, "route: path", at_least=2)


@dataclass(frozen=True)
class Provenance:
    """Source and licence of a scene."""

    source: str
    licence: str
    id: str = ""


@described
@dataclass(frozen=True, eq=False)
class Scene:
    """Map, road users, props, signals and environment over ``steps`` steps of ``dt`` seconds, of a log or a family."""

    id: str
    road_map: RoadMap
    tracks: tuple[Track, ...]
    ego_id: str
    provenance: Provenance
    signals: tuple[Signal, ...] = ()
    props: tuple[Prop, ...] = ()
    environment: Environment = Environment()
    route: Route | None = None
    origin: Float64[Array, "3"] = field(default_factory=lambda: np.zeros(3))
    dt: float = 0.1

    def __post_init__(self) -> None:
        where = f"scene {self.id!r}"
        _check_unique((track.id for track in self.tracks), f"{where}: track")
        _check_unique((signal.id for signal in self.signals), f"{where}: signal")
        _check_unique((prop.id for prop in self.props), f"{where}: prop")
        if self.ego_id not in (track.id for track in self.tracks):
            raise InputError(f"{where}: ego {self.ego_id!r} is not among its {len(self.tracks)} tracks")
        lengths = {len(track.valid) for track in self.tracks}
        if len(lengths) != 1 or lengths == {0}:
            raise InputError(f"{where}: tracks must all have the same number of steps, found {sorted(lengths)}")
        if not self.dt > 0:
            raise InputError(f"{where}: dt is {self.dt} s, must be positive")
        _check_finite(self.origin, f"{where}: origin")

    @property
    def steps(self) -> int:
        """Return the number of time steps of the tracks."""
        return len(self.tracks[0].valid)

    @property
    def ego_index(self) -> int:
        """Return the index of the ego among ``tracks``."""
        return next(i for i, track in enumerate(self.tracks) if track.id == self.ego_id)

    @property
    def ego(self) -> Track:
        """Return the ego's track."""
        return self.tracks[self.ego_index]


def _check_finite(array: Array, what: str) -> None:
    if not np.all(np.isfinite(array)):
        raise InputError(f"{what} has values that are not finite")


def _check_points(points: Array, what: str, at_least: int = 0) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < at_least:
        raise InputError(f"{what} has shape {points.shape}, must be [n, 3] with n >= {at_least}")
    _check_finite(points, what)


def _check_unique(ids: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise InputError(f"{what} id {name!r} is used twice")
        seen.add(name)
