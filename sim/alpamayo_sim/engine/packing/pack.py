"""The flat blocks of a scenario for the kernels; made once per scenario."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int8

from alpamayo_sim.byte_cache import byte_cache
from alpamayo_sim.datatypes.dynamics import Dynamics
from alpamayo_sim.datatypes.scenario import Ego, Manoeuvre, Scenario, Script, TrafficVehicle, Walker
from alpamayo_sim.datatypes.scene import Prop, Route, Scene, SignalState, Track
from alpamayo_sim.engine.kernels import layout
from alpamayo_sim.engine.kernels.layout import Mode
from alpamayo_sim.engine.packing.lane_graph import UNLIMITED, controls_of, pack_lanes
from alpamayo_sim.engine.packing.map_blocks import gate_rows, pack_map
from alpamayo_sim.engine.packing.polylines import elevations, path_rows
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import follow, interpolate, project, wrap_angle
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.stop_lines import lines_of_lanes, route_stops

Array = np.ndarray
PACKED_BYTES = 128 << 20  # kept at most
ACTUATORS = ("acceleration_lag", "steering_lag", "jerk_limit", "steering_rate")
AFTER_LOG = 60.0  # m of a reactive road user's path after the end of its recording
PATH_SPACING = 0.5  # m
STANDING_TRACK_M = 2.0  # a recorded road user that never gets further from where it began stands
ON_LANE = 4.0  # m; largest distance of a traffic vehicle's start from a lane
STOP_REACH = 3.0  # m; largest distance between a path and a signal that applies to it


@dataclass(frozen=True, eq=False)
class Packed:
    """A scenario's blocks and numbers by name, and the ids, categories, sizes, routes and modes of its agents."""

    scenario: Scenario
    blocks: Mapping[str, Array]
    numbers: Mapping[str, float]
    ids: tuple[str, ...]
    category: Int8[Array, " n"]
    size: Float32[Array, "n 3"]
    routes: tuple[Route, ...]
    on_lanes: bool
    modes: frozenset[int]

    def others(self, ego: int) -> list[int]:
        """Return all agents but this ego."""
        return [a for a in range(len(self.ids)) if a != ego]


@byte_cache(PACKED_BYTES)
def pack_scenario(scenario: Scenario) -> Packed:
    """Return all blocks of a scenario but its map's; agents are egos (the scene's own first), tracks, props.

    Raises:
        InputError: the scene has no route, or an ego is valid at no step.
    """
    scene = scenario.scene
    if scene.route is None:
        raise InputError(f"scene {scene.id!r} has no route; the engine needs one to measure progress")
    own = Ego(scene.ego_id, scene.route, scenario.goal.distance)
    egos = {ego.track_id: ego for ego in (own, *scenario.egos)}
    by_id = {track.id: track for track in scene.tracks}
    others = [track for track in scene.tracks if track.id not in egos]
    blocks = _Blocks()
    scripts = {script.track_id: script for script in scenario.scripts}
    traffic_vehicles = {traffic_vehicle.track_id: traffic_vehicle for traffic_vehicle in scenario.traffic_vehicles}
    walkers = {walker.track_id: walker for walker in scenario.walkers}
    for name, ego in egos.items():
        _add_ego(blocks, scene, by_id[name], ego)
    for track in others:
        if track.id in traffic_vehicles:
            _add_traffic_vehicle(blocks, scene, track, traffic_vehicles[track.id])
        elif track.id in walkers:
            _add_walker(blocks, scene, track, walkers[track.id])
        elif track.id in scripts:
            _add_script(blocks, scene, track, scripts[track.id])
        elif scenario.reactive:
            _add_reactive(blocks, scene, track)
        else:
            blocks.agent(Mode.REPLAY, track, log_row=blocks.add("logs", _log_rows(track)))
    for prop in scene.props:
        x, y, z = prop.position
        blocks.agent(Mode.PROP, prop, x=x, y=y, elevation=z, heading=math.remainder(prop.heading, math.tau))
    blocks.add("vehicles", _vehicle_row(scenario.dynamics))
    signals = _signal_rows(scene)
    blocks.add("signals", signals.ravel())
    blocks.add("gates", gates := gate_rows(scene))
    if traffic_vehicles:
        blocks.add("lane_controls", controls_of(scene))
    packed_blocks = blocks.arrays()
    named: list[Track | Prop] = [*(by_id[name] for name in egos), *others, *scene.props]
    return Packed(
        scenario=scenario,
        blocks=packed_blocks,
        numbers={
            "agents": len(named),
            "egos": len(egos),
            "steps": scene.steps,
            "signal_steps": signals.shape[1],
            "gates": len(gates),
            "dt": scene.dt,
            "substeps": scenario.dynamics.substeps,
            "substep_dt": scene.dt / scenario.dynamics.substeps,
            "friction": scene.environment.friction,
            "duration_steps": scenario.steps,
        },
        ids=tuple(item.id for item in named),
        category=np.array([item.category for item in named], np.int8),
        size=np.array([item.size for item in named], np.float32).reshape(-1, 3),
        routes=tuple(ego.route for ego in egos.values()),
        on_lanes=bool(traffic_vehicles),
        modes=frozenset(packed_blocks["agents"]["mode"].tolist()),
    )


