"""The words of perception: classes of objects, the road along the route, and the columns of their tables."""

import enum

import numpy as np

from alpamayo_sim.datatypes.scene import Category, SignalState

Array = np.ndarray


class ObjectClass(enum.IntEnum):
    """The class of a thing in an image; signals have the class of their state."""

    NOTHING = 0
    VEHICLE = 1
    TRUCK = 2
    BUS = 3
    MOTORCYCLE = 4
    CYCLIST = 5
    PEDESTRIAN = 6
    ANIMAL = 7
    CONE = 8
    BARRIER = 9
    DEBRIS = 10
    RED_LIGHT = 11
    YELLOW_LIGHT = 12
    GREEN_LIGHT = 13
    UNLIT_LIGHT = 14


SIGNALS = (ObjectClass.RED_LIGHT, ObjectClass.YELLOW_LIGHT, ObjectClass.GREEN_LIGHT, ObjectClass.UNLIT_LIGHT)
MOVABLE = tuple(ObjectClass(k) for k in range(ObjectClass.VEHICLE, ObjectClass.CONE))
CATEGORY_OF_CLASS = {kind: Category[kind.name] for kind in ObjectClass if kind.name in Category.__members__}


class Ground(enum.IntEnum):
    """The use of a place beside the route."""

    OFF_ROAD = 0
    SAME_DIRECTION = 1
    OPPOSITE_DIRECTION = 2
    OTHER_DRIVABLE = 3


class Control(enum.IntEnum):
    """The next signal that controls the route."""

    NONE = 0
    RED = 1
    YELLOW = 2
    GREEN = 3
    UNLIT = 4


SIGNAL_OF_CONTROL = {
    Control.RED: SignalState.RED,
    Control.YELLOW: SignalState.YELLOW,
    Control.GREEN: SignalState.GREEN,
}

DEFAULT_EGO_SIZE_M = (4.6, 1.9, 1.6)  # where the observation does not tell it
STATION_SPACING_M = 8.0  # between the rows of the road's table, along the route from the ego on
STATIONS = 16
OFFSETS_M = np.arange(-8.0, 8.5, 1.0)  # its columns, to the left of the route
CELL = 8  # pixels a side of an image cell that is classified

_WEIGHTS = {
    ObjectClass.NOTHING: 0.25,
    ObjectClass.PEDESTRIAN: 3.0,
    ObjectClass.ANIMAL: 3.0,
    ObjectClass.CYCLIST: 2.0,
    ObjectClass.MOTORCYCLE: 2.0,
    ObjectClass.DEBRIS: 3.0,
    ObjectClass.CONE: 1.5,
    ObjectClass.RED_LIGHT: 3.0,
    ObjectClass.YELLOW_LIGHT: 4.0,
    ObjectClass.GREEN_LIGHT: 3.0,
}
CLASS_WEIGHTS = tuple(_WEIGHTS.get(kind, 1.0) for kind in ObjectClass)
"""How much a cell of each class counts in training; the network's odds are too high by these factors."""
