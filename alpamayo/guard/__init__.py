"""The guard: a second line of safety between the driver and the vehicle.

One direction: ground truth -> prediction -> outcomes of each candidate (``assessment``) -> choice (``choice``).
"""

from alpamayo.guard.guard import Guard

__all__ = ["Guard"]