class _Blocks:
    """Blocks under construction; ``add`` returns the first of the added rows."""

    def __init__(self) -> None:
        self.parts = {name: [layout.empty_rows(dtype)] for name, dtype in layout.SCENARIO_BLOCKS.items()}
        self.agents: list[dict[str, Any]] = []

    def add(self, name: str, rows: Array) -> int:
        first = sum(len(part) for part in self.parts[name])
        self.parts[name].append(rows)
        return first

    def path(self, points: Float32[Array, "n 3"], rows: Float32[Array, "m 4"]) -> int:
        """Add the rows of a path with their elevations."""
        self.add("path_elevations", elevations(points, rows))
        return self.add("paths", rows)

    def agent(self, mode: Mode, item: Track | Prop, **values: Any) -> None:
        values = {"traffic_vehicle": -1, "category": int(item.category), **values}
        size = dict(zip(("length", "width", "height"), item.size, strict=True))
        self.agents.append({"mode": int(mode), **size, **values})

    def arrays(self) -> dict[str, Array]:
        agents = layout.empty_rows(layout.Agent, len(self.agents))
        for name in agents.dtype.names or ():
            agents[name] = [values.get(name, 0) for values in self.agents]
        return {**{name: np.concatenate(parts) for name, parts in self.parts.items()}, "agents": agents}


def _log_rows(track: Track) -> Array:
    rows = layout.empty_rows(layout.LogRow, len(track.valid))
    rows["pose"] = np.column_stack([track.position[:, :2], track.heading])
    rows["velocity"], rows["valid"], rows["elevation"] = track.velocity, track.valid, track.position[:, 2]
    rows["direction"] = np.column_stack([np.cos(track.heading), np.sin(track.heading)])
    return rows


def _add_ego(blocks: _Blocks, scene: Scene, track: Track, ego: Ego) -> None:
    log, controls = _ego_rows(scene, track)
    route = path_rows(ego.route.path, f"scene {scene.id!r}: route of {track.id!r}")
    stops = _route_stops(scene, ego.route)
    blocks.agent(
        Mode.EGO,
        track,
        log_row=blocks.add("logs", log),
        stops=len(stops),
        stop_row=blocks.add("stops", stops),
    )
    row = layout.empty_rows(layout.EgoRow, 1)
    row["control_row"] = blocks.add("controls", controls)
    row["route_row"] = blocks.add("routes", route)
    blocks.add("route_elevations", elevations(ego.route.path, route))
    step = np.diff(route[:, :2].astype(np.float64), axis=0, append=2.0 * route[-1:, :2] - route[-2:-1, :2])
    blocks.add("route_directions", (step / np.linalg.norm(step, axis=1, keepdims=True)).astype(np.float32))
    row["route_points"], row["goal"] = len(route), ego.distance
    blocks.add("egos", row)


def _ego_rows(scene: Scene, track: Track) -> tuple[Array, Float32[Array, "steps 2"]]:
    """Return an ego's recording, with standstill in its gaps, and the controls that led to each step."""
    rows = _log_rows(track)
    valid = np.flatnonzero(track.valid)
    if not len(valid):
        raise InputError(f"scene {scene.id!r}: its ego {track.id!r} is valid at no step")
    source = valid[np.clip(np.searchsorted(valid, np.arange(len(rows)), side="right") - 1, 0, None)]
    held = ~track.valid
    held[: valid[0]] = False  # before the first valid step it has the speed of that step
    rows = rows[source]
    rows["velocity"][held] = 0.0
    speed = np.linalg.norm(rows["velocity"].astype(np.float64), axis=1)
    way = np.linalg.norm(np.diff(rows["pose"][:, :2].astype(np.float64), axis=0), axis=1)
    turn = wrap_angle(np.diff(rows["pose"][:, 2].astype(np.float64)))
    curvature = np.where(way > 0.05, turn / np.maximum(way, 0.05), 0.0).clip(-0.25, 0.25)
    controls = np.column_stack([np.diff(speed) / scene.dt, curvature])
    first = controls[:1] if len(controls) else np.zeros((1, 2))
    return rows, np.concatenate([first, controls]).astype(np.float32)


