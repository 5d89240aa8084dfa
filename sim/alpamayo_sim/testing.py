"""Builders of small scenes and scenarios by hand, for tests, examples and experiments.

Roads are straight and run along x (east); all lengths are in m, speeds in m/s and angles in rad. For intersections and
curved roads see ``alpamayo_scenarios``.

Example:
    >>> from alpamayo_sim import testing
    >>> from alpamayo_sim.engine import WorldBatch
    >>> batch = WorldBatch([testing.scenario(testing.standing("obstacle", 60.0))])
    >>> batch.step([[1.0, 0.0]])
    >>> float(batch.egos.time_to_collision[0, 0])
    5.0
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float32

from alpamayo_sim.datatypes.decision import PLAN_DT, PLAN_STEPS
from alpamayo_sim.datatypes.observation import Agents, GroundTruth
from alpamayo_sim.datatypes.scenario import Goal, Scenario, TrafficVehicle
from alpamayo_sim.datatypes.scene import (
    Category,
    Environment,
    Lane,
    LineKind,
    Prop,
    Provenance,
    RoadLine,
    RoadMap,
    Route,
    Scene,
    Signal,
    SignalState,
    StopLine,
    Track,
)

Array = np.ndarray

LANE_WIDTH_M = 3.5
FIRST_LANE = "first lane"
STEPS = 100  # of tracks, by default
DT_S = 0.1
SIZES_M: Mapping[Category, tuple[float, float, float]] = {
    Category.VEHICLE: (4.8, 2.0, 1.6),
    Category.TRUCK: (8.5, 2.5, 3.4),
    Category.BUS: (12.0, 2.55, 3.1),
    Category.MOTORCYCLE: (2.1, 0.8, 1.5),
    Category.CYCLIST: (1.8, 0.6, 1.75),
    Category.PEDESTRIAN: (0.5, 0.6, 1.75),
    Category.ANIMAL: (1.4, 0.4, 1.0),
    Category.CONE: (0.4, 0.4, 0.8),
    Category.BARRIER: (2.0, 0.5, 1.0),
    Category.DEBRIS: (1.0, 0.8, 0.5),
    Category.BUILDING: (18.0, 12.0, 11.0),
    Category.VEGETATION: (3.5, 3.5, 6.0),
}

# Roads


def polyline(*points: Sequence[float], spacing: float | None = None) -> Float32[Array, "n 3"]:
    """Return a polyline on the ground through points (x, y).

    Args:
        points: the corners.
        spacing: the largest distance of its points, by default that of the corners.
    """
    corners = np.array([(x, y, 0.0) for x, y in points])
    if spacing is None:
        return corners.astype(np.float32)
    parts = [corners[:1]]
    for a, b in pairwise(corners):
        count = max(int(np.hypot(*(b - a)[:2]) / spacing), 1)
        parts.append(np.linspace(a, b, count + 1)[1:])
    return np.concatenate(parts).astype(np.float32)


def straight_lane(
    lane_id: str, start: Sequence[float], end: Sequence[float], *, spacing: float | None = None, **fields: Any
) -> Lane:
    """Return a straight lane from ``start`` to ``end`` (x, y).

    Args:
        lane_id: the id.
        start: first point of the centreline.
        end: last point of the centreline.
        spacing: distance of the points of the centreline, by default the length.
        **fields: further fields of ``Lane``; the speed limit is 30 m/s by default.
    """
    centreline = polyline(start, end, spacing=spacing)
    width = np.full(len(centreline), LANE_WIDTH_M, np.float32)
    return Lane(lane_id, centreline, width, **{"speed_limit": 30.0, **fields})


@cache
def one_way_road(
    lanes: int = 2,
    start: float = -100.0,
    end: float = 500.0,
    *,
    spacing: float | None = 5.0,
    speed_limit: float | None = 14.0,
    area: bool = True,
) -> RoadMap:
    """Return lanes ``lane-0``, ``lane-1``, ... to the east, each linked to its neighbours; ``lane-0`` is on y = 0.

    Args:
        lanes: number of lanes, from right to left.
        start: x of their start.
        end: x of their end.
        spacing: distance of the points of the centrelines.
        speed_limit: of all lanes, None if unknown.
        area: whether the map has a drivable area.
    """
    low, high = -0.5 * LANE_WIDTH_M, (lanes - 0.5) * LANE_WIDTH_M
    return RoadMap(
        lanes=tuple(
            straight_lane(
                f"lane-{k}",
                (start, k * LANE_WIDTH_M),
                (end, k * LANE_WIDTH_M),
                spacing=spacing,
                speed_limit=speed_limit,
                left_neighbours=(f"lane-{k + 1}",) if k + 1 < lanes else (),
                right_neighbours=(f"lane-{k - 1}",) if k else (),
            )
            for k in range(lanes)
        ),
        drivable_areas=(_rectangle(start, low, end, high),) if area else (),
    )


def highway(lanes: int = 3, length: float = 3000.0) -> RoadMap:
    """Return a one-way road from x = 0 for fast traffic: 30 m/s, without a drivable area."""
    return one_way_road(lanes, 0.0, length, spacing=None, speed_limit=30.0, area=False)


@cache
def two_way_road(
    lanes: int = 1,
    start: float = -100.0,
    end: float = 400.0,
    *,
    centre: float = 0.5 * LANE_WIDTH_M,
    spacing: float = 10.0,
    speed_limit: float | None = 13.9,
    area: bool = True,
    lines: bool = False,
) -> RoadMap:
    """Return a road with lanes ``east-0``, ``east-1``, ... and ``west-0``, ``west-1``, ..., from the centre outwards.

    Args:
        lanes: number of lanes of each direction.
        start: x of the western end.
        end: x of the eastern end.
        centre: y of the centre line; by default ``east-0`` is on y = 0.
        spacing: distance of the points of the centrelines.
        speed_limit: of all lanes, None if unknown.
        area: whether the map has a drivable area.
        lines: whether the map has painted lines.
    """
    made = []
    for k in range(lanes):
        for side, sign, ends in (("east", -1, (start, end)), ("west", 1, (end, start))):
            y = centre + sign * (k + 0.5) * LANE_WIDTH_M
            made.append(
                straight_lane(
                    f"{side}-{k}",
                    (ends[0], y),
                    (ends[1], y),
                    spacing=spacing,
                    speed_limit=speed_limit,
                    left_neighbours=(f"{side}-{k - 1}",) if k > 0 else (),
                    right_neighbours=(f"{side}-{k + 1}",) if k + 1 < lanes else (),
                )
            )
    half = lanes * LANE_WIDTH_M
    return RoadMap(
        lanes=tuple(made),
        drivable_areas=(_rectangle(start, centre - half, end, centre + half),) if area else (),
        road_lines=_painted(lanes, start, end, centre) if lines else (),
    )


@cache
def marked_road(lanes: int = 2) -> RoadMap:
    """Return a two-way road with painted lines about y = 0, from x = -60 to 300; ``east-0`` is on y = -1.75."""
    return two_way_road(lanes, -60.0, 300.0, centre=0.0, spacing=2.0, lines=True)


def with_crosswalk(road_map: RoadMap, x: float = 60.0, width: float = 3.5) -> RoadMap:
    """Return a two-way road about y = 0 with a crosswalk from ``x`` on and a stop line 2 m before it."""
    half = LANE_WIDTH_M * (len(road_map.lanes) // 2)
    held = tuple(lane.id for lane in road_map.lanes if lane.id.startswith("east"))
    stop = StopLine("stop", polyline((x - 2.0, -half), (x - 2.0, -0.2), spacing=2.0), held)
    return RoadMap(
        lanes=road_map.lanes,
        drivable_areas=road_map.drivable_areas,
        crosswalks=(_rectangle(x, -half, x + width, half),),
        stop_lines=(stop,),
        road_lines=road_map.road_lines,
    )


def _rectangle(x0: float, y0: float, x1: float, y1: float) -> Float32[Array, "4 3"]:
    return polyline((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _painted(lanes: int, start: float, end: float, centre: float) -> tuple[RoadLine, ...]:
    """Return a double yellow centre line, white edges, and broken white lines between the lanes."""
    made = [(centre, LineKind.DOUBLE_YELLOW)]
    for sign in (-1, 1):
        made.append((centre + sign * lanes * LANE_WIDTH_M, LineKind.SOLID_WHITE))
        made += [(centre + sign * k * LANE_WIDTH_M, LineKind.BROKEN_WHITE) for k in range(1, lanes)]
    return tuple(RoadLine(polyline((start, y), (end, y), spacing=2.0), kind) for y, kind in made)


# Road users, props and signals


def moving(
    track_id: str,
    x: float = 0.0,
    y: float = 0.0,
    speed: float = 10.0,
    heading: float = 0.0,
    *,
    category: Category = Category.VEHICLE,
    size: Sequence[float] | None = None,
    steps: int = STEPS,
) -> Track:
    """Return a track of constant velocity.

    Args:
        track_id: the id.
        x: of the box centre at the first step.
        y: of the box centre at the first step.
        speed: along the heading.
        heading: counter-clockwise from east.
        category: of the road user.
        size: length, width and height; by default the usual size of the category.
        steps: number of steps of 0.1 s.
    """
    distance = speed * DT_S * np.arange(steps)
    c, s = np.cos(heading), np.sin(heading)
    return Track(
        id=track_id,
        category=category,
        position=np.column_stack([x + c * distance, y + s * distance, np.zeros(steps)]).astype(np.float32),
        heading=np.full(steps, heading, np.float32),
        velocity=np.tile(np.array([speed * c, speed * s], np.float32), (steps, 1)),
        size=np.array(size or SIZES_M[category], np.float32),
        valid=np.ones(steps, bool),
    )


def standing(track_id: str, x: float = 0.0, y: float = 0.0, heading: float = 0.0, **values: Any) -> Track:
    """Return a track that stands still; see ``moving`` for the other arguments."""
    return moving(track_id, x, y, 0.0, heading, **values)


def prop(
    prop_id: str,
    x: float,
    y: float,
    heading: float = 0.0,
    *,
    category: Category = Category.CONE,
    size: Sequence[float] | None = None,
) -> Prop:
    """Return a prop, by default a traffic cone; ``size`` is length, width and height."""
    return Prop(
        prop_id,
        category,
        np.array([x, y, 0.0], np.float32),
        heading,
        np.array(size or SIZES_M[category], np.float32),
    )


def signal(
    signal_id: str,
    lane_ids: Sequence[str],
    states: SignalState | Sequence[SignalState],
    position: Sequence[float] = (0.0, 0.0, 0.0),
    steps: int = STEPS,
) -> Signal:
    """Return a traffic light of some lanes; ``states`` is its state at each step, or one state for ``steps``."""
    shown = [states] * steps if isinstance(states, SignalState) else list(states)
    return Signal(signal_id, np.array(position, np.float32), np.array(shown, np.int8), tuple(lane_ids))


# Scenes and scenarios


def scene(
    *tracks: Track,
    road_map: RoadMap | None = None,
    ego: Track | None = None,
    props: Iterable[Prop] = (),
    signals: Iterable[Signal] = (),
    environment: Environment | None = None,
    route: Route | str | None = FIRST_LANE,
    **fields: Any,
) -> Scene:
    """Return a scene; by default the ego drives east at 10 m/s from x = 0 on the first lane of a straight road.

    Args:
        *tracks: the other road users.
        road_map: by default ``two_way_road()``.
        ego: track ``"ego"``; by default it is as long as the longest of the others.
        props: the props.
        signals: the traffic lights.
        environment: by default a clear day.
        route: by default along the first lane from x = 0 on, or 400 m along y = 0 if there is no lane.
        **fields: further fields of ``Scene``.
    """
    road_map = two_way_road() if road_map is None else road_map
    lane = road_map.lanes[0] if road_map.lanes else None
    y = float(lane.centreline[0, 1]) if lane else 0.0
    end = max(float(lane.centreline[-1, 0]), 1.0) if lane else 400.0
    ego = ego or moving("ego", 0.0, y, steps=max((len(track.valid) for track in tracks), default=STEPS))
    if isinstance(route, str):
        route = Route(polyline((0.0, y), (end, y)), (lane.id,) if lane else ())
    return Scene(
        **{
            "id": "hand-made",
            "road_map": road_map,
            "tracks": (ego, *tracks),
            "ego_id": "ego",
            "provenance": Provenance("hand-made", "Apache-2.0"),
            "signals": tuple(signals),
            "props": tuple(props),
            "environment": environment or Environment(),
            "route": route,
            **fields,
        }
    )


def scenario(
    *tracks: Track, goal: float = 100.0, duration: float = 10.0, scripts: Iterable[Any] = (), **values: Any
) -> Scenario:
    """Return a scenario on a one-way road of two lanes; see ``scene`` for the other arguments.

    Args:
        *tracks: the other road users.
        goal: the distance along the route at which the ego arrives.
        duration: the time limit (s).
        scripts: scripts of some of the tracks.
        **values: arguments of ``scene``, and fields of ``Scenario`` by their names.
    """
    own = {name: values.pop(name) for name in ("walkers", "traffic_vehicles", "dynamics", "egos") if name in values}
    made = scene(*tracks, **{"road_map": one_way_road(), **values})
    return Scenario(made, Goal(goal, duration), scripts=tuple(scripts), **own)


def traffic(
    road_map: RoadMap,
    tracks: Sequence[Track],
    traffic_vehicles: Iterable[TrafficVehicle],
    *,
    ego: Track | None = None,
    **values: Any,
) -> Scenario:
    """Return a scenario of traffic vehicles; see ``scene`` for the other arguments.

    Args:
        road_map: the lanes that they drive on.
        tracks: where each of them starts.
        traffic_vehicles: their settings, by the ids of the tracks.
        ego: by default it stands far away from the map.
        **values: arguments of ``scenario``.
    """
    ego = ego or standing("ego", -500.0, -500.0, steps=max(len(track.valid) for track in tracks))
    x, y = (float(value) for value in ego.position[0, :2])
    route = Route(polyline((x, y), (x + 5000.0, y)))
    common = {"ego": ego, "route": route, "goal": 4000.0, "duration": 60.0, **values}
    return scenario(*tracks, road_map=road_map, traffic_vehicles=tuple(traffic_vehicles), **common)


def street(environment: Environment | None = None, steps: int = 150) -> Scene:
    """Return a street with one road user of each category, props, houses, trees and traffic lights."""
    tracks = (
        moving("lead", 18.0, -1.75, 9.0, size=(4.6, 1.85, 1.5), steps=steps),
        moving("oncoming", 26.0, 1.75, 12.0, np.pi, size=(4.6, 1.85, 1.5), steps=steps),
        moving("truck", 24.0, -5.25, 8.0, category=Category.TRUCK, steps=steps),
        moving("bus", 60.0, 5.25, 9.0, np.pi, category=Category.BUS, steps=steps),
        standing("walker", 14.0, -8.4, np.pi / 2, category=Category.PEDESTRIAN, steps=steps),
        moving("walker2", 43.5, 3.0, 1.3, -np.pi / 2, category=Category.PEDESTRIAN, steps=steps),
        moving("rider", 12.0, 4.0, 5.0, np.pi, category=Category.CYCLIST, steps=steps),
        standing("dog", 16.0, 8.2, 0.5, category=Category.ANIMAL, steps=steps),
        standing("parked", 10.0, -6.0, size=(4.6, 1.85, 1.5), steps=steps),
        moving("bike", 33.0, 5.2, 9.0, np.pi, category=Category.MOTORCYCLE, steps=steps),
    )
    states = [SignalState.RED] * steps
    signals = (
        signal("light", ("east-0", "east-1"), states, (47.0, -8.0, 5.0)),
        signal("light2", ("east-0", "east-1"), states, (47.0, 0.0, 5.5)),
    )
    return scene(
        *tracks,
        road_map=with_crosswalk(marked_road(), 42.0),
        ego=moving("ego", 0.0, -1.75, size=(4.6, 1.85, 1.5), steps=steps),
        props=_street_props(),
        signals=signals,
        environment=environment,
    )


def _street_props() -> list[Prop]:
    props = [
        prop("cone1", 9.0, -3.6),
        prop("cone2", 12.0, -3.5),
        prop("barrier", 17.0, 5.3, np.pi / 2, category=Category.BARRIER),
        prop("debris", 11.0, -1.2, category=Category.DEBRIS),
    ]
    for k in range(8):
        x = -30.0 + 24.0 * k
        left, right = (18.0, 12.0, 8.0 + 3.0 * (k % 4)), (16.0, 12.0, 14.0 - 3.0 * (k % 3))
        props += [
            prop(f"house{k}", x, 19.0, category=Category.BUILDING, size=left),
            prop(f"house{k}r", x + 8.0, -20.0, category=Category.BUILDING, size=right),
            prop(f"tree{k}", x + 12.0, 10.5, category=Category.VEGETATION),
            prop(f"tree{k}r", x + 20.0, -10.5, category=Category.VEGETATION),
        ]
    return props


# What drivers and the validator receive


def agents_at(scene: Scene, step: int = 0) -> Agents:
    """Return the other tracks and the props of a scene at a step, as the engine gives them."""
    others = [track for track in scene.tracks if track.id != scene.ego_id]
    rows = [(*t.position[step], t.heading[step], *t.velocity[step], t.valid[step]) for t in others]
    rows += [(*p.position, p.heading, 0.0, 0.0, True) for p in scene.props]
    items: list[Track | Prop] = [*others, *scene.props]
    numbers = np.array(rows, np.float64).reshape(-1, 7)
    return Agents(
        ids=tuple(item.id for item in items),
        category=np.array([item.category for item in items], np.int8),
        pose=numbers[:, [0, 1, 3]].astype(np.float32),
        velocity=numbers[:, 4:6].astype(np.float32),
        size=np.array([item.size for item in items], np.float32).reshape(-1, 3),
        valid=numbers[:, 6].astype(bool),
        elevation=numbers[:, 2].astype(np.float32),
    )


def ground_truth_at(scene: Scene, step: int = 0) -> GroundTruth:
    """Return the ground truth of a scene at a step of its recording."""
    ego = scene.ego
    return GroundTruth(
        scene=scene,
        step=step,
        ego_pose=np.array([*ego.position[step, :2], ego.heading[step]], np.float32),
        ego_speed=float(np.hypot(*ego.velocity[step])),
        ego_size=ego.size,
        agents=agents_at(scene, step),
        signals=np.array([each.states[min(step, len(each.states) - 1)] for each in scene.signals], np.int8),
        ego_elevation=float(ego.position[step, 2]),
    )


def plan(
    speed: float = 10.0, acceleration: float = 0.0, curvature: float = 0.0, lateral: float = 0.0
) -> Float32[Array, "64 4"]:
    """Return a plan of constant acceleration down to rest.

    Args:
        speed: at the start.
        acceleration: in m/s².
        curvature: of the path (1/m), constant.
        lateral: offset (m, left positive) that the path shifts to over 30 m.
    """
    t = PLAN_DT * np.arange(0, PLAN_STEPS + 1)
    v = np.maximum(speed + acceleration * t, 0.0)
    s = np.concatenate([[0.0], np.cumsum(0.5 * PLAN_DT * (v[1:] + v[:-1]))])
    heading = curvature * s
    x = np.sin(heading) / curvature if curvature else s
    y = (1.0 - np.cos(heading)) / curvature if curvature else np.zeros_like(s)
    if lateral:
        u = np.clip(s / 30.0, 0.0, 1.0)
        y = y + lateral * (10.0 * u**3 - 15.0 * u**4 + 6.0 * u**5)
        heading = np.arctan(lateral * (30.0 * u**2 - 60.0 * u**3 + 30.0 * u**4) / 30.0)
    return np.column_stack([x, y, heading, v])[1:].astype(np.float32)
