"""Weights in fewer bits: ``nvfp4``, ``fp8`` and ``int8``."""

from alpamayo_kernels.quantisation import fp8, int8, nvfp4

__all__ = ["fp8", "int8", "nvfp4"]