def _vehicle_row(dynamics: Dynamics) -> Array:
    row = layout.empty_rows(layout.VehicleRow, 1)
    for name in set(row.dtype.names or ()) & {field.name for field in dataclasses.fields(Dynamics)}:
        row[name] = getattr(dynamics, name) or 0.0
    row["is_dynamic"] = dynamics.model == "dynamic"
    row["has_actuators"] = any(row[name][0] > 0.0 for name in ACTUATORS)
    row["blend_none"], row["blend_full"] = dynamics.blend_speeds
    return row


def _add_script(blocks: _Blocks, scene: Scene, track: Track, script: Script) -> None:
    where = f"scene {scene.id!r}: path of {track.id!r}"
    path = path_rows(script.path, where)
    manoeuvres = _manoeuvre_rows(blocks, script.manoeuvres, where)
    blocks.agent(
        Mode.FOLLOW if script.yields else Mode.SCRIPT,
        track,
        speed=script.speed,
        path_points=len(path),
        path_row=blocks.path(script.path, path),
        manoeuvres=len(script.manoeuvres),
        manoeuvre_row=blocks.add("manoeuvres", manoeuvres),
        stops=len(stops := _stop_rows(scene, path) if script.yields else layout.empty_rows(layout.StopRow)),
        stop_row=blocks.add("stops", stops),
    )


def _add_walker(blocks: _Blocks, scene: Scene, track: Track, walker: Walker) -> None:
    path = path_rows(walker.path, f"scene {scene.id!r}: path of {track.id!r}")
    row = layout.empty_rows(layout.WalkerRow, 1)
    for name in set(row.dtype.names or ()) & {field.name for field in dataclasses.fields(Walker)}:
        row[name] = getattr(walker, name) or 0.0
    row["kerb"] = -1.0 if walker.kerb is None else walker.kerb
    blocks.agent(
        Mode.WALKER,
        track,
        speed=walker.speed,
        path_points=len(path),
        path_row=blocks.path(walker.path, path),
        walker=blocks.add("walkers", row),
    )


def _recorded_path(track: Track) -> Float32[Array, "n 3"]:
    """Return the path that a track covers, and goes on along after its recording; no points for one that stands."""
    recorded = track.position[track.valid]
    if not len(recorded) or np.linalg.norm(recorded[:, :2] - recorded[0, :2], axis=1).max() < STANDING_TRACK_M:
        return np.zeros((0, 3), np.float32)
    points = [recorded[0]]
    for point in recorded:
        if np.linalg.norm(point[:2] - points[-1][:2]) > PATH_SPACING:
            points.append(point)
    way = points[-1] - points[max(len(points) - 3, 0)]
    points.append(points[-1] + (AFTER_LOG / max(float(np.linalg.norm(way[:2])), 1e-3) * way).astype(np.float32))
    return np.array(points, np.float32)


def _add_reactive(blocks: _Blocks, scene: Scene, track: Track) -> None:
    """Add an agent that repeats its recording while it can; one that stands has no path to leave it on."""
    rows = _log_rows(track)
    points = _recorded_path(track)
    if not len(points):
        blocks.agent(Mode.REACTIVE, track, log_row=blocks.add("logs", rows))
        return
    path = path_rows(points, f"scene {scene.id!r}: path of {track.id!r}")
    s = np.zeros(len(rows))
    s[track.valid] = follow(path[:, :2], track.position[track.valid, :2])[0]
    rows["s"] = np.maximum.accumulate(s)
    stops = _stop_rows(scene, path)
    blocks.agent(
        Mode.REACTIVE,
        track,
        log_row=blocks.add("logs", rows),
        path_points=len(path),
        path_row=blocks.path(points, path),
        stops=len(stops),
        stop_row=blocks.add("stops", stops),
    )


def _add_traffic_vehicle(blocks: _Blocks, scene: Scene, track: Track, traffic_vehicle: TrafficVehicle) -> None:
    where = f"scene {scene.id!r}: traffic vehicle {track.id!r}"
    if not track.valid[0]:
        raise InputError(f"{where} is not there at the first step")
    lane = _lane_of(scene, track, traffic_vehicle, where)
    (s,), (lateral,) = project(pack_lanes(scene.road_map).paths[lane], track.position[:1, :2].astype(np.float64))
    row = layout.empty_rows(layout.TrafficVehicleRow, 1)
    for name in set(row.dtype.names or ()) & {field.name for field in dataclasses.fields(TrafficVehicle)}:
        row[name] = getattr(traffic_vehicle, name) or 0
    row["lane"], row["s"], row["lateral"] = lane, s, lateral
    row["wanted_speed"] = traffic_vehicle.wanted_speed or UNLIMITED
    number = blocks.add("traffic_vehicles", row)
    blocks.agent(Mode.TRAFFIC_VEHICLE, track, speed=float(np.linalg.norm(track.velocity[0])), traffic_vehicle=number)


