"""Usual sizes of road users, for recordings that do not tell them.

Mean boxes of nuScenes, as in the anchors of its detectors (mmdetection3d, ``configs/_base_/models``).
"""

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.datatypes.scene import Category

USUAL_SIZES_M = {
    Category.UNKNOWN: (1.0, 1.0, 1.5),
    Category.VEHICLE: (4.63, 1.97, 1.74),
    Category.TRUCK: (6.93, 2.51, 2.84),
    Category.BUS: (10.5, 2.94, 3.47),
    Category.MOTORCYCLE: (2.11, 0.77, 1.47),
    Category.CYCLIST: (1.70, 0.60, 1.28),
    Category.PEDESTRIAN: (0.73, 0.67, 1.77),
    Category.ANIMAL: (0.8, 0.4, 0.6),
    Category.CONE: (0.41, 0.41, 1.07),
    Category.BARRIER: (0.50, 2.53, 0.98),
    Category.DEBRIS: (0.5, 0.5, 0.3),
    Category.BUILDING: (10.0, 10.0, 6.0),
    Category.VEGETATION: (1.0, 1.0, 3.0),
}


def usual_size(category: Category) -> Float64[np.ndarray, "3"]:
    """Return the usual length, width and height (m) of a road user or prop."""
    return np.array(USUAL_SIZES_M[category])
