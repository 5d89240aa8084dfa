"""The guard: a second line of safety between the driver and the vehicle."""

from alpamayo.guard.guard import Guard

__all__ = ["Guard"]
