"""What there is to draw at one moment: the parts of all road users, props and traffic lights, near to far."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int8, Int32

from alpamayo_sim.driver import Agents
from alpamayo_sim.geometry import polyline_headings, project, to_frame
from alpamayo_sim.scene import Scene, Signal, SignalState
from alpamayo_sim.sensors.semantic import Semantic
from alpamayo_sim.sensors.shapes import PartTable, Surface, part_poses, part_table, same_looks

Array = np.ndarray

SIGHT = 300.0  # m, beyond which nothing is drawn
MAX_PARTS = 512  # drawn at once, the nearest first
LAMP_HEIGHT = 5.0  # m, of signals whose position is at the road
LAMP_SIZE = (0.3, 0.56, 1.5)  # m; larger than life, so that the state shows in a small image
POLE_WIDTH = 0.14  # m


@dataclass(frozen=True, eq=False)
class SignalParts:
    """Poles and lamps: parts whose ``owner`` is -2 - i for signal i, and where they stand in the world."""

    table: PartTable
    xy: Float64[Array, "parts 2"]
    heading: Float64[Array, " parts"]


def signal_parts(scene: Scene) -> SignalParts:
    """A pole and a lamp for each signal; the lamp looks against the driving direction of its lanes."""
    rows, xy, heading = [], [], []
    for i, signal in enumerate(scene.signals):
        height, facing = _height(scene, signal), _facing(scene, signal)
        grey, black = (0.40, 0.41, 0.43), (0.1, 0.1, 0.1)
        pole = (Surface.PLAIN, Semantic.POLE, POLE_WIDTH, POLE_WIDTH, 0.0, height - 0.5 * LAMP_SIZE[2], grey)
        bottom = height - 0.5 * LAMP_SIZE[2]
        lamp = (Surface.SIGNAL, Semantic.TRAFFIC_LIGHT, *LAMP_SIZE[:2], bottom, bottom + LAMP_SIZE[2], black)
        for surface, semantic, length, width, low, high, colour in (pole, lamp):
            rows.append([-2 - i, surface, semantic, 0.0, 0.5 * length, 0.5 * width, low, high, 0.0, 0.0, *colour])
            xy.append(signal.position[:2])
            heading.append(facing)
    table = PartTable.of_rows(rows)
    return SignalParts(table, np.array(xy, np.float64).reshape(-1, 2), np.array(heading, np.float64))


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
        if lane is None:
            continue
        first = float(polyline_headings(lane.centreline)[0])
        return first + np.pi
    if scene.route is None:
        return 0.0
    s, _ = project(scene.route.path, signal.position[None, :2])
    knots = np.searchsorted(np.cumsum(np.linalg.norm(np.diff(scene.route.path[:, :2], axis=0), axis=1)), s[0])
    return float(polyline_headings(scene.route.path)[min(int(knots), len(scene.route.path) - 1)]) + np.pi


class DrawList:
    """Keeps the parts of the last agents, since their looks seldom change from frame to frame."""

    def __init__(self, scene: Scene) -> None:
        self._signals = signal_parts(scene)
        self._looks: tuple[tuple[str, ...], Array, Array] | None = None
        self._agents = self._all = self._signals.table

    def update(self, pose: Float64[Array, "3"], agents: Agents, signals: Int8[Array, " n"] | None) -> dict[str, Array]:
        """Columns of ``camera_kernel.Parts`` in the ego frame of ``pose``, near to far, at most ``MAX_PARTS``."""
        if not same_looks(self._looks, agents):
            self._looks = (agents.ids, agents.category.copy(), agents.size.copy())
            self._agents = part_table(agents.ids, agents.category, agents.size)
            self._all = self._agents.joined(self._signals.table)
        table = self._all
        xy, heading = part_poses(self._agents, agents.pose)
        xy = np.concatenate([xy, self._signals.xy])
        heading = np.concatenate([heading, self._signals.heading])
        present = np.concatenate([agents.valid[self._agents.owner], np.ones(len(self._signals.xy), bool)])
        local = to_frame(xy, pose)
        distance = np.hypot(local[:, 0], local[:, 1]) - np.hypot(table.half[:, 0], table.half[:, 1])
        seen = np.flatnonzero(present & (distance < SIGHT))
        order = seen[np.argsort(distance[seen], kind="stable")][:MAX_PARTS]
        relative = heading[order] - pose[2]
        place = np.stack([local[order, 0], local[order, 1], np.cos(relative), np.sin(relative)], axis=-1)
        return {
            "place": place.astype(np.float32),
            "half": table.half[order],
            "z": table.z[order],
            "lean": table.lean[order],
            "colour": table.colour[order],
            "surface": table.surface[order],
            "semantic": table.semantic[order],
            "owner": table.owner[order],
            "state": _states(table.owner[order], signals),
        }


def _states(owner: Int32[Array, " parts"], signals: Int8[Array, " n"] | None) -> Int32[Array, " parts"]:
    """Signal state of each part; UNKNOWN for what is no signal."""
    states = np.full(len(owner), int(SignalState.UNKNOWN), np.int32)
    lamps = owner <= -2
    if signals is not None and lamps.any():
        states[lamps] = np.asarray(signals)[-2 - owner[lamps]]
    return states
