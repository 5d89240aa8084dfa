"""Culling: for each observer, the parts of road users in range, sorted into the tiles of each sensor's rays.

An observer is an agent of a world, usually the ego. The appearance of a scene (the parts of its agents) is uploaded
when the scenes change. Positions are read from the engine's arrays on the device each time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int32

from alpamayo_sim.datatypes.scene import Scene, Signal, SignalState
from alpamayo_sim.geometry import polyline_headings, project
from alpamayo_sim.map.index import index_of
from alpamayo_sim.sensors.appearance import PartTable, Surface, part_table
from alpamayo_sim.sensors.kernels import parts as kernel
from alpamayo_sim.sensors.semantic import Semantic
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

SIGHT_RANGE_M = 300.0  # parts further away are not seen
EGO_INSTANCE = 1 << 20  # the ego in instance images of another agent, which has no row in ``Agents``
MAX_PARTS = 512  # of an observer, the nearest first
LAMP_HEIGHT_M = 5.0  # of signals whose recorded position is on the road
LAMP_SIZE_M = (0.3, 0.56, 1.5)  # larger than real ones, so that small images show the state
POLE_WIDTH_M = 0.14


@dataclass(frozen=True, eq=False)
class Appearance:
    """The parts of all agents and signals of one scene.

    Agents are numbered as in the engine's state, with the ego as 0. ``fixed`` is x, y and heading of parts that stand.
    ``has_levels`` is that of the scene's map: then road users are drawn at their heights, else on one level ground.
    """

    table: PartTable
    still: Int32[Array, " parts"]
    fixed: Float32[Array, "parts 3"]
    signals: Int32[Array, "signals steps"]
    has_levels: bool = False


@dataclass(frozen=True, eq=False)
class ObserverEntry:
    """An observer: an agent of a world, the appearance of its scene, and the key of its noise."""

    world: int
    agent: int
    appearance: Appearance
    key: int = 0
    ground: int = 0


def scene_appearance(
    scene: Scene, ids: tuple[str, ...], category: Int8[Array, " n"], size: Float32[Array, "n 3"]
) -> Appearance:
    """Return the appearance of a scene: its ego, the other agents in the order of ``Agents``, and its signals."""
    names = (scene.ego_id, *ids)
    kinds = np.concatenate([np.array([scene.ego.category], np.int8), category])
    bodies = part_table(names, kinds, np.concatenate([scene.ego.size[None], size]))
    lamps, fixed = _signal_parts(scene)
    props = {prop.id: (*prop.position[:2], prop.heading) for prop in scene.props}
    still = np.array([name in props for name in names], np.int32)[bodies.owner]
    stands = np.array([props.get(name, (0.0, 0.0, 0.0)) for name in names], np.float32)[bodies.owner]
    steps = max((len(signal.states) for signal in scene.signals), default=1)
    return Appearance(
        table=bodies.joined(lamps),
        still=np.concatenate([still, np.ones(len(lamps.owner), np.int32)]),
        fixed=np.concatenate([stands, fixed]),
        signals=np.stack([_padded(signal.states, steps) for signal in scene.signals])
        if scene.signals
        else np.zeros((0, steps), np.int32),
        has_levels=index_of(scene.road_map).has_levels,
    )


def _padded(states: Int8[Array, " n"], steps: int) -> Int32[Array, " steps"]:
    if not len(states):
        return np.full(steps, SignalState.UNKNOWN, np.int32)
    return states[np.minimum(np.arange(steps), len(states) - 1)].astype(np.int32)


def _signal_parts(scene: Scene) -> tuple[PartTable, Float32[Array, "parts 3"]]:
    """Return a pole and a lamp for each signal; the lamp faces the traffic of its lanes."""
    rows, fixed = [], []
    for i, signal in enumerate(scene.signals):
        height, facing = _height(scene, signal), _facing(scene, signal)
        grey, black = (0.40, 0.41, 0.43), (0.1, 0.1, 0.1)
        bottom = height - 0.5 * LAMP_SIZE_M[2]
        pole = (Surface.PLAIN, Semantic.POLE, POLE_WIDTH_M, POLE_WIDTH_M, 0.0, bottom, grey)
        lamp = (Surface.SIGNAL, Semantic.TRAFFIC_LIGHT, *LAMP_SIZE_M[:2], bottom, bottom + LAMP_SIZE_M[2], black)
        for surface, semantic, length, width, low, high, colour in (pole, lamp):
            rows.append([-2 - i, surface, semantic, 0.0, 0.5 * length, 0.5 * width, low, high, 0.0, 0.0, *colour])
            fixed.append([*signal.position[:2], facing])
    return PartTable.of_rows(rows), np.array(fixed, np.float32).reshape(-1, 3)


def _height(scene: Scene, signal: Signal) -> float:
    """Return the height (m) of the lamp above its lanes; logs often give a point on the road instead."""
    lanes = [scene.road_map.lane_by_id[i] for i in signal.lane_ids if i in scene.road_map.lane_by_id]
    ground = float(lanes[0].centreline[0, 2]) if lanes else 0.0
    above = float(signal.position[2]) - ground
    return above if 2.0 < above < 15.0 else LAMP_HEIGHT_M


def _facing(scene: Scene, signal: Signal) -> float:
    """Return the heading (rad) of the lamp's face: against the direction of its lanes at their start."""
    for lane_id in signal.lane_ids:
        lane = scene.road_map.lane_by_id.get(lane_id)
        if lane is not None:
            return float(polyline_headings(lane.centreline)[0]) + math.pi
    if scene.route is None:
        return 0.0
    s, _ = project(scene.route.path, signal.position[None, :2])
    knots = np.searchsorted(np.cumsum(np.linalg.norm(np.diff(scene.route.path[:, :2], axis=0), axis=1)), s[0])
    return float(polyline_headings(scene.route.path)[min(int(knots), len(scene.route.path) - 1)]) + math.pi


