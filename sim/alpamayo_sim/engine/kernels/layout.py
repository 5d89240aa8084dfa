# mypy: disable-error-code="untyped-decorator,valid-type"
"""Layout of the constant data on the device: Warp structs, and the blocks of arrays that hold them.

All constant data of scenarios and maps lies in blocks of flat arrays (``ScenarioBuffers``). A world points to the
``ScenarioSlot`` of its scenario, which holds the first row of the scenario in each block. Data that changes is in
``state.State``. The first agents of a world are its egos.
"""

import enum
from functools import cache
from typing import Any

import numpy as np

from alpamayo_sim.warp_runtime import wp

HISTORY = 16
FEATURE_SPEED, FEATURE_LENGTH = 40.0, 20.0  # m/s and m that are 1 in an observation
ABSENT_POSITION_M = 1.0e6  # coordinates of absent agents
PIECE = 8.0  # m; observations cut map lines to pieces of this length
NEARBY = 200  # map pieces that the observation can hold
MARGIN_RANGE = 4.0  # m; the drivable margin is exact up to here and clamped beyond
TTC_HORIZON = 5.0  # s; the largest time to collision
LANE_CELL_M = 8.0  # cell size of the grid that finds the lanes near a position
LANE_REACH = 3.0  # m; an agent further from all lanes is on none


class Mode(enum.IntEnum):
    """How an agent moves."""

    EGO = 0
    REPLAY = 1
    SCRIPT = 2
    FOLLOW = 3
    PROP = 4
    TRAFFIC_VEHICLE = 5
    WALKER = 6
    REACTIVE = 7


class Priority(enum.IntEnum):
    """Priority of a lane where it meets another lane (``ConflictRow``)."""

    GOES_FIRST = 0
    YIELDS = 1
    IN_TURN = 2  # the vehicle that has waited longer goes first
    ZIPPER = 3  # the lanes merge: the vehicle that is nearer to the merge goes first
    PARTING = 4  # the lanes diverge: a vehicle follows the one ahead until the lanes are apart


class Control(enum.IntEnum):
    """Control at the stop line of a lane; signals are their index, from 0 on."""

    NONE = -2
    STOP_SIGN = -1


@wp.struct
class Grid:
    """Square cells over a map, each with a list of nearby items that a kernel makes when it is first needed."""

    corner: wp.vec2
    size: wp.float32  # m
    nx: wp.int32
    ny: wp.int32
    cell_row: wp.int32
    list_row: wp.int32
    capacity: wp.int32


@wp.struct
class ScenarioSlot:
    """One scenario: first rows of its blocks, and the numbers that hold for all of it."""

    agents: wp.int32
    egos: wp.int32
    steps: wp.int32
    agent_row: wp.int32
    ego_row: wp.int32
    control_row: wp.int32
    log_row: wp.int32
    path_row: wp.int32
    manoeuvre_row: wp.int32
    stop_row: wp.int32
    signal_row: wp.int32
    signal_steps: wp.int32
    route_row: wp.int32
    vehicle_row: wp.int32
    substeps: wp.int32
    border_row: wp.int32
    borders: wp.int32
    centre_row: wp.int32
    centres: wp.int32
    piece_row: wp.int32
    pieces: wp.int32
    gate_row: wp.int32
    gates: wp.int32
    border_grid: Grid
    centre_grid: Grid
    piece_grid: Grid
    duration_steps: wp.int32
    dt: wp.float32
    substep_dt: wp.float32  # s of one substep
    friction: wp.float32
    lanes: wp.int32
    lane_row: wp.int32
    lane_path_row: wp.int32
    link_row: wp.int32
    origin_row: wp.int32
    conflict_row: wp.int32
    crossing_row: wp.int32
    crosswalk_row: wp.int32
    crosswalks: wp.int32
    lane_control_row: wp.int32
    traffic_vehicle_row: wp.int32
    walker_row: wp.int32
    lane_cell_row: wp.int32
    lane_list_row: wp.int32
    lane_cells_x: wp.int32
    lane_cells_y: wp.int32
    lane_corner: wp.vec2
    has_levels: wp.int32  # whether parts of the map lie above each other


@wp.struct
class Agent:
    """One road user or prop; rows count from the scenario's first row."""

    mode: wp.int32
    log_row: wp.int32
    path_row: wp.int32
    path_points: wp.int32
    manoeuvre_row: wp.int32
    manoeuvres: wp.int32
    stop_row: wp.int32
    stops: wp.int32
    length: wp.float32
    width: wp.float32
    height: wp.float32
    speed: wp.float32
    x: wp.float32
    y: wp.float32
    heading: wp.float32
    elevation: wp.float32
    traffic_vehicle: wp.int32  # row of its TrafficVehicleRow, -1 for other agents
    walker: wp.int32  # row of its WalkerRow
    category: wp.int32


@wp.struct
class EgoRow:
    """An ego's route, recorded controls and goal (m along the route); rows count from the scenario's first row."""

    route_row: wp.int32
    route_points: wp.int32
    control_row: wp.int32
    goal: wp.float32


