"""The Intelligent Driver Model; ``engine.kernels.car_following.idm`` is the same formula for Warp.

Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations",
Physical Review E 62 (2000).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, "..."] | float


@dataclass(frozen=True)
class IdmParameters:
    """Parameters of the model.

    Attributes:
        acceleration_mps2: the greatest acceleration.
        deceleration_mps2: the comfortable deceleration.
        headway_s: the time gap to the leader.
        standstill_gap_m: the gap to a standing leader.
        free_term_floor: the lower bound of the free-road term. Far above the desired speed, the exponent of 4 would
            otherwise brake like for an obstacle.
        greatest_deceleration_mps2: the bound of the deceleration.
        least_desired_speed_mps: the lower bound of the desired speed, which is a divisor.
        least_gap_m: the lower bound of the gap, which is a divisor.
    """

    acceleration_mps2: float
    deceleration_mps2: float
    headway_s: float
    standstill_gap_m: float
    free_term_floor: float
    greatest_deceleration_mps2: float = math.inf
    least_desired_speed_mps: float = 0.1
    least_gap_m: float = 0.1


def idm_acceleration(
    speed: Numbers,
    desired: Numbers,
    gap: Numbers,
    leader_speed: Numbers,
    parameters: IdmParameters,
    standstill_gap: Numbers | None = None,
) -> Numbers:
    """Compute the acceleration (m/s²) of the model; all arguments broadcast.

    Args:
        speed: the own speed (m/s).
        desired: the desired speed (m/s).
        gap: the distance (m) to the leader, infinite without one.
        leader_speed: its speed (m/s).
        parameters: the parameters.
        standstill_gap: the gap (m) to a standing leader, if it is not that of the parameters.
    """
    p = parameters
    least = p.standstill_gap_m if standstill_gap is None else standstill_gap
    numbers = all(isinstance(value, float) for value in (speed, desired, gap, leader_speed, least))
    lower, upper = (min, max) if numbers else (np.minimum, np.maximum)  # of numbers several times as fast as numpy's
    approach = speed * (speed - leader_speed) / (2.0 * math.sqrt(p.acceleration_mps2 * p.deceleration_mps2))
    desired_gap = least + upper(speed * p.headway_s + approach, 0.0)
    free = upper(1.0 - (speed / upper(desired, p.least_desired_speed_mps)) ** 4, p.free_term_floor)
    acceleration = p.acceleration_mps2 * (free - (desired_gap / upper(gap, p.least_gap_m)) ** 2)
    if math.isinf(p.greatest_deceleration_mps2):
        return acceleration
    return lower(upper(acceleration, -p.greatest_deceleration_mps2), p.acceleration_mps2)