class PartCuller:
    """For each observer, the parts in range, and a list per tile of rays of the parts that its rays may hit.

    Args:
        rays: unit directions in the observer's frame.
        eyes: origins of the rays (m) in the observer's frame.
        tile: rows and columns of rays that share a list.
        device: of the arrays.
        moving_only: leave out props and signals, for a world that is given as a mesh.
        shadows: also list the shadows that parts cast on the ground.
    """

    def __init__(
        self,
        rays: Float32[Array, "sensors rows columns 3"],
        eyes: Float32[Array, "sensors 3"],
        tile: tuple[int, int],
        device: str,
        moving_only: bool = False,
        shadows: bool = False,
    ) -> None:
        self.device = device
        self.moving_only = moving_only
        self._shadows = shadows
        self.sensors = len(rays)
        self.tile = tile
        self.columns = -(-rays.shape[2] // tile[1])
        self.tiles_per_sensor = -(-rays.shape[1] // tile[0]) * self.columns
        self._window = wp.array(tile_windows(rays, tile), dtype=wp.vec4, device=device)
        self.rays = wp.array(rays, dtype=wp.vec3, device=device)
        self.eyes = wp.array(eyes.astype(np.float32), dtype=wp.vec3, device=device)
        self.observers = wp.zeros(0, dtype=kernel.Observer, device=device)
        self.appearance, self.parts = kernel.Appearance(), kernel.Parts()
        self.bounds, self.tiles = kernel.Bounds(), kernel.Tiles()
        self._capacity = 0

    def set_observers(self, entries: Sequence[ObserverEntry]) -> None:
        """Set the observers; their number and the number of parts decide the size of the arrays."""
        unique = {id(each.appearance): each.appearance for each in entries}
        rows, signal_rows = self._upload(list(unique.values()))
        where = dict(zip(unique, zip(rows, signal_rows, strict=True), strict=True))
        host = [_observer_struct(each, *where[id(each.appearance)]) for each in entries]
        capacity = min(max((len(appearance.table.owner) for appearance in unique.values()), default=0), MAX_PARTS)
        if len(entries) != len(self.observers) or capacity > self._capacity:
            self._allocate(len(entries), max(capacity, 1))
        self.observers = wp.array(host, dtype=kernel.Observer, device=self.device)

    def cull(self, state: Mapping[str, wp.array], suns: wp.array, turn_rate: wp.array, readout: float = 0.0) -> None:
        """Sort the parts around each observer into its tiles.

        Args:
            state: arrays as in ``WorldBatch.device_arrays``.
            suns: direction of the sun of each observer, in the world's axes.
            turn_rate: yaw rate of each observer (rad/s).
            readout: duration (s) around the present for which the lists hold.
        """
        count, pose, velocity = len(self.observers), state["pose"], state["velocity"]
        grid = (count, self.sensors, self._capacity)
        common = [self.observers, self.appearance, pose]
        sort = [*common, state["valid"], self.moving_only, self._capacity, self.parts]
        place = [*common, velocity, state["elevation"], self.parts]
        motion = [velocity, turn_rate, suns, readout]
        bound = [self.eyes, self.observers, *motion, self.parts, self.bounds]
        bin_ = [self.parts, self.sensors, self.tiles_per_sensor, self.bounds, self.tiles]
        for work, dim, inputs in (
            (kernel.sort_parts, count, sort),
            (kernel.place_parts, (count, self._capacity), place),
            (kernel.bound_parts, grid, bound),
            (kernel.bin_parts, (count, self.sensors * self.tiles_per_sensor), bin_),
        ):
            wp.launch(work, dim=dim, inputs=inputs, device=self.device)

    def _upload(self, appearances: list[Appearance]) -> tuple[list[int], list[int]]:
        """Upload the tables one after the other; return the first rows of their parts and of their signal states."""
        sizes = np.array([len(appearance.table.owner) for appearance in appearances])
        states = np.array([appearance.signals.size for appearance in appearances])
        columns = {
            "owner": (wp.int32, [x.table.owner for x in appearances]),
            "still": (wp.int32, [x.still for x in appearances]),
            "surface": (wp.int32, [x.table.surface for x in appearances]),
            "semantic": (wp.int32, [x.table.semantic for x in appearances]),
            "along": (wp.float32, [x.table.centre for x in appearances]),
            "half": (wp.vec2, [x.table.half for x in appearances]),
            "z": (wp.vec2, [x.table.z for x in appearances]),
            "lean": (wp.vec2, [x.table.lean for x in appearances]),
            "colour": (wp.vec3, [x.table.colour for x in appearances]),
            "fixed": (wp.vec3, [x.fixed for x in appearances]),
            "signals": (wp.int32, [x.signals.ravel() for x in appearances]),
        }
        for name, (dtype, values) in columns.items():
            setattr(self.appearance, name, wp.array(np.concatenate(values), dtype=dtype, device=self.device))
        return (np.cumsum(sizes) - sizes).tolist(), (np.cumsum(states) - states).tolist()

    def _allocate(self, observers: int, capacity: int) -> None:
        self._capacity = capacity
        parts, views = (observers, capacity), (observers * self.sensors, capacity)
        tiles = observers * self.sensors * self.tiles_per_sensor
        with wp.ScopedDevice(self.device):
            self.parts.count = wp.zeros(observers, dtype=wp.int32)
            self.parts.row = wp.zeros(parts, dtype=wp.int32)
            self.parts.distance = wp.zeros(parts, dtype=wp.float32)
            self.parts.frame = wp.zeros(observers, dtype=wp.vec4)
            self.parts.body = wp.zeros(parts, dtype=kernel.Body)
            self.bounds.origin = wp.zeros(views, dtype=wp.vec3)
            self.bounds.solid = wp.zeros(views, dtype=wp.vec4)
            self.bounds.shadow = wp.zeros(views, dtype=wp.vec4)
            self.bounds.near = wp.zeros(views, dtype=wp.float32)
            self.tiles.window = self._window
            self.tiles.solid = wp.zeros((tiles, capacity), dtype=wp.uint16)
            self.tiles.shadow = wp.zeros((tiles, capacity if self._shadows else 1), dtype=wp.uint16)
            self.tiles.solids = wp.zeros(tiles, dtype=wp.int32)
            self.tiles.shadows = wp.zeros(tiles, dtype=wp.int32)


def _observer_struct(entry: ObserverEntry, row: int, signal_row: int) -> kernel.Observer:
    struct = kernel.Observer()
    struct.world, struct.agent, struct.key, struct.ground = entry.world, entry.agent, entry.key, entry.ground
    struct.has_levels = int(entry.appearance.has_levels)
    struct.row, struct.rows = row, len(entry.appearance.table.owner)
    struct.signal_row, struct.signal_steps = signal_row, entry.appearance.signals.shape[1]
    return struct


def tile_windows(rays: Float32[Array, "sensors rows columns 3"], tile: tuple[int, int]) -> Float32[Array, "tiles 4"]:
    """Return azimuth centre and half width, least and largest elevation (rad) of the rays of each tile, row-major.

    The azimuth range is widened by 1e-4 rad for rounding errors of the rays.
    """
    sensors, rows, columns, _ = rays.shape
    down, across = -(-rows // tile[0]), -(-columns // tile[1])
    missing = (0, 0), (0, down * tile[0] - rows), (0, across * tile[1] - columns), (0, 0)
    padded = np.pad(rays.astype(np.float64), missing, mode="edge").reshape(sensors, down, tile[0], across, tile[1], 3)
    blocks = padded.swapaxes(2, 3).reshape(sensors * down * across, -1, 3)
    middle = blocks[..., :2].sum(axis=1)
    centre = np.arctan2(middle[:, 1], middle[:, 0])
    turned = (np.arctan2(blocks[..., 1], blocks[..., 0]) - centre[:, None] + np.pi) % (2.0 * np.pi) - np.pi
    low, high = turned.min(axis=1), turned.max(axis=1)
    up = np.arcsin(np.clip(blocks[..., 2], -1.0, 1.0))
    window = centre + 0.5 * (low + high), 0.5 * (high - low) + 1e-4, up.min(axis=1), up.max(axis=1)
    return np.stack(window, axis=-1).astype(np.float32)
