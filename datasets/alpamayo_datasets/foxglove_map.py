"""Elements of a map as Foxglove entities: lines, and metadata that says what each is. Written and read here alike.

An entity is one element. Its ``element`` is one of ``ELEMENTS``; lists are JSON. The lines of a lane are its
centreline, then its left and right boundary where it has both.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from alpamayo_datasets.assemble import RawMap
from alpamayo_datasets.fields import numbers
from alpamayo_datasets.lanes import RawLane, unknown_sides, without_repeats
from alpamayo_datasets.motion import rotation_of
from alpamayo_datasets.topic_tracks import EgoFrame
from alpamayo_sim.datatypes.scene import Lane, LaneKind, LineKind, RoadMap
from alpamayo_sim.errors import InputError, unknown_name
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

ELEMENTS = ("lane", "drivable_area", "crosswalk", "stop_line", "road_edge", "road_line")
MAX_NAMES = 1000  # of lanes in one list


@dataclass(frozen=True, eq=False)
class DrawnLine:
    """A line of an entity: the entity's id, its number there, its frame, pose and points (m), the entity's metadata."""

    entity: str
    number: int
    frame: str
    pose: tuple[float, ...]
    points: Float64[Array, "n 3"]
    words: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class MapElement:
    """An element to draw: the id of its entity, its metadata, and its lines (m)."""

    id: str
    words: dict[str, str]
    lines: list[Float[Array, "_ 3"]]


def map_elements(road_map: RoadMap) -> Iterator[MapElement]:
    """Yield the elements of a map."""
    yield from (_lane_element(lane) for lane in road_map.lanes)
    for element, shapes in (("drivable_area", road_map.drivable_areas), ("crosswalk", road_map.crosswalks)):
        for k, ring in enumerate(shapes):
            yield MapElement(f"{element}/{k}", {"element": element}, [np.concatenate([ring, ring[:1]])])
    for k, edge in enumerate(road_map.road_edges):
        yield MapElement(f"road_edge/{k}", {"element": "road_edge"}, [edge])
    for k, painted in enumerate(road_map.road_lines):
        words = {"element": "road_line", "kind": LineKind(painted.kind).name.lower()}
        yield MapElement(f"road_line/{k}", words, [painted.line])
    for stop in road_map.stop_lines:
        words = {"element": "stop_line", "lanes": json.dumps(stop.lane_ids)}
        yield MapElement(f"stop_line/{stop.id}", words, [stop.line])


def _lane_element(lane: Lane) -> MapElement:
    words = {
        "element": "lane",
        "id": lane.id,
        "kind": LaneKind(lane.kind).name.lower(),
        "width_m": json.dumps([round(float(width), 4) for width in lane.width]),
        "successors": json.dumps(lane.successors),
        "left_neighbours": json.dumps(lane.left_neighbours),
        "right_neighbours": json.dumps(lane.right_neighbours),
        "in_intersection": json.dumps(lane.in_intersection),
    }
    if lane.speed_limit is not None:
        words["speed_limit_mps"] = repr(float(lane.speed_limit))
    sides = [lane.left_boundary, lane.right_boundary]
    return MapElement(f"lane/{lane.id}", words, [lane.centreline, *(sides if all(len(side) for side in sides) else ())])


def raw_map_of(lines: Sequence[DrawnLine], ego: EgoFrame, where: str) -> RawMap:
    """Return the map of drawn lines. A line whose entity has no ``element`` is a painted line.

    Raises:
        InputError: A line is not finite or in an unknown frame, or the words of an element are wrong.
    """
    raw = RawMap()
    lanes: dict[str, tuple[Mapping[str, str], list[Array]]] = {}
    for line in lines:
        element, here = line.words.get("element", "road_line"), f"{where}: map element {line.entity[:80]!r}"
        points = _in_world(line, ego, here)
        if element == "lane":
            lanes.setdefault(line.entity, (line.words, []))[1].append(points)
        elif element in ("drivable_area", "crosswalk"):
            (raw.areas if element == "drivable_area" else raw.crosswalks).append(points[:-1])
        elif element == "stop_line":
            raw.stop_lines.append((points, _names(line.words, "lanes", here)))
        elif element == "road_edge":
            raw.edges.append(points)
        elif element == "road_line":
            raw.lines.append((points, LineKind[_member(line.words, LineKind, here)]))
        else:
            raise unknown_name(f"element of a map in {here}", element, ELEMENTS)
    if raw.areas:
        raw.edges = []  # the borders of the areas are the edges
    raw.lanes = [_lane(words, shapes, f"{where}: {name[:80]!r}") for name, (words, shapes) in lanes.items()]
    return raw


def _in_world(line: DrawnLine, ego: EgoFrame, where: str) -> Float64[Array, "n 3"]:
    found = ego.frames.pose(line.frame, ego.world, ego.times[:1])
    if found is None:
        raise InputError(f"{where}: frame {line.frame[:80]!r} is not connected to {ego.world[:80]!r}")
    place, turn = found
    pose = np.array(line.pose)
    own = line.points @ rotation_of(pose[None, 3:])[0].T + pose[:3]
    points = own @ turn[0].T + place[0]
    if not np.isfinite(points).all() or len(points) < 2:
        raise InputError(f"{where}: must have two points at least, and all of them finite")
    return points


def _lane(words: Mapping[str, str], shapes: list[Array], where: str) -> RawLane:
    kept = without_repeats(shapes[0])
    centre = shapes[0][kept]
    if len(centre) < 2:
        raise InputError(f"{where}: the centreline must have two points at least")
    left, right = unknown_sides(centre)
    if "width_m" in words:
        width = numbers(_json(words, "width_m", where), (None,), f"{where}: width_m")
        if len(width) != len(shapes[0]):
            raise InputError(f"{where}: has {len(width)} widths for {len(shapes[0])} points")
        left = right = 0.5 * width[kept]
    limit = _json(words, "speed_limit_mps", where) if "speed_limit_mps" in words else None
    if limit is not None and not (isinstance(limit, (int, float)) and 0.0 < limit < float("inf")):
        raise InputError(f"{where}: speed_limit_mps must be a positive number")
    return RawLane(
        name_of(words.get("id", ""), f"{where}: id"),
        centre,
        left,
        right,
        LaneKind[_member(words, LaneKind, where)],
        limit,
        _names(words, "successors", where) if "successors" in words else None,
        _names(words, "left_neighbours", where),
        _names(words, "right_neighbours", where),
        words.get("in_intersection") == "true",
        (shapes[1], shapes[2]) if len(shapes) > 2 else None,
    )


def _member(words: Mapping[str, str], kinds: Any, where: str) -> str:
    """Return the name of the kind of an element, else that of the first kind."""
    names = [kind.name for kind in kinds]
    name = words.get("kind", names[0]).upper()
    if name not in names:
        raise unknown_name(f"kind in {where}", name.lower(), [each.lower() for each in names])
    return name


def _names(words: Mapping[str, str], key: str, where: str) -> tuple[str, ...]:
    value = _json(words, key, where) if key in words else []
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise InputError(f"{where}: {key} must be a list of at most {MAX_NAMES} names")
    return tuple(name_of(each, f"{where}: {key}") for each in value)


def _json(words: Mapping[str, str], key: str, where: str) -> Any:
    try:
        return json.loads(words[key])
    except (ValueError, RecursionError):
        raise InputError(f"{where}: {key} is no JSON") from None
