"""The PDM score of plans alone, without margins and reasons: what many plans are ranked by in little time."""

import numpy as np
from jaxtyping import Float64

from alpamayo.validator.motions import MotionBatch
from alpamayo.validator.rules.collision import blameless
from alpamayo.validator.rules.comfort import comfort_rule
from alpamayo.validator.rules.drivable_area import inside
from alpamayo.validator.rules.progress import progress
from alpamayo.validator.rules.time_to_collision import stays_clear
from alpamayo.validator.scores import pdms


def pdm_score(situation: MotionBatch) -> Float64[np.ndarray, " k"]:
    """What ``judge`` has as the score ``pdms``: the same number."""
    return np.asarray(
        pdms(
            {
                "at_fault_collision": situation.shared(blameless),
                "drivable_area": situation.shared(inside),
                "time_to_collision": stays_clear(situation),
                "progress": situation.shared(progress).value,
                "comfort": situation.shared(comfort_rule).value,
            }
        )
    )
