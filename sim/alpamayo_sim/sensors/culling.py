"""What the sensors of some observers may see: the parts around each, sorted into the tiles of each sensor's rays.

An observer is an agent of a world, usually the ego. Looks (what parts there are) belong to a scene and are uploaded
when the scenes change; where they are is read from the engine's arrays at every look, on the device.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, Int32

from alpamayo_sim.datatypes.scene import Scene, Signal, SignalState
from alpamayo_sim.geometry import polyline_headings, project
from alpamayo_sim.sensors.appearance import PartTable, Surface, part_table
from alpamayo_sim.sensors.kernels import parts as kernel
from alpamayo_sim.sensors.semantic import Semantic
from alpamayo_sim.warp_runtime import wp

Array = np.ndarray

SIGHT = 300.0  # m, beyond which nothing is seen
EGO_INSTANCE = 1 << 20  # in place of a row of Agents, where another agent sees the ego
MAX_PARTS = 512  # seen at once by an observer, the nearest first
LAMP_HEIGHT = 5.0  # m, of signals whose position is at the road
LAMP_SIZE = (0.3, 0.56, 1.5)  # m; larger than life, so that the state shows in a small image
POLE_WIDTH = 0.14  # m


@dataclass(frozen=True, eq=False)
class Looks:
    """The parts of all agents of one scene and of its signals.

    Agents count as in the engine's state: 0 is the ego. ``fixed`` is x, y, heading of what does not move.
    """

    table: PartTable
    still: Int32[Array, " parts"]
    fixed: Float32[Array, "parts 3"]
    signals: Int32[Array, "signals steps"]


@dataclass(frozen=True, eq=False)
class Watch:
    """An observer: agent ``agent`` of world ``world``, in the scene with these looks. ``key`` seeds its noise."""

    world: int
    agent: int
    looks: Looks
    key: int = 0
    ground: int = 0


def scene_looks(scene: Scene, ids: tuple[str, ...], category: Int8[Array, " n"], size: Float32[Array, "n 3"]) -> Looks:
    """The looks of a scene's ego and of its other agents, in the order of ``Agents``."""
    names = (scene.ego_id, *ids)
    kinds = np.concatenate([np.array([scene.ego.category], np.int8), category])
    bodies = part_table(names, kinds, np.concatenate([scene.ego.size[None], size]))
    lamps, fixed = _signal_parts(scene)
    props = {prop.id: (*prop.position[:2], prop.heading) for prop in scene.props}
    still = np.array([name in props for name in names], np.int32)[bodies.owner]
    stands = np.array([props.get(name, (0.0, 0.0, 0.0)) for name in names], np.float32)[bodies.owner]
    steps = max((len(signal.states) for signal in scene.signals), default=1)
    return Looks(
        table=bodies.joined(lamps),
        still=np.concatenate([still, np.ones(len(lamps.owner), np.int32)]),
        fixed=np.concatenate([stands, fixed]),
        signals=np.stack([_padded(signal.states, steps) for signal in scene.signals])
        if scene.signals
        else np.zeros((0, steps), np.int32),
    )


def _padded(states: Int8[Array, " n"], steps: int) -> Int32[Array, " steps"]:
    if not len(states):
        return np.full(steps, SignalState.UNKNOWN, np.int32)
    return states[np.minimum(np.arange(steps), len(states) - 1)].astype(np.int32)


def _signal_parts(scene: Scene) -> tuple[PartTable, Float32[Array, "parts 3"]]:
    """A pole and a lamp for each signal; the lamp looks against the driving direction of its lanes."""
    rows, fixed = [], []
    for i, signal in enumerate(scene.signals):
        height, facing = _height(scene, signal), _facing(scene, signal)
        grey, black = (0.40, 0.41, 0.43), (0.1, 0.1, 0.1)
        bottom = height - 0.5 * LAMP_SIZE[2]
        pole = (Surface.PLAIN, Semantic.POLE, POLE_WIDTH, POLE_WIDTH, 0.0, bottom, grey)
        lamp = (Surface.SIGNAL, Semantic.TRAFFIC_LIGHT, *LAMP_SIZE[:2], bottom, bottom + LAMP_SIZE[2], black)
        for surface, semantic, length, width, low, high, colour in (pole, lamp):
            rows.append([-2 - i, surface, semantic, 0.0, 0.5 * length, 0.5 * width, low, high, 0.0, 0.0, *colour])
            fixed.append([*signal.position[:2], facing])
    return PartTable.of_rows(rows), np.array(fixed, np.float32).reshape(-1, 3)


def _height(scene: Scene, signal: Signal) -> float:
    """Height (m) of the lamp over its lanes; logs often give a point on the road instead."""
    lanes = [scene.road_map.lane_by_id[i] for i in signal.lane_ids if i in scene.road_map.lane_by_id]
    ground = float(lanes[0].centreline[0, 2]) if lanes else 0.0
    above = float(signal.position[2]) - ground
    return above if 2.0 < above < 15.0 else LAMP_HEIGHT


