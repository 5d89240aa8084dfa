"""Drivers by name: the registry, the recording, and the reference drivers of UN R157."""

from alpamayo.drivers.registry import make_driver

__all__ = ["make_driver"]
