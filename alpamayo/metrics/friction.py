"""Accelerations of sampled motions, and the limit that friction sets to them."""

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.constants import GRAVITY_MPS2

Array = np.ndarray


def friction_limit(friction: float, tolerance: float) -> float:
    """Return the largest acceleration (m/s²): the friction coefficient times g, plus a tolerance (m/s²)."""
    return friction * GRAVITY_MPS2 + tolerance


def windowed_slopes(values: Float64[Array, "k t"], window: int, dt: float) -> Float64[Array, "k t-{window}"]:
    """Compute the slopes of values sampled every ``dt`` (s), each over ``window`` steps."""
    return (values[:, window:] - values[:, :-window]) / (window * dt)
