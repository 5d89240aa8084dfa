"""Roads and traffic vehicles for the tests of the traffic."""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from engine_scenes import line, moving

from alpamayo_scenarios.intersections import Phase, four_arms
from alpamayo_scenarios.roads import CrossSection
from alpamayo_sim.datatypes.scenario import Goal, Scenario, TrafficVehicle
from alpamayo_sim.datatypes.scene import Lane, Provenance, RoadMap, Route, Scene, SignalState, Track
from alpamayo_sim.engine import WorldBatch
from alpamayo_sim.geometry import box_separation

ARMS = ("west", "south", "east", "north")
MAIN = (Phase(SignalState.GREEN, 12.0), Phase(SignalState.YELLOW, 3.0), Phase(SignalState.RED, 17.0))
CROSS = (
    Phase(SignalState.RED, 16.0),
    Phase(SignalState.GREEN, 12.0),
    Phase(SignalState.YELLOW, 3.0),
    Phase(SignalState.RED, 1.0),
)


def straight_lane(name: str, start: tuple[float, float], end: tuple[float, float], **values: Any) -> Lane:
    return Lane(name, line(start, end), np.full(2, 3.5, np.float32), **{"speed_limit": 30.0, **values})


@lru_cache
def highway(count: int, length: float = 3000.0) -> RoadMap:
    """Lanes to the east, the rightmost on y = 0, each linked to its neighbours."""
    return RoadMap(
        lanes=tuple(
            straight_lane(
                f"lane-{k}",
                (0.0, 3.5 * k),
                (length, 3.5 * k),
                left_neighbours=(f"lane-{k + 1}",) if k + 1 < count else (),
                right_neighbours=(f"lane-{k - 1}",) if k else (),
            )
            for k in range(count)
        )
    )


def traffic(
    road_map: RoadMap,
    tracks: Sequence[Track],
    traffic_vehicles: Sequence[TrafficVehicle],
    ego: Track | None = None,
    **values: Any,
) -> Scenario:
    """Traffic vehicles on a map; the ego stands far away by default."""
    ego = ego or moving("ego", x=-500.0, y=-500.0, speed=0.0)
    x, y = ego.position[0, :2]
    scene = Scene(
        id="traffic",
        road_map=road_map,
        tracks=(ego, *tracks),
        ego_id="ego",
        provenance=Provenance("hand", "Apache-2.0"),
        route=Route(line((float(x), float(y)), (float(x) + 5000.0, float(y)))),
        **values,
    )
    return Scenario(scene, Goal(4000.0, 60.0), traffic_vehicles=tuple(traffic_vehicles))


def crossroads(seed: int, control: str, each: int = 4) -> Scenario:
    """Traffic vehicles on all arms of an intersection under "signals", "none", "two signs" or "four signs"."""
    rng = np.random.default_rng(seed)
    crossing = four_arms(CrossSection(1, 1, 3.5, 0.5), 13.9, (150.0,) * 4)
    signed = {"signals": ARMS, "none": (), "two signs": ("south", "north"), "four signs": ARMS}[control]
    lines = tuple(s for s in crossing.road_map.stop_lines if s.id.removeprefix("stop-") in signed)
    road_map = dataclasses.replace(crossing.road_map, stop_lines=lines)
    signals = crossing.signals(MAIN, CROSS, 1800) if control == "signals" else ()
    tracks, traffic_vehicles = [], []
    for arm in ARMS:
        start, *_, end = road_map.lane_by_id[f"{arm}-in-0"].centreline.astype(float)
        along = (end - start) / np.linalg.norm(end - start)
        for k in range(each):
            x, y, _ = start + (5.0 + 20.0 * k) * along
            heading = float(np.arctan2(along[1], along[0]))
            tracks.append(moving(f"{arm}-{k}", x=float(x), y=float(y), speed=9.0, heading=heading))
            traffic_vehicles.append(
                TrafficVehicle(f"{arm}-{k}", seed=int(rng.integers(1 << 30)), lane_id=f"{arm}-in-0")
            )
    return traffic(road_map, tracks, traffic_vehicles, signals=signals)


def overlapping(batch: WorldBatch, w: int = 0) -> list[tuple[str, str]]:
    """Pairs of agents whose boxes overlap now."""
    agents = batch[w].agents()
    there = np.flatnonzero(agents.valid)
    pose, size = agents.pose[there].astype(float), agents.size[there, :2].astype(float)
    depth = box_separation(pose[:, None], size[:, None], pose[None], size[None])
    return [(agents.ids[there[i]], agents.ids[there[k]]) for i, k in np.argwhere(depth < -1e-3) if i < k]
