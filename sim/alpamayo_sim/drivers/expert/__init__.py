"""The privileged expert and its parts."""

from alpamayo_sim.drivers.expert.expert import Expert

__all__ = ["Expert"]
