"""What a recording holds, in numbers and words: for ``alpamayo datasets info``."""

from collections import Counter
from typing import Any

import numpy as np

from alpamayo_datasets.log import Log
from alpamayo_sim.datatypes.continuity import irregularities
from alpamayo_sim.datatypes.scene import Category, LaneKind, Scene, SignalState
from alpamayo_sim.io.limits import lines_of

MAX_IDS = 1000  # scenes of a log that are listed
FLAT_M = 0.01  # a map whose heights differ by less has no heights


def describe(log: Log) -> dict[str, Any]:
    """Return what a log holds, as JSON values: its format and scenes, and one scene in detail.

    The scene is the named one, or the first one of the log.

    Raises:
        InputError: The log or the scene is damaged, or there is no such scene.
    """
    ids = log.reader.scene_ids(log.path)
    scene = log.read(log.scene_id or next(iter(ids), None))
    about = {
        "path": str(log.path),
        "format": log.reader.name,
        "title": log.reader.title,
        "scenes": len(ids),
        "scene_ids": ids[:MAX_IDS],
    }
    return about | {"scene": describe_scene(scene)}


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Return what a scene holds, as JSON values."""
    return {
        "id": scene.id,
        "source": scene.provenance.source,
        "licence": scene.provenance.licence,
        "rate_hz": round(1.0 / scene.dt, 3),
        "steps": scene.steps,
        "duration_s": round((scene.steps - 1) * scene.dt, 3),
        "ego": _ego(scene),
        "tracks": _by_category(track.category for track in scene.tracks),
        "props": _by_category(prop.category for prop in scene.props),
        "map": map_elements(scene),
        "notes": [*missing(scene), *irregularities(scene)],
    }


def _ego(scene: Scene) -> dict[str, Any]:
    ego = scene.ego
    driven = ego.position[ego.valid, :2].astype(np.float64)
    speed = np.hypot(*ego.velocity[ego.valid].T)
    return {
        "id": ego.id,
        "valid_steps": int(ego.valid.sum()),
        "distance_m": round(float(np.hypot(*np.diff(driven, axis=0).T).sum()), 2),
        "top_speed_mps": round(float(speed.max(initial=0.0)), 2),
        "size_m": [round(float(value), 3) for value in ego.size],
    }


def _by_category(categories: Any) -> dict[str, int]:
    counted = Counter(Category(category).name.lower() for category in categories)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def map_elements(scene: Scene) -> dict[str, int]:
    """Return how many elements of each type the map has; types that it does not have are left out."""
    road_map = scene.road_map
    lanes = Counter(LaneKind(lane.kind).name.lower() for lane in road_map.lanes)
    counted = {
        **{f"{kind} lanes": count for kind, count in sorted(lanes.items(), key=lambda item: -item[1])},
        "lanes in intersections": sum(lane.in_intersection for lane in road_map.lanes),
        "drivable areas": len(road_map.drivable_areas),
        "crosswalks": len(road_map.crosswalks),
        "stop lines": len(road_map.stop_lines),
        "road edges": len(road_map.road_edges),
        "road lines": len(road_map.road_lines),
        "signals": len(scene.signals),
    }
    return {kind: count for kind, count in counted.items() if count}


def missing(scene: Scene) -> list[str]:
    """Return one line for each thing that a scene may have and this one has not."""
    road_map, lines = scene.road_map, []
    if not road_map.lanes:
        lines.append("there are no lanes")
    if not road_map.drivable_areas and not road_map.road_edges:
        lines.append("there is no drivable area and there are no road edges; the lanes stand for them")
    unlimited = sum(lane.speed_limit is None for lane in road_map.lanes)
    if unlimited:
        lines.append(f"{unlimited} of {len(road_map.lanes)} lanes have no speed limit")
    heights = np.concatenate([line[:, 2] for name, line in lines_of(scene) if name != "route"] or [np.zeros(1)])
    if len(heights) and np.ptp(heights) < FLAT_M:
        lines.append("there are no heights: the map is flat")
    if not scene.signals:
        lines.append("there are no traffic lights")
    elif dark := sum(bool(np.all(signal.states == SignalState.UNKNOWN)) for signal in scene.signals):
        lines.append(f"{dark} of {len(scene.signals)} traffic lights have no known state")
    single = sum(int(track.valid.sum()) == 1 for track in scene.tracks)
    if single:
        lines.append(f"{single} of {len(scene.tracks)} tracks are seen at one step alone")
    if len(scene.tracks) == 1:
        lines.append("there are no road users but the ego")
    return lines
