"""The PDM score of plans without margins and reasons, to rank many plans quickly."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rules.collision import collision_value
from alpamayo.validator.rules.comfort import comfort_rule
from alpamayo.validator.rules.drivable_area import drivable_area_value
from alpamayo.validator.rules.progress import progress
from alpamayo.validator.rules.time_to_collision import time_to_collision_value
from alpamayo.validator.scores import pdms


def pdm_score(motions: MotionBatch) -> Float64[np.ndarray, " k"]:
    """Compute the score `pdms` of `judge`: the same number."""
    return np.asarray(
        pdms(
            {
                "at_fault_collision": motions.cached(collision_value),
                "drivable_area": motions.cached(drivable_area_value),
                "time_to_collision": time_to_collision_value(motions),
                "progress": motions.cached(progress).value,
                "comfort": motions.cached(comfort_rule).value,
            }
        )
    )