@wp.struct
class LogRow:
    """A road user at one recorded step."""

    pose: wp.vec3
    velocity: wp.vec2
    direction: wp.vec2
    valid: wp.int32
    s: wp.float32  # arc length (m) along the path of a reactive agent
    elevation: wp.float32


@wp.struct
class ManoeuvreRow:
    """A manoeuvre and its trigger."""

    kind: wp.int32
    value: wp.float32
    point: wp.vec2
    has_speed: wp.int32
    speed: wp.float32
    acceleration: wp.float32
    size: wp.vec2
    path_row: wp.int32
    path_points: wp.int32
    has_lateral: wp.int32
    lateral: wp.float32
    duration: wp.float32


@wp.struct
class VehicleRow:
    """The ego's dynamics, as in ``alpamayo_sim.datatypes.dynamics.Dynamics``; missing limits are 0."""

    is_dynamic: wp.int32
    has_actuators: wp.int32
    acceleration_lag: wp.float32
    steering_lag: wp.float32
    jerk_limit: wp.float32
    steering_rate: wp.float32
    blend_none: wp.float32
    blend_full: wp.float32
    wheelbase: wp.float32
    rear_axle: wp.float32
    gyration: wp.float32
    tyre_stiffness: wp.float32


@wp.struct
class TrafficVehicleRow:
    """A vehicle that drives on the lanes (``alpamayo_sim.datatypes.scenario.TrafficVehicle``), and its start."""

    lane: wp.int32
    s: wp.float32
    lateral: wp.float32
    wanted_speed: wp.float32
    seed: wp.int32
    acceleration: wp.float32
    deceleration: wp.float32
    headway: wp.float32
    gap: wp.float32
    changes_lanes: wp.int32
    politeness: wp.float32
    threshold: wp.float32
    safe_deceleration: wp.float32
    right_bias: wp.float32


@wp.struct
class WalkerRow:
    """A ``Walker``; ``kerb`` is negative for a walker that crosses without looking."""

    speed: wp.float32
    kerb: wp.float32
    width: wp.float32
    start_up: wp.float32
    hesitates: wp.int32
    run_speed: wp.float32
    acceleration: wp.float32


@wp.struct
class LaneRow:
    """A lane of the graph; rows count from the map's first row; other lanes are numbers, -1: none."""

    path_row: wp.int32
    points: wp.int32
    length: wp.float32
    width: wp.float32
    limit: wp.float32
    left: wp.int32
    right: wp.int32
    successor_row: wp.int32
    successors: wp.int32
    predecessor_row: wp.int32
    predecessors: wp.int32
    conflict_row: wp.int32
    conflicts: wp.int32
    crossing_row: wp.int32
    crossings: wp.int32
    entry_s: wp.float32  # where its first crossing conflict begins
    stop_s: wp.float32
    ends: wp.int32


@wp.struct
class ConflictRow:
    """A zone where a lane meets another lane: its intervals (m) on both, and the priority (``Priority``)."""

    other: wp.int32
    priority: wp.int32
    merges: wp.int32  # whether both lead to the same lane
    start: wp.float32
    end: wp.float32
    other_start: wp.float32
    other_end: wp.float32


@wp.struct
class CrossingRow:
    """The interval (m) of a lane on a crosswalk."""

    start: wp.float32
    end: wp.float32
    crosswalk: wp.int32


@wp.struct
class CrosswalkRow:
    """A crosswalk as an oriented rectangle."""

    middle: wp.vec2
    along: wp.vec2
    half_length: wp.float32
    half_width: wp.float32


@wp.struct
class StopRow:
    """A stop line on a path or route: arc length (m) and the signal's index; -1 for a stop sign."""

    s: wp.float32
    signal: wp.int32


@wp.struct
class BorderRow:
    """A segment of the drivable area's border with the normals of its two vertices (see ``map.border.Border``)."""

    start: wp.vec2
    step: wp.vec2  # from start to end
    per_length: wp.float32  # 1 / length² (1/m²)
    normal_start: wp.vec2
    normal_end: wp.vec2
    elevation: wp.vec2  # m, least and largest


@wp.struct
class CellRow:
    """A cell of the lane graph's grid: its rows of ``lane_lists``."""

    first: wp.int32
    count: wp.int32


@wp.struct
class CentreRow:
    """A segment of a lane's centreline; ``limit`` is 0 where the speed limit is not known."""

    start: wp.vec2
    along: wp.vec2  # unit vector
    length: wp.float32
    half_width: wp.float32
    limit: wp.float32
    lane: wp.int32
    elevation: wp.vec2  # m, at the start and the end


@wp.struct
class GateRow:
    """A line that must not be crossed in a direction while a signal is red."""

    start: wp.vec2
    along: wp.vec2  # unit vector
    length: wp.float32
    direction: wp.vec2
    signal: wp.int32
    elevation: wp.float32


Features = wp.types.vector(length=8, dtype=wp.float32)  # of one row of an observation, which takes seven of them


