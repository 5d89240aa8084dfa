"""CommonRoad scenarios as XML, of the versions 2018b and 2020a.

Format: https://commonroad.in.tum.de/static/docs/XML_commonRoad_2020a.pdf. The ego is the car of a planning problem: it
has one recorded state, the initial one, and its goal. A scenario with several planning problems holds as many scenes.
Values that are given as intervals or areas are read as their middle.
"""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from alpamayo_datasets.assemble import RawTrack, assemble
from alpamayo_datasets.containers import choose_scene
from alpamayo_datasets.motion import headings, velocities
from alpamayo_datasets.readers import commonroad_map as maps
from alpamayo_datasets.readers.commonroad_elements import (
    MAX_STEPS,
    number,
    outline,
    position,
    shape_size,
    time_step,
)
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_datasets.xml_files import read_xml
from alpamayo_sim.datatypes.scene import Category, Environment, Provenance, Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

LICENCE = "BSD-3-Clause (CommonRoad scenarios)"
TOLD_LICENCE = re.compile(r"(.*) \(licence: (.*)\)")
VERSIONS = ("2018b", "2020a")
EGO_SIZE_M = (4.508, 1.61, 1.42)  # CommonRoad's vehicle model 2, a BMW 320i
MAX_VALUES = 20_000_000  # obstacles times steps
CATEGORIES = {
    "car": Category.VEHICLE,
    "taxi": Category.VEHICLE,
    "priorityVehicle": Category.VEHICLE,
    "parkedVehicle": Category.VEHICLE,
    "truck": Category.TRUCK,
    "bus": Category.BUS,
    "train": Category.BUS,
    "motorcycle": Category.MOTORCYCLE,
    "bicycle": Category.CYCLIST,
    "pedestrian": Category.PEDESTRIAN,
    "constructionZone": Category.BARRIER,
    "roadBoundary": Category.BARRIER,
    "building": Category.BUILDING,
    "pillar": Category.BARRIER,
    "median_strip": Category.BARRIER,
}
WEATHER: dict[str, tuple[float, float | None]] = {  # rain (mm/h) and visibility (m)
    "light_rain": (2.5, None),
    "mid_rain": (5.0, None),
    "heavy_rain": (10.0, None),
    "rain": (5.0, None),
    "hail": (0.0, None),
    "snow": (0.0, None),
    "fog": (0.0, 150.0),
}
FRICTION = {"wet": 0.6, "snow": 0.3, "ice": 0.15, "dirty": 0.7, "damaged": 0.8}
NIGHT_SUN_RAD = -0.3


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file begins as a CommonRoad scenario does."""
    return b"<commonRoad" in head


def scene_ids(path: Path) -> list[str]:
    """Return the ids of the planning problems.

    Raises:
        InputError: The file is damaged.
    """
    return list(_problems(read_xml(path), str(path)))


def read(path: Path, scene_id: str | None = None) -> Scene:
    """Return the Scene of a planning problem: the named one, or the only one.

    Raises:
        InputError: The file is damaged or of another version, an element is missing or wrong, or there is no such
            planning problem.
    """
    root, where = read_xml(path), str(path)
    version = root.get("commonRoadVersion")
    if root.tag != "commonRoad" or version not in VERSIONS:
        raise InputError(f"{where}: is of CommonRoad version {version!r}, must be {' or '.join(VERSIONS)}")
    problems = _problems(root, where)
    problem = problems[choose_scene(list(problems), scene_id, where)]
    here = f"{where}: planning problem {problem.get('id')}"
    dt = _float(root.get("timeStepSize"), f"{where}: timeStepSize")
    if not 0.001 <= dt <= 10.0:
        raise InputError(f"{where}: timeStepSize is {dt:g} s, must be in [0.001, 10]")
    raw_map, network = maps.read_map(root, where)
    obstacles = _obstacles(root, network, where)
    start = time_step(_need(problem, "initialState", here), here)
    last = max([start + 1, *_times(problem), *(max(states) for _, _, _, states in obstacles)])
    if last >= MAX_STEPS or (last + 1) * (len(obstacles) + 1) > MAX_VALUES:
        raise InputError(f"{where}: has {len(obstacles)} obstacles over {last} time steps, more than any scenario")
    steps = last + 1 - start
    ego = _ego(_need(problem, "initialState", here), steps, network, here)
    tracks = [_track(*obstacle, start, steps, dt) for obstacle in obstacles]
    name = f"{root.get('benchmarkID') or path.stem}" + (f"-{problem.get('id')}" if len(problems) > 1 else "")
    return assemble(
        where,
        name,
        _provenance(root.get("source") or "source unknown", name, where),
        [ego, *(track for track in tracks if track.valid.any())],
        ego.id,
        raw_map,
        maps.signals(root, network, start, steps, where),
        dt,
        _environment(root, where),
        maps.route(problem, ego.position[0], float(ego.heading[0]), network, here),
    )


def _provenance(source: str, name: str, where: str) -> Provenance:
    """Return source and licence; ``writers.commonroad`` has put the licence of a recording after its source."""
    told = TOLD_LICENCE.fullmatch(source)
    if told is None:
        return Provenance(f"CommonRoad, {source}", LICENCE, name)
    origin, licence = (name_of(text, f"{where}: source") for text in told.groups())
    return Provenance(origin, licence, name)


def _problems(root: Element, where: str) -> dict[str, Element]:
    problems = {str(problem.get("id")): problem for problem in root.findall("planningProblem")}
    if not problems:
        raise InputError(f"{where}: has no planningProblem, which gives the ego and its goal")
    return problems


def _times(problem: Element) -> list[int]:
    """Return the last time steps of the goals."""
    goals = problem.findall("goalState")
    return [time_step(goal, "goal") for goal in goals if goal.find("time") is not None]


def _need(parent: Element, tag: str, where: str) -> Element:
    found = parent.find(tag)
    if found is None:
        raise InputError(f"{where}: has no {tag}")
    return found


def _float(value: str | None, where: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{where}: is {value!r}, must be a number") from None


def _ego(state: Element, steps: int, network: maps.Network, where: str) -> RawTrack:
    """Return the ego with its one state."""
    place, heading, speed = _state(state, network, where)
    valid = np.arange(steps) == 0
    direction = np.array([np.cos(heading), np.sin(heading)])
    return RawTrack(
        id="ego",
        category=Category.VEHICLE,
        position=np.tile(place, (steps, 1)),
        heading=np.full(steps, heading),
        velocity=np.tile((speed or 0.0) * direction, (steps, 1)),
        size=np.array(EGO_SIZE_M),
        valid=valid,
    )


State = tuple[Array, float | None, float | None]  # position, heading, speed
Obstacle = tuple[str, Category, Array, dict[int, State]]


def _obstacles(root: Element, network: maps.Network, where: str) -> list[Obstacle]:
    """Return the obstacles: id, category, size and the states by time step. Static ones have one state, at -1."""
    found: list[Obstacle] = []
    for item in root:
        if item.tag not in ("obstacle", "staticObstacle", "dynamicObstacle", "environmentObstacle"):
            continue
        here = f"{where}: {item.tag} {item.get('id')}"
        static = item.tag in ("staticObstacle", "environmentObstacle") or item.findtext("role") == "static"
        word = (item.findtext("type") or "").strip()
        category = meaning_of(word, CATEGORIES, Category.UNKNOWN, "type", here, ("unknown", ""))
        shape = item.find("shape")
        size, shift, turn = usual_size(category), np.zeros(2), 0.0
        if shape is not None and len(shape):
            size[:2], shift, turn = shape_size(shape, here)
        states: dict[int, State] = {}
        if item.tag == "environmentObstacle":
            states[-1] = (np.append(shift, 0.0), turn, 0.0)
            shift, turn = np.zeros(2), 0.0
        else:
            states[-1 if static else time_step(_need(item, "initialState", here), here)] = _state(
                _need(item, "initialState", here), network, here
            )
        if not static:
            states |= {time_step(s, here): _state(s, network, here) for s in item.iterfind("trajectory/state")}
            states |= {time_step(o, here): _occupied(o, here) for o in item.iterfind("occupancySet/occupancy")}
        found.append((str(item.get("id")), category, size, {t: _shifted(s, shift, turn) for t, s in states.items()}))
    return found


def _state(state: Element, network: maps.Network, where: str) -> tuple[Array, float, float | None]:
    place = position(_need(state, "position", where), network.centres, where)
    heading = number(state.find("orientation"), f"{where}: orientation")
    return place, heading if heading is not None else 0.0, number(state.find("velocity"), f"{where}: velocity")


def _occupied(occupancy: Element, where: str) -> State:
    centre, _, _ = outline(_need(occupancy, "shape", where), where)
    return np.append(centre, 0.0), None, None


def _shifted(state: State, shift: Array, turn: float) -> State:
    """Return a state of the middle of the shape, which may be off the obstacle's reference point."""
    place, heading, speed = state
    if heading is None or not (shift.any() or turn):
        return state
    c, s = np.cos(heading), np.sin(heading)
    moved = place + np.array([c * shift[0] - s * shift[1], s * shift[0] + c * shift[1], 0.0])
    return moved, heading + turn, speed