def _facing(scene: Scene, signal: Signal) -> float:
    """Heading (rad) of the lamp's face: against the lanes that it is for, where they begin."""
    for lane_id in signal.lane_ids:
        lane = scene.road_map.lane_by_id.get(lane_id)
        if lane is not None:
            return float(polyline_headings(lane.centreline)[0]) + math.pi
    if scene.route is None:
        return 0.0
    s, _ = project(scene.route.path, signal.position[None, :2])
    knots = np.searchsorted(np.cumsum(np.linalg.norm(np.diff(scene.route.path[:, :2], axis=0), axis=1)), s[0])
    return float(polyline_headings(scene.route.path)[min(int(knots), len(scene.route.path) - 1)]) + math.pi


class Sight:
    """Keeps, for each observer, the parts in sight and which tile of which sensor they may show in.

    ``rays`` are unit directions in the observer's frame, ``eyes`` where they start (m); ``tile`` is rows and columns
    of rays that share a list. ``moving_only`` leaves props and signals out (for a world given as a mesh);
    ``shadows`` makes room for those of a sun.
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
        self.looks, self.parts = kernel.Looks(), kernel.Parts()
        self.bounds, self.tiles = kernel.Bounds(), kernel.Tiles()
        self._capacity = 0

    def watch(self, watches: Sequence[Watch]) -> None:
        """Look through the eyes of these observers from now on."""
        unique = {id(each.looks): each.looks for each in watches}
        rows, signal_rows = self._upload(list(unique.values()))
        where = dict(zip(unique, zip(rows, signal_rows, strict=True), strict=True))
        host = [_entry(each, *where[id(each.looks)]) for each in watches]
        capacity = min(max((len(looks.table.owner) for looks in unique.values()), default=0), MAX_PARTS)
        if len(watches) != len(self.observers) or capacity > self._capacity:
            self._allocate(len(watches), max(capacity, 1))
        self.observers = wp.array(host, dtype=kernel.Observer, device=self.device)

    def look(self, state: Mapping[str, wp.array], suns: wp.array, turn_rate: wp.array, readout: float = 0.0) -> None:
        """Sort what is around each observer now.

        ``state`` is as ``WorldBatch.device_arrays``; ``suns`` are directions in the world, ``turn_rate`` (rad/s) is how
        fast each observer turns. What may be seen holds for all the time of a ``readout`` (s) around now.
        """
        count, pose, velocity = len(self.observers), state["pose"], state["velocity"]
        grid = (count, self.sensors, self._capacity)
        who = [self.observers, self.looks, pose]
        sort = [*who, state["valid"], self.moving_only, self._capacity, self.parts]
        place = [*who, velocity, self.parts]
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

    def _upload(self, all_looks: list[Looks]) -> tuple[list[int], list[int]]:
        """The tables one after the other; first rows of each and of its signals' states."""
        sizes = np.array([len(looks.table.owner) for looks in all_looks])
        states = np.array([looks.signals.size for looks in all_looks])
        columns = {
            "owner": (wp.int32, [x.table.owner for x in all_looks]),
            "still": (wp.int32, [x.still for x in all_looks]),
            "surface": (wp.int32, [x.table.surface for x in all_looks]),
            "semantic": (wp.int32, [x.table.semantic for x in all_looks]),
            "along": (wp.float32, [x.table.centre for x in all_looks]),
            "half": (wp.vec2, [x.table.half for x in all_looks]),
            "z": (wp.vec2, [x.table.z for x in all_looks]),
            "lean": (wp.vec2, [x.table.lean for x in all_looks]),
            "colour": (wp.vec3, [x.table.colour for x in all_looks]),
            "fixed": (wp.vec3, [x.fixed for x in all_looks]),
            "signals": (wp.int32, [x.signals.ravel() for x in all_looks]),
        }
        for name, (dtype, values) in columns.items():
            setattr(self.looks, name, wp.array(np.concatenate(values), dtype=dtype, device=self.device))
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


def _entry(watch: Watch, row: int, signal_row: int) -> kernel.Observer:
    entry = kernel.Observer()
    entry.world, entry.agent, entry.key, entry.ground = watch.world, watch.agent, watch.key, watch.ground
    entry.row, entry.rows = row, len(watch.looks.table.owner)
    entry.signal_row, entry.signal_steps = signal_row, watch.looks.signals.shape[1]
    return entry


def tile_windows(rays: Float32[Array, "sensors rows columns 3"], tile: tuple[int, int]) -> Float32[Array, "tiles 4"]:
    """Azimuth centre and half width, lowest and highest elevation (rad) of the rays of each tile, row-major.

    The azimuth is widened by a hair for the rays' rounding.
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
