"""Bounds of what a file may hold. Time and memory of all that follows depend on them, so they are checked first."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError

Array = np.ndarray


@dataclass(frozen=True)
class Limits:
    """Largest values that a recording may have; beyond them the unit is wrong, or the file is hostile."""

    coordinate_m: float = 1e8
    distance_m: float = 20_000.0  # from the ego's first position
    heading_rad: float = 1000.0
    speed_mps: float = 1000.0
    size_m: float = 1000.0
    steps: int = 100_000
    tracks: int = 20_000
    track_steps: int = 4_000_000  # of all tracks
    lines: int = 200_000  # lanes, edges, painted lines, areas, crosswalks
    points: int = 2_000_000  # of all lines
    line_length_m: float = 5e6  # of all lines
    name_characters: int = 200


LIMITS = Limits()
Line = tuple[str, Float[Array, "_ _"]]


def name_of(value: Any, where: str) -> str:
    """Return a name of a file: printable text, or an integer as text.

    Raises:
        InputError: It is of another type, too long, or has characters that no screen shows.
    """
    if isinstance(value, np.integer) or (type(value) is int and abs(value) < 1 << 64):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: is a {type(value).__name__}, must be a name")
    if not value.isprintable() or len(value) > LIMITS.name_characters:
        raise InputError(f"{where}: must be a name of at most {LIMITS.name_characters} printable characters")
    return value


def check_track(
    where: str,
    position: Float[Array, "n 3"],
    heading: Float[Array, " n"],
    velocity: Float[Array, "n 2"],
    size: Float[Array, "3"],
    valid: Bool[Array, " n"],
) -> None:
    """Check the values of a road user, relative to the ego's first position.

    Raises:
        InputError: A value is beyond its limit, or is not a number.
    """
    for what, values, limit in (
        ("position", position[valid], LIMITS.distance_m),
        ("heading", heading[valid], LIMITS.heading_rad),
        ("velocity", velocity[valid], LIMITS.speed_mps),
        ("size", size if valid.any() else size[:0], LIMITS.size_m),
    ):
        if not np.all(np.abs(values) < limit):
            raise InputError(f"{where}: {what} has values beyond {limit:g} (SI units)")


def check_counts(where: str, tracks: int, steps: int) -> None:
    """Check the number of road users and of time steps.

    Raises:
        InputError: There are too many.
    """
    if tracks > LIMITS.tracks or steps > LIMITS.steps or tracks * steps > LIMITS.track_steps:
        raise InputError(
            f"{where}: has {tracks} tracks of {steps} steps, must be at most {LIMITS.tracks} tracks, {LIMITS.steps} "
            f"steps and {LIMITS.track_steps} in all"
        )


def check_lines(where: str, lines: Iterable[Line]) -> None:
    """Check the lines and areas of a map, relative to the ego's first position.

    Raises:
        InputError: A point is too far away, or there are too many lines, points or metres.
    """
    count, points, length = 0, 0, 0.0
    for name, line in lines:
        count, points = count + 1, points + len(line)
        if not np.all(np.abs(line) < LIMITS.distance_m):
            raise InputError(f"{where}: {name} has points beyond {LIMITS.distance_m:g} m from the ego")
        length += float(np.sum(np.hypot(*np.diff(line[:, :2], axis=0).T)))
        if count > LIMITS.lines or points > LIMITS.points or length > LIMITS.line_length_m:
            raise InputError(
                f"{where}: the map is too large at {name}: must be at most {LIMITS.lines} lines, {LIMITS.points} "
                f"points and {LIMITS.line_length_m / 1e3:g} km"
            )


def check_scene(scene: Scene, where: str) -> None:
    """Check a scene that was read from a file of this project.

    Raises:
        InputError: A name or a value is beyond its limits.
    """
    name_of(scene.id, f"{where}: the scene's id")
    check_counts(where, len(scene.tracks), scene.steps)
    if not np.all(np.abs(scene.origin) < LIMITS.coordinate_m):
        raise InputError(f"{where}: the origin has values beyond {LIMITS.coordinate_m:g} m")
    for track in scene.tracks:
        here = f"{where}: track {name_of(track.id, f'{where}: id of a track')!r}"
        check_track(here, track.position, track.heading, track.velocity, track.size, track.valid)
    check_lines(where, lines_of(scene))


def lines_of(scene: Scene) -> Iterable[Line]:
    """Yield the lines and areas of a scene's map with their names, and its route, signals and props as points."""
    road_map = scene.road_map
    for lane in road_map.lanes:
        for line in (lane.centreline, lane.left_boundary, lane.right_boundary):
            yield f"lane {name_of(lane.id, 'id of a lane')!r}", line
    for stop in road_map.stop_lines:
        yield f"stop line {name_of(stop.id, 'id of a stop line')!r}", stop.line
    for what in ("drivable_areas", "crosswalks", "road_edges"):
        yield from ((f"{what}[{i}]", line) for i, line in enumerate(getattr(road_map, what)))
    yield from ((f"road_lines[{i}]", line.line) for i, line in enumerate(road_map.road_lines))
    if scene.route is not None:
        yield "route", scene.route.path
    places = [*((s.id, s.position) for s in scene.signals), *((p.id, p.position) for p in scene.props)]
    yield from ((f"signal or prop {name_of(name, 'its id')!r}", place[None]) for name, place in places)


def check_scenario(scenario: Scenario, where: str) -> None:
    """Check a scenario that was read from a file of this project.

    Raises:
        InputError: A name or a value is beyond its limits.
    """
    check_scene(scenario.scene, where)
    name_of(scenario.family, f"{where}: family")
    duration, distance = scenario.goal.duration, scenario.goal.distance
    if not (0.0 < duration <= LIMITS.steps * scenario.scene.dt and abs(distance) < LIMITS.line_length_m):
        raise InputError(f"{where}: the goal is {distance:g} m in {duration:g} s, beyond the limits of a scenario")
    if not abs(scenario.seed) < 1 << 63 or not all(np.isfinite(value) for value in scenario.parameters.values()):
        raise InputError(f"{where}: the seed must fit into 64 bits, and parameters must be finite")
    paths = [(f"path of {walker.track_id!r}", walker.path) for walker in scenario.walkers]
    paths += [(f"path of {script.track_id!r}", script.path) for script in scenario.scripts]
    check_lines(where, [*paths, *((f"route of {ego.track_id!r}", ego.route.path) for ego in scenario.egos)])