def _track(
    name: str, category: Category, size: Array, states: dict[int, State], start: int, steps: int, dt: float
) -> RawTrack:
    place, heading, speed = np.zeros((steps, 3)), np.full(steps, np.nan), np.full(steps, np.nan)
    valid = np.zeros(steps, bool)
    for time, (where, turned, fast) in states.items():
        rows = slice(None) if time < 0 else slice(time - start, time - start + 1)
        if time < 0 or start <= time < start + steps:
            place[rows], valid[rows] = where, True
            heading[rows] = np.nan if turned is None else turned
            speed[rows] = 0.0 if time < 0 else (np.nan if fast is None else fast)
    moved = velocities(place, valid, dt)
    heading = np.where(np.isnan(heading), headings(moved, valid), heading)
    told = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return RawTrack(name, category, place, heading, np.where(np.isnan(told), moved, told), size, valid)


def _environment(root: Element, where: str) -> Environment:
    """Return the weather and light of a location's environment."""
    found = root.find("location/environment")
    if found is None:
        return Environment()
    weather, underground, time_of_day = (
        (found.findtext(tag) or "").strip() for tag in ("weather", "underground", "timeOfDay")
    )
    rain, visibility = meaning_of(weather, WEATHER, (0.0, None), "weather", where, ("sunny", "clear", "cloudy", ""))
    return Environment(
        friction=meaning_of(underground, FRICTION, Environment.friction, "underground", where, ("clean", "")),
        sun_elevation=NIGHT_SUN_RAD if time_of_day == "night" else Environment.sun_elevation,
        rain=rain,
        visibility=visibility,
    )
