"""Labels of one step for perception: the visible objects, the owner of each image cell, the road along the route."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from alpamayo_sim.datatypes.observation import GroundTruth
from alpamayo_sim.datatypes.scene import Category, Scene, SignalState
from alpamayo_sim.geometry import to_frame
from alpamayo_sim.map.frenet import RouteFrame
from alpamayo_sim.map.index import index_of
from alpamayo_sim.map.stop_lines import route_stops
from alpamayo_sim.planning.surroundings import Surroundings, surroundings
from alpamayo_sim.sensors import CameraImages
from alpamayo_vla_model.perception.objects import (
    CATEGORY_OF_CLASS,
    CELL,
    OFFSETS_M,
    SIGNAL_OF_CONTROL,
    STATION_SPACING_M,
    STATIONS,
    Control,
    Ground,
    ObjectClass,
)

Array = np.ndarray

MAX_OBJECTS = 48
MIN_CELL_PIXELS = 2  # of an object in a cell that it owns
MIN_OBJECT_PIXELS = 3  # of an object in all images
FIRST_SIGNAL = -2  # instance of signal 0 in the images; -3 is signal 1
_CLASS = {category: kind for kind, category in CATEGORY_OF_CLASS.items()}
_LIGHT = {
    SignalState.RED: ObjectClass.RED_LIGHT,
    SignalState.YELLOW: ObjectClass.YELLOW_LIGHT,
    SignalState.GREEN: ObjectClass.GREEN_LIGHT,
}
_CONTROL = {signal: control for control, signal in SIGNAL_OF_CONTROL.items()}
CONTROL_RANGE_M = 120.0


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """The labels of one step.

    Attributes:
        objects: the visible objects, most pixels first: class, x, y, heading, length, width, height, velocity x and
            y (ego axes, over ground), pixels in all images; rows of zeros after the last one.
        owner: the row in ``objects`` that each image cell shows, or -1.
    """

    objects: Float32[Array, "48 10"]
    owner: Int8[Array, "cameras rows columns"]


@dataclass(frozen=True, eq=False)
class RoadLabels:
    """The labels of the road along the route.

    Attributes:
        ground: ``Ground`` at ``STATIONS`` places along the route and ``OFFSETS_M`` to its left.
        control: ``Control`` of the next signal of the route, and the distance (m) from the ego's centre to its line.
    """

    ground: UInt8[Array, "16 17"]
    control: Float32[Array, "2"]


def label_objects(images: CameraImages, truth: GroundTruth) -> ObjectLabels:
    """Return the visible objects of a step, and the cells that show them."""
    instance = images.instance
    found, counts = np.unique(instance, return_counts=True)
    rows = [
        (int(count), int(number)) for number, count in zip(found, counts, strict=True) if count >= MIN_OBJECT_PIXELS
    ]
    table: list[list[float]] = []
    numbers: list[int] = []
    for count, number in sorted(rows, key=lambda row: (-row[0], row[1])):
        row = object_row(number, truth)
        if row is not None and len(table) < MAX_OBJECTS:
            table.append([*row, float(count)])
            numbers.append(number)
    objects = np.zeros((MAX_OBJECTS, 10), np.float32)
    objects[: len(table)] = np.array(table, np.float32).reshape(-1, 10)
    return ObjectLabels(objects, _owners(instance, numbers))


def object_row(number: int, truth: GroundTruth) -> list[float] | None:
    """Return class, x, y, heading, size and velocity of an instance; None for scenery and empty pixels."""
    if number <= FIRST_SIGNAL:
        signal = FIRST_SIGNAL - number
        if signal >= len(truth.signals):
            return None
        kind = _LIGHT.get(SignalState(truth.signals[signal]), ObjectClass.UNLIT_LIGHT)
        position = truth.scene.signals[signal].position[None, :2]
        x, y = to_frame(position.astype(np.float64), truth.ego_pose.astype(np.float64))[0]
        return [float(kind), float(x), float(y), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if number < 0 or number >= len(truth.agents.ids):
        return None
    agents = truth.agents
    known = _CLASS.get(Category(int(agents.category[number])))
    if known is None:
        return None
    ego = truth.ego_pose.astype(np.float64)
    x, y = to_frame(agents.pose[number : number + 1, :2].astype(np.float64), ego)[0]
    heading = math.remainder(float(agents.pose[number, 2]) - float(ego[2]), 2.0 * math.pi)
    c, s = math.cos(ego[2]), math.sin(ego[2])
    vx, vy = (float(v) for v in agents.velocity[number])
    length, width, height = (float(v) for v in agents.size[number])
    return [float(known), float(x), float(y), heading, length, width, height, c * vx + s * vy, c * vy - s * vx]


def _owners(instance: Array, numbers: list[int]) -> Int8[Array, "cameras rows columns"]:
    """Return for each cell the listed instance with the most pixels in it."""
    cameras, height, width = instance.shape
    cells = instance.reshape(cameras, height // CELL, CELL, width // CELL, CELL).transpose(0, 1, 3, 2, 4)
    flat = cells.reshape(-1, CELL * CELL)
    best = np.full(len(flat), MIN_CELL_PIXELS - 1)
    owner = np.full(len(flat), -1, np.int8)
    for row, number in enumerate(numbers):
        count = (flat == number).sum(axis=1)
        more = count > best
        owner[more], best[more] = row, count[more]
    return owner.reshape(cameras, height // CELL, width // CELL)


class RoadLabeller:
    """Labels of the road along the route of one scene."""

    def __init__(self, scene: Scene) -> None:
        assert scene.route is not None
        self._frame = RouteFrame.of_route(scene.route)
        self._table: Surroundings = surroundings(self._frame, index_of(scene.road_map))
        self._stops = [stop for stop in route_stops(scene, self._frame) if stop.signal is not None]
        self._s: float | None = None

    def label(self, truth: GroundTruth, near: float | None = None) -> RoadLabels:
        """Return the labels at the ego's place, which is near arc length ``near`` (m), or near the last one."""
        known = self._s if near is None else near
        s = float(self._frame.project(truth.ego_pose[None, :2].astype(np.float64), known)[0][0])
        self._s = s
        return RoadLabels(self._ground(s), self._control(s, truth))

    def _ground(self, s: float) -> UInt8[Array, "16 17"]:
        table = self._table
        rows = table.row(s + STATION_SPACING_M * np.arange(STATIONS))[:, None]
        columns = table.column(OFFSETS_M)[None]
        ground = np.full((STATIONS, len(OFFSETS_M)), int(Ground.OTHER_DRIVABLE), np.uint8)
        ground[np.isfinite(table.centre[rows, columns])] = Ground.SAME_DIRECTION
        ground[table.opposite[rows, columns]] = Ground.OPPOSITE_DIRECTION
        outside = (table.left[rows] < OFFSETS_M) | (table.right[rows] > OFFSETS_M)
        ground[outside] = Ground.OFF_ROAD
        return ground

    def _control(self, s: float, truth: GroundTruth) -> Float32[Array, "2"]:
        front = s + 0.5 * float(truth.ego_size[0])
        ahead = [stop for stop in self._stops if front - 1.0 < stop.s < s + CONTROL_RANGE_M]
        if not ahead:
            return np.array([Control.NONE, CONTROL_RANGE_M], np.float32)
        stop = min(ahead, key=lambda item: item.s)
        assert stop.signal is not None
        state = _CONTROL.get(SignalState(truth.signals[stop.signal]), Control.UNLIT)
        return np.array([state, stop.s - s], np.float32)
