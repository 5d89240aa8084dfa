"""Classes of the semantic image."""

import enum

import numpy as np

from alpamayo_sim.datatypes.scene import Category


class Semantic(enum.IntEnum):
    """Class of a pixel."""

    SKY = 0
    TERRAIN = 1
    SIDEWALK = 2
    KERB = 3
    ROAD = 4
    LANE_MARKING = 5
    CROSSWALK = 6
    STOP_LINE = 7
    VEHICLE = 8
    TRUCK = 9
    BUS = 10
    MOTORCYCLE = 11
    CYCLIST = 12
    PEDESTRIAN = 13
    ANIMAL = 14
    CONE = 15
    BARRIER = 16
    DEBRIS = 17
    BUILDING = 18
    VEGETATION = 19
    TRAFFIC_LIGHT = 20
    POLE = 21
    OTHER = 22


SEMANTIC_OF_CATEGORY = {
    category: Semantic[category.name] if category.name in Semantic.__members__ else Semantic.OTHER
    for category in Category
}

PALETTE = np.array(
    [
        (148, 196, 232), (128, 160, 96), (196, 190, 184), (160, 156, 150), (84, 86, 92), (236, 236, 228),
        (214, 214, 196), (250, 250, 250), (56, 108, 216), (36, 72, 150), (92, 60, 196), (20, 150, 170),
        (220, 120, 30), (216, 40, 60), (150, 90, 40), (255, 130, 0), (250, 200, 40), (120, 70, 60),
        (156, 128, 110), (54, 120, 54), (250, 220, 0), (100, 100, 100), (255, 0, 255),
    ],
    np.uint8,
)  # fmt: skip
"""RGB of each class, uint8 [classes, 3], for pictures of a semantic image."""