def _lane_of(scene: Scene, track: Track, traffic_vehicle: TrafficVehicle, where: str) -> int:
    """Return the lane that a traffic vehicle starts on: the named lane, or the nearest lane in its direction."""
    names = [lane.id for lane in scene.road_map.lanes]
    if traffic_vehicle.lane_id is not None:
        if traffic_vehicle.lane_id not in names:
            raise InputError(f"{where}: there is no lane {traffic_vehicle.lane_id!r}")
        return names.index(traffic_vehicle.lane_id)
    index = pack_map(scene.road_map).index
    place = track.position[:1]
    match = index.nearest_lane(place[:, :2], track.heading[:1], max_distance=ON_LANE, elevation=place[:, 2])
    if match.index[0] < 0:
        raise InputError(f"{where} starts {ON_LANE:g} m or more from any lane")
    return int(match.index[0])


def _manoeuvre_rows(blocks: _Blocks, manoeuvres: tuple[Manoeuvre, ...], where: str) -> Array:
    rows = layout.empty_rows(layout.ManoeuvreRow, len(manoeuvres))
    for row, item in zip(rows, manoeuvres, strict=True):
        row["kind"], row["value"], row["point"] = item.trigger.kind, item.trigger.value, item.trigger.point
        row["has_speed"], row["speed"] = item.speed is not None, item.speed or 0.0
        row["has_lateral"], row["lateral"] = item.lateral_offset is not None, item.lateral_offset or 0.0
        row["acceleration"], row["duration"] = item.acceleration, item.duration
        row["size"] = item.trigger.size
        if item.path is not None:
            path = path_rows(item.path, where)
            row["path_row"], row["path_points"] = blocks.path(item.path, path), len(path)
    return rows


def _stop_rows(scene: Scene, path: Float32[Array, "n 4"]) -> Array:
    """Return where the path meets the stop lines of signals."""
    found: list[tuple[float, int]] = []
    for number, signal in enumerate(scene.signals):
        for line in lines_of_lanes(scene.road_map, signal.lane_ids):
            s, offset = project(path, line.ends.mean(axis=0)[None])
            if abs(offset[0]) < STOP_REACH and _leads_along(scene, set(signal.lane_ids), path, float(s[0])):
                found.append((float(s[0]), number))
    return _stops(sorted(found))


def _route_stops(scene: Scene, route: Route) -> Array:
    """Return the stop lines along an ego's route; those of stop signs have no signal (-1)."""
    if not (scene.signals or scene.road_map.stop_lines):
        return layout.empty_rows(layout.StopRow)
    stops = route_stops(scene, RouteFrame.of_route(route))
    return _stops([(stop.s, -1 if stop.signal is None else stop.signal) for stop in stops])


def _stops(found: list[tuple[float, int]]) -> Array:
    rows = layout.empty_rows(layout.StopRow, len(found))
    rows["s"], rows["signal"] = [s for s, _ in found], [number for _, number in found]
    return rows


def _leads_along(scene: Scene, lane_ids: set[str], path: Float32[Array, "n 4"], s: float) -> bool:
    """Return whether one of the lanes has the direction of the path at ``s``."""
    x, y, heading, _ = interpolate(path, np.array([s]))[0]
    for name in lane_ids & set(scene.road_map.lane_by_id):
        centre = path_rows(scene.road_map.lane_by_id[name].centreline, f"lane {name!r}")
        along, offset = project(centre, np.array([[x, y]]))
        same_way = np.cos(interpolate(centre, along)[0, 2] - heading) > 0.7
        if same_way and abs(offset[0]) < STOP_REACH:
            return True
    return False


def _signal_rows(scene: Scene) -> Array:
    """Return states [signals, steps >= 1]; beyond its recording a signal keeps its last state."""
    steps = max((len(signal.states) for signal in scene.signals), default=1) or 1
    rows = np.full((len(scene.signals), steps), SignalState.UNKNOWN, np.int32)
    for row, signal in zip(rows, scene.signals, strict=True):
        if signal.states.size:
            row[: len(signal.states)] = signal.states
            row[len(signal.states) :] = signal.states[-1]
    return rows