@wp.struct
class ScenarioBuffers:
    """All constant data: the slots, the slot of each world, and the blocks."""

    slots: wp.array[ScenarioSlot]
    slot_of: wp.array[wp.int32]
    agents: wp.array[Agent]
    egos: wp.array[EgoRow]
    logs: wp.array[LogRow]
    controls: wp.array[wp.vec2]
    paths: wp.array[wp.vec4]  # x, y, heading, arc length
    path_elevations: wp.array[wp.float32]  # m, at each point of the paths
    manoeuvres: wp.array[ManoeuvreRow]
    stops: wp.array[StopRow]
    vehicles: wp.array[VehicleRow]
    signals: wp.array[wp.int32]
    routes: wp.array[wp.vec4]  # x, y, heading, arc length
    route_elevations: wp.array[wp.float32]
    route_directions: wp.array[wp.vec2]  # unit vector along the segment that begins at each point of the routes
    gates: wp.array[GateRow]
    borders: wp.array[BorderRow]
    centres: wp.array[CentreRow]
    pieces: wp.array[Features]  # x, y of the middle, cos, sin, length / PIECE, is edge, is painted line
    cells: wp.array[wp.int32]  # of all grids; what the numbers mean is in ``grids.py``
    lists: wp.array[wp.int32]
    traffic_vehicles: wp.array[TrafficVehicleRow]
    walkers: wp.array[WalkerRow]
    lane_controls: wp.array[wp.vec2i]  # of each lane: its signal or Control; whether a stop sign holds
    lanes: wp.array[LaneRow]
    lane_paths: wp.array[wp.vec4]
    lane_elevations: wp.array[wp.float32]
    lane_links: wp.array[wp.int32]
    lane_origins: wp.array[wp.int32]
    conflicts: wp.array[ConflictRow]
    crossings: wp.array[CrossingRow]
    crosswalks: wp.array[CrosswalkRow]
    lane_cells: wp.array[CellRow]
    lane_lists: wp.array[wp.vec2i]  # lane and segment, by lane


SCENARIO_BLOCKS = {
    "agents": Agent,
    "egos": EgoRow,
    "logs": LogRow,
    "controls": wp.vec2,
    "paths": wp.vec4,
    "path_elevations": wp.float32,
    "manoeuvres": ManoeuvreRow,
    "stops": StopRow,
    "vehicles": VehicleRow,
    "signals": wp.int32,
    "routes": wp.vec4,
    "route_elevations": wp.float32,
    "route_directions": wp.vec2,
    "gates": GateRow,
    "traffic_vehicles": TrafficVehicleRow,
    "walkers": WalkerRow,
    "lane_controls": wp.vec2i,
}
MAP_BLOCKS = {"borders": BorderRow, "centres": CentreRow, "pieces": Features}
GRID_BLOCKS = {"cells": wp.int32, "lists": wp.int32}
GRAPH_BLOCKS = {
    "lanes": LaneRow,
    "lane_paths": wp.vec4,
    "lane_elevations": wp.float32,
    "lane_links": wp.int32,
    "lane_origins": wp.int32,
    "conflicts": ConflictRow,
    "crossings": CrossingRow,
    "crosswalks": CrosswalkRow,
    "lane_cells": CellRow,
    "lane_lists": wp.vec2i,
}
BLOCKS = {"slots": ScenarioSlot, **SCENARIO_BLOCKS, **MAP_BLOCKS, **GRID_BLOCKS, **GRAPH_BLOCKS}
FIRST_ROW = {  # the field of a slot that holds a block's first row
    "agents": "agent_row",
    "logs": "log_row",
    "egos": "ego_row",
    "controls": "control_row",
    "paths": "path_row",
    "path_elevations": "path_row",
    "manoeuvres": "manoeuvre_row",
    "stops": "stop_row",
    "vehicles": "vehicle_row",
    "signals": "signal_row",
    "routes": "route_row",
    "route_elevations": "route_row",
    "route_directions": "route_row",
    "gates": "gate_row",
    "borders": "border_row",
    "centres": "centre_row",
    "pieces": "piece_row",
    "traffic_vehicles": "traffic_vehicle_row",
    "walkers": "walker_row",
    "lane_controls": "lane_control_row",
    "lanes": "lane_row",
    "lane_paths": "lane_path_row",
    "lane_elevations": "lane_path_row",
    "lane_links": "link_row",
    "lane_origins": "origin_row",
    "conflicts": "conflict_row",
    "crossings": "crossing_row",
    "crosswalks": "crosswalk_row",
    "lane_cells": "lane_cell_row",
    "lane_lists": "lane_list_row",
}


def empty_rows(dtype: Any, rows: int = 0) -> np.ndarray:
    """Return a numpy array of zeros with the dtype of a block's rows."""
    return np.zeros(rows, _numpy_dtype(dtype))


@cache
def _numpy_dtype(dtype: Any) -> Any:
    if hasattr(dtype, "numpy_dtype"):
        return np.dtype(dtype.numpy_dtype())
    one = wp.zeros(1, dtype=dtype, device="cpu").numpy()
    return np.dtype((one.dtype, one.shape[1:]))
